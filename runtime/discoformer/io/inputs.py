"""Input validation: convert array-likes to float64 arrays and check their values.

Accepted are nested sequences, NumPy arrays, tensors, and objects with ``__array__`` (pandas, polars and Arrow
tables) or ``__dlpack__``. None of these libraries is imported here. Of a data frame, the columns of
numbers are read; columns of text, categories or dates are left out, and a warning names them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.errors import DataWarning, InputError, warn_caller
from discoformer.io.frames import column_names, columns_of, left_out, read_column
from discoformer.io.tensors import is_tensor, on_host

Floats: TypeAlias = npt.NDArray[np.float64]
AnyFloats: TypeAlias = npt.NDArray[np.floating[Any]]

GREATEST = 2**63 - 1  # number of rows, steps and the like that an argument may be
_SHOWN = 80  # most characters of a value in a message


@dataclass(frozen=True)
class Matrix:
    """A checked matrix of numbers, with NaN for missing entries if these are allowed."""

    values: Floats  # (rows, D)
    width: np.dtype[Any]  # float32 if the input was float32 or narrower, else float64
    columns: tuple[str, ...] | None  # column names, or None if the input has none
    picked: tuple[int, ...] | None = None  # positions (D,) of the columns in the input; None for all in order
    rows: npt.NDArray[np.intp] | None = None  # numbers of the rows in the input; None for all in order

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the values, so that a matrix can be read again."""
        return np.array(self.values, dtype=dtype, copy=copy)


def read_matrix(
    name: str,
    data: Any,
    missing: bool = False,
    wanted: Sequence[str] | None = None,
    keep_empty: bool = False,
) -> Matrix:
    """Convert an array-like of shape (rows, D) to a checked matrix.

    Args:
        name: Name of the argument, for error messages.
        data: The array-like.
        missing: Whether entries may be NaN, which means missing.
        wanted: Names of the columns to pick, if ``data`` has names. Other columns may hold anything. By
            default all columns of numbers are picked.
        keep_empty: Whether this includes columns of a data frame in which every entry is missing.

    Raises:
        InputError: ``data`` is not a matrix of finite real numbers, or a wanted column is absent or twice.

    Warns:
        DataWarning: Columns are left out because they hold no numbers.
    """
    if hasattr(data, "collect") and not hasattr(data, "__array__"):
        raise InputError(
            f"{name} must hold its values, got a lazy {type(data).__name__}: call collect() first"
        )
    columns = column_names(data)
    named = columns is not None and wanted is not None
    picked = _positions(name, columns or (), wanted or ()) if named else None
    frame = columns_of(data)
    if frame is not None:
        return _read_frame(name, frame, columns, picked, missing, keep_empty)
    array = _as_array(name, data)
    check_shape(name, array.shape)
    values = _as_float64(name, array, columns).view()
    if picked is not None:
        values, columns = values[:, picked], names_of(picked, columns)
    values.flags.writeable = False  # the memory may belong to the caller
    check_finite(name, values, columns, missing)
    return Matrix(values, _float_width(array.dtype), columns, picked)


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Check that a shape is that of a matrix.

    Raises:
        InputError: It is not.
    """
    if len(shape) == 1:
        raise InputError(
            f"{name} must have shape (rows, columns), got {shape}: "
            f"pass {name}[:, None] for points in one dimension, {name}[None, :] for a single point"
        )
    if len(shape) != 2 or shape[1] == 0:
        raise InputError(f"{name} must have shape (rows, columns) with 1 column or more, got {shape}")


def _read_frame(
    name: str,
    frame: Sequence[Any],
    columns: tuple[str, ...] | None,
    picked: tuple[int, ...] | None,
    missing: bool,
    keep_empty: bool,
) -> Matrix:
    """Read the picked columns of a data frame, or all that hold numbers."""
    read = {j: read_column(frame[j]) for j in (range(len(frame)) if picked is None else picked)}
    if picked is None:
        kept = ("", "empty") if keep_empty else ("",)
        kinds = {j: column.kind for j, column in read.items() if column.kind not in kept}
        picked = tuple(j for j in read if j not in kinds)
        if not picked:
            raise InputError(f"{name} must have a column of numbers, got none among {len(frame)} columns")
        if kinds:
            warn_caller(left_out(name, len(frame), columns, kinds), DataWarning)
    for j in picked:
        if bad := read[j].bad:
            raise _no_number(name, bad[1], f"row {bad[0]}, {describe_column(j, columns)}")
    values = np.column_stack([read[j].values for j in picked])
    values.flags.writeable = False
    names = names_of(picked, columns)
    check_finite(name, values, names, missing)
    width = _float_width(np.result_type(*(read[j].dtype for j in picked)))
    return Matrix(values, width, names, picked)


def _positions(name: str, columns: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of the wanted columns."""
    absent = [column for column in wanted if column not in columns]
    if absent:
        raise InputError(
            f"{name} must have the columns {', '.join(map(repr, wanted))}, but lacks "
            f"{', '.join(map(repr, absent))}: it has {', '.join(map(repr, columns))}"
        )
    twice = [column for column in wanted if columns.count(column) > 1]
    if twice:
        raise InputError(f"{name} has more than one column {twice[0]!r}: rename them, or drop all but one")
    return tuple(columns.index(column) for column in wanted)


