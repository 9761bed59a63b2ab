"""What `lamella merge` can be asked for: one module for each way of it."""
