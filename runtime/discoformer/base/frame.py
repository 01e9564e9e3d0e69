r"""The frame: an affine map, found from the context, in which the network sees every data set alike.

Symbols: context ``X (N, D)`` with weights ``w`` of sum 1, effective size ``n`` (Kish's ``1 / sum w^2`` unless
given), centre ``m``, linear map ``A``, standardised coordinates ``u``, frame coordinates ``z``::

    z = (x - m) A        log f(x) = log f_z(z) + log |det A|        s(x) = s_z(z) A^T        (rows)

The map is found by *local scatter*. The initialisation is the whitened or the standardised data. A few rounds
follow, which make the neighbourhoods round, whatever the arrangement of the clusters::

    h_i^2 = smallest squared distance around z_i that holds the weight fraction (max(10, n / 50) + 1) / n
    p_ij  = w_i w_j max(0, 1 - |z_i - z_j|^2 / h_i^2)
    S     = sum_ij p_ij (z_i - z_j)(z_i - z_j)^T,   normalised to trace D
    z    <- z L^-T   with   L L^T = S + 1e-4 tr(C^-1 S) / D C,   C the total covariance

Last, the median of ``|z|^2 / D`` is set to 1.

From the whitened data, each step commutes with affine maps, so ``z`` is unique up to a rotation. The network
is invariant to rotations. But whitening hides clusters in high dimension. So where ``D > 40`` the rounds are
also run from the standardised data, and the map with the tighter neighbourhoods is taken. Where ``n < 4 D``
the standardised data are used, and scatters are shrunk toward the identity by ``(1 - (n / 4 D)^2)^2``. From
standardised data, translation, scaling and permutation of columns are exact, but other affine maps are not.

Everything is float64. Each column is first divided by its own spread, so units may differ by any factor.
``fit_frame`` reads and checks one data set, in NumPy. ``fit_frames`` takes a batch of NumPy arrays or PyTorch
tensors. Shapes: B data sets, N points, D dimensions, n points in use, m of them at a time.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, NamedTuple

import numpy as np

from discoformer.base.arrays import (
    ArrayT,
    FieldT,
    Indices,
    choose,
    identity_like,
    inverse_factor,
    kth_smallest,
    library,
    or_one,
    select,
    slices,
    take_rows,
    trace,
)
from discoformer.base.landmarks import ROUNDING, evenly_spaced
from discoformer.deprecation import renamed_attribute
from discoformer.errors import DegenerateDataError
from discoformer.io.inputs import Floats, describe_column

WHITENED_ROUNDS, STANDARDISED_ROUNDS = 5, 2  # rounds of local scatter from each initialisation
SUBSET = 2048  # the rounds use at most this many points
BLOCK = 128  # distances from this many points are held at a time
TWO_STARTS_ABOVE = 40  # dimension above which the standardised data are tried as well
MARGIN = 0.5  # nats of log-volume by which their neighbourhoods must be tighter to be taken
GUARD = 1e-4  # share of the total covariance in each local scatter: bounds how flat lattices may make it
COINCIDENT = 1e-14  # relative squared distance below which two points coincide
EDGE = 1e-9  # smaller pair weights are rounding errors of points at the very edge of a neighbourhood
TINY = 1e-200  # below every squared distance that is not zero
LEAST_RADIUS = 1e-12  # squared radius of a neighbourhood, in the log-volume
LEAST_MEDIAN = 1e-12  # of |z|^2, relative to the mean; where it is smaller, the mean is used


@dataclass(frozen=True)
class AffineMap(Generic[ArrayT]):
    """The map ``z = (x - center) @ linear`` of one data set or, with a leading axis (B, ...), of many."""

    center: ArrayT  # (D,) weighted mean of the context, data units
    linear: ArrayT  # (D, D) the map A, 1 / data units

    def to_frame(self, points: ArrayT) -> ArrayT:
        """Map points (rows, D) from data units to frame coordinates."""
        return (points - self.center[..., None, :]) @ self.linear

    def to_data(self, points: ArrayT) -> ArrayT:
        """Map points (rows, D) from frame coordinates to data units."""
        solved: ArrayT = library(points).linalg.solve(self.linear.mT, points.mT).mT
        return solved + self.center[..., None, :]

    def score_to_data(self, score: ArrayT) -> ArrayT:
        """Map scores (rows, D) from frame coordinates to 1 / data units."""
        return score @ self.linear.mT

    def score_to_frame(self, score: ArrayT) -> ArrayT:
        """Map scores (rows, D) from 1 / data units to frame coordinates."""
        solved: ArrayT = library(score).linalg.solve(self.linear, score.mT).mT
        return solved


@dataclass(frozen=True)
class Frame(AffineMap[Floats]):
    """The frame of one data set: its affine map, and the second moments of the context in it."""

    log_abs_det: float  # log |det A|, nats
    precision_root: Floats  # (D, D) symmetric W, with W @ W the inverse total covariance in the frame
    log_det_precision: float  # log det (W @ W), nats
    effective_size: float  # n
    initialisation: str  # "whitened" or "standardised"
    shrinkage: float  # weight of the identity in the correlation matrix, 0 from n = 4 D

    seed = renamed_attribute("seed", "initialisation")

    def log_density_to_data(self, log_density: Floats) -> Floats:
        """Map log-densities from frame coordinates to data units (nats)."""
        return log_density + self.log_abs_det


@dataclass(frozen=True)
class Frames(AffineMap[ArrayT]):
    """The frames of B data sets. See ``Frame``."""

    log_abs_det: ArrayT  # (B,)
    precision_root: ArrayT  # (B, D, D)
    log_det_precision: ArrayT  # (B,)
    effective_size: ArrayT  # (B,)
    whitened: Indices  # (B,) bool: the initialisation was the whitened data
    shrinkage: ArrayT  # (B,)


class Standardised(NamedTuple, Generic[FieldT]):
    """Contexts with each column centred and divided by its spread."""

    center: FieldT  # (B, D) weighted means, data units
    spread: FieldT  # (B, D) weighted standard deviations, data units
    points: FieldT  # (B, N, D) u


class _Draft(NamedTuple, Generic[FieldT]):
    """Frames before their scale is set: ``z = u @ linear``."""

    linear: FieldT  # (B, D, D)
    covariance: FieldT  # (B, D, D) total covariance in z


def fit_frame(
    context: Floats,
    weights: Floats | None = None,
    effective_size: float | None = None,
    columns: Sequence[str] | None = None,
) -> Frame:
    """Find the frame of a context.

    Args:
        context: Points (N, D), finite, data units.
        weights: Row weights (N,), not negative, of any scale; rows of weight 0 count as absent.
        effective_size: How many independent points the context is worth; by default Kish's
            ``(sum w)^2 / sum w^2``.
        columns: Names of the columns, for error messages.

    Raises:
        DegenerateDataError: A single point, a constant column, or columns that are linearly dependent.
    """
    points, w = present_rows(context, weights)
    if len(points) < 2:
        raise DegenerateDataError(f"X must have 2 rows of positive weight or more, got {len(points)}")
    size = float(1 / np.sum(w**2)) if effective_size is None else effective_size
    standard = standardised(points[None], w[None])
    _check_constant(points, standard.center[0], columns)
    correlation = correlation_of(standard.points, w[None])
    if len(points) > points.shape[1]:
        _check_collinearity(correlation[0], columns)
    frames = _frames_of(standard, w[None], np.array([size], np.float64), correlation)
    return Frame(
        center=frames.center[0],
        linear=frames.linear[0],
        log_abs_det=float(frames.log_abs_det[0]),
        precision_root=frames.precision_root[0],
        log_det_precision=float(frames.log_det_precision[0]),
        effective_size=size,
        initialisation="whitened" if frames.whitened[0] else "standardised",
        shrinkage=float(frames.shrinkage[0]),
    )


def fit_frames(
    context: ArrayT, weights: ArrayT | None = None, effective_size: ArrayT | None = None
) -> Frames[ArrayT]:
    """Find the frames of a batch of contexts, without checks.

    Args:
        context: Points (B, N, D), float64, data units, without constant or collinear columns.
        weights: (B, N), positive, of sum 1; equal by default.
        effective_size: (B,); by default Kish's ``1 / sum w^2``.
    """
    xp = library(context)
    w: ArrayT = xp.full_like(context[..., 0], 1 / context.shape[1]) if weights is None else weights
    size: ArrayT = 1 / (w * w).sum(-1) if effective_size is None else effective_size
    standard = standardised(context, w)
    return _frames_of(standard, w, size, correlation_of(standard.points, w))


def present_rows(context: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return the rows of positive weight (n, D), sorted, and their weights (n,) scaled to sum 1.

    They are sorted so that the order of the rows cannot matter, neither by rounding nor by ties.
    """
    if weights is None:
        weights = np.ones(len(context))
    order = np.lexsort((weights, *context.T[::-1]))
    order = order[weights[order] > 0]
    w = weights[order] / weights.max(initial=0)
    return context[order], w / w.sum()


