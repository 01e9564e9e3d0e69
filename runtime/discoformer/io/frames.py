"""Data frames of pandas and polars, and Arrow tables, column by column; none of these is imported here."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_CATEGORICAL = ("category", "Categorical", "Enum", "dictionary")  # how names of such types begin
_NUMBERS = "biuf"  # kinds of NumPy dtypes


class Column(NamedTuple):
    """A column of a data frame."""

    values: npt.NDArray[np.float64]  # (rows,), NaN where an entry is missing, or is no number
    dtype: np.dtype[Any]
    kind: str  # what it holds, for messages; empty if it holds numbers
    bad: tuple[int, Any] | None  # row and value of the first entry that is neither missing nor a number


def columns_of(data: Any) -> list[Any] | None:
    """Return the columns of a data frame or of an Arrow table, None for anything else."""
    if hasattr(data, "iloc") and getattr(data, "ndim", None) == 2:  # pandas
        return [data.iloc[:, j] for j in range(data.shape[1])]
    if hasattr(data, "itercolumns"):  # Arrow
        return list(data.itercolumns())
    if hasattr(data, "get_columns"):  # polars
        return list(data.get_columns())
    return None


def is_frame(data: Any) -> bool:
    """Return whether ``data`` is a data frame or an Arrow table."""
    return columns_of(data) is not None


def column_names(data: Any) -> tuple[str, ...] | None:
    """Return the column names of a data frame or an Arrow table if all are strings, else None."""
    for attribute in ("column_names", "columns"):
        names = getattr(data, attribute, None)
        if names is not None and len(names) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def read_column(column: Any) -> Column:
    """Read a column of a data frame.

    Text and categories are no numbers, even if they look like some. A column of mixed values holds numbers
    if at least half of its entries that are not missing are numbers.
    """
    array = np.asarray(column)
    rows, own = len(array), str(getattr(column, "dtype", getattr(column, "type", array.dtype)))
    nothing = np.full(rows, np.nan)
    if own.startswith(_CATEGORICAL):
        return Column(nothing, array.dtype, "categorical", _first(array, np.ones(rows, bool)))
    if array.dtype.kind in _NUMBERS:
        values = array.astype(np.float64, copy=False)
        return Column(values, array.dtype, kind_of(rows, int((~np.isnan(values)).sum()), 0), None)
    values, wrong = nothing, np.ones(rows, bool)
    if array.dtype.kind == "O":
        values, wrong = _numbers(array)
    bad = _first(array, wrong)
    kind = kind_of(rows, int((~np.isnan(values)).sum()), int(wrong.sum()))
    if kind == "text" and bad and not isinstance(bad[1], (str, bytes)):
        kind = own
    return Column(values, array.dtype, kind, bad)


def kind_of(rows: int, numbers: int, others: int) -> str:
    """Return what a column holds, given how many of its entries are numbers and how many are other text.

    Returns:
        "text", "empty", or "" if it holds numbers.
    """
    if others > numbers:
        return "text"
    return "empty" if rows and not numbers else ""


def left_out(name: str, count: int, columns: Sequence[str] | None, kinds: Mapping[int, str]) -> str:
    """Return the sentence that names columns that are left out.

    Args:
        name: What they are columns of.
        count: Number of all columns.
        columns: Names of all columns, or None if they have no names.
        kinds: What the columns that are left out hold, by position.
    """
    named = ", ".join(
        f"{repr(columns[j]) if columns else f'column {j}'} ({kind})" for j, kind in kinds.items()
    )
    return f"Left out {len(kinds)} of {count} columns of {name}, which hold no numbers: {named}."


def _numbers(array: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the numbers in a column of objects, and which entries are neither missing nor numbers."""
    values, wrong = np.full(len(array), np.nan), np.zeros(len(array), bool)
    for i, entry in enumerate(array):
        if isinstance(entry, (str, bytes)):
            wrong[i] = True
        elif entry is not None and type(entry).__name__ not in ("NAType", "NaTType"):
            try:
                values[i] = float(entry)
            except (TypeError, ValueError, OverflowError):
                wrong[i] = True
    return values, wrong


def _first(array: npt.NDArray[Any], wrong: npt.NDArray[np.bool_]) -> tuple[int, Any] | None:
    for i in np.flatnonzero(wrong)[:1]:
        return int(i), array[i].item() if isinstance(array[i], np.generic) else array[i]
    return None
