"""Design-space exploration: what if, over codes, processors and networks (docs/how-to/explore.md)."""
