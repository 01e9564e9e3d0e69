"""Deprecated: this module is now ``discoformer.anomalies``."""

from discoformer.anomalies import (
    Anomalies,
    Flags,
    Method,
    Reference,
    benjamini_hochberg,
    contributions_of,
    find_anomalies,
    mass_below,
)
from discoformer.deprecation import warn_renamed

__all__ = [
    "Anomalies",
    "Flags",
    "Method",
    "Reference",
    "benjamini_hochberg",
    "find_anomalies",
    "mass_below",
    "push_of",
]

push_of = contributions_of

warn_renamed("discoformer.conformal", "discoformer.anomalies")
