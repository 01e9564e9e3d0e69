"""The base that the network refines: array code for NumPy and PyTorch, the frame, mixtures and their fits."""
