r"""The frame: affine coordinates of a context, in which all data sets look alike to the network.

Symbols: context ``X (N, D)`` with weights ``w`` of sum 1, effective size ``n`` (Kish's ``1 / sum w^2`` unless
given), centre ``m``, linear map ``A``, standardised coordinates ``u``, frame coordinates ``z``::

    z = (x - m) A        log f(x) = log f_z(z) + log |det A|        s(x) = s_z(z) A^T        (rows)

The map starts from the whitened or the standardised data. A few rounds of *local scatter* follow, which make
the neighbourhoods round, whatever the arrangement of the clusters (see ``local_scatter``).
Last, the median of ``|z|^2 / D`` is set to 1.

From the whitened data, each step commutes with affine maps, so ``z`` is unique up to a rotation. The network
is invariant to rotations, up to the rounding of float32. So ``fit_frame`` also turns ``z`` to its principal
axes: whatever map was applied to the data, the network reads the same numbers.

Whitening hides clusters in high dimension. So where ``D > 40`` the rounds are also run from the standardised
data, and the map with the tighter neighbourhoods is taken. Where ``n < 4 D`` the standardised data are used,
and scatters are shrunk toward the identity by ``(1 - (n / 4 D)^2)^2``. From standardised data, translation,
scaling and permutation of columns are exact, but other affine maps are not.

Everything is float64. Each column is first divided by its own spread, so units may differ by any factor.
``fit_frame`` reads and checks one data set, in NumPy. ``fit_frames`` takes a batch of NumPy arrays or PyTorch
tensors. Shapes: B data sets, N points, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

import numpy as np

from discoformer.base.arrays import (
    ArrayT,
    Indices,
    choose,
    identity_like,
    inverse_factor,
    library,
    take_rows,
)
from discoformer.base.local_scatter import (
    SHARE_ROUNDING,
    Draft,
    log_volume,
    sample_of,
    shrinkage_of,
    shrunk,
    tighten,
    weighted_sum,
)
from discoformer.base.standardised import (
    Standardised,
    check_weights,
    checked,
    correlation_of,
    present_rows,
    standardised,
)
from discoformer.deprecation import renamed_attribute
from discoformer.io.inputs import Floats

WHITENED_ROUNDS, STANDARDISED_ROUNDS = 5, 2  # rounds of local scatter from each initialisation
TWO_STARTS_ABOVE = 40  # dimension above which both initialisations are tried
MARGIN = 0.5  # nats of log-volume by which neighbourhoods of the standardised data must be smaller
LEAST_MEDIAN = 1e-12  # least median of |z|^2, relative to the mean; below it, the mean is used


@dataclass(frozen=True)
class AffineMap(Generic[ArrayT]):
    """The map ``z = (x - center) @ linear`` of one data set or, with a leading axis B, of several."""

    center: ArrayT  # (D,) weighted mean of the context, data units
    linear: ArrayT  # (D, D) the map A, 1 / data units

    def to_frame(self, points: ArrayT) -> ArrayT:
        """Map points (rows, D) from data units to frame coordinates."""
        return (points - self._center_of_rows()) @ self.linear

    def to_data(self, points: ArrayT) -> ArrayT:
        """Map points (rows, D) from frame coordinates to data units."""
        return _solved(self.linear.mT, points) + self._center_of_rows()

    def score_to_data(self, score: ArrayT) -> ArrayT:
        """Map scores (rows, D) from frame coordinates to 1 / data units."""
        return score @ self.linear.mT

    def score_to_frame(self, score: ArrayT) -> ArrayT:
        """Map scores (rows, D) from 1 / data units to frame coordinates."""
        return _solved(self.linear, score)

    def _center_of_rows(self) -> ArrayT:
        return self.center if self.center.ndim == 1 else self.center[:, None]


def _solved(matrix: ArrayT, rows: ArrayT) -> ArrayT:
    """Return ``x`` with ``x @ matrix^T = rows``, for rows (..., n, D) or a single row (D,)."""
    single = rows.ndim == 1
    solved: ArrayT = library(rows).linalg.solve(matrix, rows if single else rows.mT)
    return solved if single else solved.mT


@dataclass(frozen=True)
class Frame(AffineMap[Floats]):
    """The frame of one data set: its affine map, and the second moments of the context in it."""

    log_abs_det: float  # log |det A|, nats
    precision_root: Floats  # (D, D) symmetric W, with W @ W the inverse total covariance in the frame
    log_det_precision: float  # log det (W @ W), nats
    effective_size: float  # n
    initialisation: str  # "whitened" or "standardised"
    shrinkage: float  # weight of the identity in the correlation matrix, 0 from n = 4 D
    log_share: float = field(default=0.0, kw_only=True)  # log of the share of the sample that was read

    seed = renamed_attribute("seed", "initialisation")

    @property
    def rank(self) -> int:
        """Number of frame coordinates: D, unless the table is singular (see ``base.hull``)."""
        return int(self.linear.shape[1])

    def log_density_to_data(self, log_density: Floats) -> Floats:
        """Map log-densities from frame coordinates to data units (nats)."""
        return log_density + (self.log_abs_det + self.log_share)

    def inverse_of(self, columns: Sequence[int]) -> Floats:
        """Return these columns (rank, n) of the inverse map from frame coordinates to data units."""
        return np.asarray(np.linalg.solve(self.linear, np.eye(len(self.center))[:, columns]), np.float64)


@dataclass(frozen=True)
class Frames(AffineMap[ArrayT]):
    """The frames of B data sets. See ``Frame``."""

    log_abs_det: ArrayT  # (B,)
    precision_root: ArrayT  # (B, D, D)
    log_det_precision: ArrayT  # (B,)
    effective_size: ArrayT  # (B,)
    whitened: Indices  # (B,) bool: the initialisation was the whitened data
    shrinkage: ArrayT  # (B,)


def fit_frame(
    context: Floats,
    weights: Floats | None = None,
    effective_size: float | None = None,
    columns: Sequence[str] | None = None,
) -> Frame:
    """Find the frame of a context.

    Args:
        context: Points (N, D), finite, data units.
        weights: Row weights (N,), not negative, of any scale. Rows of weight 0 are left out.
        effective_size: Number of independent points that the context is worth; by default Kish's
            ``(sum w)^2 / sum w^2``.
        columns: Names of the columns, for error messages.

    Raises:
        DegenerateDataError: There is one point only, a constant column, or linearly dependent columns; or one
            row has all of the weight up to rounding, or a column varies too little for float64.
    """
    points, w = present_rows(context, weights)
    check_weights(w)
    size = size_of(w, effective_size)
    standard, correlation = checked(points, w, columns, may_be_singular=is_short(points, size))
    return frame_of(standard, w, size, correlation)


def size_of(w: Floats, effective_size: float | None) -> float:
    """Return the effective size given, or Kish's for weights (N,) of sum 1."""
    return float(1 / np.sum(w**2)) if effective_size is None else effective_size


