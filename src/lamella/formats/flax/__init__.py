"""Flax files: trees of arrays in MessagePack."""
