r"""The product: a density of independent coordinates, beside the components of a context.

Along the independent axes of the context (see ``axes``) each coordinate has a mixture of its own, found as
the components are::

    p(z) = |det A| prod_d c_d(u_d),    u = z A

Of a long context a coordinate is fitted to the means of its points in so many bins, finer toward the ends.
Where the effective size is below 4 D there is no product, for the covariance itself is in doubt.

The same code runs on NumPy arrays and, in training and export, on PyTorch tensors.
Shapes: B data sets, N points, D dimensions, J components of a coordinate. Float64.
"""

import math
from typing import Generic, NamedTuple

import numpy as np

from discoformer.base.arrays import (
    ArrayT,
    FieldT,
    choose,
    identity_like,
    index_range,
    library,
    or_one,
    take_rows,
)
from discoformer.base.ica import independent_axes
from discoformer.base.landmarks import take_landmarks
from discoformer.base.mixture_fit import SUBSET as MOST_COUNTED
from discoformer.base.mixture_fit import Found, fit_components, most_components
from discoformer.io.inputs import Floats

MOST = 14  # components of a coordinate to begin with
BINS = 256  # of the points of a coordinate
SUBSET = 2048  # points that the axes are sought with, where there are more


class IndependentMixture(NamedTuple, Generic[FieldT]):
    """The product of a context, in frame coordinates."""

    axes: FieldT  # (B, D, D) A
    log_scale: FieldT  # (B, D, J) with the weights, and 1 / D of log|det A|, included
    means: FieldT  # (B, D, J)
    precision_factors: FieldT  # (B, D, J)
    freedom: FieldT  # (B, D, J)


class FoundProduct(NamedTuple, Generic[FieldT]):
    """A product, and how likely it makes the points."""

    product: IndependentMixture[FieldT]
    elbo: FieldT  # (B,) nats, that its axes were chosen not counted


class EvaluatedProduct(NamedTuple, Generic[FieldT]):
    """A product at n points, in frame coordinates."""

    log_density: FieldT  # (B, n) log p, nats
    score: FieldT  # (B, n, D) its gradient


def fit_product(
    points: Floats, weights: Floats, size: Floats, precision_root: Floats, log_det_precision: Floats
) -> FoundProduct[Floats]:
    """Fits the product of contexts in their frames.

    Args:
        points: (B, N, D), float64.
        weights: (B, N), not negative, of sum 1.
        size: (B,) effective sizes.
        precision_root: (B, D, D) what makes the points white, and
        log_det_precision: (B,) twice the logarithm of its determinant.
    """
    batch, _, dim = points.shape
    if not (size >= enough(dim)).any():
        return no_product(precision_root)
    few, counts = take_landmarks(points, weights, size, SUBSET)
    few_size = counts.sum(-1)
    turned = independent_axes(few @ precision_root, counts / few_size[:, None], few_size)
    upright = identity_like(turned) + 0 * turned
    axes = precision_root @ choose(size >= enough(dim), turned, upright)
    u, shares = _few_of((points @ axes).mT, weights, size)  # (B, D, n)
    sizes = (counted(size)[:, None] + 0 * axes[:, 0]).reshape(-1)
    rows = (batch * dim, u.shape[2])
    found = fit_components(u.reshape(*rows, 1), shares.reshape(rows), sizes, in_quantiles)
    return product_of(found, axes, size, log_det_precision)


def counted(size: ArrayT) -> ArrayT:
    """The effective sizes (B,) that the coordinates are fitted with."""
    return library(size).clip(size, None, MOST_COUNTED)


def product_of(
    found: Found[ArrayT], axes: ArrayT, size: ArrayT, log_det_precision: ArrayT
) -> FoundProduct[ArrayT]:
    """The product of coordinates along axes (B, D, D), each found as a data set, B D of them."""
    batch, _, dim = axes.shape
    log_scale, centers, factors, freedom = (field.reshape(batch, dim, -1) for field in found.components)
    log_det = 0.5 * log_det_precision
    elbo = size / counted(size) * found.elbo.reshape(batch, dim).sum(-1) + size * log_det
    product = IndependentMixture(axes, log_scale + log_det[:, None, None] / dim, centers, factors, freedom)
    return FoundProduct(product, elbo)


def enough(dim: int) -> int:
    """The effective size from which on axes are sought: below, the covariance itself is in doubt."""
    return 4 * dim


def evaluate_product(product: IndependentMixture[ArrayT], points: ArrayT) -> EvaluatedProduct[ArrayT]:
    """Evaluates the product at points (B, n, D)."""
    xp = library(points)
    log_scale, means, factors, freedom = (field[:, None] for field in product[1:])
    offset = factors * ((points @ product.axes)[..., None] - means)  # (B, n, D, J)
    square = offset * offset
    joint = log_scale - 0.5 * (freedom + 1) * xp.log1p(square / freedom)
    greatest = xp.amax(joint, -1)[..., None]
    share = xp.exp(joint - greatest)
    total = share.sum(-1)[..., None]
    slope = -(share / total * (freedom + 1) / (freedom + square) * offset * factors).sum(-1)
    log_density = (greatest + xp.log(total))[..., 0].sum(-1)
    return EvaluatedProduct(log_density, slope @ product.axes.mT)


