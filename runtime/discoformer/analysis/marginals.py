"""Marginals: the density of some of the features, whatever the values of the others.

If the rows ``x_i`` come from ``f``, then their chosen features ``x_ig`` come from the marginal: the integral
of ``f`` over the other features. So the same model reads the chosen columns of the sample.
"""

from collections.abc import Iterable
from typing import TypeVar

from discoformer.fit import read_sample
from discoformer.fitted import FittedDensity, warn_of_range
from discoformer.io.features import Feature, feature_indices, names_of
from discoformer.io.tables import Table

D = TypeVar("D", bound=FittedDensity)


def marginal_of(fitted: D, features: Feature | Iterable[Feature]) -> D:
    """Estimate the density of some features; see ``Estimate.marginal``."""
    chosen = feature_indices("features", features, fitted.diagnostics.dim, fitted.columns)
    points, weights = fitted.data
    table = Table(points[:, chosen], names_of(chosen, fitted.columns))
    sample = read_sample(table, weights, fitted.size)
    warn_of_range(fitted.metadata, [sample])
    return fitted.refit_sample(sample)
