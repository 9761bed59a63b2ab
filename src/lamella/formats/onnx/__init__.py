"""ONNX models, and the files of tensors beside them."""
