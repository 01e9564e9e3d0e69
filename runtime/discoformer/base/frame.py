r"""The frame: an affine map, found from the context, in which the network sees every data set alike.

Symbols: context ``X (N, D)`` with weights ``w`` (sum 1) and effective size ``n`` (Kish's ``1 / sum w^2``
unless given), centre ``m``, linear map ``A``, standardised coordinates ``u``, frame coordinates ``z``::

    z = (x - m) A        log f(x) = log f_z(z) + log |det A|        s(x) = s_z(z) A^T        (rows)

The map is found by *local scatter*: from a seed (the whitened or the standardised data), a few rounds of

    h_i^2 = smallest squared distance around z_i that holds the weight fraction (max(10, n / 50) + 1) / n
    p_ij  = w_i w_j max(0, 1 - |z_i - z_j|^2 / h_i^2)
    S     = sum_ij p_ij (z_i - z_j)(z_i - z_j)^T,   normalised to trace D
    z    <- z L^-T   with   L L^T = S + 1e-4 tr(C^-1 S) / D C,   C the total covariance

make the neighbourhoods round, whatever the arrangement of the clusters. Last, the median of ``|z|^2 / D`` is
set to 1. Each step commutes with affine maps of the data, so ``z`` is unique up to a rotation, to which the
network is blind. That holds from the whitened seed. Whitening hides clusters in high dimension, so where
``D > 40`` the standardised seed competes with it; and where ``n < 4 D`` the standardised seed is taken and
scatters are shrunk toward the identity by ``(1 - (n / 4 D)^2)^2``. There, translation, scaling and
permutation of columns stay exact, other maps do not.

Everything is float64, and each column is first divided by its own spread, so units may differ by any factor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from discoformer.deprecation import renamed_attribute
from discoformer.errors import DegenerateDataError
from discoformer.io.inputs import Floats, describe_column

ROUNDS = {"whitened": 5, "standardised": 2}  # rounds of local scatter from each seed
SUBSET = 2048  # points the local scatter is computed on, where there are more,
BLOCK = 128  # and of which the distances are held at a time
TWO_SEEDS_ABOVE = 40  # dimension above which the standardised seed is tried as well
SEED_MARGIN = 0.5  # nats of log-volume by which its neighbourhoods must be tighter to be taken
GUARD = 1e-4  # share of the total covariance in each local scatter: bounds how flat lattices may make it
ROUNDING = 1e-12  # slack of cumulated weights and sizes
EDGE = 1e-9  # pair weights below this are rounding errors of points at the very edge of a neighbourhood
TINY = 1e-200  # below every squared distance that is not zero


@dataclass(frozen=True)
class Frame:
    """The affine map ``z = (x - center) @ linear``, with the second moments of the context in it."""

    center: Floats  # (D,) weighted mean of the context, data units
    linear: Floats  # (D, D), the map A
    log_abs_det: float  # log |det A|
    precision_root: Floats  # (D, D) symmetric W, with W @ W the inverse total covariance in the frame
    log_det_precision: float  # log det (W @ W)
    effective_size: float  # n
    initialisation: str  # "whitened" or "standardised"
    shrinkage: float  # weight of the identity in the correlation matrix, 0 from n = 4 D

    seed = renamed_attribute("seed", "initialisation")

    def to_frame(self, points: Floats) -> Floats:
        """Maps points (rows, D) in data units to frame coordinates (rows, D)."""
        return (points - self.center) @ self.linear

    def to_data(self, points: Floats) -> Floats:
        """Maps points (rows, D) in frame coordinates to data units (rows, D)."""
        return np.linalg.solve(self.linear.T, points.T).T + self.center

    def log_density_to_data(self, log_density: Floats) -> Floats:
        """Maps log-densities of frame coordinates to log-densities of data units (nats)."""
        return log_density + self.log_abs_det

    def score_to_data(self, score: Floats) -> Floats:
        """Maps scores (rows, D) in frame coordinates to scores in 1 / data units."""
        return score @ self.linear.T

    def score_to_frame(self, score: Floats) -> Floats:
        """Maps scores (rows, D) in 1 / data units to scores in frame coordinates."""
        return np.asarray(np.linalg.solve(self.linear, score.T).T, np.float64)


class _Draft(NamedTuple):
    """A frame in the making, as seen from the standardised coordinates: ``z = u @ linear``."""

    initialisation: str
    linear: Floats  # (D, D)
    covariance: Floats  # (D, D), the total covariance in z


def fit_frame(
    context: Floats,
    weights: Floats | None = None,
    effective_size: float | None = None,
    columns: Sequence[str] | None = None,
) -> Frame:
    """Finds the frame of a context.

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
    n_points, dim = points.shape
    if n_points < 2:
        raise DegenerateDataError(f"X must have 2 rows of positive weight or more, got {n_points}")
    size = float(1 / np.sum(w**2)) if effective_size is None else effective_size
    center, spread = _center_and_spread(points, w, columns)
    u = (points - center) / spread

    correlation = (u * w[:, None]).T @ u
    if n_points > dim:
        _check_collinearity(correlation, columns)
    shrinkage = _shrinkage(size, dim)
    correlation = _shrink(correlation, shrinkage)

    found = _best_draft(u, w, size, correlation)
    scale = _unit_radius(u @ found.linear, w)
    root, log_det = _precision_root(scale**2 * found.covariance)
    return Frame(
        center=center,
        linear=scale * found.linear / spread[:, None],
        log_abs_det=float(np.linalg.slogdet(found.linear)[1] + dim * np.log(scale) - np.log(spread).sum()),
        precision_root=root,
        log_det_precision=log_det,
        effective_size=size,
        initialisation=found.initialisation,
        shrinkage=shrinkage,
    )


