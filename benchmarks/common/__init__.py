"""Shared by the benchmarks: data sets, other estimators, toy densities, reports."""
