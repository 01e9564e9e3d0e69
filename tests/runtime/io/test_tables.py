"""Files are read whole and block by block, and errors name the place of a bad cell."""

import csv
import io
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from discoformer.errors import DataWarning, InputError, MissingExtraError
from discoformer.io import readers
from discoformer.io.files import atomic
from discoformer.io.tables import Table, open_rows, read_table
from discoformer.io.text import STDIN

VALUES = np.array([[1.5, -2.0, 1e-300], [0.1, 7.0, np.pi]])
NAMES = ("a", "b c", 'd"')
SUFFIXES = (".csv", ".npy", ".parquet")


def save(path: Path, names: Sequence[str], values: npt.NDArray[np.generic]) -> Path:
    """Write a matrix with the libraries csv, NumPy or pyarrow."""
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([names, *values.tolist()])
    elif path.suffix == ".npy":
        np.save(path, values)
    else:
        pq.write_table(pa.table(list(values.T), names=names), path)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_file_is_read_as_it_was_written(tmp_path: Path, suffix: str, dtype: type) -> None:
    values = VALUES.astype(dtype)
    table = read_table(save(tmp_path / f"table{suffix}", NAMES, values))
    np.testing.assert_array_equal(table.values, values)
    assert table.values.dtype == (np.float32 if dtype is np.float32 and suffix != ".csv" else np.float64)
    assert table.columns == (None if suffix == ".npy" else NAMES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blocks_together_are_the_file(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "BLOCK", 4)
    values = np.random.default_rng(0).normal(size=(10, 3))
    path = save(tmp_path / f"table{suffix}", NAMES, values)
    with open_rows(path) as rows:
        assert (rows.dim, rows.length) == (3, None if suffix == ".csv" else 10)
        blocks = list(rows.blocks)
    assert [len(block) for block in blocks] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(blocks), values)
    np.testing.assert_array_equal(read_table(path).values, values)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_before_a_bad_one_are_given(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BLOCK", 4)
    values = np.arange(30.0).reshape(10, 3)
    values[6, 1] = np.inf
    path, given = save(tmp_path / f"table{suffix}", NAMES, values), []
    place = "line 8: column 'b c'" if suffix == ".csv" else "row 7: column "
    with (
        open_rows(path) as rows,
        pytest.raises(InputError, match=f"{place}.* holds 'inf'.*not a finite number"),
    ):
        given.extend(rows.blocks)
    np.testing.assert_array_equal(np.concatenate(given), values[:6])


def test_a_missing_value_in_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": [3, None]}), path)
    with pytest.raises(InputError, match="row 2: column 'b'"):
        read_table(path)
    np.testing.assert_array_equal(read_table(path, ["a"]).values, [[1], [2]])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"table{suffix}", ("a", "b"), np.arange(200_000.0).reshape(-1, 2))
    with open_rows(path) as rows:
        tracemalloc.start()
        count = sum(len(block) for block in rows.blocks)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 200 * readers.BLOCK * rows.dim  # bytes: a few lists of Python numbers


def test_memory_of_arrow_does_not_grow_with_the_row_groups(tmp_path: Path) -> None:
    """With a single call of ``iter_batches``, it would be 16 MB."""
    path, rows_of_group = tmp_path / "table.parquet", 4 * readers.BLOCK
    values = pa.table({"a": np.random.default_rng(0).normal(size=64 * rows_of_group)})
    pq.write_table(values, path, row_group_size=rows_of_group)
    before, most = pa.total_allocated_bytes(), 0
    with open_rows(path) as rows:
        for _ in rows.blocks:
            most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < 2e6


def test_small_row_groups_are_read_together(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"a": np.arange(1000.0)}), path, row_group_size=10)
    with open_rows(path) as rows:
        (block,) = rows.blocks
    np.testing.assert_array_equal(block[:, 0], np.arange(1000))


