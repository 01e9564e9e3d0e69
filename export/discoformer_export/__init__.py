"""Export of DiScoFormer checkpoints to ONNX, with dynamic batch, context, query and dimension axes.

`discoformer_export.files.model_folder.release` turns a checkpoint into the folder of a released model.
"""
