"""Tensors to weights to label maps."""
