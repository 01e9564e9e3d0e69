"""Deprecated: this module is now ``discoformer.anomalies``."""

from discoformer.anomalies import Anomalies, Flags, Method, Reference, benjamini_hochberg, find_anomalies
from discoformer.deprecation import warn_renamed

__all__ = ["Anomalies", "Flags", "Method", "Reference", "benjamini_hochberg", "find_anomalies"]

warn_renamed("discoformer.conformal", "discoformer.anomalies")
