"""Conversion-aware training (PyTorch)."""
