"""Training: recipes, the loop, averaging, merging, distillation, warm starts (PyTorch, Lightning)."""
