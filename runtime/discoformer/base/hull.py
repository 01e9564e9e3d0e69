r"""The frame of a singular table: constant columns, or columns that are linear combinations of others.

The rows of such a table lie on their affine hull, of dimension r < D. With columns ``u = (x - m) / s``
standardised (``s_j = 0`` where column j is constant), and V (D, r) the principal directions of u that vary::

    z = u V A                     A the frame of u V (see ``base.frame``)
    x = m + z J                   J = A^-1 V^T diag(s)
    log f(x) = log f_z(z) - 1/2 log det(J J^T)
    s(x) = s_z(z) (J J^T)^-1 J    the gradient along the hull

The density is that with respect to r-dimensional volume in data units, as in SciPy's
``multivariate_normal(allow_singular=True)``. Off the hull it is 0.

Directions are left out by the same rule by which ``fit_frame`` calls a table singular, so nearly singular
tables stay as they are. Few rows (``n < 4 D`` and N <= D) span at most N - 1 dimensions, whatever they were
drawn from. So there a table is singular only if different rows span less than that.

Shapes: N points, M queries, D columns, r dimensions of the hull. Float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from discoformer.base.arrays import or_one
from discoformer.base.frame import Frame, frame_of, is_short, size_of
from discoformer.base.standardised import (
    Standardised,
    check_spread,
    check_weights,
    correlation_of,
    is_constant,
    present_rows,
    rank_of,
    standardised,
)
from discoformer.errors import DegenerateDataError
from discoformer.io.inputs import Floats, describe_column

TOLERANCE = 1e-6  # distance from the hull that counts as none, over the distance from the centre, in spreads
ROUNDINGS = 16  # roundings of the values that count as none, too
DEPENDENT = 1e-6  # part of a column, over its length, that columns before it do not explain: none below it
NOTHING = 1e-7  # what columns say of a direction, over the most that they say of one: nothing below it
_NAMED = 8  # most columns that a message names

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class HullFrame(Frame):
    """The frame of a table of rank r < D; ``linear`` is (D, r)."""

    inverse: Floats  # (r, D) J
    gradient: Floats  # (r, D) (J J^T)^-1 J
    spread: Floats  # (D,) s, data units; 0 where a column is constant
    tolerance: float  # ``TOLERANCE``, or more if the sample itself is farther off
    rounding: float  # relative rounding of the values of the sample

    def to_data(self, points: Floats) -> Floats:
        """Map points (rows, r) from frame coordinates to data units."""
        return points @ self.inverse + self.center

    def score_to_data(self, score: Floats) -> Floats:
        """Map scores (rows, r) from frame coordinates to 1 / data units, along the hull."""
        return score @ self.gradient

    def score_to_frame(self, score: Floats) -> Floats:
        """Map scores (rows, D) from 1 / data units to frame coordinates."""
        return score @ self.inverse.T

    def inverse_of(self, columns: Sequence[int]) -> Floats:
        """Return these columns (r, n) of J."""
        return self.inverse[:, columns]

    @property
    def unit(self) -> Floats:
        """The spread (D,) of columns that vary, and 1 for the others, data units."""
        return or_one(self.spread)

    def axes_of(self, columns: Sequence[int]) -> tuple[Floats, Floats, Floats]:
        """Return the singular vectors and values of n columns of J, in spreads.

        Returns:
            Vectors (r, r) in the frame, the values (q,) that are not 0, and vectors (q, n) of the columns; q
            is the rank of the columns.
        """
        left, size, right = np.linalg.svd(self.inverse[:, columns] / self.unit[columns])
        rank = np.count_nonzero(size > NOTHING * size.max(initial=0))
        return left, size[:rank], right[:rank]

    def along(self, directions: Floats, columns: Sequence[int]) -> tuple[Floats, float]:
        """Return ``gradient_and_volume`` of some columns, per unit of directions (q, r) in the frame."""
        gradient, varies = np.zeros((len(directions), len(columns))), self.spread[columns] > 0
        moved = directions @ self.inverse[:, columns] / self.unit[columns]
        gradient[:, varies], log_volume = gradient_and_volume(moved[:, varies], self.spread[columns][varies])
        return gradient, log_volume

    def deviations(self, points: Floats) -> Floats:
        """Return how far points (n, D) are from the nearest ones on the hull: (n, D), data units."""
        return points - self.to_data(self.to_frame(points))

    def is_off(self, points: Floats) -> Flags:
        """Return which points (n, D), in data units, are off the hull, by more than rounding explains."""
        varies, rounding = self.spread > 0, ROUNDINGS * np.maximum(_rounding_of(points), self.rounding)
        spread, center = self.spread[varies], self.center[varies]
        with np.errstate(over="ignore", invalid="ignore"):
            distance = (np.abs(points[:, varies] - center) / spread).max(axis=1, initial=1)
            greatest = (np.abs(points[:, varies]) / spread).max(axis=1)
            allowed = (self.tolerance * distance + rounding * greatest)[:, None] * self.spread
            allowed = np.where(varies, allowed, rounding[:, None] * np.abs(self.center))
            return np.asarray(~(np.abs(self.deviations(points)) <= allowed).all(axis=1))

    def describe(self, columns: Sequence[str] | None) -> str:
        """Return a sentence that says the rank, which columns are the reason, and what the density is."""
        own = (self.linear * self.inverse.T).sum(axis=1)  # 1 if a column depends on no other
        constant = self.spread == 0
        reasons = [
            f"{_named(which, columns)} {text}"
            for which, text in (
                (constant, "constant"),
                (~constant & (own < 1 - TOLERANCE), "linear combinations of others"),
            )
            if which.any()
        ]
        return (
            f"X has rank {self.rank} of {len(self.center)} columns ({'; '.join(reasons)}): the estimate is a "
            f"density on the affine hull of the rows, of dimension {self.rank}, and 0 elsewhere."
        )


def fit_frame_or_hull(
    context: Floats,
    weights: Floats | None = None,
    effective_size: float | None = None,
) -> Frame:
    """Find the frame of a context that may be singular: that of ``fit_frame``, unless it is.

    Args:
        context: Points (N, D), finite, data units.
        weights: As in ``fit_frame``.
        effective_size: As in ``fit_frame``.

    Raises:
        DegenerateDataError: There is one point only, or all points are the same; or one row has all of the
            weight up to rounding, or a column varies too little for float64.
    """
    points, w = present_rows(context, weights)
    check_weights(w)
    size, standard = size_of(w, effective_size), standardised(points[None], w[None])
    rounding = float(_rounding_of(points).min())
    varies = ~is_constant(points, standard.center[0])
    if not varies.any():
        raise DegenerateDataError("X is constant in all columns, so it has no density: give rows that differ")
    check_spread(np.where(varies, standard.spread[0], 1), None)
    if not varies.all():
        u = standard.points[..., varies]
        axes = _axes_of(points[:, varies], u[0], correlation_of(u, w[None])[0], w, size)
        return _hull_frame(standard, varies, axes, w, size, rounding)
    correlation = correlation_of(standard.points, w[None])
    axes = _axes_of(points, standard.points[0], correlation[0], w, size)
    if len(axes) == axes.shape[1]:
        return frame_of(standard, w, size, correlation)
    return _hull_frame(standard, varies, axes, w, size, rounding)


def _axes_of(points: Floats, u: Floats, correlation: Floats, w: Floats, size: float) -> Floats:
    """Return the directions (n, r) in which points (N, n), standardised u, vary; the identity if all do."""
    dim = u.shape[1]
    rank = rank_of(correlation)
    if rank == dim or (is_short(points, size) and rank >= len(np.unique(points, axis=0)) - 1):
        return np.eye(dim)
    root = np.linalg.qr(u * np.sqrt(w)[:, None], mode="r")
    return np.linalg.svd(root)[2][:rank].T


def _hull_frame(
    standard: Standardised[Floats], varies: Flags, axes: Floats, w: Floats, size: float, rounding: float
) -> HullFrame:
    """Return the frame on the hull, from the standardised sample and the directions in which it varies."""
    center, spread, u = (field[0] for field in standard)
    rank, spread, u = axes.shape[1], np.where(varies, spread, 0.0), u[:, varies]
    scale = np.sqrt(rank / len(axes))  # to a mean variance of 1
    y = scale * u @ axes
    flat = Standardised(np.zeros((1, rank)), np.ones((1, rank)), y[None])
    inner = frame_of(flat, w, size, correlation_of(flat.points, w[None]))
    directions = np.linalg.inv(inner.linear) @ axes.T / scale  # (r, n) J, in spreads
    along, log_volume = gradient_and_volume(directions, spread[varies])
    linear, inverse, gradient = (np.zeros((rank, len(spread))) for _ in range(3))
    linear[:, varies] = scale * (axes @ inner.linear).T / spread[varies]
    inverse[:, varies] = directions * spread[varies]
    gradient[:, varies] = along
    own = np.abs(u - u @ axes @ axes.T).max()
    fields = vars(inner) | {"center": center, "linear": linear.T, "log_abs_det": -log_volume}
    return HullFrame(
        **fields,
        inverse=inverse,
        gradient=gradient,
        spread=spread,
        tolerance=max(TOLERANCE, 2 * float(own)),
        rounding=rounding,
    )


def gradient_and_volume(directions: Floats, spread: Floats) -> tuple[Floats, float]:
    """Return ``(J J^T)^-1 J`` (r, n) and ``1/2 log det(J J^T)``, where ``J = directions * spread``.

    Spreads may differ by any factor. So the columns are taken from the widest on: those that columns before
    them do not explain are a basis S, and ``J = J_S T``, where no entry of T is large.

    Args:
        directions: (r, n), of rank r.
        spread: (n,), positive.
    """
    if not len(directions):
        return directions, 0.0
    axes, root = np.linalg.qr(directions.T)  # directions = root^T axes^T
    order = np.argsort(-spread, kind="stable")
    chosen = order[independent(axes[order])]
    place = np.argsort(order)
    T = np.linalg.solve(axes[chosen].T, axes.T) * spread / spread[chosen, None]
    T[place[chosen][:, None] > place] = 0
    square = T @ T.T
    along = np.linalg.solve(axes[chosen], np.linalg.solve(square, T) / spread[chosen, None])
    log_volume = (
        np.log(np.abs(np.diagonal(root))).sum()
        + np.linalg.slogdet(axes[chosen])[1]
        + np.log(spread[chosen]).sum()
        + 0.5 * np.linalg.slogdet(square)[1]
    )
    return np.linalg.solve(root, along), float(log_volume)


def independent(vectors: Floats) -> list[int]:
    """Return which of vectors (n, r) those before them do not explain; vectors have length 1 or so."""
    basis, found = np.zeros((vectors.shape[1], 0)), []
    for j, vector in enumerate(vectors):
        rest = vector - basis @ (basis.T @ vector)
        rest -= basis @ (basis.T @ rest)
        if np.linalg.norm(rest) > DEPENDENT:
            basis = np.c_[basis, rest / np.linalg.norm(rest)]
            found.append(j)
    return found


def _rounding_of(points: Floats) -> Floats:
    """Return the relative rounding (n,) of points (n, D): that of float32 if it holds them exactly."""
    with np.errstate(over="ignore"):
        narrow = (points == points.astype(np.float32)).all(axis=1)
    return np.where(narrow, np.finfo(np.float32).eps, np.finfo(np.float64).eps)


def _named(which: Flags, columns: Sequence[str] | None) -> str:
    """Return what messages call some columns, with the verb."""
    found = np.flatnonzero(which).tolist()
    names = ", ".join(describe_column(j, columns) for j in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{names}{more} {'is' if len(found) == 1 else 'are'}"
