r"""Rounded columns that are linear combinations of others: totals, shares, counts in other units.

If each column were spread in its cells on its own, rows would leave their affine hull (see ``base.hull``).
So columns are taken one by one, the coarsest first (step over spread). One that those before it explain moves
with them::

    x'_j - x_j = sum_i B_ij (x'_i - x_i)         where x_j = a_j + sum_i B_ij x_i

Shapes: n rows, D columns.
"""

import numpy as np

from discoformer.base.arrays import Indices
from discoformer.base.hull import independent, rank_of
from discoformer.base.standardised import correlation_of, is_constant, standardised
from discoformer.io.inputs import Floats

_DIGITS = 6  # of how coarse columns are; more are rounding errors


def slopes_of(points: Floats, weights: Floats, steps: Floats, columns: Indices) -> Floats | None:
    """Return the slopes B (D, D) by which columns move with others; None if each moves on its own.

    Args:
        points: (n, D), data units, before they are spread.
        weights: (n,), positive, of sum 1.
        steps: (D,), of the rounding; 0 where a column is not rounded.
        columns: (D,) the order in which columns that are equally coarse are taken.
    """
    center, spread, u = (field[0] for field in standardised(points[None], weights[None]))
    columns = columns[~is_constant(points, center)[columns]]
    coarse = np.array([float(f"{step:.{_DIGITS}g}") for step in steps[columns] / spread[columns]])
    columns = columns[np.argsort(-coarse, kind="stable")]
    u = u[:, columns]
    rank = rank_of(correlation_of(u[None], weights[None])[0])
    if rank == len(columns) or rank >= len(np.unique(points, axis=0)) - 1:
        return None
    root = np.linalg.qr(u * np.sqrt(weights)[:, None], mode="r")
    free = independent(root.T)
    slopes = np.zeros((points.shape[1],) * 2)
    explained = np.linalg.lstsq(root[:, free], root, rcond=None)[0]  # (r, n)
    explained[:, free] = np.eye(len(free))
    chosen = columns[free]
    slopes[np.ix_(chosen, columns)] = explained * spread[columns] / spread[chosen, None]
    return slopes
