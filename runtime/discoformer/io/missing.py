"""Tables with missing cells: read them, and write them back with these cells filled in.

In CSV a cell is missing if it is empty or another word of ``MISSING``, in upper or lower case. In NPY
and Parquet it is missing if it is NaN or null. All other cells are written as they were read: CSV keeps their
text, Parquet keeps the other columns, NPY keeps its dtype. The output has the format of the input.
"""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from discoformer.errors import InputError, require
from discoformer.io.files import atomic, write_bytes
from discoformer.io.inputs import AnyFloats, Floats
from discoformer.io.readers import (
    check_numeric,
    choose,
    csv_lines,
    header_in,
    is_number,
    load_npy,
    name_of,
    no_rows,
    open_text,
    parquet_errors,
    reader_for,
)

MISSING = ("", "na", "n/a", "nan", "null", "none", "?")


class Gaps(NamedTuple):
    """The chosen columns of a table with missing cells, and a function that writes the filled table."""

    values: AnyFloats  # (rows, D), NaN where missing
    columns: tuple[str, ...] | None  # column names, or None if the table has none
    write: Callable[[AnyFloats, Path | None], None]  # takes filled values (rows, D) and a file (None: stdout)


def read_gaps(path: Path, wanted: Sequence[str] | None = None) -> Gaps:
    """Read a table with missing cells.

    Args:
        path: The file, .csv, .npy or .parquet. ``-`` is CSV on stdin.
        wanted: Names of the columns to read, all by default. Other columns may hold anything, and are kept.

    Raises:
        InputError: The suffix is unknown, a column does not exist, or a cell is neither missing nor a finite
            number.
        OSError: The file cannot be read.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
    """
    return reader_for(path, {".csv": _read_csv, ".npy": _read_npy, ".parquet": _read_parquet})(path, wanted)


def _read_csv(path: Path, wanted: Sequence[str] | None) -> Gaps:
    name = name_of(path)
    rows = _read_rows(path, name)
    header = header_in(rows[0])
    body = rows[header is not None :]
    if not body:
        raise no_rows(name)
    ragged = next((i for i, row in enumerate(body) if len(row) != len(rows[0])), None)
    if ragged is not None:
        raise InputError(
            f"{name}, row {ragged + 1}: found {len(body[ragged])} cells, needed {len(rows[0])} as in the "
            "first line; correct or remove the row"
        )
    picked = choose(name, header, wanted, len(rows[0]))
    columns = None if header is None else tuple(header[j] for j in picked)
    values = np.array([[_cell(name, i, j, row[j], header) for j in picked] for i, row in enumerate(body)])

    def write(filled: AnyFloats, out: Path | None) -> None:
        for i, k in np.argwhere(np.isnan(values)):
            body[i][picked[k]] = str(float(filled[i, k]))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        if out is None:
            print(text.getvalue(), end="")
        else:
            write_bytes(out, text.getvalue().encode())

    return Gaps(values, columns, write)


def _read_rows(path: Path, name: str) -> list[list[str]]:
    """Read the cells of a CSV file.

    If there is a single column, a blank line is a missing cell. Otherwise blank lines are skipped.
    """
    with open_text(path) as file:
        rows = [cells for _, cells in csv_lines(name, file)]
    while rows and not rows[-1]:
        rows.pop()
    width = next((len(row) for row in rows if row), 0)
    if not width:
        raise no_rows(name)
    return [row or [""] for row in rows] if width == 1 else [row for row in rows if row]


def _cell(name: str, row: int, column: int, cell: str, header: tuple[str, ...] | None) -> float:
    """Convert the text of a cell to a number, NaN if it is missing."""
    if cell.strip().lower() in MISSING:
        return np.nan
    number = float(cell) if is_number(cell) else np.nan
    if not np.isfinite(number):
        where = repr(header[column]) if header else str(column + 1)
        raise InputError(
            f"{name}, row {row + 1}: column {where} holds {cell!r}, which is neither missing nor a finite "
            "number; empty the cell, or choose other columns (the rest are kept as they are)"
        )
    return number


def _read_npy(path: Path, wanted: Sequence[str] | None) -> Gaps:
    values = load_npy(path, wanted)

    def write(filled: AnyFloats, out: Path | None) -> None:
        file = io.BytesIO()
        np.save(file, np.where(np.isnan(values), filled, values).astype(values.dtype))
        write_bytes(_file(path, out), file.getvalue())

    return Gaps(values if values.dtype.kind == "f" else values.astype(float), None, write)


def _read_parquet(path: Path, wanted: Sequence[str] | None) -> Gaps:
    parquet = require("pyarrow.parquet")
    with parquet_errors(path):
        table = parquet.read_table(path)
    picked = choose(str(path), tuple(table.column_names), wanted, table.num_columns)
    check_numeric(path, (table.schema.field(j) for j in picked))
    columns = tuple(table.column_names[j] for j in picked)
    values: Floats = np.column_stack([table.column(j).to_numpy().astype(float) for j in picked])

    def write(filled: AnyFloats, out: Path | None) -> None:
        found = table
        for k, j in enumerate(picked):
            if np.isnan(values[:, k]).any():
                found = _replaced(found, j, filled[:, k])
        with atomic(_file(path, out)) as part:
            parquet.write_table(found, part)

    return Gaps(values, columns, write)


def _replaced(table: Any, j: int, column: AnyFloats) -> Any:
    """Replace a column of an Arrow table by floats: of the same type if it holds floats, else float64."""
    arrow, field = require("pyarrow"), table.schema.field(j)
    kind = field.type if require("pyarrow.types").is_floating(field.type) else arrow.float64()
    values = arrow.array(column.astype(kind.to_pandas_dtype()), type=kind)
    found = table.set_column(j, arrow.field(field.name, kind), values)
    if kind == field.type:
        return found
    kept = {key: text for key, text in (table.schema.metadata or {}).items() if key != b"pandas"}
    return found.replace_schema_metadata(kept)  # the metadata of pandas still says that the column is integer


def _file(path: Path, out: Path | None) -> Path:
    """Return the file to write to, or raise an error if it is stdout."""
    if out is None:
        raise InputError(f"only CSV can be written to stdout, and {path} is not CSV: name a file by --out")
    return out
