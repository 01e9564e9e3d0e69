"""Duplicates: rows that repeat others. If the values were not rounded, they are copies, and tell nothing new.

In rounded tables rows repeat others by chance, and so do rows at values that stand for many, such as zeros.
Rows are copies if two things hold. Their multiplicities are even: Kish's size of the different rows, with
their multiplicities as weights, is not far below their number. And one column was not rounded: many of its
values have many digits, their steps are irregular, and different rows seldom share one.

The effective size is then Kish's size of the different rows.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.io.inputs import Floats

MANY = 0.05  # share of the rows from which on duplicates matter
EVEN = 0.7  # least effective size of copies, as a share of the different rows; a bootstrap sample has 0.79
SHARED = 0.1  # greatest share of different rows that share their value in a column that was not rounded
FEWEST = 5  # different values that can tell a lattice
OFF = 0.01  # steps of a lattice are multiples of the least one, up to this
REGULAR = 0.1  # median log-ratio of steps side by side, below which values are a function of whole numbers
DIGITS = 5  # rounded values have so many significant digits, or fewer
FLOAT32 = 1e-7  # relative rounding error of float32


class Duplicates(NamedTuple):
    """The duplicates in a sample."""

    rows: npt.NDArray[np.intp]  # positions of the rows that repeat another
    size: float | None  # effective size of the different rows, if the duplicates are copies


def find_duplicates(points: Floats, w: Floats) -> Duplicates | None:
    """Find the duplicates among sorted points (N, D) of weights (N,) of sum 1; None if there are few."""
    repeats = np.zeros(len(points), bool)
    near = 1 + np.flatnonzero(points[1:, 0] == points[:-1, 0])
    repeats[near] = (points[near] == points[near - 1]).all(axis=1)
    if repeats.sum() < max(1.0, MANY * len(points)):
        return None
    first = np.flatnonzero(~repeats)
    size = float(1 / np.sum(np.add.reduceat(w, first) ** 2))
    copies = size >= EVEN * len(first) and any(map(_unrounded, points[first].T))
    return Duplicates(np.flatnonzero(repeats), size if copies else None)


def _unrounded(column: Floats) -> bool:
    """Return whether a column of different rows has many values, with many digits and irregular steps."""
    values = np.unique(column)
    if len(values) < max(FEWEST, (1 - SHARED) * len(column)):
        return False
    with np.errstate(all="ignore"):
        unit = 10.0 ** (np.floor(np.log10(np.abs(values))) + 1 - DIGITS)
        long = np.abs(values - np.rint(values / unit) * unit) > FLOAT32 * np.abs(values)
    steps = np.diff(values)
    multiples = steps / steps.min()
    lattice = (np.abs(multiples - np.rint(multiples)) < OFF).all()
    regular = np.median(np.abs(np.diff(np.log(steps)))) < REGULAR
    return bool(long.mean() > 0.5 and not lattice and not regular)
