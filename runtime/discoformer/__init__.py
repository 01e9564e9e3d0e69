"""Density and score of the distribution behind a sample, at any point, in one forward pass.

``T(X, Y) ~ log f(Y)`` and ``S(X, Y) ~ grad log f(Y)`` for a context ``X (N, D)`` drawn from an unknown
density ``f`` and queries ``Y (M, D)``, by a transformer trained once, on many densities and never on yours::

    p = discoformer.estimate(X)
    p.log_density(Y)
    p.score(Y)
"""

from typing import Any as _Any

from discoformer.conformal import Anomalies, Reference
from discoformer.errors import (
    DegenerateDataError,
    DeviceError,
    DeviceWarning,
    DiscoformerError,
    InputError,
    MissingExtraError,
    ModelError,
    ModelNotFoundError,
    RangeWarning,
)
from discoformer.estimates import Context, Diagnostics, Estimate
from discoformer.information import Information
from discoformer.metadata import Metadata
from discoformer.model import Model, estimate, load, load_estimate
from discoformer.normalization import Normalization
from discoformer.sd_kde import SdKde

__all__ = [
    "Anomalies",
    "Context",
    "DegenerateDataError",
    "DeviceError",
    "DeviceWarning",
    "Diagnostics",
    "DiscoformerError",
    "Estimate",
    "Information",
    "InputError",
    "Metadata",
    "MissingExtraError",
    "Model",
    "ModelError",
    "ModelNotFoundError",
    "Normalization",
    "RangeWarning",
    "Reference",
    "SdKde",
    "__version__",
    "estimate",
    "load",
    "load_estimate",
]


def __getattr__(name: str) -> _Any:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # which takes longer to import than all the rest

    return version("discoformer")
