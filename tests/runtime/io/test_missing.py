"""Tables with missing cells: all other cells are written exactly as they were read."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from discoformer.errors import DataWarning, InputError
from discoformer.io.missing import read_gaps
from discoformer.io.text import MISSING, STDIN, ReadOptions

TEXT = 'name,a,b,note\nx,1.50,, "q" \n"k,1",NaN,3e0,\ny,0.1,2,ä\n'


def test_csv_keeps_every_other_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.csv"
    path.write_text(TEXT, encoding="utf-8")
    gaps = read_gaps(path, ["b", "a"])
    assert gaps.columns == ("b", "a")
    np.testing.assert_array_equal(gaps.values, [[np.nan, 1.5], [3, np.nan], [2, 0.1]])
    filled = np.where(np.isnan(gaps.values), [[0.25, 0], [0, -1e-7], [0, 0]], gaps.values)
    gaps.write(filled, tmp_path / "out.csv")
    expected = 'name,a,b,note\nx,1.50,0.25," ""q"" "\n"k,1",-1e-07,3e0,\ny,0.1,2,ä\n'
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == expected
    gaps.write(filled, None)
    assert capsys.readouterr().out == expected


def test_csv_without_header_on_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1,2\n,4\n")))
    gaps = read_gaps(STDIN)
    assert gaps.columns is None
    np.testing.assert_array_equal(gaps.values, [[1, 2], [np.nan, 4]])


def test_columns_numbered_by_pandas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("0,1\n5,\n7,8\n")
    gaps = read_gaps(tmp_path / "in.csv")
    assert gaps.columns == ("0", "1")
    gaps.write(np.array([[5, 6.0], [7, 8]]), None)
    assert capsys.readouterr().out == "0,1\n5,6.0\n7,8\n"


def test_what_is_missing(tmp_path: Path) -> None:
    tokens = [*MISSING, "NA", " NaN "]
    (tmp_path / "in.csv").write_text("a,b\n" + "".join(f"{token},1\n" for token in tokens))
    values = read_gaps(tmp_path / "in.csv", ["a", "b"]).values
    assert np.isnan(values[:, 0]).all()
    assert (values[:, 1] == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npy_keeps_its_width(tmp_path: Path, dtype: type) -> None:
    values = np.array([[0.1, np.nan], [np.nan, -0.0], [3, 4]], dtype)
    np.save(tmp_path / "in.npy", values)
    gaps = read_gaps(tmp_path / "in.npy")
    gaps.write(np.where(np.isnan(values), 7.5, values), tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == dtype
    kept = ~np.isnan(values)
    assert found[kept].tobytes() == values[kept].tobytes()
    assert (found[~kept] == 7.5).all()


def test_parquet_keeps_the_other_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array(["u", None, "w"]),
            "a": pa.array([0.1, None, 3], pa.float32()),
            "b": pa.array([1, None, 3], pa.int64()),
            "c": pa.array([2**60 + 1, 5, 6], pa.int64()),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    gaps = read_gaps(tmp_path / "in.parquet", ["a", "b", "c"])
    gaps.write(np.where(np.isnan(gaps.values), 2.5, gaps.values), tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column("id").equals(table.column("id"))
    assert found.column("c").equals(table.column("c"))
    assert found.column("a").equals(pa.chunked_array([pa.array([0.1, 2.5, 3], pa.float32())]))
    assert found.column("b").to_pylist() == [1, 2.5, 3]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "must have one row of numbers or more"),
        ("a.csv", "a,b\n", "must have one row of numbers or more"),
        ("a.csv", "a,b\n1,2\n1\n", "line 3: found 1 cells, needed 2 as in the first line"),
        ("a.csv", "a,b\n1,2\n1,two\n", r"line 3: column 'b' holds 'two', which is not a finite number"),
        ("a.csv", "a,b\n1,inf\n", "holds 'inf'"),
        ("a.xls", "1", "must end in one of .csv, .tsv, .txt, .npy, .parquet"),
        ("a.npy", "1", "is not an NPY file"),
        ("a.parquet", "1", "is not a Parquet file"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_gaps(tmp_path / name)


def test_text_columns_of_parquet_must_be_left_out(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="column 'a' must hold numbers, got string"):
        read_gaps(tmp_path / "in.parquet", ["a"])


def test_only_csv_goes_to_stdout(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.array([[np.nan]]))
    with pytest.raises(InputError, match="name a file by --out"):
        read_gaps(tmp_path / "in.npy").write(np.array([[1.0]]), None)


def test_a_blank_line_of_a_single_column_is_a_missing_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.csv"
    path.write_text("a\n1\n2\n\n4\n\n")
    gaps = read_gaps(path)
    np.testing.assert_array_equal(gaps.values, [[1], [2], [np.nan], [4]])
    gaps.write(np.full((4, 1), 3.0), None)
    assert capsys.readouterr().out == "a\n1\n2\n3.0\n4\n"


def test_csv_of_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("ä,b\n1,2\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"must be text in utf-8, .*: pass its encoding by --encoding"):
        read_gaps(path)


def test_pandas_reads_whole_numbers_that_were_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "k.parquet"
    pd.DataFrame({"a": [1.0, 2, 3], "k": pd.array([1, None, 3], dtype="Int64")}).to_parquet(path)
    gaps = read_gaps(path)
    gaps.write(np.where(np.isnan(gaps.values), 2.5, gaps.values), tmp_path / "filled.parquet")
    assert pd.read_parquet(tmp_path / "filled.parquet").to_numpy().tolist() == [[1, 1], [2, 2.5], [3, 3]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# note\na;b;c\n1,50;;x\n2,5;3;y\n", "# note\na;b;c\n1,50;0,25;x\n2,5;3;y\n"),
        ("a\tb\tc\n1\tNA\tx\n2\t3\ty\n", "a\tb\tc\n1\t0.25\tx\n2\t3\ty\n"),
        ("# a b\n1.5 nan\n2 3\n", "# a b\n1.5 0.25\n2 3\n"),
    ],
)
def test_the_dialect_is_kept(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "in.txt").write_text(text)
    gaps = read_gaps(tmp_path / "in.txt", ["a", "b"])
    gaps.write(np.where(np.isnan(gaps.values), 0.25, gaps.values), tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == expected


def test_the_encoding_is_kept(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes("ä,b\n1,\n2,3\n".encode("latin-1"))
    gaps = read_gaps(tmp_path / "in.csv", None, ReadOptions(encoding="latin-1"))
    gaps.write(np.array([[1, 0.5], [2, 3]]), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == "ä,b\n1,0.5\n2,3\n".encode("latin-1")


def test_columns_of_text_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("name,a,b\nx,1,\ny,2,3\n")
    with pytest.warns(DataWarning, match=r"'name' \(text\)"):
        gaps = read_gaps(tmp_path / "in.csv")
    gaps.write(np.array([[1, 0.5], [2, 3]]), None)
    assert capsys.readouterr().out == "name,a,b\nx,1,0.5\ny,2,3\n"
