r"""Local scatter: rounds of linear maps that make the neighbourhoods of points round.

In each round, with ``z`` the current coordinates, ``w`` the weights and ``n`` the effective size::

    h_i^2 = smallest squared distance around z_i that holds the weight fraction (max(10, n / 50) + 1) / n
    p_ij  = w_i w_j max(0, 1 - |z_i - z_j|^2 / h_i^2)                                   i: the centres
    S     = sum_ij p_ij (z_i - z_j)(z_i - z_j)^T,   normalised to trace D
    z    <- z L^-T   with   L L^T = S + GUARD tr(C^-1 S) / D C,   C the total covariance

The centres are all points or, of many, some that are evenly spaced in the weighted ranks of the radius. Those
have equal weights. Where ``n < 4 D``, ``S`` is first shrunk toward the identity by ``(1 - (n / 4 D)^2)^2``.

The functions take NumPy arrays and PyTorch tensors, in float64.
Shapes: B data sets, N points, n of them in use, m in a block, D dimensions.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Generic, NamedTuple

from discoformer.base.arrays import (
    ArrayT,
    FieldT,
    Indices,
    choose,
    identity_like,
    inverse_factor,
    kth_smallest,
    library,
    select,
    slices,
    take_rows,
    trace,
)
from discoformer.base.landmarks import ROUNDING, evenly_spaced, too_many

BLOCK = 128  # number of points whose distances to all are in memory at a time
GUARD = 3e-3  # share of the total covariance in each local scatter; bounds its condition on lattices
COINCIDENT = 1e-14  # relative squared distance below which two points coincide
EDGE = 1e-9  # smaller pair weights are rounding errors of points at the very edge of a neighbourhood
TINY = 1e-200  # less than every positive squared distance
SHARE_ROUNDING = 1e-6  # of a share of the weight: in float32, too, ties are ties
LEAST_RADIUS = 1e-12  # least squared radius of a neighbourhood in the log-volume


def most_used(dim: int) -> tuple[int, int]:
    """Return how many points of D dimensions the rounds use at most, and how many of them as centres."""
    return max(1024, 16 * dim), max(256, 8 * dim)


class Draft(NamedTuple, Generic[FieldT]):
    """Frames before their scale is set: ``z = u @ linear``."""

    linear: FieldT  # (B, D, D)
    covariance: FieldT  # (B, D, D) total covariance in z


class Sample(NamedTuple, Generic[FieldT]):
    """The standardised points that the rounds use, and the centres and size of their neighbourhoods."""

    points: FieldT  # (B, n, D) u
    weights: FieldT  # (B, n)
    centres: Indices  # (B, c) the points whose neighbourhoods count
    centre_weights: FieldT  # (B, c)
    shrinkage: FieldT  # (B,) weight of the identity in the scatters
    fraction: FieldT  # (B,) the weight that a neighbourhood holds
    rank: int | None  # rank of its farthest point, if all weights and all sizes are equal


def sample_of(u: ArrayT, w: ArrayT, size: ArrayT, white: ArrayT) -> Sample[ArrayT]:
    """Collect the points of the rounds: for long contexts, landmarks by the radius of the whitened points."""
    xp = library(u)
    radius = (white * white).sum(-1)
    most, most_centres = most_used(u.shape[-1])
    if too_many(w, size, most).any():
        picked = evenly_spaced(radius, w, most)
        u, radius = take_rows(u, picked), take_rows(radius, picked)
        w, size = xp.full_like(radius, 1 / most), xp.clip(size, None, most)
    if too_many(w, size, most_centres).any():
        centres = evenly_spaced(radius, w, most_centres)
        centre_weights = xp.full_like(take_rows(w, centres), 1 / most_centres)
    else:
        centres = xp.arange(u.shape[1], device=u.device) + xp.zeros((len(u), 1), dtype=int, device=u.device)
        centre_weights = w
    fraction = neighbourhood_fraction(size)
    equal = bool((w == w[:1, :1]).all()) and bool((size == size[:1]).all())
    rank = math.ceil((1 - SHARE_ROUNDING) * float(fraction[0]) * w.shape[1]) - 1 if equal else None
    return Sample(u, w, centres, centre_weights, shrinkage_of(size, u.shape[-1]), fraction, rank)


def tighten(sample: Sample[ArrayT], draft: Draft[ArrayT], rounds: int) -> Draft[ArrayT]:
    """Run rounds of local scatter."""
    xp, (linear, covariance) = library(draft.linear), draft
    for _ in range(rounds):
        scatter = _local_scatter(sample, linear)
        flat = ~(trace(scatter) > TINY)  # only duplicates are near each other, so the coordinates are kept
        if flat.all():
            break
        if flat.any():
            scatter = choose(flat, covariance, scatter)
        scatter = shrunk(scatter * (scatter.shape[-1] / trace(scatter))[:, None, None], sample.shrinkage)
        step = guarded_step(scatter, trace(xp.linalg.solve(covariance, scatter)), covariance)
        if flat.any():
            step = choose(flat, identity_like(step) + 0 * step, step)
        linear, covariance = linear @ step, step.mT @ covariance @ step
    return Draft(linear, covariance)


def guarded_step(scatter: ArrayT, overlap: ArrayT, covariance: ArrayT) -> ArrayT:
    """Return L^-T, (B, D, D), which makes the guarded scatters round; overlap (B,) is ``tr(C^-1 S)``."""
    share = GUARD * overlap / scatter.shape[-1]
    return inverse_factor(scatter + share[:, None, None] * covariance)


def log_volume(sample: Sample[ArrayT], draft: Draft[ArrayT]) -> ArrayT:
    """Return the mean log-volume (B,) of neighbourhoods in the standardised data, up to a constant, nats."""
    z = sample.points @ draft.linear
    xp, dim = library(z), z.shape[-1]
    squared_radii = xp.concatenate([radii for *_, radii in _blocks(sample, z)], -1)
    mean_log = weighted_sum(sample.centre_weights, xp.log(xp.clip(squared_radii, LEAST_RADIUS, None)))
    return dim * mean_log / 2 - xp.linalg.slogdet(draft.linear)[1]


def _local_scatter(sample: Sample[ArrayT], linear: ArrayT) -> ArrayT:
    """Return the local scatter (B, D, D). As a sum over differences, it is positive semidefinite."""
    z = sample.points @ linear
    xp, (batch, n, dim) = library(z), z.shape
    points, weights = z.reshape(-1, dim), sample.weights.reshape(-1)
    starts = n * xp.arange(batch + 1, device=z.device)  # of the data sets, in points
    scatter = xp.zeros_like(linear)
    for block, distances, radii in _blocks(sample, z):
        centres, of_centres = sample.centres[:, block], sample.centre_weights[:, block].reshape(-1)
        row, column = xp.where(near_pairs(distances, radii).reshape(-1, n))
        first = starts[:-1, None] + 0 * centres
        i, j = (first + centres).reshape(-1)[row], first.reshape(-1)[row] + column
        near = 1 - distances.reshape(-1, n)[row, column] / radii.reshape(-1)[row]
        difference = select(points, i) - select(points, j)
        weighted = difference * (near * of_centres[row] * weights[j])[:, None]
        ends = xp.searchsorted(row, centres.shape[1] * xp.arange(batch + 1, device=z.device)).tolist()
        for k, (a, b) in enumerate(pairwise(ends)):
            scatter[k] += weighted[a:b].mT @ difference[a:b]
    return scatter


def _blocks(sample: Sample[ArrayT], z: ArrayT) -> Iterator[tuple[slice, ArrayT, ArrayT]]:
    """Yield blocks of m centres, with their squared distances to z (B, m, n) and squared radii (B, m)."""
    squares = (z * z).sum(-1)
    for block in slices(sample.centres.shape[1], BLOCK):
        centres = sample.centres[:, block]
        sums = take_rows(squares, centres)[..., None] + squares[:, None]
        distances = _squared_distances(sums, take_rows(z, centres) @ z.mT)
        yield block, distances, _squared_radii(sample, distances)


def _squared_distances(sums: ArrayT, products: ArrayT) -> ArrayT:
    """Return ``|a|^2 + |b|^2 - 2 a.b``, 0 where two points coincide up to rounding. Overwrites both."""
    products *= -2
    products += sums
    sums *= COINCIDENT
    products[products <= sums] = 0
    return products


def _squared_radii(sample: Sample[ArrayT], distances: ArrayT) -> ArrayT:
    """Return for each row of distances (B, m, n) the smallest one that holds a neighbourhood, (B, m)."""
    if sample.rank is None:
        radii = weighted_radii(distances, sample.weights, sample.fraction)
    else:
        radii = kth_smallest(distances, sample.rank)
    radii[radii < TINY] = TINY
    return radii


def near_pairs(distances: ArrayT, squared_radii: ArrayT) -> Indices:
    """Return which pairs (B, m, n) are nearer than the radii (B, m) and do not coincide."""
    return (distances < (1 - EDGE) * squared_radii[..., None]) & (distances > 0)


def neighbourhood_fraction(size: ArrayT) -> ArrayT:
    """Return the weight fraction (B,) that a neighbourhood holds."""
    xp = library(size)
    return xp.clip((xp.clip(size / 50, 10, None) + 1) / size, None, 1)


def weighted_radii(distances: ArrayT, w: ArrayT, fraction: ArrayT) -> ArrayT:
    """Return for each row of distances (B, m, n) the smallest that holds a fraction (B,) of the weights."""
    xp = library(distances)
    order = xp.argsort(distances, -1)
    sets = xp.arange(len(w), device=w.device)[:, None]
    rows = xp.arange(distances.shape[1], device=w.device)
    held = xp.cumsum(select(w.reshape(-1), order + w.shape[1] * sets[..., None]), -1)
    missing = held < (1 - SHARE_ROUNDING) * fraction[:, None, None]
    rank = xp.clip(missing.sum(-1), None, w.shape[1] - 1)  # (B, m)
    return distances[sets, rows, order[sets, rows, rank]]


def shrinkage_of(size: ArrayT, dim: int) -> ArrayT:
    """Return the weight (B,) of the identity in a scatter, 0 to 1; it is 0 from size = 4 D."""
    ratio = size / (4 * dim)
    shortage: ArrayT = library(size).clip(1 - ROUNDING - ratio * ratio, 0, None)
    return shortage * shortage


def shrunk(matrix: ArrayT, shrinkage: ArrayT) -> ArrayT:
    """Shrink matrices (B, D, D) toward the identity."""
    amount = shrinkage[:, None, None]
    return (1 - amount) * matrix + amount * identity_like(matrix)


def weighted_sum(w: ArrayT, values: ArrayT) -> ArrayT:
    """Return the sum (B,) of values (B, n) with weights (B, n)."""
    return (w[:, None] @ values[..., None])[:, 0, 0]
