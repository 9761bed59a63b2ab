"""Keras archives, and what Keras calls the variables in HDF5 files."""
