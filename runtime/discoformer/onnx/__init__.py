"""ONNX files of a model: safety checks, weights, metadata, sessions and graphs."""
