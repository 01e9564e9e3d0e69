"""Training of DiScoFormer networks in PyTorch.

data: random densities, and the stream of training tasks
nn: the network
run: loss, optimizers, training loop, checkpoints
evaluation: the benchmark of checkpoints and released models

Each package imports only those above it.
"""
