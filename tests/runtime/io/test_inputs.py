"""Which inputs are accepted as data, and the errors for those that are not."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from discoformer.errors import InputError
from discoformer.io.inputs import read_matrix, read_weights

ROWS = [[1.0, 2.0], [3.0, 4.5], [5.0, 6.0]]


class OnlyDLPack:
    """An array that has DLPack but not ``__array__``."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (ROWS, None),
        (np.array(ROWS), None),
        (np.asfortranarray(ROWS), None),
        (np.array(ROWS, dtype=object), None),
        (OnlyDLPack(np.array(ROWS)), None),
        (pd.DataFrame(ROWS), None),
        (pd.DataFrame(ROWS, columns=["a", "b"]), ("a", "b")),
        (pd.DataFrame(ROWS, columns=["a", "b"]).convert_dtypes(), ("a", "b")),
        (pl.DataFrame(ROWS, schema=["a", "b"], orient="row"), ("a", "b")),
        (pa.table({"a": [1.0, 3.0, 5.0], "b": [2.0, 4.5, 6.0]}), ("a", "b")),
        (pa.record_batch({"a": [1.0, 3.0, 5.0], "b": [2.0, 4.5, 6.0]}), ("a", "b")),
    ],
)
def test_array_likes(data: Any, columns: tuple[str, ...] | None) -> None:
    matrix = read_matrix("X", data)
    np.testing.assert_array_equal(matrix.values, ROWS)
    assert matrix.values.dtype == np.float64
    assert matrix.columns == columns


@pytest.mark.parametrize(
    ("dtype", "width"),
    [("f2", "f4"), ("f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("u8", "f8"), ("?", "f8"), ("O", "f8")],
)
def test_float_width(dtype: str, width: str) -> None:
    assert read_matrix("X", np.ones((2, 2), dtype)).width == np.dtype(width)


def test_the_input_is_left_alone() -> None:
    data = np.array(ROWS)
    with pytest.raises(ValueError, match="read-only"):
        read_matrix("X", data).values[:] = 0
    assert data.flags.writeable
    np.testing.assert_array_equal(data, ROWS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones(5), r"got \(5,\): pass X\[:, None\] for points in one dimension, X\[None, :\]"),
        (np.ones((2, 2, 2)), r"got \(2, 2, 2\)"),
        (np.ones((3, 0)), r"got \(3, 0\)"),
        (3.0, "must be an array-like, got float"),
        (None, "got NoneType"),
        ({"a": [1.0, 2.0]}, "got dict"),
        ((row for row in ROWS), "got generator"),
        (pl.LazyFrame({"a": [1.0, 2.0]}), r"got a lazy LazyFrame: call collect\(\) first"),
        ([[1, 2], [3]], "must be convertible to a NumPy array, got list"),
        ([["a", "b"]], "dtype <U1"),
        (np.ones((2, 2), complex), "dtype complex128"),
        (pd.DataFrame({"a": [1.0, 2.0, "x"]}), r"only, got 'x' in row 2, column 0 \('a'\)"),
        (pd.DataFrame({"a": ["x", "y"]}), "must have a column of numbers, got none among 1 columns"),
        (np.ma.masked_less(np.array(ROWS), 2.0), "masked"),
    ],
)
def test_no_matrix(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_matrix("X", data)


def test_entries_that_are_not_finite_are_named() -> None:
    data = np.array(ROWS)
    data[1:, 1] = np.nan, np.inf
    with pytest.raises(InputError, match=r"nan in row 1, column 1; 2 of 3 rows"):
        read_matrix("X", data)
    with pytest.raises(InputError, match=r"column 1 \('b'\)"):
        read_matrix("X", pd.DataFrame(data, columns=["a", "b"]))


def test_weights() -> None:
    np.testing.assert_array_equal(read_weights([0, 2, 1], 3), [0.0, 2.0, 1.0])
    for weights in (pd.Series([0, 2, 1]), pl.Series([0, 2, 1])):
        np.testing.assert_array_equal(read_weights(weights, 3), [0.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], r"shape \(3,\).*got \(2,\)"),
        ([[1.0], [1.0], [1.0]], r"got \(3, 1\)"),
        ([1.0, -2.0, -3.0], r"-2.0 in row 1 \(2 such rows\)"),
        ([1.0, 1.0, np.nan], "nan in row 2"),
        ([0.0, 0.0, 0.0], "all be zero"),
        (["a", "b", "c"], "weights must hold real numbers"),
    ],
)
def test_weights_that_are_none(weights: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_weights(weights, 3)


def test_the_missing_value_of_pandas_is_missing() -> None:
    frame = pd.DataFrame({"a": [1.0, 2, 3], "b": pd.array([1, None, 3], dtype="Int64")})
    np.testing.assert_array_equal(read_matrix("X", frame, missing=True).values, [[1, 1], [2, np.nan], [3, 3]])
    with pytest.raises(InputError, match=r"X must be finite, got nan in row 1, column 1 \('b'\)"):
        read_matrix("X", frame)
