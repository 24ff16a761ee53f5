"""The processor as a system on a board: SDRAM, serial line, clock and pins."""
