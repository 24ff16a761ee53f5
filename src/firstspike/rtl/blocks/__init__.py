"""The hardware blocks, one a file."""
