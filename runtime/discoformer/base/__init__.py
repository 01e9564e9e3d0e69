"""The base that the heads refine: frame, mixtures, and product of coordinates, for NumPy and PyTorch."""
