"""Rounded values as cells, and the average of a density over them.

A rounded value stands for all values that are rounded to it: its *cell*. A column has cells if values repeat
and all are whole multiples of a step (plus a constant). The cell of x is then ``x - step / 2`` to
``x + step / 2``. If there is no step, but half of the rows share their value with others, the cell of a value
ends halfway to its neighbours. All other columns are continuous.

On rounded data a density may be as high as one likes: it puts a spike on every value that occurs. Its average
over the cell is bounded, since it is the probability of the cell divided by the volume. This is the
likelihood of rounded data.

The average of a Gaussian mixture is computed column by column (Genz, *Journal of Computational and Graphical
Statistics* 1, 1992). With ``x = m + L e``, L lower triangular, the probability of a cell is the mean of the
product over columns j of ``P(cell of x_j | e_1 .. e_(j-1))``, where each e is drawn from its normal
distribution within the cell. Spikes narrower than the cell do not harm it, and with a diagonal L it is exact.

Shapes: N or M rows, D columns, K components, P points.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtri_exp
from scipy.stats import norm, qmc

from benchmarks.common.data_sets import DECIMALS, Floats

POINTS = 32  # in the cell of each row
MIXTURE_POINTS = 16  # for each component of a mixture
KERNEL_POINTS = 4  # the same for a mixture of many components
MANY = 100  # components
TIED = 0.5  # least share of rows with repeated values in a column with cells and without a step
BLOCK = 2**19  # most numbers in an array of rows, components and points


class Cells(NamedTuple):
    """The cells of M rows, of width 0 in continuous columns."""

    low: Floats  # (M, D)
    high: Floats  # (M, D)

    def take(self, rows: np.ndarray) -> "Cells":
        """Return the cells of some rows."""
        return Cells(self.low[rows], self.high[rows])

    def scaled(self, shift: Floats, scale: Floats) -> "Cells":
        """Return the cells of ``(x - shift) / scale``, shift and scale of shape (D,)."""
        return Cells((self.low - shift) / scale, (self.high - shift) / scale)

    @property
    def is_rounded(self) -> np.ndarray:
        """Which columns (D,) have cells with a width."""
        found: np.ndarray = (self.high > self.low).any(axis=0)
        return found


def cells_of(points: Floats) -> Cells:
    """Return the cells of the rows of a table (N, D)."""
    ends = [_cells_of_column(column) for column in points.T]
    return Cells(*(np.stack(side, axis=1) for side in zip(*ends, strict=True)))


def _cells_of_column(column: Floats) -> tuple[Floats, Floats]:
    values, which, counts = np.unique(column, return_inverse=True, return_counts=True)
    if counts.max() > 1 and (step := step_of(values)):
        return column - step / 2, column + step / 2
    if counts[counts > 1].sum() < TIED * len(column):
        return column, column
    halves = np.diff(values) / 2
    below, above = np.r_[halves[0], halves], np.r_[halves, halves[-1]]
    return (values - below)[which], (values + above)[which]


def step_of(values: Floats) -> float:
    """Return the greatest step of which all differences of values (n,) are multiples, or 0 if there is none.

    >>> round(step_of(np.array([0.5, 1.25, 2.0])), 9)
    0.75
    >>> step_of(np.sqrt([2.0, 3.0, 5.0]))
    0
    """
    for unit in (10.0**-places for places in range(DECIMALS + 1)):
        whole = np.round(values / unit)
        if np.allclose(values / unit, whole, rtol=0, atol=1e-3):
            return unit * int(np.gcd.reduce(np.diff(whole).astype(np.int64)))
    return 0


def spread(cells: Cells, seed: int = 0) -> Floats:
    """Return points (M, P, D) spread evenly in each cell: a Sobol sequence, shifted in each row by chance."""
    rows, dim = cells.low.shape
    if not cells.is_rounded.any():
        return cells.low[:, None]
    shifts = np.random.default_rng(seed).uniform(size=(rows, 1, dim))
    share = (qmc.Sobol(dim, scramble=False).random(POINTS) + shifts) % 1
    return cells.low[:, None] + share * (cells.high - cells.low)[:, None]


def smoothed(cells: Cells, seed: int) -> Floats:
    """Return one random point (M, D) of each cell."""
    return np.random.default_rng(seed).uniform(cells.low, cells.high)


def average(log_density: Callable[[Floats], Floats], cells: Cells) -> Floats:
    """Return the log of the average (M,) over each cell of a density, given by its log at points (n, D)."""
    points = spread(cells)
    found = log_density(points.reshape(-1, points.shape[2])).reshape(points.shape[:2])
    return logsumexp(found, axis=1) - np.log(points.shape[1])


class Gaussians(NamedTuple):
    """A mixture of Gaussian distributions."""

    log_weights: Floats  # (K,)
    means: Floats  # (K, D)
    roots: Floats  # (K, D, D), or (1, D, D) if all are the same: Cholesky factors of the covariances


def average_of(mixture: Gaussians, cells: Cells) -> Floats:
    """Return the log of the average (M,) of a Gaussian mixture over each cell."""
    rows, dim = cells.low.shape
    diagonal = np.array_equal(mixture.roots, mixture.roots * np.eye(dim))
    count = KERNEL_POINTS if len(mixture.means) > MANY else MIXTURE_POINTS
    if diagonal or not cells.is_rounded.any():
        count = 1
    share = (qmc.Sobol(dim, scramble=False).random(count) + 0.5 / count) % 1  # (P, D)
    blocks = np.array_split(np.arange(rows), -(-rows * len(mixture.means) * count // BLOCK))
    found = [_average_of(mixture, cells.take(block), share) for block in blocks]
    return np.concatenate(found)


def _average_of(mixture: Gaussians, cells: Cells, share: Floats) -> Floats:
    total, drawn = mixture.log_weights[:, None, None] - np.log(len(share)), []  # broadcast to (K, M, P)
    for j, rounded in enumerate(cells.is_rounded):
        factor, scale = mixture.roots[:, j], mixture.roots[:, j, j, None, None]
        center = mixture.means[:, j, None, None] + sum(
            factor[:, k, None, None] * e for k, e in enumerate(drawn) if factor[:, k].any()
        )
        low, high = ((side[:, j, None] - center) / scale for side in cells)
        if rounded:
            mass, e = _within(low, high, share[:, j])
            total = total + mass - np.log(cells.high[:, j] - cells.low[:, j])[:, None]
        else:
            total, e = total + norm.logpdf(low) - np.log(scale), low
        drawn.append(e)
    return logsumexp(total, axis=(0, 2))


def _within(low: Floats, high: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Return the log-probabilities of intervals for a standard normal, and the quantiles ``share`` there."""
    mirrored = low > 0  # the lower tail is the exact one
    low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    below, above = log_ndtr(low), log_ndtr(high)
    mass = above + np.log(-np.expm1(below - above))
    found = ndtri_exp(np.logaddexp(above + np.log(share), below + np.log1p(-share)))
    return mass, np.where(mirrored, -found, found)
