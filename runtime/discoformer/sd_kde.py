"""Deprecated: this module is now ``discoformer.analysis.sd_kde``."""

from discoformer.analysis.sd_kde import FACTORS, SdKde, normal_bandwidth, sd_kde
from discoformer.deprecation import warn_renamed

__all__ = ["FACTORS", "SdKde", "normal_bandwidth", "sd_kde"]

warn_renamed("discoformer.sd_kde", "discoformer.analysis.sd_kde")
