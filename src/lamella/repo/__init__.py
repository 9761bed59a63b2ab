"""Where a file becomes tensors becomes objects, and Git remembers it."""
