"""Hostile input, made at random: ``python -m tests.fuzz``."""
