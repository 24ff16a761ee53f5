"""The processor as Amaranth components: `blocks` one a file, `emit` writes Verilog, `testbench` drives it."""
