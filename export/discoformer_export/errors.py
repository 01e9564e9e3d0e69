"""Errors of the export."""

from discoformer.errors import DiscoformerError


class ExportError(DiscoformerError, RuntimeError):
    """A graph cannot be exported: an axis is not dynamic, or ONNX Runtime and PyTorch disagree."""
