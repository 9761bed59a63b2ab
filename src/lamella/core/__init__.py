"""The vocabulary every other room speaks: errors, ids, dtypes, tensors, limits, progress and the disk."""
