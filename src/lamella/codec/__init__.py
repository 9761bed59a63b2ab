"""Bytes in, fewer bytes out, nothing lost: chunk codecs and the kernels beneath them."""
