"""Design-space exploration: what if, over codes, processors and networks (docs/explore.md)."""
