r"""The product: a mixture of independent coordinates.

Each coordinate along the independent axes of the context (see ``ica``) has a mixture of its own. It is fitted
in the same way as the components (see ``mixture_fit``)::

    p(z) = |det A| prod_d c_d(u_d),    u = z A

In a long context, the coordinate is fitted to the means of its points in BINS bins, which are finer toward
the ends. There is no product if the effective size is below 4 D, since the covariance is then uncertain.

The fit is NumPy. The functions that training and export share take PyTorch tensors too.
Shapes: B data sets, N points, D dimensions, J components of each coordinate. Float64.
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
from discoformer.deprecation import warn_renamed
from discoformer.io.inputs import Floats

MOST = 14  # greatest number of initial components of a coordinate
BINS = 256  # number of bins of the points of a coordinate
SUBSET = 2048  # greatest number of points that the axes are found from


class IndependentMixture(NamedTuple, Generic[FieldT]):
    """A mixture of independent coordinates, in frame coordinates."""

    axes: FieldT  # (B, D, D) A
    log_scale: FieldT  # (B, D, J) includes the log-weights, and log|det A| / D
    means: FieldT  # (B, D, J)
    precision_factors: FieldT  # (B, D, J)
    freedom: FieldT  # (B, D, J)

    @property
    def factors(self) -> FieldT:
        """Deprecated: use ``precision_factors``."""
        warn_renamed("IndependentMixture.factors", "IndependentMixture.precision_factors")
        return self.precision_factors


class FoundProduct(NamedTuple, Generic[FieldT]):
    """A product, and its ELBO."""

    product: IndependentMixture[FieldT]
    elbo: FieldT  # (B,) nats, without a penalty for the choice of axes


class EvaluatedProduct(NamedTuple, Generic[FieldT]):
    """A product at n points, in frame coordinates."""

    log_density: FieldT  # (B, n) log p, nats
    score: FieldT  # (B, n, D) its gradient


def fit_product(
    points: Floats, weights: Floats, size: Floats, precision_root: Floats, log_det_precision: Floats
) -> FoundProduct[Floats]:
    """Fit the product of contexts in their frames.

    Args:
        points: (B, N, D), float64.
        weights: (B, N), not negative, of sum 1.
        size: (B,) effective sizes.
        precision_root: (B, D, D) symmetric root of the inverse covariance, which whitens the points.
        log_det_precision: (B,) log-determinant of the inverse covariance.
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
    """Return the effective sizes (B,) that the coordinates are fitted with."""
    return library(size).clip(size, None, MOST_COUNTED)


def product_of(
    found: Found[ArrayT], axes: ArrayT, size: ArrayT, log_det_precision: ArrayT
) -> FoundProduct[ArrayT]:
    """Collect the product along axes (B, D, D) from the mixtures of its coordinates, B D data sets."""
    batch, _, dim = axes.shape
    log_scale, centers, factors, freedom = (field.reshape(batch, dim, -1) for field in found.components)
    log_det = 0.5 * log_det_precision
    elbo = size / counted(size) * found.elbo.reshape(batch, dim).sum(-1) + size * log_det
    product = IndependentMixture(axes, log_scale + log_det[:, None, None] / dim, centers, factors, freedom)
    return FoundProduct(product, elbo)


def enough(dim: int) -> int:
    """Return the least effective size for a product; below it, the covariance is uncertain."""
    return 4 * dim


def evaluate_product(product: IndependentMixture[ArrayT], points: ArrayT) -> EvaluatedProduct[ArrayT]:
    """Evaluate the product at points (B, n, D)."""
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
    """Return coordinates and weights (B, D, n) from u (B, D, N) and (B, N). Many points are binned."""
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
    """Append zeros to x (B, D, n), up to a width."""
    shape = (*x.shape[:2], width - x.shape[2])
    return np.concatenate([x, np.zeros(shape, dtype=x.dtype)], -1)


def no_product(precision_root: Floats) -> FoundProduct[Floats]:
    """Return a placeholder for a product, with an ELBO of minus infinity."""
    one = np.ones_like(precision_root[..., :1])  # (B, D, 1)
    return FoundProduct(
        IndependentMixture(precision_root, 0 * one, 0 * one, one, one), 0 * one[:, 0, 0] - math.inf
    )


def in_quantiles(points: Floats, counts: Floats) -> Floats:
    """Return initial responsibilities (B, K, N) of points (B, N, 1): parts between quantiles.

    The mass of a point at an edge is divided between both parts.
    """
    size = counts.sum(-1)
    allowed = parts_allowed(size)
    order = np.argsort(points[..., 0], stable=True)
    held = in_parts(take_rows(counts / size[:, None], order), allowed, int(allowed.max()))
    back = np.argsort(order, stable=True)
    return take_rows(held.mT, back).mT


def parts_allowed(size: ArrayT) -> ArrayT:
    """Return the initial number of parts (B,) of a coordinate, as floats."""
    xp = library(size)
    return xp.clip(xp.floor(most_components(size, 1)), None, MOST)


def in_parts(share: ArrayT, allowed: ArrayT, most: int) -> ArrayT:
    """Return responsibilities (B, K, N) of sorted points with shares (B, N), in allowed (B,) parts."""
    xp = library(share)
    allowed = allowed[:, None]
    part = index_range(most + 1, share) + 0 * allowed
    edges = edge(xp.minimum(part, allowed) / allowed)  # (B, K + 1)
    after = xp.cumsum(share, 1)
    below = xp.clip(edges[..., None], (after - share)[:, None], after[:, None])  # (B, K + 1, N)
    return (below[:, 1:] - below[:, :-1]) / or_one(share)[:, None]


def edge(rank: ArrayT) -> ArrayT:
    """Return the mass below an edge of rank 0 to 1. Edges are closer together toward the ends."""
    return 0.5 + 0.5 * library(rank).sin(math.pi * rank - 0.5 * math.pi)


def edges_like(u: ArrayT) -> ArrayT:
    """Return the masses (BINS + 1,) below the edges of the bins."""
    return edge(index_range(BINS + 1, u) / BINS)


def binned(u: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the means and the shares (B, D, BINS) of bins, of coordinates u and weights (B, D, N).

    The mass of a point at an edge is divided between both bins.
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
    """Return the moment below each edge (k,), given mass, moment and value (..., k) of the point at it."""
    return moment - (mass - edges) * values


def between(edges: ArrayT, moments: ArrayT) -> tuple[ArrayT, ArrayT]:
    """Return means and shares (..., k - 1) of bins between edges (k,), given the moments (..., k) below."""
    xp = library(moments)
    within = xp.diff(moments)
    shares = xp.diff(edges) + 0 * within
    return within / shares, shares
