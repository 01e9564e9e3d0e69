"""Text files in many dialects: the same numbers, whatever they are written with."""

import csv
import gzip
import io
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.errors import DataWarning, InputError
from discoformer.io.tables import open_rows, read_table
from discoformer.io.text import ReadOptions, guess_dialect

DIALECTS = [
    (delimiter, decimal) for delimiter, decimal in itertools.product(",;\t ", ".,") if delimiter != decimal
]
DROP, KEEP = ReadOptions(missing="drop"), ReadOptions(missing="keep")
NUMBERS = st.one_of(
    st.integers(-1000, 1000),
    st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 3)),
    st.floats(allow_nan=False, allow_infinity=False),
)


def written(rows: list[list[float]], names: list[str] | None, delimiter: str, decimal: str) -> str:
    """A table as text."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    if names:
        writer.writerow(names)
    writer.writerows([[repr(value).replace(".", decimal) for value in row] for row in rows])
    return text.getvalue()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 4).flatmap(
        lambda dim: st.lists(st.lists(NUMBERS, min_size=dim, max_size=dim), min_size=1, max_size=9)
    ),
    st.booleans(),
    st.sampled_from(DIALECTS),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    st.booleans(),
)
def test_every_dialect_gives_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[float]],
    named: bool,
    dialect: tuple[str, str],
    encoding: str,
    packed: bool,
) -> None:
    names = ["ä", "b,c", "d;e", "f"][: len(rows[0])] if named else None
    data = written(rows, names, *dialect).encode(encoding)
    path = tmp_path_factory.mktemp("dialects") / ("t.txt.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(data) if packed else data)
    encoding = "utf-8" if encoding.startswith("utf-8") else encoding
    table = read_table(path, None, ReadOptions(encoding, header=named))
    np.testing.assert_array_equal(table.values, rows)
    assert table.columns == (tuple(names) if names else None)


@pytest.mark.parametrize(
    ("text", "delimiter", "decimal"),
    [
        ("1,2\n", ",", "."),
        ("1.5;2.5\n", ";", "."),
        ("1,5;2,5\n", ";", ","),
        ("1;2\n", ";", ","),
        ("1,5;;NA\n", ";", ","),
        ("1,5\t2,5\n", "\t", ","),
        ("1\t2\n", "\t", "."),
        ("  1.5   2 \n 3 4\n", " ", "."),
        ("1,5 2,5\n", " ", ","),
        ("1, 2\n3, 4\n", ",", "."),
        ('"Smith, John";1\n"Doe, Jane";2\n', ";", ","),
        ("a;b,5\na;c,6\n", ",", "."),
        ("body mass\n1\n2\n", ",", "."),
        ("2020-01-01 10:00,5,6\n", ",", "."),
    ],
)
def test_the_dialect_is_the_one_of_most_numbers(text: str, delimiter: str, decimal: str) -> None:
    dialect = guess_dialect(text.splitlines(keepends=True))
    assert (dialect.delimiter, dialect.decimal) == (delimiter, decimal)


def test_a_single_column_with_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("1,5\n2,5\n")
    assert read_table(path).values.tolist() == [[1, 5], [2, 5]]
    assert read_table(path, None, ReadOptions(decimal=",")).values.tolist() == [[1.5], [2.5]]


def test_what_numpy_and_pandas_write(tmp_path: Path, rng: np.random.Generator) -> None:
    values, path = rng.normal(size=(9, 2)), tmp_path / "t.txt"
    np.savetxt(path, values)
    assert read_table(path).columns is None
    np.testing.assert_array_equal(read_table(path).values, values)
    np.savetxt(path, values, header="made by hand\nx y")
    assert read_table(path).columns == ("x", "y")
    pd.DataFrame(values, columns=["a", "b"]).to_csv(path, sep=";", decimal=",", index=False)
    np.testing.assert_array_equal(read_table(path, ["b", "a"]).values, values[:, ::-1])
    packed = tmp_path / "t.csv.gz"
    pd.DataFrame(values, columns=["a", "b"]).to_csv(packed, index=False)
    np.testing.assert_array_equal(read_table(packed).values, values)


def test_files_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("ä,b\n1,2\n".encode("latin-1"))
    with pytest.raises(
        InputError,
        match=r"t\.csv must be text in utf-8, .*: pass its encoding by --encoding, such as latin-1",
    ):
        read_table(path)
    assert read_table(path, None, ReadOptions(encoding="latin-1")).columns == ("ä", "b")
    with pytest.raises(InputError, match=r"encoding must be one that Python knows, .* got 'klingon'"):
        read_table(path, None, ReadOptions(encoding="klingon"))
    packed = tmp_path / "t.csv.gz"
    for damaged in (b"a,b\n1,2\n", gzip.compress(b"a,b\n1,2\n" * 99)[:-9]):
        packed.write_bytes(damaged)
        with pytest.raises(InputError, match=r"t\.csv\.gz cannot be unpacked after line"):
            read_table(packed)


FRACTIONS = "1.5,2.25\n3.5,4.75\n0.25,9.5\n"


@pytest.mark.parametrize(
    ("text", "columns", "told"),
    [
        ("2020,2021\n" + FRACTIONS, ("2020", "2021"), "column names: pass --no-header if that is wrong"),
        ("2020,2021\n17,4\n12,5\n13,6\n", ("2020", "2021"), "column names"),
        ("year,2020,2021\n" + FRACTIONS.replace("\n", ",1\n"), ("year", "2020", "2021"), "column names"),
        ("4,5\n" + FRACTIONS, None, "data: pass --header if that is wrong"),
        ("2020,2021\n2022,2023\n2024,2025\n2026,2027\n", None, None),
        ("2020,2020\n" + FRACTIONS, None, None),
        ("4.5,5\n" + FRACTIONS, None, None),
        ("2020,2021\n1.5,2.5\n", None, None),  # too few rows to tell
        ("12,15\n13,14\n11,18\n10,20\n", None, None),
        ("2020\n1.5\n2.5\n3.5\n", None, None),
        ("name,2020,2021\nx,1.5,2\ny,3,4\nz,5,6\n", ("name", "2020", "2021"), "column names"),
        ("a,b\n1,2\n", ("a", "b"), None),
        ("NA,?\n1,2\n", None, None),
    ],
)
def test_a_first_row_of_numbers_may_hold_names(
    tmp_path: Path,
    text: str,
    columns: tuple[str, ...] | None,
    told: str | None,
    recwarn: pytest.WarningsRecorder,
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    table = read_table(path, None, KEEP)
    said = [str(warning.message) for warning in recwarn if "first row" in str(warning.message)]
    assert (told is not None) == bool(said)
    assert (table.columns or ()) == (columns or ())[-len(table.values[0]) :]
    assert len(table.values) == len(text.splitlines()) - (columns is not None)
    if told:
        [sentence] = said
        assert sentence.startswith(
            f"The first row of {path} ({text.splitlines()[0].replace(',', ', ')}) looks like"
        )
        assert told in sentence


def test_the_guess_is_overridden_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for text in ("2020,2021\n" + FRACTIONS, "4,5\n" + FRACTIONS):
        path.write_text(text)
        names = tuple(text.splitlines()[0].split(","))
        assert read_table(path, None, ReadOptions(header=True)).columns == names
        assert read_table(path, names).columns == names
        table = read_table(path, None, ReadOptions(header=False))
        assert (table.columns, len(table.values)) == (None, 4)
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(InputError, match=r"line 1: column 1 holds 'a'"):
        read_table(path, None, ReadOptions(header=False))


def test_columns_of_text_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,a,note,b,none\nx,1,5,2,\ny,3,-,4,\nz,5,-,6,NA\n")
    told = r"^Left out 3 of 5 columns of .*: 'id' \(text\), 'note' \(text\), 'none' \(empty\)\.$"
    with pytest.warns(DataWarning, match=told):
        table = read_table(path)
    assert table.columns == ("a", "b")
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4], [5, 6]])
    path.write_text("5.1,setosa\n4.9,setosa\n")
    with pytest.warns(DataWarning, match=r"Left out 1 of 2 columns of .*: '2' \(text\)"):
        assert read_table(path).values.tolist() == [[5.1], [4.9]]


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_rows_with_missing_cells(tmp_path: Path, suffix: str) -> None:
    path, frame = tmp_path / f"t{suffix}", pd.DataFrame({"a": [1, np.nan, 3.0], "b": [4, 5, np.nan]})
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".npy":
        np.save(path, frame.to_numpy())
    else:
        frame.to_parquet(path)
    told = rf"^Left out 2 of 3 rows of .*t\{suffix}, which have missing values\.$"
    with pytest.warns(DataWarning, match=told):
        assert read_table(path, None, DROP).values.tolist() == [[1, 4]]
    with open_rows(path, None, DROP) as rows, pytest.warns(DataWarning, match=told):
        assert np.concatenate(list(rows.blocks)).tolist() == [[1, 4]]
    np.testing.assert_array_equal(read_table(path, None, KEEP).values, frame)
    with pytest.raises(InputError, match=r"column .* has a missing cell"):
        read_table(path)


def test_all_rows_have_missing_cells(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,\n,2\n,3\n")
    with pytest.raises(InputError, match=r"all 3 have missing values: .*, such as column 0 \('a'\) with 2"):
        read_table(tmp_path / "t.csv", None, DROP)