def test_stdin_is_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa,\xc3\xbc\r\n1,2\r\n"), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", text)
    table = read_table(STDIN, ["ü"])
    np.testing.assert_array_equal(table.values, [[2]])
    assert table.columns == ("ü",)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_choosing_columns(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"table{suffix}", ("a", "b", "c"), VALUES)
    table = read_table(path, ["c", "a"])
    np.testing.assert_array_equal(table.values, VALUES[:, [2, 0]])
    assert table.columns == ("c", "a")
    with pytest.raises(InputError, match="has no column x, y; it has a, b, c"):
        read_table(path, ["a", "x", "y"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_of_one_name_are_refused_where_they_are_chosen(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"table{suffix}", ("a", "b", "a"), VALUES)
    np.testing.assert_array_equal(read_table(path, ["b"]).values, VALUES[:, [1]])
    with pytest.raises(InputError, match="more than one column 'a'"):
        read_table(path)


def test_other_columns_may_hold_anything(tmp_path: Path) -> None:
    text, parquet = tmp_path / "t.csv", tmp_path / "t.parquet"
    text.write_text("name,a\nfoo,1\nbar,2\n")
    pq.write_table(pa.table({"name": ["foo", "bar"], "a": [1, 2]}), parquet)
    for path in (text, parquet):
        np.testing.assert_array_equal(read_table(path, ["a"]).values, [[1], [2]])
        with pytest.warns(DataWarning, match=r"Left out 1 of 2 columns of .*: 'name' \((text|string)\)"):
            assert read_table(path).columns == ("a",)
    with pytest.raises(
        InputError, match=r"t\.csv, line 2: column 'name' holds 'foo', which is not a finite number"
    ):
        read_table(text, ["a", "name"])
    with pytest.raises(InputError, match=r"t\.parquet: column 'name' must hold numbers, got string"):
        read_table(parquet, ["a", "name"])


def test_a_table_is_an_array_with_names() -> None:
    table = Table(VALUES, ("a", "b", "w"))
    np.testing.assert_array_equal(np.asarray(table), VALUES)
    rest, weights = table.split_off("b")
    np.testing.assert_array_equal(rest.values, VALUES[:, [0, 2]])
    np.testing.assert_array_equal(weights, VALUES[:, 1])
    assert rest.columns == ("a", "w")
    with pytest.raises(InputError, match="no column 'x'; there are a, b, w"):
        table.split_off("x")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("1,2\n3,4\n", None),
        ("a,b\r\n1,2\r\n\r\n3,4\r\n", ("a", "b")),
        ("\ufeffa, b\n1, 2\n3,4", ("a", "b")),
        ('"a,1","b\n2"\n1,2\n3,4\n', ("a,1", "b\n2")),
    ],
)
def test_csv_dialects(tmp_path: Path, text: str, columns: tuple[str, ...] | None) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    table = read_table(path)
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])
    assert table.columns == columns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,\n", "line 3: column 'b' has a missing cell"),
        ("1,2\n3,n/a\n", "line 2: column 2 has a missing cell"),
        ("1,2\n3,4\n5,oops\n", "line 3: column 2 holds 'oops', which is not a finite number; remove"),
        (
            "a;b\n1;2,5\n3;4.5\n5;6,5",
            "line 3: column 'b' holds '4.5', which is not a finite number with a dec",
        ),
        ("name\nfoo\n", "must have a column of numbers, got none among 1 columns"),
        ("a,b\n1,2\n3\n", "line 3: found 1 cells, needed 2"),
        ("a,b\n", "must have one row of numbers or more"),
        ("", "must have one row of numbers or more"),
    ],
)
def test_csv_cells_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(path)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    for name in ("t.csv", "t.npy", "t.parquet"):
        (tmp_path / name).write_bytes(b"\xff\x00\x01 neither")
        with pytest.raises(InputError, match=name):
            read_table(tmp_path / name)
    for array in (np.ones(3), np.array([["a"]])):
        np.save(tmp_path / "t.npy", array)
        with pytest.raises(InputError, match="must hold a matrix of real numbers"):
            read_table(tmp_path / "t.npy")
    with pytest.raises(
        InputError, match=r"must end in one of \.csv, \.tsv, \.txt, \.npy, \.parquet, or text in \.gz"
    ):
        read_table(tmp_path / "t.xls")
    (tmp_path / "t.npy").write_bytes(b"")
    with pytest.raises(InputError, match="not an NPY file"):
        read_table(tmp_path / "t.npy")


def test_columns_without_names_are_numbered_by_pandas(tmp_path: Path) -> None:
    """A header of 0, 1, 2 is not read as data."""
    data = pd.DataFrame(VALUES)
    data.to_csv(tmp_path / "t.csv", index=False)
    table = read_table(tmp_path / "t.csv")
    assert table.columns == tuple(map(str, range(VALUES.shape[1])))
    np.testing.assert_array_equal(table.values, VALUES)
    np.testing.assert_array_equal(read_table(tmp_path / "t.csv", ["1"]).values, VALUES[:, 1:2])
    data.to_csv(tmp_path / "index.csv")
    with pytest.raises(InputError, match="a column without a name, perhaps an index"):
        read_table(tmp_path / "index.csv")
    np.testing.assert_array_equal(read_table(tmp_path / "index.csv", table.columns).values, VALUES)


def test_other_first_rows_of_numbers_are_data(tmp_path: Path) -> None:
    for first in ("0\n", "1,2\n", "0,1.0\n", "0,2\n"):
        (tmp_path / "t.csv").write_text(first * 3)
        assert read_table(tmp_path / "t.csv").columns is None
        assert len(read_table(tmp_path / "t.csv").values) == 3


def test_names_need_a_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("1,2\n")
    np.save(tmp_path / "t.npy", VALUES)
    for name in ("t.csv", "t.npy"):
        with pytest.raises(InputError, match="no column names to choose"):
            read_table(tmp_path / name, ["a"])


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")

    def fail() -> None:
        with atomic(path) as file:
            file.write(b"half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["t.csv"]


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = save(tmp_path / "t.parquet", ("a",), np.random.default_rng(0).normal(size=(1000, 1)))
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"t\.parquet cannot be read to its end"):
        read_table(path)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "t.parquet", ("a",), np.ones((1, 1)))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    with pytest.raises(MissingExtraError, match=r"pip install pyarrow"):
        read_table(path)


def test_underscores_make_no_numbers(tmp_path: Path) -> None:
    """Python reads 2019_01 as a number, but in a file it is a name."""
    path = tmp_path / "t.csv"
    path.write_text("2019_01,2019_02\n1,2\n")
    assert read_table(path).columns == ("2019_01", "2019_02")
    path.write_text("a\n1\n1_0\n")
    with pytest.raises(InputError, match="holds '1_0'"):
        read_table(path)
