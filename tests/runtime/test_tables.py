"""Files in and out, and the place that an error names."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from discoformer.errors import InputError, MissingExtraError
from discoformer.tables import SUFFIXES, Table, atomic, read_table, write_table

VALUES = np.array([[1.5, -2.0, 1e-300], [0.1, 7.0, np.pi]])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(tmp_path: Path, suffix: str, dtype: type) -> None:
    path, values = tmp_path / f"table{suffix}", VALUES.astype(dtype)
    write_table(path, ("a", "b c", 'd"'), values)
    table = read_table(path)
    np.testing.assert_array_equal(table.values.astype(dtype), values)
    assert table.columns == (None if suffix == ".npy" else ("a", "b c", 'd"'))
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_choosing_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    write_table(path, ("a", "b", "c"), VALUES)
    table = read_table(path, ["c", "a"])
    np.testing.assert_array_equal(table.values, VALUES[:, [2, 0]])
    assert table.columns == ("c", "a")
    with pytest.raises(InputError, match="has no column x, y; it has a, b, c"):
        read_table(path, ["a", "x", "y"])


def test_other_columns_may_hold_anything(tmp_path: Path) -> None:
    csv, parquet = tmp_path / "t.csv", tmp_path / "t.parquet"
    csv.write_text("name,a\nfoo,1\nbar,2\n")
    pq.write_table(pa.table({"name": ["foo", "bar"], "a": [1, 2]}), parquet)
    for path in (csv, parquet):
        np.testing.assert_array_equal(read_table(path, ["a"]).values, [[1], [2]])
    with pytest.raises(InputError, match=r"t\.csv, line 2: column 'name' holds 'foo', which is no number"):
        read_table(csv)
    with pytest.raises(InputError, match=r"t\.parquet: column 'name' holds string"):
        read_table(parquet)


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
        ("a,b\n1,2\n3,\n", "line 3: column 'b' is missing"),
        ("1,2\n3,n/a\n", "line 2: column 2 holds 'n/a'"),
        ("5.1,setosa\n4.9,setosa\n", "line 1: column 2 holds 'setosa'"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells, where 2 are needed"),
        ("a,b\n", "no rows of numbers"),
        ("", "no rows of numbers"),
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
    with pytest.raises(InputError, match=r"must end in one of \.csv, \.npy, \.parquet"):
        read_table(tmp_path / "t.txt")
    with pytest.raises(InputError, match="must end in one of"):
        write_table(tmp_path / "t.txt", ("a",), np.ones((1, 1)))


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
        with atomic(path) as part:
            part.write_text("half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["t.csv"]


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    with pytest.raises(MissingExtraError, match=r"pip install 'discoformer\[io\]'"):
        write_table(tmp_path / "t.parquet", ("a",), np.ones((1, 1)))
