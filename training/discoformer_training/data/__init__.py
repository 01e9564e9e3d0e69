"""Training data: random densities, and the stream of tasks drawn from them."""
