"""Checks of exported files: parity with PyTorch, and golden answers."""
