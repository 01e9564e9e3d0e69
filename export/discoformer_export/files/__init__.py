"""ONNX files and the folder of a released model."""
