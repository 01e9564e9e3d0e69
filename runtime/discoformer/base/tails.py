r"""Tails: the base continues the answers of the heads beyond the outermost context point.

Let ``T`` and ``S`` be the log-density and the score of the heads, ``b`` the base, ``R`` the greatest radius
``|z|`` of a context point, and ``z = x p`` with ``|p| = R``. For ``x > 1`` the answers are::

    T(z) = T(p) + h(log b(z) - log b(p))                       h(d)  = d + (c - 1) tanh d
    S(z) = h' grad log b(z) + [S(p) - h' grad log b(p)] / x    h'(d) = 1 + (c - 1) / cosh(d)^2

with ``[.]`` the part perpendicular to the ray, and ``c`` the ratio of the parts of ``S(p)`` and
``grad log b(p)`` along it, within 0 and ``STEEPEST``. So the slope of the heads gives way to that of the base
while the base falls by a nat or two.

- Along every ray, ``h`` rises with ``log b``. So the log-density falls wherever the base falls.
- The part of the score along the ray is the derivative of the log-density. The other part is exact as far as
  the score of the heads is the gradient of their log-density at ``p``.
- The log-density is continuous at ``x = 1``, and so is the score, unless ``c`` is cut off. At 0 it is if the
  score of the heads points outward.
- Far out, the slope is that of the base: a Gaussian, or a power law, as the sample says.

Shapes: n points, D dimensions. Frame coordinates, float64.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.base.arrays import slices, with_axes_of
from discoformer.base.base import Base, blend
from discoformer.base.independent import evaluate_product
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer.io.inputs import Floats

Answer: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]
"""A function from points (n, D) to log-densities (n,) in nats and scores (n, D)."""

STEEPEST = 10.0  # greatest ratio of the slopes at the edge
_BLOCK = 2**17  # most elements of an array over points, coordinates and their components
ROUNDING = 1e-6  # relative; points of the context are within the radius in float32


def radius_of(context: npt.NDArray[np.floating]) -> float:
    """Return the radius R within which the heads answer, given the context points (n, D) that they read."""
    return (1 + ROUNDING) * float(np.linalg.norm(context.astype(float), axis=1).max())


def stretch_of(points: Floats, radius: float) -> Floats:
    """Return the factor x (n,) by which points (n, D) lie beyond the radius; 1 within it."""
    return np.maximum(np.linalg.norm(points, axis=1) / radius, 1)


def answer_base(base: Base[Floats], mixture: MixtureAnswers, points: Floats) -> tuple[Floats, Floats]:
    """Return log b (n,) and its gradient (n, D) at points (n, D).

    Args:
        base: of one data set.
        mixture: the answers of its components.
        points: (n, D).
    """
    log_density, score = mixture.answer(points)
    q = base.product_share[:, None]
    if q > 0:
        for part in slices(len(points), max(16, _BLOCK // base.product.means.size)):
            product = evaluate_product(base.product, points[None, part])
            log_base, share = blend(log_density[None, part], product.log_density, q)
            log_density[part] = log_base[0]
            score[part] += share[0, :, None] * (product.score[0] - score[part])
    return log_density, score


def with_tails(heads: Answer, base: Answer, radius: float, points: Floats) -> tuple[Floats, Floats]:
    """Return log-density (n,) and score (n, D) at points (n, D): of the heads, with tails of the base."""
    stretch = stretch_of(points, radius)
    edge = points / stretch[:, None]
    log_density, score = heads(edge)
    far = stretch > 1
    if far.any():
        log_density[far], score[far] = continued(base, edge[far], stretch[far], log_density[far], score[far])
    return log_density, score


def continued(
    base: Answer, edge: Floats, stretch: Floats, log_density: Floats, score: Floats
) -> tuple[Floats, Floats]:
    """Return log-density (n,) and score (n, D) at points beyond the radius.

    Args:
        base: the base.
        edge: p (n, D).
        stretch: x (n,).
        log_density: T(p) (n,).
        score: S(p) (n, D).
    """
    (log_base, base_score), (log_edge, edge_score) = base(edge * stretch[:, None]), base(edge)
    along, base_along = ((values * edge).sum(1) for values in (score, edge_score))
    ratio = np.divide(along, base_along, out=np.ones(len(edge)), where=base_along != 0)
    excess = np.clip(ratio, 0, STEEPEST) - 1  # c - 1
    rise = log_base - log_edge
    bend = np.tanh(rise)
    slope = (1 + excess * (1 - bend**2))[:, None]  # h'
    log_density = log_density + rise + excess * bend
    return log_density, slope * base_score + across(score - slope * edge_score, edge) / stretch[:, None]


def across(vectors: Floats, edge: Floats) -> Floats:
    """Return the parts of vectors (n, D, ...) perpendicular to the rays through p (n, D)."""
    rays = with_axes_of(edge / np.linalg.norm(edge, axis=1, keepdims=True), vectors)
    return vectors - (vectors * rays).sum(1, keepdims=True) * rays
