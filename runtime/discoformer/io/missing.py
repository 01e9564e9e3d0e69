"""Tables with missing cells: read them, and write them back with these cells filled in.

In a text file a cell is missing if it is a word of ``MISSING``, in upper or lower case. In NPY and Parquet it
is missing if it is NaN or null. All other cells are written as they were read: text files keep their text,
delimiter, decimal mark and encoding, Parquet keeps the other columns, NPY keeps its dtype. The output has the
format of the input.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from discoformer.errors import InputError, require
from discoformer.io.files import atomic, write_bytes
from discoformer.io.inputs import AnyFloats, Floats, names_of
from discoformer.io.limits import TEXTS, check_columns, check_values
from discoformer.io.readers import (
    BLOCK,
    load_npy,
    numbers_in,
    parquet_errors,
    pick,
    pick_fields,
    reader_for,
)
from discoformer.io.tables import READ_OPTIONS
from discoformer.io.text import ReadOptions, TextTable, no_rows, open_table


class Gaps(NamedTuple):
    """The chosen columns of a table with missing cells, and a function that writes the filled table."""

    values: AnyFloats  # (rows, D), NaN where missing
    columns: tuple[str, ...] | None  # column names, or None if the table has none
    write: Callable[[AnyFloats, Path | None], None]  # takes filled values (rows, D) and a file (None: stdout)


def read_gaps(path: Path, wanted: Sequence[str] | None = None, options: ReadOptions = READ_OPTIONS) -> Gaps:
    """Read a table with missing cells.

    Args:
        path: The file. ``-`` is text on stdin.
        wanted: Names of the columns to read, by default all that hold numbers. Other columns may hold
            anything, and are kept.
        options: How a text file is read.

    Raises:
        InputError: The suffix is unknown, a column does not exist, or a cell is neither missing nor a finite
            number.
        OSError: The file cannot be read.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.

    Warns:
        DataWarning: Columns are left out, or the first row may be read in another way than intended.
    """
    read = reader_for(path, _read_text, {".npy": _read_npy, ".parquet": _read_parquet})
    return read(path, wanted, options)


def _read_text(path: Path, wanted: Sequence[str] | None, options: ReadOptions) -> Gaps:
    with open_table(path, options, BLOCK, wanted) as table:
        rows = list(_with_blanks(table).checked_rows())
    if not rows:
        raise no_rows(table.name)
    picked = pick(table.name, table.columns, wanted, table.kinds)
    check_columns(table.name, len(table.kinds), len(picked))
    values = np.array(list(numbers_in(table, rows, picked, strict=False)))

    def write(filled: AnyFloats, out: Path | None) -> None:
        for i, k in np.argwhere(np.isnan(values)):
            rows[i][1][picked[k]] = str(float(filled[i, k])).replace(".", table.dialect.decimal)
        text = io.StringIO()
        text.writelines(table.comments)
        writer = csv.writer(text, delimiter=table.dialect.delimiter, lineterminator="\n")
        writer.writerows(([table.header] if table.header else []) + [cells for _, cells in rows])
        if out is None:
            print(text.getvalue(), end="")
        else:
            write_bytes(out, text.getvalue().encode(options.encoding))

    return Gaps(values, names_of(picked, table.columns), write)


def _with_blanks(table: TextTable) -> TextTable:
    """Return a table of one column with its blank lines, except the last, as missing cells."""
    width = len(table.kinds)
    rows = list(islice(table.rows, TEXTS // width + 1))
    check_values(table.name, len(rows), width, TEXTS)
    while rows and not rows[-1][1]:
        rows.pop()
    if len(table.kinds) == 1:
        rows = [(line, cells or [""]) for line, cells in rows]
    return replace(table, rows=iter(rows))


def _read_npy(path: Path, wanted: Sequence[str] | None, _options: ReadOptions) -> Gaps:
    mapped = load_npy(path, wanted)
    check_columns(str(path), 0, mapped.shape[1])
    check_values(str(path), *mapped.shape)
    values = np.array(mapped)

    def write(filled: AnyFloats, out: Path | None) -> None:
        file = io.BytesIO()
        np.save(file, np.where(np.isnan(values), filled, values).astype(values.dtype))
        write_bytes(_file(path, out), file.getvalue())

    return Gaps(values if values.dtype.kind == "f" else values.astype(float), None, write)


def _read_parquet(path: Path, wanted: Sequence[str] | None, _options: ReadOptions) -> Gaps:
    parquet = require("pyarrow.parquet")
    with parquet_errors(path), parquet.ParquetFile(path) as file:
        check_values(str(path), file.metadata.num_rows, file.metadata.num_columns, TEXTS)
        table = file.read()
    picked = pick_fields(path, table.schema, wanted)
    check_columns(str(path), table.num_columns, len(picked))
    columns = tuple(table.column_names[j] for j in picked)
    values: Floats = np.column_stack([table.column(j).to_numpy().astype(float) for j in picked])

    def write(filled: AnyFloats, out: Path | None) -> None:
        found = table
        for k, j in enumerate(picked):
            if np.isnan(values[:, k]).any():
                found = _replaced(found, j, filled[:, k])
        with atomic(_file(path, out)) as file:
            parquet.write_table(found, file)

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
        raise InputError(
            f"only text can be written to stdout, and {path} is no text file: name a file by --out"
        )
    return out
