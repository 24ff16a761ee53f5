"""ONNX: trained networks come in as PyTorch modules, converted ones go out as graphs of standard operators."""
