"""The ONNX files of a model: checks, weights, metadata, sessions and graphs."""
