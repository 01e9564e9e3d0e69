"""Density and score of the distribution behind a sample, at any point, in one forward pass.

``T(X, Y) ~ log f(Y)`` and ``S(X, Y) ~ grad log f(Y)`` for a context ``X (N, D)`` drawn from an unknown
density ``f`` and queries ``Y (M, D)``, by a transformer trained once, on many densities and never on yours::

    p = discoformer.estimate(X)
    p.log_density(Y)
    p.score(Y)
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from discoformer.analysis.normalization import Normalization
from discoformer.deprecation import find_moved_modules as _find_moved_modules
from discoformer.errors import (
    DataWarning,
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
from discoformer.estimates import Estimate
from discoformer.fit import Context, Diagnostics
from discoformer.model import Model, estimate, load, load_estimate
from discoformer.onnx.metadata import Metadata

if _TYPE_CHECKING:  # at run time when first named: what a method returns, that is imported by it
    from discoformer.analysis.adaptation import Adaptation
    from discoformer.analysis.boxes import BoxProbability
    from discoformer.analysis.closed_forms import Entropy
    from discoformer.analysis.conditionals import Conditional
    from discoformer.analysis.diagnosis import Diagnosis
    from discoformer.analysis.findings import Finding
    from discoformer.analysis.modes import Modes
    from discoformer.analysis.sampling import Sampling
    from discoformer.analysis.sd_kde import SdKde
    from discoformer.anomalies import Anomalies, Reference
    from discoformer.groups import SavedGroups, estimate_groups, load_groups
    from discoformer.information import Information
    from discoformer.particles import Particles
    from discoformer.posterior import Posterior

__all__ = [
    "Adaptation",
    "Anomalies",
    "BoxProbability",
    "Conditional",
    "Context",
    "DataWarning",
    "DegenerateDataError",
    "DeviceError",
    "DeviceWarning",
    "Diagnosis",
    "Diagnostics",
    "DiscoformerError",
    "Entropy",
    "Estimate",
    "Finding",
    "Information",
    "InputError",
    "Metadata",
    "MissingExtraError",
    "Model",
    "ModelError",
    "ModelNotFoundError",
    "Modes",
    "Normalization",
    "Particles",
    "Posterior",
    "RangeWarning",
    "Reference",
    "Sampling",
    "SavedGroups",
    "SdKde",
    "__version__",
    "estimate",
    "estimate_groups",
    "load",
    "load_estimate",
    "load_groups",
]


_LATER = {  # names that are imported when they are first used, and the modules that they are of
    "Adaptation": "analysis.adaptation",
    "Anomalies": "anomalies",
    "BoxProbability": "analysis.boxes",
    "Conditional": "analysis.conditionals",
    "Diagnosis": "analysis.diagnosis",
    "Entropy": "analysis.closed_forms",
    "Finding": "analysis.findings",
    "Information": "information",
    "Modes": "analysis.modes",
    "Particles": "particles",
    "Posterior": "posterior",
    "Reference": "anomalies",
    "Sampling": "analysis.sampling",
    "SavedGroups": "groups",
    "SdKde": "analysis.sd_kde",
    "estimate_groups": "groups",
    "load_groups": "groups",
}


_find_moved_modules()


def __getattr__(name: str) -> _Any:
    if name in _LATER:
        from importlib import import_module

        value = getattr(import_module(f"discoformer.{_LATER[name]}"), name)
    elif name == "__version__":
        from importlib.metadata import version  # which takes longer to import than all the rest

        value = version("discoformer")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
