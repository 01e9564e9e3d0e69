"""How good a model is: metrics, baselines and the benchmark."""
