"""The conversion-aware network: a PyTorch network traced, prepared and run in its stages."""