def present_rows(context: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """The rows of positive weight (n, D), sorted, and their weights (n,) scaled to sum 1.

    Sorted, so that the order of the rows cannot matter: not in rounding, and not where points are tied.
    """
    if weights is None:
        weights = np.ones(len(context))
    order = np.lexsort((weights, *context.T[::-1]))
    order = order[weights[order] > 0]
    w = weights[order] / weights.max(initial=0)
    return context[order], w / w.sum()


def _center_and_spread(points: Floats, w: Floats, columns: Sequence[str] | None) -> tuple[Floats, Floats]:
    """Weighted mean (D,) and standard deviation (D,) of the columns, whatever their offset and scale."""
    low, high = points.min(axis=0), points.max(axis=0)
    anchor = 0.5 * low + 0.5 * high
    center = anchor + w @ (points - anchor)
    reach = np.abs(points - center).max(axis=0)
    constant = reach <= 8 * np.finfo(np.float64).eps * np.maximum(np.abs(low), np.abs(high))
    if constant.any():
        names = ", ".join(describe_column(int(j), columns) for j in np.flatnonzero(constant))
        raise DegenerateDataError(f"X is constant in {names}, so it has no density: drop what is constant")
    return center, reach * np.sqrt(w @ np.square((points - center) / reach))


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


def _shrinkage(size: float, dim: int) -> float:
    """Weight of the identity in a scatter (0 to 1); 0 from size = 4 D."""
    shortage = max(0.0, 1 - ROUNDING - (size / (4 * dim)) ** 2)
    return shortage * shortage


def _shrink(matrix: Floats, shrinkage: float) -> Floats:
    return (1 - shrinkage) * matrix + shrinkage * np.eye(len(matrix))


def _inverse_factor(matrix: Floats) -> Floats:
    """``L^-T`` for ``matrix = L L^T``: points times it have the identity for that scatter."""
    return np.linalg.inv(np.linalg.cholesky(matrix)).T


def _best_draft(u: Floats, w: Floats, size: float, correlation: Floats) -> _Draft:
    """The frame before its scale, from the seed that suits the sample size and the dimension."""
    dim = u.shape[1]
    whitener = _inverse_factor(correlation)
    if len(u) > SUBSET:
        u, w = _subset(u, w, np.square(u @ whitener).sum(axis=1))
        size = min(size, SUBSET)
    standardised = _Draft("standardised", np.eye(dim), correlation)
    if _shrinkage(size, dim) > 0:
        return _tighten(u, w, size, standardised)
    found = _tighten(u, w, size, _Draft("whitened", whitener, np.eye(dim)))
    if dim <= TWO_SEEDS_ABOVE:
        return found
    other = _tighten(u, w, size, standardised)
    return other if _log_volume(u, w, size, other) < _log_volume(u, w, size, found) - SEED_MARGIN else found


def _subset(points: Floats, w: Floats, radius: Floats) -> tuple[Floats, Floats]:
    """``SUBSET`` rows, evenly spaced in the weighted ranks of their radius, and their weights."""
    order = np.argsort(radius, kind="stable")
    wanted = (np.arange(SUBSET) + 0.5) / SUBSET
    picked = np.searchsorted(np.cumsum(w[order]), wanted - ROUNDING)
    return points[order[picked]], np.full(SUBSET, 1 / SUBSET)


def _tighten(u: Floats, w: Floats, size: float, draft: _Draft) -> _Draft:
    """Runs the rounds of local scatter from a seed, on points u (n, D) with weights w (n,)."""
    dim = u.shape[1]
    initialisation, linear, covariance = draft
    shrinkage = _shrinkage(size, dim)
    for _ in range(ROUNDS[initialisation]):
        z = u @ linear
        scatter = _local_scatter(z, w, size)
        trace = np.trace(scatter)
        if not trace > TINY:
            break
        scatter = _shrink(scatter * (dim / trace), shrinkage)
        scatter += GUARD * np.trace(np.linalg.solve(covariance, scatter)) / dim * covariance
        step = _inverse_factor(scatter)
        linear, covariance = linear @ step, step.T @ covariance @ step
    return _Draft(initialisation, linear, covariance)


def _local_scatter(z: Floats, w: Floats, size: float) -> Floats:
    """``sum_ij p_ij (z_i - z_j)(z_i - z_j)^T``, from differences: rounding keeps it positive semidefinite."""
    scatter = np.zeros((z.shape[1], z.shape[1]))
    for rows, distances in _squared_distances(z):
        near = 1 - distances / _squared_radii(distances, w, size)[:, None]
        i, j = np.nonzero((near > EDGE) & (distances > 0))
        difference = z[rows][i] - z[j]
        scatter += (difference * (near[i, j] * w[rows][i] * w[j])[:, None]).T @ difference
    return scatter


def _squared_distances(z: Floats) -> Iterator[tuple[slice, Floats]]:
    """Squared distances of some rows at a time to all (m, n), with 0 where points coincide up to rounding."""
    squares = np.square(z).sum(axis=1)
    for start in range(0, len(z), BLOCK):
        rows = slice(start, start + BLOCK)
        sums = squares[rows, None] + squares
        distances = sums - 2 * (z[rows] @ z.T)
        distances[distances <= 1e-14 * sums] = 0
        yield rows, distances


def _squared_radii(distances: Floats, w: Floats, size: float) -> Floats:
    """For each row of distances (m, n) the smallest one that holds the weight fraction of a neighbourhood."""
    fraction = min(1.0, (max(10, size / 50) + 1) / size)
    if np.ptp(w) == 0:
        rank = int(np.ceil(fraction * len(w) - 1e-9)) - 1
        radii: Floats = np.partition(distances, rank, axis=1)[:, rank]
    else:
        radii = _weighted_radii(distances, w, fraction)
    radii[radii < TINY] = TINY
    return radii


def _weighted_radii(distances: Floats, w: Floats, fraction: float) -> Floats:
    order = np.argsort(distances, axis=1)
    missing = np.cumsum(w[order], axis=1) < fraction - ROUNDING
    rank = np.minimum(missing.sum(axis=1), len(w) - 1)
    rows = np.arange(len(distances))
    radii: Floats = distances[rows, order[rows, rank]]
    return radii


def _log_volume(u: Floats, w: Floats, size: float, draft: _Draft) -> float:
    """Mean log-volume of the neighbourhoods in the standardised coordinates, up to a constant, in nats."""
    blocks = _squared_distances(u @ draft.linear)
    radii = np.concatenate([_squared_radii(distances, w, size) for _, distances in blocks])
    mean_log = float(w @ np.log(np.maximum(radii, 1e-12)))
    return float(u.shape[1] * mean_log / 2 - np.linalg.slogdet(draft.linear)[1])


def _unit_radius(z: Floats, w: Floats) -> float:
    """The factor that makes the weighted median of ``|z|^2 / D`` 1 (the mean, where the median vanishes)."""
    squares = np.square(z).mean(axis=1)
    order = np.argsort(squares)
    median = squares[order][np.searchsorted(np.cumsum(w[order]), 0.5 - ROUNDING)]
    mean = w @ squares
    return float(1 / np.sqrt(median if median > 1e-12 * mean else mean))


def _precision_root(covariance: Floats) -> tuple[Floats, float]:
    """The symmetric inverse root (D, D) of a covariance, and the log-determinant of its inverse."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values)) @ vectors.T, float(-np.log(values).sum())
