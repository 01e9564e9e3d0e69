"""Training of DiScoFormer networks, in PyTorch: what the runtime serves and the export writes is made here.

mixtures -> stream (in the frame) -> network (attention) -> loss -> trainer -> train -> checkpoint
benchmark (baselines, metrics, report): how good a checkpoint or a released model is
"""
