"""What the benchmarks share: data sets, other estimators, toy densities."""
