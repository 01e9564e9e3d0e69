"""Array-likes in: whatever holds a table of numbers becomes a float64 matrix with checked values.

Accepted are nested sequences, NumPy arrays, anything with ``__array__`` (pandas, polars and Arrow tables, CPU
tensors) or DLPack (``__dlpack__``). None of these libraries is imported here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError

Floats: TypeAlias = npt.NDArray[np.float64]
AnyFloats: TypeAlias = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Matrix:
    """A table of numbers, finite or, where they may be, missing; read once and checked."""

    values: Floats  # (rows, D)
    width: np.dtype[Any]  # float32 if that is what came in (or less), else float64
    columns: tuple[str, ...] | None  # names, where the input had any


def read_matrix(name: str, data: Any, missing: bool = False) -> Matrix:
    """Reads an array-like of shape (rows, D) with finite real entries.

    Args:
        name: Name of the argument, for error messages.
        data: The array-like.
        missing: Whether entries may be missing, NaN.

    Raises:
        InputError: Not a matrix of finite real numbers.
    """
    if hasattr(data, "collect") and not hasattr(data, "__array__"):
        raise InputError(f"{name} is a lazy {type(data).__name__}: collect() it first")
    columns = column_names(data)
    array = _as_array(name, data)
    if array.ndim == 1:
        raise InputError(
            f"{name} must have shape (rows, columns), got {array.shape}: "
            f"pass {name}[:, None] for points in one dimension, {name}[None, :] for a single point"
        )
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{name} must have shape (rows, columns) with 1 column or more, got {array.shape}")
    values = _as_float64(name, array, columns).view()
    values.flags.writeable = False  # it may be the caller's own
    _check_finite(name, values, columns, missing)
    return Matrix(values, _float_width(array), columns)


def read_weights(weights: Any, rows: int) -> Floats:
    """Reads row weights: shape (rows,), finite, not negative, with a positive sum.

    Raises:
        InputError: One of these does not hold.
    """
    array = _as_float64("weights", _as_array("weights", weights))
    if array.shape != (rows,):
        raise InputError(f"weights must have shape ({rows},), one for each row of X, got {array.shape}")
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if bad.size:
        raise InputError(
            f"weights must be finite and not negative, got {array[bad[0]]} in row {bad[0]}"
            + (f" ({bad.size} such rows)" if bad.size > 1 else "")
        )
    if not array.any():
        raise InputError("weights must not all be zero")
    return array


def is_real(value: Any) -> bool:
    """Whether a value is a real number, NumPy's included."""
    return isinstance(value, Real)


def whole_number(name: str, value: Any, least: int) -> int:
    """Reads a whole number of ``least`` or more.

    Raises:
        InputError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} must be a whole number, {least} or more, got {value!r}")
    return int(value)


def column_names(data: Any) -> tuple[str, ...] | None:
    """The column names of a data frame or an Arrow table, if it has names that are all strings."""
    for attribute in ("column_names", "columns"):
        names = getattr(data, attribute, None)
        if names is not None and len(names) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def describe_column(index: int, columns: Sequence[str] | None) -> str:
    """How a column is called in messages: by its index, and by its name where it has one."""
    return f"column {index}" if columns is None else f"column {index} ({columns[index]!r})"


def _as_array(name: str, data: Any) -> npt.NDArray[Any]:
    masks = isinstance(getattr(data, "mask", None), np.ndarray)
    if masks and np.ma.is_masked(data):  # in this order, for numpy.ma takes long to import
        raise InputError(f"{name} has masked entries: drop or fill them first")
    try:
        if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
            return np.from_dlpack(data)
        array = np.asarray(data)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise InputError(
            f"{name} cannot be read as an array ({type(data).__name__}: {error}); "
            "pass a NumPy array, or move it to host memory first"
        ) from error
    if array.ndim == 0:
        raise InputError(
            f"{name} must be an array-like, got {type(data).__name__}: pass a NumPy array or lists"
        )
    return array


def _as_float64(name: str, array: npt.NDArray[Any], columns: Sequence[str] | None = None) -> Floats:
    if array.dtype.kind not in "biufO":
        raise InputError(f"{name} must hold real numbers, got dtype {array.dtype}")
    try:
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        values = np.empty(array.shape)
        for at, value in np.ndenumerate(array):
            values[at] = _number(name, value, at, columns)
        return values


def _number(name: str, value: Any, at: tuple[int, ...], columns: Sequence[str] | None) -> float:
    """Reads one cell; the missing value of pandas, which is no float, as NaN."""
    if type(value).__name__ == "NAType":
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        where = f"row {at[0]}" + (f", {describe_column(at[1], columns)}" if len(at) == 2 else "")
        raise InputError(
            f"{name} must hold real numbers only, got {value!r} in {where}: leave the column out, or say it "
            "in numbers"
        ) from error


def _float_width(array: npt.NDArray[Any]) -> np.dtype[Any]:
    narrow = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    return np.dtype(np.float32 if narrow else np.float64)


def _check_finite(name: str, values: Floats, columns: Sequence[str] | None, missing: bool) -> None:
    finite = ~np.isinf(values) if missing else np.isfinite(values)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    raise InputError(
        f"{name} must be finite, got {values[row, column]} in row {row}, {describe_column(column, columns)}; "
        f"{np.count_nonzero(~finite.all(axis=1))} of {len(values)} rows are affected: drop or impute them"
    )
