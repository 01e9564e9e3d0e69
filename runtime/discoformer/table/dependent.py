r"""Rounded columns that are linear combinations of others: totals, shares, counts in other units.

If each column is spread in its cells on its own, rows leave their affine hull (see ``base.hull``). To keep
them on it, columns are taken one by one, the coarsest first (step over spread). One that those before it
explain moves with them::

    x'_j - x_j = sum_i B_ij (x'_i - x_i)         where x_j = a_j + sum_i B_ij x_i

Shapes: n rows, D columns.
"""

import numpy as np

from discoformer.base.arrays import Indices
from discoformer.base.hull import independent
from discoformer.base.standardised import ADVICE, correlation_of, is_constant, rank_of, standardised
from discoformer.io.inputs import Floats

_DIGITS = 6  # of how coarse columns are; more are rounding errors

DOUBT = (
    "Some rounded columns of X are linear combinations of others, as totals are, but each is spread over its "
    f"cells on its own: leave these columns out, {ADVICE}."
)


def are_dependent(points: Floats, weights: Floats) -> bool:
    """Return whether columns of points (n, D), of weights (n,), are linear combinations of others.

    Constant columns do not count, nor does what few different rows have in common.
    """
    _, u, _ = _varying(points, weights)
    rank = rank_of(correlation_of(u[None], weights[None])[0])
    return rank < u.shape[1] and rank < len(np.unique(points, axis=0)) - 1


def slopes_of(points: Floats, weights: Floats, steps: Floats, columns: Indices) -> Floats:
    """Return the slopes B (D, D) by which columns move with others.

    Args:
        points: (n, D), data units, before they are spread.
        weights: (n,), positive, of sum 1.
        steps: (D,), of the rounding; 0 where a column is not rounded.
        columns: (D,) the order in which columns that are equally coarse are taken.
    """
    varies, u, spread = _varying(points, weights)
    coarse = np.array([float(f"{step:.{_DIGITS}g}") for step in steps / spread])
    columns = columns[varies[columns]]
    columns = columns[np.argsort(-coarse[columns], kind="stable")]
    u = u[:, (np.cumsum(varies) - 1)[columns]]
    root: Floats = np.linalg.qr(u * np.sqrt(weights)[:, None], mode="r")  # type: ignore[assignment]
    free = independent(root.T)
    explained = np.linalg.lstsq(root[:, free], root, rcond=None)[0]  # (r, n)
    explained[:, free] = np.eye(len(free))
    slopes, chosen = np.zeros((points.shape[1],) * 2), columns[free]
    slopes[np.ix_(chosen, columns)] = explained * spread[columns] / spread[chosen, None]
    return slopes


def _varying(points: Floats, weights: Floats) -> tuple[Indices, Floats, Floats]:
    """Return which columns (D,) vary, these standardised (n, V), and the spread (D,), 1 where it is 0."""
    center, spread, u = (field[0] for field in standardised(points[None], weights[None]))
    varies = ~is_constant(points, center)
    return varies, u[:, varies], np.where(varies, spread, 1.0)
