"""From an integer network to what a processor executes: storage, tiles, stages, a program and its memory image."""
