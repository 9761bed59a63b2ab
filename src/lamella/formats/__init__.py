"""Containers as spans: where in a file each tensor's bytes lie, and the skeleton that is left without them."""
