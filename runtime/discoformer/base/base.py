r"""The base: the density that the heads of the network refine, a blend of two that the mixture network makes.

    b(z) = (1 - q) c(z) + q p(z)

Here ``c`` is the mixture, and ``p`` the product, the density of independent coordinates. Both are also made
from one half of the sample. With G the logarithm of the likelihood ratio of ``p`` and ``c`` on the other half
(the pseudo-Bayes factor of Geisser and Eddy, *JASA* 74, 1979)::

    q = 1 / (1 + exp(-(G - DOUBT) / TEMPERATURE))

The halves take turns in the ranks of ``|z|``.

Shapes: B data sets, n points, D dimensions, K components, J components of each coordinate.
"""

import math
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from discoformer.base.arrays import TIE, ArrayT, FieldT, library, take_rows
from discoformer.base.independent import IndependentMixture, evaluate_product
from discoformer.base.landmarks import evenly_spaced
from discoformer.base.mixture import Components, evaluate

HALF = 512  # greatest number of points in each half
DOUBT = 2.0  # nats, gain that the product needs, since the mixture learns more from the other half
TEMPERATURE = 2.0  # nats, divides the gain, so that both count where it is small
LEAST_SHARE = 1e-6  # a smaller share of the product counts as none, one of the mixture as this

ResultT = TypeVar("ResultT")


class Base(NamedTuple, Generic[FieldT]):
    """The base of a context, in frame coordinates."""

    components: Components[FieldT]
    product: IndependentMixture[FieldT]
    product_share: FieldT  # (B,) q, 0 if there is no product

    def each(self, change: Callable[[FieldT], ResultT]) -> "Base[ResultT]":
        """Apply a function to every array."""
        return base_of(*map(change, self.to_inputs().values()))

    @classmethod
    def from_inputs(cls, given: Mapping[str, FieldT]) -> "Base[FieldT]":
        """Collect a base from the inputs of a graph, by name."""
        return base_of(*(given[name] for name in BASE))

    def to_inputs(self) -> dict[str, FieldT]:
        """Return the arrays as inputs of a graph, by name."""
        return dict(zip(BASE, (*self.components, *self.product, self.product_share), strict=True))


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
    "product_share",
)
"""Names of the arrays of a base, as inputs of the graphs. Released files have them: do not change them."""


class EvaluatedBase(NamedTuple, Generic[FieldT]):
    """The base at n points, in frame coordinates."""

    log_density: FieldT  # (B, n) log b, nats
    score: FieldT  # (B, n, D) its gradient
    share: FieldT  # (B, n, K) membership of the components
    square: FieldT  # (B, n, K) |F_k (z - m_k)|^2
    product_share: FieldT  # (B, n) share of the product in the density


def base_of(*arrays: FieldT) -> Base[FieldT]:
    """Build a base from its arrays, in the order of BASE."""
    count = len(Components._fields)
    return Base(Components(*arrays[:count]), IndependentMixture(*arrays[count:-1]), arrays[-1])


def evaluate_base(base: Base[ArrayT], points: ArrayT) -> EvaluatedBase[ArrayT]:
    """Evaluate the base at points (B, n, D)."""
    of_components, of_product = evaluate(base.components, points), evaluate_product(base.product, points)
    q = base.product_share[:, None]
    log_density, share = blend(of_components.log_density, of_product.log_density, q)
    score = of_components.score + share[..., None] * (of_product.score - of_components.score)
    return EvaluatedBase(log_density, score, of_components.share, of_components.square, share)


def blend(log_mixture: ArrayT, log_product: ArrayT, q: ArrayT) -> tuple[ArrayT, ArrayT]:
    """Return log b (B, n) and the share (B, n) of the product in it.

    Args:
        log_mixture: log c (B, n).
        log_product: log p (B, n).
        q: (B, 1).
    """
    xp = library(log_mixture)
    greater = xp.maximum(log_mixture, xp.where(q > 0, log_product, -math.inf))
    product_part = q * xp.exp(xp.minimum(log_product - greater, 0 * greater))
    total = (1 - q) * xp.exp(log_mixture - greater) + product_part
    return greater + xp.log(total), product_part / total


def halves(points: ArrayT, weights: ArrayT, size: ArrayT) -> tuple[ArrayT, ArrayT]:
    """Return two halves (B, n, D) of contexts in their frames, of points of weight 1.

    Args:
        points: (B, N, D).
        weights: (B, N), not negative, of sum 1.
        size: (B,) effective sizes; the least of them decides n.
    """
    count = min(HALF, int(float(size.min()) * (1 + TIE) / 2))
    picked = evenly_spaced((points * points).sum(-1), weights, 2 * count)
    return take_rows(points, picked[:, ::2]), take_rows(points, picked[:, 1::2])


def share_of_product(log_mixture: ArrayT, log_product: ArrayT) -> ArrayT:
    """Return the share q (B,) of the product.

    Args:
        log_mixture: log-densities (B, n) at points that the densities were not made from.
        log_product: (B, n).
    """
    xp = library(log_mixture)
    gain = (log_product - log_mixture).sum(-1)
    share = 1 / (1 + xp.exp(xp.clip((DOUBT - gain) / TEMPERATURE, -50, 50)))
    return xp.where(share > LEAST_SHARE, xp.clip(share, None, 1 - LEAST_SHARE), 0 * share)
