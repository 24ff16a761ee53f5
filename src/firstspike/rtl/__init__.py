"""The processor as Amaranth components, one block a file; `emit` writes Verilog, `compiler` memory images."""