def read_weights(weights: Any, rows: int) -> Floats:
    """Convert row weights to a float64 array (rows,): finite, nonnegative, not all zero.

    Raises:
        InputError: The weights have another shape, or invalid values.
    """
    array = _as_float64("weights", _as_array("weights", weights))
    if array.shape != (rows,):
        raise InputError(f"weights must have shape ({rows},), one for each row of X, got {array.shape}")
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if bad.size:
        raise InputError(
            f"weights must be finite and not negative, got {array[bad[0]]} in row {bad[0]}"
            + (f" ({bad.size} such rows)" if bad.size > 1 else "")
            + ": use 0 to ignore a row"
        )
    if not array.any():
        raise InputError("weights must not all be zero: give at least one row a positive weight")
    return array


def is_real(value: Any) -> bool:
    """Return whether a value is a real number, of Python or NumPy; not NaN, nor beyond float64."""
    return isinstance(value, Real) and not math.isnan(as_float(value))


def as_float(value: Any) -> float:
    """Convert a value to a float, NaN if it is no number, or if float64 cannot hold it."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def whole_number(name: str, value: Any, least: int, most: float = GREATEST) -> int:
    """Check that a value is a whole number from ``least`` to ``most``, and return it as an int.

    Raises:
        InputError: The value is not a whole number, or not in this range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        limit = f", {most} at most" if is_real(value) and value > most else ""
        raise InputError(f"{name} must be a whole number, {least} or more{limit}, got {shown(value)}")
    return int(value)


def read_seed(seed: Any) -> int:
    """Check that a seed is a whole number of 0 or more, of any size, and return it as an int.

    Raises:
        InputError: It is not.
    """
    return whole_number("seed", seed, 0, math.inf)


def shown(value: Any) -> str:
    """Return a value as messages show it: a long one is cut."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__} of very many digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def describe_column(index: int, columns: Sequence[str] | None) -> str:
    """Return how messages refer to a column: by its index, and by its name if it has one."""
    return f"column {index}" if columns is None else f"column {index} ({columns[index]!r})"


def names_of(indices: Iterable[int], columns: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of the columns at the given positions, or None if the columns have no names."""
    return None if columns is None else tuple(columns[j] for j in indices)


def _as_array(name: str, data: Any) -> npt.NDArray[Any]:
    masks = isinstance(getattr(data, "mask", None), np.ndarray)
    if masks and np.ma.is_masked(data):  # in this order: importing numpy.ma takes long
        raise InputError(f"{name} must not have masked entries: drop or fill them first")
    if is_tensor(data):
        data = on_host(name, data)
    try:
        if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
            return np.from_dlpack(data)
        array = np.asarray(data)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise InputError(
            f"{name} must be convertible to a NumPy array, got {type(data).__name__} ({error}): "
            "pass a NumPy array"
        ) from error
    if array.ndim == 0:
        raise InputError(
            f"{name} must be an array-like, got {type(data).__name__}: pass a NumPy array or lists"
        )
    return array


def _as_float64(name: str, array: npt.NDArray[Any], columns: Sequence[str] | None = None) -> Floats:
    if array.dtype.kind not in "biufO":
        raise InputError(
            f"{name} must hold real numbers, got dtype {array.dtype}: convert it to numbers first"
        )
    try:
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(array.shape)
        for at, value in np.ndenumerate(array):
            values[at] = _number(name, value, at, columns)
        return values


def _number(name: str, value: Any, at: tuple[int, ...], columns: Sequence[str] | None) -> float:
    """Convert one entry to a float; ``pandas.NA``, which float() rejects, becomes NaN."""
    if type(value).__name__ == "NAType":
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        where = f"row {at[0]}" + (f", {describe_column(at[1], columns)}" if len(at) == 2 else "")
        raise _no_number(name, value, where) from error


def _no_number(name: str, value: Any, where: str) -> InputError:
    beyond = ", beyond float64," if isinstance(value, Real) else ""
    return InputError(
        f"{name} must hold real numbers only, got {shown(value)}{beyond} in {where}: leave the column out, "
        "or encode it as numbers"
    )


def _float_width(dtype: np.dtype[Any]) -> np.dtype[Any]:
    narrow = dtype.kind == "f" and dtype.itemsize <= 4
    return np.dtype(np.float32 if narrow else np.float64)


def check_finite(
    name: str, values: Floats, columns: Sequence[str] | None = None, missing: bool = False
) -> None:
    """Check that a matrix is finite, but for NaN if entries may be missing.

    Raises:
        InputError: It is not.
    """
    finite = ~np.isinf(values) if missing else np.isfinite(values)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    raise InputError(
        f"{name} must be finite, got {values[row, column]} in row {row}, {describe_column(column, columns)}; "
        f"{np.count_nonzero(~finite.all(axis=1))} of {len(values)} rows are affected: drop or impute them"
    )
