"""The base density that the network refines: the frame, mixtures and their fits, for NumPy and PyTorch."""
