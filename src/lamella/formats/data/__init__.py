"""Data sets, which are rows and have no tensors."""
