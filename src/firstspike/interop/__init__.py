"""Networks from and to others' tools: ONNX, NIR, NeuroBench."""