def _few_of(u: Floats, weights: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Coordinates u (B, D, N) and weights (B, N), each (B, D, n): where the points are many, their bins."""
    weights = weights[:, None] + 0 * u
    many = size > BINS
    if not many.any():
        return u, weights
    bins = binned(u, weights)
    if many.all():
        return bins
    width = max(u.shape[2], BINS)
    padded = zip((_padded(x, width) for x in bins), (_padded(x, width) for x in (u, weights)), strict=True)
    found, found_weights = (choose(many, few, all_) for few, all_ in padded)
    return found, found_weights


def _padded(x: Floats, width: int) -> Floats:
    """Zeros after the end of x (B, D, n)."""
    shape = (*x.shape[:2], width - x.shape[2])
    return np.concatenate([x, np.zeros(shape, dtype=x.dtype)], -1)


def no_product(precision_root: Floats) -> FoundProduct[Floats]:
    """A placeholder where there is no product; its ELBO is minus infinity."""
    one = np.ones_like(precision_root[..., :1])  # (B, D, 1)
    return FoundProduct(
        IndependentMixture(precision_root, 0 * one, 0 * one, one, one), 0 * one[:, 0, 0] - math.inf
    )


def in_quantiles(points: Floats, counts: Floats) -> Floats:
    """Responsibilities (B, K, N) of points (B, N, 1) to begin with: of parts between quantiles.

    A point at an edge is in both parts, as is its mass.
    """
    size = counts.sum(-1)
    allowed = parts_allowed(size)
    order = np.argsort(points[..., 0], stable=True)
    held = in_parts(take_rows(counts / size[:, None], order), allowed, int(allowed.max()))
    back = np.argsort(order, stable=True)
    return take_rows(held.mT, back).mT


def parts_allowed(size: ArrayT) -> ArrayT:
    """How many parts (B,) the points of a coordinate begin in, as floats."""
    xp = library(size)
    return xp.clip(xp.floor(most_components(size, 1)), None, MOST)


def in_parts(share: ArrayT, allowed: ArrayT, most: int) -> ArrayT:
    """Responsibilities (B, K, N) of points in order, of shares (B, N), for so many parts (B,), K at most."""
    xp = library(share)
    allowed = allowed[:, None]
    part = index_range(most + 1, share) + 0 * allowed
    edges = edge(xp.minimum(part, allowed) / allowed)  # (B, K + 1)
    after = xp.cumsum(share, 1)
    below = xp.clip(edges[..., None], (after - share)[:, None], after[:, None])  # (B, K + 1, N)
    return (below[:, 1:] - below[:, :-1]) / or_one(share)[:, None]


def edge(rank: ArrayT) -> ArrayT:
    """The mass below an edge, of rank 0 to 1: edges lie closer together toward the ends."""
    return 0.5 + 0.5 * library(rank).sin(math.pi * rank - 0.5 * math.pi)


def edges_like(u: ArrayT) -> ArrayT:
    """The masses (BINS + 1,) below the edges of the bins."""
    return edge(index_range(BINS + 1, u) / BINS)


def binned(u: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The means (B, D, BINS) of coordinates u (B, D, N), weights likewise, in bins, and the bins' shares.

    A point at an edge is in both bins, by parts.
    """
    edges = edges_like(u)
    moments = []
    for coordinate in range(u.shape[1]):
        order = np.argsort(u[:, coordinate], stable=True)
        values, w = (take_rows(x[:, coordinate], order) for x in (u, weights))
        mass, moment = np.cumsum(w, 1), np.cumsum(w * values, 1)
        last = np.stack([np.searchsorted(row, edges) for row in mass])
        last = np.clip(last, 0, values.shape[1] - 1)
        moments.append(moment_below(edges, *(take_rows(x, last) for x in (mass, moment, values))))
    return between(edges, np.stack(moments, 1))


def moment_below(edges: ArrayT, mass: ArrayT, moment: ArrayT, values: ArrayT) -> ArrayT:
    """The moment below each edge (k,), from mass, moment and value (..., k) of the point that reaches it."""
    return moment - (mass - edges) * values


def between(edges: ArrayT, moments: ArrayT) -> tuple[ArrayT, ArrayT]:
    """Means and shares (..., k - 1) of the bins between edges (k,), from the moments (..., k) below these."""
    xp = library(moments)
    within = xp.diff(moments)
    shares = xp.diff(edges) + 0 * within
    return within / shares, shares
