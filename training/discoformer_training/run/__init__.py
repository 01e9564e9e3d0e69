"""A training run: configuration, loss, optimizers, trainer, loop and checkpoints."""
