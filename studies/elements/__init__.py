"""Variants of the processing element, compared at gate level."""
