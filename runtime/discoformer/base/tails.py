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

Arrays are those of NumPy, PyTorch, CuPy or JAX.
Shapes: n points, D dimensions. Frame coordinates, float64.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.base.arrays import ArrayT, in_slices, library, with_axes_of, with_values
from discoformer.base.base import Base, blend
from discoformer.base.independent import evaluate_product
from discoformer.base.mixture_answers import MixtureAnswers

Answer: TypeAlias = Callable[[ArrayT], tuple[ArrayT, ArrayT]]
"""A function from points (n, D) to log-densities (n,) in nats and scores (n, D)."""

STEEPEST = 10.0  # greatest ratio of the slopes at the edge
_BLOCK = 2**17  # most elements of an array over points, coordinates and their components
ROUNDING = 1e-6  # relative; points of the context are within the radius in float32


def radius_of(context: npt.NDArray[np.floating]) -> float:
    """Return the radius R within which the heads answer, given the context points (n, D) that they read."""
    return (1 + ROUNDING) * float(np.linalg.norm(context.astype(float), axis=1).max())


def stretch_of(points: ArrayT, radius: float) -> ArrayT:
    """Return the factor x (n,) by which points (n, D) lie beyond the radius; 1 within it."""
    xp = library(points)
    stretch: ArrayT = xp.clip(_lengths(points) / radius, 1, None)
    return stretch


def answer_base(base: Base[ArrayT], mixture: MixtureAnswers[ArrayT], points: ArrayT) -> tuple[ArrayT, ArrayT]:
    """Return log b (n,) and its gradient (n, D) at points (n, D).

    Args:
        base: of one data set.
        mixture: the answers of its components.
        points: (n, D).
    """
    q = base.product_share[:, None]

    def blended(part: ArrayT, log_mixture: ArrayT, slope: ArrayT) -> tuple[ArrayT, ArrayT]:
        product = evaluate_product(base.product, part[None])
        log_base, share = blend(log_mixture[None], product.log_density, q)
        return log_base[0], slope + share[0, :, None] * (product.score[0] - slope)

    found = mixture.answer(points)
    if not q > 0:
        return found
    return in_slices(blended, max(16, _BLOCK // math.prod(base.product.means.shape)), points, *found)


def with_tails(
    heads: Answer[ArrayT], base: Answer[ArrayT], radius: float, points: ArrayT
) -> tuple[ArrayT, ArrayT]:
    """Return log-density (n,) and score (n, D) at points (n, D): of the heads, with tails of the base."""
    stretch = stretch_of(points, radius)
    edge = points / stretch[:, None]
    log_density, score = heads(edge)
    far = stretch > 1
    if far.any():
        beyond = continued(base, edge[far], stretch[far], log_density[far], score[far])
        log_density, score = with_values(log_density, far, beyond[0]), with_values(score, far, beyond[1])
    return log_density, score


def continued(
    base: Answer[ArrayT], edge: ArrayT, stretch: ArrayT, log_density: ArrayT, score: ArrayT
) -> tuple[ArrayT, ArrayT]:
    """Return log-density (n,) and score (n, D) at points beyond the radius.

    Args:
        base: the base.
        edge: p (n, D).
        stretch: x (n,).
        log_density: T(p) (n,).
        score: S(p) (n, D).
    """
    xp = library(edge)
    (log_base, base_score), (log_edge, edge_score) = base(edge * stretch[:, None]), base(edge)
    along, base_along = ((values * edge).sum(1) for values in (score, edge_score))
    flat = base_along == 0
    ratio = xp.where(flat, 1 + 0 * along, along / xp.where(flat, 1 + 0 * along, base_along))
    excess = xp.clip(ratio, 0, STEEPEST) - 1  # c - 1
    rise = log_base - log_edge
    bend = xp.tanh(rise)
    slope = (1 + excess * (1 - bend**2))[:, None]  # h'
    log_density = log_density + rise + excess * bend
    return log_density, slope * base_score + across(score - slope * edge_score, edge) / stretch[:, None]


def across(vectors: ArrayT, edge: ArrayT) -> ArrayT:
    """Return the parts of vectors (n, D, ...) perpendicular to the rays through p (n, D)."""
    rays = with_axes_of(edge / _lengths(edge)[:, None], vectors)
    return vectors - (vectors * rays).sum(1)[:, None] * rays


def _lengths(vectors: ArrayT) -> ArrayT:
    """Return the lengths (n,) of vectors (n, D)."""
    lengths: ArrayT = library(vectors).linalg.norm(vectors, None, 1)
    return lengths
