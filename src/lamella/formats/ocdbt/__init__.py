"""OCDBT, the key-value store of TensorStore in which Orbax keeps its arrays: read, never written."""
