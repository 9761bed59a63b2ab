"""The ways to merge the elements of a tensor, one file each."""
