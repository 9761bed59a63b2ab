"""PyTorch files: archives, older ones, and those of torch.distributed."""
