"""Errors of the export."""


class ExportError(RuntimeError):
    """A graph cannot be written: an axis is not dynamic, or ONNX Runtime and PyTorch disagree."""
