"""Objects by content in immutable packs, an index to find them, and the care of both."""
