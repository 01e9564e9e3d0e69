"""Standardised columns of contexts, and the checks that their rows have a density.

Shapes: B data sets, N points, D dimensions.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.base.arrays import ArrayT, FieldT, Indices, library, or_one
from discoformer.errors import DegenerateDataError
from discoformer.io.inputs import Floats, describe_column

LEAST_EIGENVALUE = 1e-14  # of a correlation matrix, over D; below it, columns are collinear
LEAST_SPREAD = 1e-300  # of a column, data units; below it, scores are beyond float64
LEAST_WEIGHT = 1e-18  # of a row, over the greatest
HEAVIEST = 1 - 1e-9  # share of the weight of a row; above it, there is no other row, up to rounding
_NAMED = 5  # most values of a row that a message shows
ADVICE = "or estimate with allow_singular=True"


class Standardised(NamedTuple, Generic[FieldT]):
    """Contexts with each column centred and divided by its spread."""

    center: FieldT  # (B, D) weighted means, data units
    spread: FieldT  # (B, D) weighted standard deviations, data units
    points: FieldT  # (B, N, D) u


def present_rows(context: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return the rows of positive weight (n, D), sorted, and their weights (n,) scaled to sum 1.

    They are sorted so that the order of the rows cannot matter, neither by rounding nor by ties.
    """
    order, w = order_of_present(context, weights)
    return context[order], w


def order_of_present(context: Floats, weights: Floats | None) -> tuple[Indices, Floats]:
    """Return the sorted order (n,) of the rows of positive weight, and their weights (n,) scaled to sum 1.

    Weights below ``LEAST_WEIGHT`` of the greatest count as 0: float64 does not see them beside it.
    """
    if weights is None:
        weights = np.ones(len(context))
    order = np.lexsort((weights, *context.T[::-1]))
    order = order[weights[order] > LEAST_WEIGHT * weights.max(initial=0)]
    w = weights[order] / weights.max(initial=0)
    return order, w / w.sum()


def standardised(points: ArrayT, w: ArrayT) -> Standardised[ArrayT]:
    """Standardise contexts (B, N, D) of weights (B, N), whatever the offset and scale of their columns.

    A constant column has spread 0, and its values are not finite.
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


def correlation_of(u: ArrayT, w: ArrayT) -> ArrayT:
    """Return the weighted scatter (B, D, D) of standardised points (B, N, D) around 0."""
    return (u * w[..., None]).mT @ u


def checked(
    points: Floats, w: Floats, columns: Sequence[str] | None, *, may_be_singular: bool = False
) -> tuple[Standardised[Floats], Floats]:
    """Return points (N, D) standardised, and their correlation, each with an axis in front."""
    standard = standardised(points[None], w[None])
    _check_constant(points, standard.center[0], columns)
    check_spread(standard.spread[0], columns)
    correlation = correlation_of(standard.points, w[None])
    if not may_be_singular and is_singular(correlation[0]):
        _check_lone_row(points, standard.points[0])
        raise _collinear(correlation[0], columns)
    return standard, correlation


def has_density(points: Floats) -> bool:
    """Return whether points (n, D) have a density: no column is constant or depends on others."""
    try:
        checked(points, np.full(len(points), 1 / len(points)), None)
    except DegenerateDataError:
        return False
    return True


def check_weights(w: Floats) -> None:
    """Check that weights (N,) of sum 1 are those of 2 rows or more.

    Raises:
        DegenerateDataError: They are not, up to rounding.
    """
    if len(w) < 2:
        raise DegenerateDataError(
            f"X must have 2 rows of positive weight or more, got {len(w)} (weights below {LEAST_WEIGHT:g} of "
            "the greatest count as 0)"
        )
    if w.max() > HEAVIEST:
        others = w.sum() - w.max()
        raise DegenerateDataError(
            f"X must have 2 rows that count or more, but one row has all of the weight, up to {others:.1e} "
            "of it: check the weights"
        )


def check_spread(spread: Floats, columns: Sequence[str] | None) -> None:
    """Check that columns of some spread (D,), data units, vary enough for float64.

    Raises:
        DegenerateDataError: One does not.
    """
    if (small := np.flatnonzero(spread < LEAST_SPREAD)).size:
        raise DegenerateDataError(
            f"X must have a spread of {LEAST_SPREAD:g} or more in each column, got {spread[small[0]]:.1e} in "
            f"{describe_column(int(small[0]), columns)}: multiply it by a large number"
        )


def _check_constant(points: Floats, center: Floats, columns: Sequence[str] | None) -> None:
    constant = is_constant(points, center)
    if constant.any():
        names = ", ".join(describe_column(int(j), columns) for j in np.flatnonzero(constant))
        raise DegenerateDataError(
            f"X is constant in {names}, so it has no density: drop constant columns, {ADVICE}"
        )


def is_constant(points: Floats, center: Floats) -> npt.NDArray[np.bool_]:
    """Return which columns (D,) of points (N, D) are constant, up to the rounding of float64."""
    reach, greatest = np.abs(points - center).max(axis=0), np.abs(points).max(axis=0)
    return np.asarray(reach <= 8 * np.finfo(np.float64).eps * greatest)


def rank_of(correlation: Floats) -> int:
    """Return the rank of a correlation matrix (D, D): columns are collinear if it is less than D."""
    return int(np.count_nonzero(np.linalg.eigvalsh(correlation) >= LEAST_EIGENVALUE * len(correlation)))


def is_singular(correlation: Floats) -> bool:
    """Return whether a correlation matrix (D, D) says that columns are collinear."""
    return rank_of(correlation) < len(correlation)


def _check_lone_row(points: Floats, u: Floats) -> None:
    """Check that points (N, D), standardised u, are not singular for one row alone, which lies far out.

    Raises:
        DegenerateDataError: They are.
    """
    far = int(np.argmax(np.square(u).sum(axis=1)))
    others = np.delete(u, far, axis=0)
    w = np.full((1, len(others)), 1 / len(others))
    rest = standardised(others[None], w)
    if (rest.spread > 0).all() and not is_singular(correlation_of(rest.points, w)[0]):
        values = ", ".join(f"{value:.4g}" for value in points[far, :_NAMED])
        more = ", ..." if points.shape[1] > _NAMED else ""
        raise DegenerateDataError(
            f"X has no density, up to rounding, because the row ({values}{more}) lies so far out that all "
            "others coincide beside it: correct or remove it"
        )


def _collinear(correlation: Floats, columns: Sequence[str] | None) -> DegenerateDataError:
    values, vectors = np.linalg.eigh(correlation)
    share = np.abs(vectors[:, 0])
    involved = np.flatnonzero(share > 0.1 * share.max())
    names = ", ".join(describe_column(int(j), columns) for j in involved)
    return DegenerateDataError(
        f"X has no density because some columns are linear combinations of others: {names} "
        f"(smallest eigenvalue of the correlation matrix {values[0]:.1e}); drop one of them, {ADVICE}"
    )