def is_short(points: Floats, size: float) -> bool:
    """Return whether points (N, D) are too few to say which columns are collinear. They are shrunk then."""
    return len(points) <= points.shape[1] and size < 4 * points.shape[1]


def frame_of(standard: Standardised[Floats], w: Floats, size: float, correlation: Floats) -> Frame:
    """Return the frame of a context (1, N, D), standardised, of weights (N,) and correlation (1, D, D).

    It is turned to its principal axes.
    """
    frames = _frames_of(standard, w[None], np.array([size], np.float64), correlation)
    z = standard.points[0] @ (standard.spread[0][:, None] * frames.linear[0])
    axes, root = principal_axes(z, w, frames.precision_root[0])
    return Frame(
        center=frames.center[0],
        linear=frames.linear[0] @ axes,
        log_abs_det=float(frames.log_abs_det[0]),
        precision_root=root,
        log_det_precision=float(frames.log_det_precision[0]),
        effective_size=size,
        initialisation="whitened" if frames.whitened[0] else "standardised",
        shrinkage=float(frames.shrinkage[0]),
    )


def principal_axes(z: Floats, w: Floats, precision_root: Floats) -> tuple[Floats, Floats]:
    """Return the principal axes of points z (N, D) of weights (N,) in the frame, and the root along them.

    The network is equivariant to rotations, up to the rounding of float32. Along these axes samples that an
    affine map turns into each other are the same numbers, so it need not be. Each axis points to the longer
    tail, where the third moment is positive. If axes are equally long, any will do.

    Args:
        z: Points.
        w: Weights of sum 1.
        precision_root: (D, D) symmetric root of the inverse covariance.

    Returns:
        Axes (D, D), orthogonal, in columns, and the root (D, D) in their coordinates.
    """
    lengths, axes = np.linalg.eigh(precision_root)
    u = z @ axes
    with np.errstate(over="ignore", invalid="ignore"):
        backward = w @ (u * u * u) < 0
    return np.where(backward, -axes, axes), np.diag(lengths)


