"""Deprecated: this module is now ``discoformer.analysis.sampling``."""

from discoformer.analysis.sampling import METHODS, STEPS, Method, Sampling, State, langevin, sample
from discoformer.deprecation import warn_renamed

__all__ = ["METHODS", "STEPS", "Method", "Sampling", "State", "langevin", "sample"]

warn_renamed("discoformer.sampling", "discoformer.analysis.sampling")
