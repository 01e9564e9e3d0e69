r"""The base: the density that the network refines, a blend of two mixtures fitted to the context.

    b(z) = (1 - q) c(z) + q p(z)

Here ``c`` is the mixture of components, and ``p`` the product, a mixture of independent coordinates. E is the
evidence lower bound (ELBO) of each, in nats. The product pays ANGLE nats for each angle of its axes::

    q = 1 / (1 + exp(-(E_p - E_c - DOUBT - ANGLE D (D - 1) / 2) / TEMPERATURE))

``q`` is set to 0 where it is below LEAST_SHARE. It is at most 1 - LEAST_SHARE, so the components always
count.

Shapes: B data sets, n points, D dimensions, K components, J components of each coordinate.
"""

import math
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from discoformer.base.arrays import ArrayT, FieldT, library
from discoformer.base.independent import IndependentMixture, enough, evaluate_product, fit_product, no_product
from discoformer.base.mixture import ABSENT, Components, evaluate
from discoformer.base.mixture_fit import LEAST_SHARE, fit_components
from discoformer.io.inputs import Floats

ANGLE = 2.0  # nats, penalty for each angle of the axes
DOUBT = 10.0  # nats, lead that the product needs, since its bound is tighter
TEMPERATURE = 12.0  # divides the difference of the ELBOs, so that both count where it is small


ResultT = TypeVar("ResultT")


class Base(NamedTuple, Generic[FieldT]):
    """The base of a context, in frame coordinates."""

    components: Components[FieldT]
    product: IndependentMixture[FieldT]
    log_odds: FieldT  # (B,) log(q / (1 - q)); ABSENT if there is no product

    def each(self, change: Callable[[FieldT], ResultT]) -> "Base[ResultT]":
        """Apply a function to every array."""
        return base_of(*map(change, self.to_inputs().values()))

    @classmethod
    def from_inputs(cls, given: Mapping[str, FieldT]) -> "Base[FieldT]":
        """Collect a base from the inputs of a graph, by name."""
        return base_of(*(given[name] for name in BASE))

    def to_inputs(self) -> dict[str, FieldT]:
        """Return the arrays as inputs of a graph, by name."""
        return dict(zip(BASE, (*self.components, *self.product, self.log_odds), strict=True))


BASE = (
    "component_log_scale",
    "component_means",
    "component_factors",
    "component_freedom",
    "product_axes",
    "product_log_scale",
    "product_means",
    "product_factors",
    "product_freedom",
    "product_log_odds",
)
"""Names of the arrays of a base, as inputs of the graphs. Released files have them: do not change them."""


class EvaluatedBase(NamedTuple, Generic[FieldT]):
    """The base at n points, in frame coordinates."""

    log_density: FieldT  # (B, n) log b, nats
    score: FieldT  # (B, n, D) its gradient
    share: FieldT  # (B, K, n) membership of the components
    square: FieldT  # (B, K, n) |F_k (z - m_k)|^2
    product_share: FieldT  # (B, n) share of the product in the density


def base_of(*arrays: FieldT) -> Base[FieldT]:
    """Build a base from its arrays, in the order of BASE."""
    count = len(Components._fields)
    return Base(Components(*arrays[:count]), IndependentMixture(*arrays[count:-1]), arrays[-1])


def fit_base(
    points: Floats, weights: Floats, size: Floats, precision_root: Floats, log_det_precision: Floats
) -> Base[Floats]:
    """Fit the base of contexts in their frames.

    Args:
        points: (B, N, D), float64, of positive finite variance.
        weights: (B, N), not negative, of sum 1. Points of weight 0 are absent.
        size: (B,) effective sizes, 1 or more.
        precision_root: (B, D, D) symmetric root of the inverse covariance.
        log_det_precision: (B,) log-determinant of the inverse covariance.
    """
    components, elbo = fit_components(points, weights, size)
    if points.shape[-1] == 1:
        product, product_elbo = no_product(precision_root)
    else:
        product, product_elbo = fit_product(points, weights, size, precision_root, log_det_precision)
    return Base(components, product, log_odds_of(product_elbo - elbo, size, points.shape[-1]))


def log_odds_of(gain: ArrayT, size: ArrayT, dim: int) -> ArrayT:
    """Return the log-odds (B,) of the product, given the lead (B,) of its ELBO over the components."""
    xp = library(gain)
    highest = math.log(1 / LEAST_SHARE - 1)
    log_odds = xp.clip((gain - DOUBT - ANGLE * dim * (dim - 1) / 2) / TEMPERATURE, None, highest)
    useful = (log_odds >= -highest) & (size >= enough(dim)) & (0 * size + dim > 1)
    return xp.where(useful, log_odds, xp.full_like(log_odds, ABSENT))


def evaluate_base(base: Base[ArrayT], points: ArrayT) -> EvaluatedBase[ArrayT]:
    """Evaluate the base at points (B, n, D)."""
    xp = library(points)
    of_components, of_product = evaluate(base.components, points), evaluate_product(base.product, points)
    log_odds = base.log_odds[:, None]
    product = of_product.log_density + log_odds
    greater = xp.maximum(of_components.log_density, product)
    components_part, product_part = xp.exp(of_components.log_density - greater), xp.exp(product - greater)
    total = components_part + product_part
    share = product_part / total
    log_density = greater + xp.log(total) - xp.log1p(xp.exp(log_odds))
    score = of_components.score + share[..., None] * (of_product.score - of_components.score)
    return EvaluatedBase(log_density, score, of_components.share, of_components.square, share)