def fit_frames(
    context: ArrayT,
    weights: ArrayT | None = None,
    effective_size: ArrayT | None = None,
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


def _best_draft(u: ArrayT, w: ArrayT, size: ArrayT, correlation: ArrayT) -> tuple[Draft[ArrayT], Indices]:
    """Find the frames before scaling, and whether each (B,) started from the whitened data."""
    dim = u.shape[-1]
    if dim == 1:  # scatters have trace D, so they are 1
        return Draft(identity_like(correlation) + 0 * correlation, correlation), ~(
            shrinkage_of(size, dim) > 0
        )
    whitener, identity = inverse_factor(correlation), identity_like(correlation) + 0 * correlation
    sample = sample_of(u, w, size, u @ whitener)
    start = Draft(identity, correlation)
    short = sample.shrinkage > 0
    if short.all():
        return tighten(sample, start, STANDARDISED_ROUNDS), ~short
    found = tighten(sample, Draft(whitener, identity), WHITENED_ROUNDS)
    if dim <= TWO_STARTS_ABOVE and not short.any():
        return found, ~short
    other = tighten(sample, start, STANDARDISED_ROUNDS)
    if dim > TWO_STARTS_ABOVE:
        short = short | (log_volume(sample, other) < log_volume(sample, found) - MARGIN)
    return Draft(*(choose(short, b, a) for a, b in zip(found, other, strict=True))), ~short


def _unit_scale(z: ArrayT, w: ArrayT) -> ArrayT:
    """Return the factor (B,) that makes the weighted median of ``|z|^2 / D`` 1."""
    xp, squares = library(z), (z * z).mean(-1)
    order = xp.argsort(squares, -1)
    rank = (xp.cumsum(take_rows(w, order), -1) < 0.5 - SHARE_ROUNDING).sum(-1)
    median = take_rows(squares, take_rows(order, rank[:, None]))[:, 0]
    return inverse_radius(median, weighted_sum(w, squares))


def inverse_radius(median: ArrayT, mean: ArrayT) -> ArrayT:
    """Return the factor (B,) that sets the median squared radius to 1, or the mean if the median vanishes."""
    xp = library(mean)
    return 1 / xp.sqrt(xp.where(median > LEAST_MEDIAN * mean, median, mean))


def _precision_root(covariance: ArrayT) -> tuple[ArrayT, ArrayT]:
    """Return the symmetric inverse root (B, D, D) of a covariance, and the log-determinant of its inverse."""
    xp = library(covariance)
    values, vectors = xp.linalg.eigh(covariance)
    return vectors / xp.sqrt(values)[:, None] @ vectors.mT, -xp.log(values).sum(-1)
