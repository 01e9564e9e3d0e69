"""Export of DiScoFormer checkpoints to ONNX, with dynamic batch, context, query and dimension axes."""

from discoformer_export.errors import ExportError
from discoformer_export.model_folder import release

__all__ = ["ExportError", "release"]
