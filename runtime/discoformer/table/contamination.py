"""Contamination of a sample: rows far out, copies, and codes for missing values. They are found, and told.

Rows far out are left out of the reading. Copies count once in the effective size. Codes are told, no more.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.io.inputs import Floats, describe_column
from discoformer.table.codes import codes_in
from discoformer.table.duplicates import Duplicates, find_duplicates
from discoformer.table.outlying import FAR, Flags, outlying

_NAMED = 5  # most rows, columns or codes that a message names
_OUTSIDE = 10.0  # a message names the columns that are so many ranges of the other rows off

Numbers = npt.NDArray[np.intp]


class Contamination(NamedTuple):
    """What was found in a sample."""

    left_out: float = 0.0  # share of the weight in rows that were left out, because they lie far out
    copied: float = 0.0  # share of the rows read that are copies of others; 0 if the size was given
    tied: float = 0.0  # share of the rows read that repeat others otherwise; 0 if it is small
    codes: str = ""  # values that look like codes for missing values, with columns and rows
    doubts: tuple[str, ...] = ()  # one sentence for each of these, except ties
    doubt_of_ties: str = ""


class Clean(NamedTuple):
    """A sample without the rows far out."""

    points: Floats  # (n, D) data units
    weights: Floats  # (n,) of sum 1
    effective_size: float | None  # None for Kish's
    contamination: Contamination


def clean(
    points: Floats,
    w: Floats,
    effective_size: float | None,
    rows: Numbers,
    columns: Sequence[str] | None,
) -> Clean:
    """Leave out rows far out, and count copies once in the effective size, unless it is given.

    Args:
        points: (N, D), finite and sorted, data units.
        w: Weights (N,), positive, of sum 1.
        effective_size: Of all rows, or None for Kish's.
        rows: Numbers (N,) of the rows in the table of the user, for messages.
        columns: Names of the columns, or None.
    """
    if not len(points):
        return Clean(points, w, effective_size, Contamination())
    doubts: list[str] = []
    codes = _codes(points, rows, columns)
    out = outlying(points, w, 1 / float(w @ w) if effective_size is None else effective_size)
    left_out = float(w[out].sum())
    if out.any():
        doubts.append(describe_rows_far_out(points, out, rows, columns))
        points, w, rows = points[~out], w[~out] / w[~out].sum(), rows[~out]
        effective_size = None if effective_size is None else max(1.0, (1 - left_out) * effective_size)
    copied, tied, doubt_of_ties = 0.0, 0.0, ""
    if effective_size is None and (duplicates := find_duplicates(points, w)):
        share, effective_size = len(duplicates.rows) / len(points), duplicates.size
        told = _of_duplicates(duplicates, rows)
        if effective_size is None:
            tied, doubt_of_ties = share, told
        else:
            copied = share
            doubts.append(told)
    if codes:
        doubts.append(
            f"X has values that look like codes for missing values: {codes}. Replace them by NaN and pass "
            "missing='drop', or leave these rows out."
        )
    found = Contamination(left_out, copied, tied, codes, tuple(doubts), doubt_of_ties)
    return Clean(points, w, effective_size, found)


def describe_rows_far_out(points: Floats, out: Flags, rows: Numbers, columns: Sequence[str] | None) -> str:
    """Return the sentence that names the rows that are out, of points (N, D); see ``clean``."""
    low, high = points[~out].min(axis=0), points[~out].max(axis=0)
    with np.errstate(over="ignore"):
        off = np.maximum(low - points[out], points[out] - high).max(axis=0) > _OUTSIDE * (high - low)
    named = (describe_column(j, columns) for j in np.flatnonzero(off).tolist())
    where = f", with values far from the others in {_list(named)}" if off.any() else ""
    return (
        f"Left out {out.sum()} of {len(out)} rows of X, which lie more than {FAR:g} times as far out as the "
        f"central three quarters: {_numbers(rows[out])}{where}. Correct or remove them."
    )


def _of_duplicates(found: Duplicates, rows: Numbers) -> str:
    which = f"{len(found.rows)} of {len(rows)} rows of X repeat others ({_numbers(rows[found.rows])})"
    if found.size is None:
        return f"{which}. If they are rounded, pass rounding={{column: step}}. If they are copies, drop them."
    return (
        f"{which}, though values are not rounded. They count as copies: the effective size is "
        f"{found.size:.4g}. Drop the copies, or pass effective_size if they were measured apart."
    )


def _codes(points: Floats, rows: Numbers, columns: Sequence[str] | None) -> str:
    """Return the values that look like codes, their columns and their rows; empty if there are none."""
    named = [
        f"{value:.10g} in {describe_column(j, columns)} ({_numbers(rows[points[:, j] == value])})"
        for j, value in codes_in(points)
    ]
    return _list(named)


def _numbers(rows: Numbers) -> str:
    return f"row{'s' * (len(rows) > 1)} {_list(map(str, np.sort(rows).tolist()))}"


def _list(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    names = list(names)
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
