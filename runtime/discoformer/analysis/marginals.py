"""Marginals: the density of some of the features, whatever the others are.

If the rows ``x_i`` come from ``f``, then their features ``x_ig`` come from its marginal, the integral of
``f`` over the others. So the columns of the context are chosen and it is estimated again, by the same model.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from discoformer.io.features import Feature, feature_indices, names_of
from discoformer.io.tables import Table

if TYPE_CHECKING:
    from discoformer.estimates import Estimate


def marginal_of(estimate: "Estimate", features: Feature | Iterable[Feature]) -> "Estimate":
    """Estimates the density of some features; see ``Estimate.marginal``."""
    found = estimate.diagnostics
    chosen = feature_indices("features", features, found.dim, estimate.columns)
    points, weights = estimate.context
    table = Table(points[:, chosen], names_of(chosen, estimate.columns))
    return estimate.model.estimate(table, weights, found.effective_size)
