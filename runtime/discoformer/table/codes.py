"""Values that look like codes for missing values, such as -999 or 1e6: repeated, and far outside the others.

With the central nine tenths of a column of width c, a value looks like a code if it stands in ``REPEATED``
rows or more, lies more than ``BEYOND c`` outside the centre, and a gap of half that way is before it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.io.inputs import Floats

REPEATED = 3  # least number of rows
MOST = 0.25  # greatest share of the rows
CENTRAL = (0.05, 0.95)  # quantiles
BEYOND = 10.0  # widths of the central part
GAP = 0.5  # of the distance from the centre


class Code(NamedTuple):
    """A value that looks like a code."""

    column: int
    value: float


def codes_in(points: Floats) -> list[Code]:
    """Return the values of points (N, D) that look like codes."""
    ends = points.min(axis=0), points.max(axis=0)
    repeated = [np.count_nonzero(points == end, axis=0) >= REPEATED for end in ends]
    columns = np.flatnonzero(repeated[0] | repeated[1]).tolist()
    return [Code(j, value) for j in columns for value in _codes_of(points[:, j])]


def _codes_of(column: Floats) -> list[float]:
    values, counts = np.unique(column, return_counts=True)
    often = (counts >= REPEATED) & (counts <= MOST * len(column))
    others = column[~np.isin(column, values[[0, -1]][often[[0, -1]]])]
    if not len(others):
        return []
    low, high = np.quantile(others, CENTRAL, method="inverted_cdf")
    width = high - low or np.ptp(others)
    upper = _beyond_a_gap(values - high, BEYOND * width)
    lower = _beyond_a_gap(low - values[::-1], BEYOND * width)[::-1]
    found: list[float] = values[often & (upper | lower) & (width > 0)].tolist()
    return found


def _beyond_a_gap(distance: Floats, least: float) -> npt.NDArray[np.bool_]:
    """Return which ascending distances lie at the end of the first gap beyond the least, or farther out."""
    ends = (distance > least) & (np.diff(distance, prepend=-np.inf) >= GAP * distance)
    return np.cumsum(ends) > 0