def standardised(points: ArrayT, w: ArrayT) -> Standardised[ArrayT]:
    """Standardise contexts (B, N, D) of weights (B, N), whatever the offset and scale of their columns.

    A constant column has spread 0, and is not finite.
    """
    xp = library(points)
    anchor = 0.5 * xp.amin(points, 1) + 0.5 * xp.amax(points, 1)
    center = anchor + (w[:, None] @ (points - anchor[:, None]))[:, 0]
    offset = points - center[:, None]
    reach = xp.amax(abs(offset), 1)
    relative = offset / or_one(reach)[:, None]
    spread = reach * xp.sqrt((w[:, None] @ (relative * relative))[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        return Standardised(center, spread, offset / spread[:, None])


def _check_constant(points: Floats, center: Floats, columns: Sequence[str] | None) -> None:
    reach, greatest = np.abs(points - center).max(axis=0), np.abs(points).max(axis=0)
    constant = reach <= 8 * np.finfo(np.float64).eps * greatest
    if constant.any():
        names = ", ".join(describe_column(int(j), columns) for j in np.flatnonzero(constant))
        raise DegenerateDataError(f"X is constant in {names}, so it has no density: drop what is constant")


def correlation_of(u: ArrayT, w: ArrayT) -> ArrayT:
    """Return the weighted scatter (B, D, D) of standardised points (B, N, D) around 0."""
    return (u * w[..., None]).mT @ u


def _check_collinearity(correlation: Floats, columns: Sequence[str] | None) -> None:
    dim = len(correlation)
    values, vectors = np.linalg.eigh(correlation)
    if values[0] >= 1e-14 * dim:
        return
    share = np.abs(vectors[:, 0])
    involved = np.flatnonzero(share > 0.1 * share.max())
    names = ", ".join(describe_column(int(j), columns) for j in involved)
    raise DegenerateDataError(
        f"X has no density because some columns are linear combinations of others: {names} "
        f"(smallest eigenvalue of the correlation matrix {values[0]:.1e}); drop one of them"
    )


def _frames_of(
    standard: Standardised[ArrayT], w: ArrayT, size: ArrayT, correlation: ArrayT
) -> Frames[ArrayT]:
    center, spread, u = standard
    xp, dim = library(u), u.shape[-1]
    shrinkage = shrinkage_of(size, dim)
    draft, whitened = _best_draft(u, w, size, shrunk(correlation, shrinkage))
    scale = _unit_scale(u @ draft.linear, w)
    root, log_det = _precision_root((scale * scale)[:, None, None] * draft.covariance)
    return Frames(
        center=center,
        linear=scale[:, None, None] * draft.linear / spread[..., None],
        log_abs_det=xp.linalg.slogdet(draft.linear)[1] + dim * xp.log(scale) - xp.log(spread).sum(-1),
        precision_root=root,
        log_det_precision=log_det,
        effective_size=size,
        whitened=whitened,
        shrinkage=shrinkage,
    )


def shrinkage_of(size: ArrayT, dim: int) -> ArrayT:
    """Return the weight (B,) of the identity in a scatter, 0 to 1; it is 0 from size = 4 D."""
    ratio = size / (4 * dim)
    shortage: ArrayT = library(size).clip(1 - ROUNDING - ratio * ratio, 0, None)
    return shortage * shortage


def shrunk(matrix: ArrayT, shrinkage: ArrayT) -> ArrayT:
    """Shrink matrices (B, D, D) toward the identity."""
    amount = shrinkage[:, None, None]
    return (1 - amount) * matrix + amount * identity_like(matrix)


def _best_draft(u: ArrayT, w: ArrayT, size: ArrayT, correlation: ArrayT) -> tuple[_Draft[ArrayT], Indices]:
    """Find the frames before their scale, and whether each (B,) is from the whitened data."""
    dim = u.shape[-1]
    whitener, identity = inverse_factor(correlation), identity_like(correlation) + 0 * correlation
    sample = _sample_of(u, w, size, u @ whitener)
    start = _Draft(identity, correlation)
    short = sample.shrinkage > 0
    if short.all():
        return _tighten(sample, start, STANDARDISED_ROUNDS), ~short
    found = _tighten(sample, _Draft(whitener, identity), WHITENED_ROUNDS)
    if dim <= TWO_STARTS_ABOVE and not short.any():
        return found, ~short
    other = _tighten(sample, start, STANDARDISED_ROUNDS)
    if dim > TWO_STARTS_ABOVE:
        short = short | (_log_volume(sample, other) < _log_volume(sample, found) - MARGIN)
    return _Draft(*(choose(short, b, a) for a, b in zip(found, other, strict=True))), ~short


class _Sample(NamedTuple, Generic[FieldT]):
    """The standardised points that the rounds use, and what their neighbourhoods hold."""

    points: FieldT  # (B, n, D) u
    weights: FieldT  # (B, n)
    shrinkage: FieldT  # (B,) of the scatters
    fraction: FieldT  # (B,) the weight that a neighbourhood holds
    rank: int | None  # its points, less one, if weights and sizes are equal


def _sample_of(u: ArrayT, w: ArrayT, size: ArrayT, white: ArrayT) -> _Sample[ArrayT]:
    """Take landmarks of long contexts, by the radius of their whitened points (B, N, D)."""
    xp = library(u)
    if u.shape[1] > SUBSET:
        picked = evenly_spaced((white * white).sum(-1), w, SUBSET)
        u, w = take_rows(u, picked), xp.full_like(w[:, :SUBSET], 1 / SUBSET)
        size = xp.clip(size, None, SUBSET)
    fraction = neighbourhood_fraction(size)
    equal = bool((w == w[:1, :1]).all()) and bool((size == size[:1]).all())
    rank = math.ceil(float(fraction[0]) * w.shape[1] - 1e-9) - 1 if equal else None
    return _Sample(u, w, shrinkage_of(size, u.shape[-1]), fraction, rank)


def _blocks(sample: _Sample[ArrayT], z: ArrayT) -> Iterator[tuple[slice, ArrayT, ArrayT]]:
    """Yield blocks of points z (B, n, D), with squared distances (B, m, n) and squared radii (B, m)."""
    squares = (z * z).sum(-1)
    for block in slices(z.shape[1], BLOCK):
        distances = _squared_distances(squares[:, block, None] + squares[:, None], z[:, block] @ z.mT)
        yield block, distances, _squared_radii(sample, distances)


def _squared_radii(sample: _Sample[ArrayT], distances: ArrayT) -> ArrayT:
    """Return for each row of distances (B, m, n) the smallest one that holds a neighbourhood, (B, m)."""
    if sample.rank is None:
        radii = weighted_radii(distances, sample.weights, sample.fraction)
    else:
        radii = kth_smallest(distances, sample.rank)
    radii[radii < TINY] = TINY
    return radii


def _tighten(sample: _Sample[ArrayT], draft: _Draft[ArrayT], rounds: int) -> _Draft[ArrayT]:
    """Run rounds of local scatter."""
    xp, (linear, covariance) = library(draft.linear), draft
    for _ in range(rounds):
        scatter = _local_scatter(sample, linear)
        flat = ~(trace(scatter) > TINY)  # only duplicates are near each other: the coordinates are kept
        if flat.all():
            break
        if flat.any():
            scatter = choose(flat, covariance, scatter)
        scatter = shrunk(scatter * (scatter.shape[-1] / trace(scatter))[:, None, None], sample.shrinkage)
        step = guarded_step(scatter, trace(xp.linalg.solve(covariance, scatter)), covariance)
        if flat.any():
            step = choose(flat, identity_like(step) + 0 * step, step)
        linear, covariance = linear @ step, step.mT @ covariance @ step
    return _Draft(linear, covariance)


def guarded_step(scatter: ArrayT, overlap: ArrayT, covariance: ArrayT) -> ArrayT:
    """Return L^-T, (B, D, D), which makes the guarded scatters round; overlap (B,) is ``tr(C^-1 S)``."""
    share = GUARD * overlap / scatter.shape[-1]
    return inverse_factor(scatter + share[:, None, None] * covariance)


def _local_scatter(sample: _Sample[ArrayT], linear: ArrayT) -> ArrayT:
    """Sum the scatter (B, D, D) over near pairs, from differences: it stays positive semidefinite."""
    z = sample.points @ linear
    xp, (batch, n, dim) = library(z), z.shape
    points, weights = z.reshape(-1, dim), sample.weights.reshape(-1)
    places = xp.arange(batch * n, device=z.device).reshape(batch, n)  # in points
    starts = n * xp.arange(batch + 1, device=z.device)
    scatter = xp.zeros_like(linear)
    for block, distances, radii in _blocks(sample, z):
        row, column = xp.where(near_pairs(distances, radii).reshape(-1, n))
        own = places[:, block]
        i, j = own.reshape(-1)[row], (places[:, :1] + 0 * own).reshape(-1)[row] + column
        near = 1 - distances.reshape(-1, n)[row, column] / radii.reshape(-1)[row]
        difference = select(points, i) - select(points, j)
        weighted = difference * (near * weights[i] * weights[j])[:, None]
        ends = xp.searchsorted(i, starts).tolist()  # the pairs of a data set are consecutive
        for k, (a, b) in enumerate(pairwise(ends)):
            scatter[k] += weighted[a:b].mT @ difference[a:b]
    return scatter


def _squared_distances(sums: ArrayT, products: ArrayT) -> ArrayT:
    """Return ``|a|^2 + |b|^2 - 2 a.b``, 0 where two points coincide up to rounding. Overwrites both."""
    products *= -2
    products += sums
    sums *= COINCIDENT
    products[products <= sums] = 0
    return products


def near_pairs(distances: ArrayT, squared_radii: ArrayT) -> Indices:
    """Say which pairs (B, m, n) are nearer than the radii (B, m); pairs that coincide are not."""
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
    missing = held < (fraction - ROUNDING)[:, None, None]
    rank = xp.clip(missing.sum(-1), None, w.shape[1] - 1)  # (B, m)
    return distances[sets, rows, order[sets, rows, rank]]


def _log_volume(sample: _Sample[ArrayT], draft: _Draft[ArrayT]) -> ArrayT:
    """Return the mean log-volume (B,) of neighbourhoods in the standardised data, up to a constant, nats."""
    z = sample.points @ draft.linear
    xp, dim = library(z), z.shape[-1]
    squared_radii = xp.concatenate([radii for *_, radii in _blocks(sample, z)], -1)
    mean_log = _weighted_sum(sample.weights, xp.log(xp.clip(squared_radii, LEAST_RADIUS, None)))
    return dim * mean_log / 2 - xp.linalg.slogdet(draft.linear)[1]


def _unit_scale(z: ArrayT, w: ArrayT) -> ArrayT:
    """Return the factor (B,) that makes the weighted median of ``|z|^2 / D`` 1."""
    xp, squares = library(z), (z * z).mean(-1)
    order = xp.argsort(squares, -1)
    rank = (xp.cumsum(take_rows(w, order), -1) < 0.5 - ROUNDING).sum(-1)
    median = take_rows(squares, take_rows(order, rank[:, None]))[:, 0]
    return inverse_radius(median, _weighted_sum(w, squares))


def inverse_radius(median: ArrayT, mean: ArrayT) -> ArrayT:
    """Return the factor (B,) for a median squared radius; where it vanishes, for the mean one."""
    xp = library(mean)
    return 1 / xp.sqrt(xp.where(median > LEAST_MEDIAN * mean, median, mean))


def _precision_root(covariance: ArrayT) -> tuple[ArrayT, ArrayT]:
    """Return the symmetric inverse root (B, D, D) of a covariance, and the log-determinant of its inverse."""
    xp = library(covariance)
    values, vectors = xp.linalg.eigh(covariance)
    return vectors / xp.sqrt(values)[:, None] @ vectors.mT, -xp.log(values).sum(-1)


def _weighted_sum(w: ArrayT, values: ArrayT) -> ArrayT:
    return (w[:, None] @ values[..., None])[:, 0, 0]
