r"""The base: what the network refines, the components of a context blended with its product.

    b(z) = (1 - q) c(z) + q p(z)

With E the evidence lower bound (ELBO) of each, in nats, less ANGLE nats for each angle of the axes,

    q = 1 / (1 + exp(-(E_p - E_c - DOUBT - ANGLE D (D - 1) / 2) / TEMPERATURE)),

0 where it is below LEAST_SHARE, 1 - LEAST_SHARE at most, so that neither is trusted alone.

Shapes: B data sets, n points, D dimensions, K components, J components of a coordinate.
"""

import math
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from discoformer.base.arrays import ArrayT, FieldT, library
from discoformer.base.independent import IndependentMixture, enough, evaluate_product, fit_product, no_product
from discoformer.base.mixture import ABSENT, Components, evaluate
from discoformer.base.mixture_fit import LEAST_SHARE, fit_components
from discoformer.io.inputs import Floats

ANGLE = 2.0  # nats that an angle of the axes costs
DOUBT = 10.0  # nats that the product must be ahead: its bound is the tighter one
TEMPERATURE = 12.0  # divides the difference of the ELBOs: where neither is far ahead, both are used


ResultT = TypeVar("ResultT")


class Base(NamedTuple, Generic[FieldT]):
    """The base of a context, in frame coordinates."""

    components: Components[FieldT]
    product: IndependentMixture[FieldT]
    log_odds: FieldT  # (B,) log(q / (1 - q)); ABSENT where there is no product

    def each(self, change: Callable[[FieldT], ResultT]) -> "Base[ResultT]":
        """The same with every array changed."""
        return base_of(*map(change, self.to_inputs().values()))

    @classmethod
    def from_inputs(cls, given: Mapping[str, FieldT]) -> "Base[FieldT]":
        """The base among the inputs of a graph, by name."""
        return base_of(*(given[name] for name in BASE))

    def to_inputs(self) -> dict[str, FieldT]:
        """The inputs of a graph, by name."""
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
    product_share: FieldT  # (B, n) of the density


def base_of(*arrays: FieldT) -> Base[FieldT]:
    """The base of the arrays that BASE names."""
    count = len(Components._fields)
    return Base(Components(*arrays[:count]), IndependentMixture(*arrays[count:-1]), arrays[-1])


def fit_base(
    points: Floats, weights: Floats, size: Floats, precision_root: Floats, log_det_precision: Floats
) -> Base[Floats]:
    """Fits the base of contexts in their frames.

    Args:
        points: (B, N, D), float64, of finite variance that is not zero.
        weights: (B, N), not negative, of sum 1; points of weight 0 count as absent.
        size: (B,) effective sizes, 1 or more.
        precision_root: (B, D, D) symmetric root of the inverse covariance, and
        log_det_precision: (B,) the logarithm of the determinant of that inverse.
    """
    components, elbo = fit_components(points, weights, size)
    if points.shape[-1] == 1:
        product, product_elbo = no_product(precision_root)
    else:
        product, product_elbo = fit_product(points, weights, size, precision_root, log_det_precision)
    return Base(components, product, log_odds_of(product_elbo - elbo, size, points.shape[-1]))


def log_odds_of(gain: ArrayT, size: ArrayT, dim: int) -> ArrayT:
    """Log-odds (B,) of the product that has an ELBO so much (B,) higher than the components."""
    xp = library(gain)
    highest = math.log(1 / LEAST_SHARE - 1)
    log_odds = xp.clip((gain - DOUBT - ANGLE * dim * (dim - 1) / 2) / TEMPERATURE, None, highest)
    useful = (log_odds >= -highest) & (size >= enough(dim)) & (0 * size + dim > 1)
    return xp.where(useful, log_odds, xp.full_like(log_odds, ABSENT))


def evaluate_base(base: Base[ArrayT], points: ArrayT) -> EvaluatedBase[ArrayT]:
    """Evaluates the base at points (B, n, D)."""
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
