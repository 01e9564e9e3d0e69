"""Of a data frame the columns of numbers are read, by name or all of them; others are left out and named."""

import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from discoformer.errors import DataWarning, InputError
from discoformer.io.inputs import read_matrix

MIXED = {
    "name": ["x", "y", "z"],
    "a": [1.0, None, 3.0],
    "when": [datetime.date(2020, 1, 1)] * 3,
    "b": [4, 5, 6],
}
LIBRARIES = [pd.DataFrame, pl.DataFrame, pa.table]
VALUES = [[1, 4], [np.nan, 5], [3, 6]]


@pytest.mark.parametrize("library", LIBRARIES)
def test_columns_without_numbers_are_left_out_and_named(library: Any) -> None:
    with pytest.warns(
        DataWarning, match=r"^Left out 2 of 4 columns of X, .*: 'name' \(text\), 'when' \("
    ) as caught:
        matrix = read_matrix("X", library(MIXED), missing=True)
    assert len(caught) == 1
    np.testing.assert_array_equal(matrix.values, VALUES)
    assert (matrix.columns, matrix.picked) == (("a", "b"), (1, 3))


@pytest.mark.parametrize("library", LIBRARIES)
def test_wanted_columns_are_picked_by_name(library: Any) -> None:
    matrix = read_matrix("Y", library(MIXED), missing=True, wanted=("b", "a"))
    np.testing.assert_array_equal(matrix.values, np.array(VALUES)[:, ::-1])
    assert (matrix.columns, matrix.picked) == (("b", "a"), (3, 1))
    with pytest.raises(
        InputError, match=r"must have the columns 'b', 'c', 'd', but lacks 'c', 'd': it has 'name', 'a'"
    ):
        read_matrix("Y", library(MIXED), wanted=("b", "c", "d"))
    with pytest.raises(InputError, match=r"real numbers only, got 'x' in row 0, column 0 \('name'\)"):
        read_matrix("Y", library(MIXED), wanted=("name",))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.Categorical([1, 2, 1]), "categorical"),
        (pl.Series(["a", "b", "a"], dtype=pl.Categorical), "categorical"),
        (pl.Series(["a", "b", "a"], dtype=pl.Enum(["a", "b"])), "categorical"),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "categorical"),
        (pd.to_datetime(["2020-01-01"] * 3).tz_localize("UTC"), r"datetime64\[.*, UTC\]"),
        (pd.to_timedelta([1, 2, 3], unit="s"), "timedelta64"),
        (np.array(["1", "2", "3"], dtype=object), "text"),  # even if it looks like numbers
        (np.array([1, "x", "y"], dtype=object), "text"),
        ([None] * 3, "empty"),
        ([np.nan] * 3, "empty"),
    ],
)
def test_kinds_of_columns(column: Any, kind: str) -> None:
    libraries = {"polars": pl.DataFrame, "pyarrow": pa.table}
    library = libraries.get(type(column).__module__.partition(".")[0], pd.DataFrame)
    with pytest.warns(DataWarning, match=rf"Left out 1 of 2 .*: 'c' \({kind}"):
        assert read_matrix("X", library({"a": [1.0, 2.0, 3.0], "c": column})).columns == ("a",)


@pytest.mark.parametrize(
    "column",
    [
        pd.array([1, None, 3], dtype="Int64"),
        pd.array([1, None, 3], dtype="Float32"),
        np.array([1, None, 3], dtype=object),
        np.array([1, pd.NaT, 3], dtype=object),
        pl.Series([1, None, 3]),
        pl.Series(["1", None, "3"]).cast(pl.Decimal(10, 2)),
        pa.array([1, None, 3]),
    ],
)
def test_missing_entries_are_nan(column: Any) -> None:
    libraries = {"polars": pl.DataFrame, "pyarrow": pa.table}
    library = libraries.get(type(column).__module__.partition(".")[0], pd.DataFrame)
    np.testing.assert_array_equal(
        read_matrix("X", library({"a": column}), missing=True).values, [[1], [np.nan], [3]]
    )
    with pytest.raises(InputError, match="X must be finite, got nan in row 1, column 0"):
        read_matrix("X", library({"a": column}))


def test_one_bad_entry_makes_no_column_of_text() -> None:
    with pytest.raises(InputError, match=r"got 'oops' in row 2, column 1 \('b'\)"):
        read_matrix("X", pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 2, "oops"]}))


def test_columns_without_names_are_named_by_position() -> None:
    with pytest.warns(DataWarning, match=r"of X, which hold no numbers: column 0 \(text\)\.$"):
        matrix = read_matrix("X", pd.DataFrame([["x", 1.0], ["y", 2.0]]), wanted=("a",))
    assert (matrix.columns, matrix.picked) == (None, (1,))


def test_columns_of_one_name_are_refused_where_they_are_wanted() -> None:
    frame = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["a", "b", "a"])
    assert read_matrix("Y", frame, wanted=("b",)).values.tolist() == [[2.0]]
    with pytest.raises(InputError, match="Y has more than one column 'a'"):
        read_matrix("Y", frame, wanted=("a",))


def test_the_float_width_is_that_of_the_columns_read() -> None:
    frame = pd.DataFrame({"a": np.ones(2, np.float32), "b": np.ones(2), "s": ["x", "y"]})
    assert read_matrix("Y", frame, wanted=("a",)).width == np.float32
    assert read_matrix("Y", frame, wanted=("a", "b")).width == np.float64
