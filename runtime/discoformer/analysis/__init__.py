"""Analyses of a fitted density: sampling, modes, conditionals, imputation, diagnosis, adaptation and more."""
