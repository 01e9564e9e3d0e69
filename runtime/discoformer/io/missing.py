"""Tables with missing cells: read, filled in, and written back with every other cell as it was.

Missing is, in CSV, an empty cell or one of ``MISSING`` (in any case), elsewhere NaN or null. CSV keeps the
text of all other cells, Parquet the other columns, NPY its dtype. The result has the format of the file.
"""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from discoformer.errors import InputError, require
from discoformer.io.files import atomic
from discoformer.io.inputs import AnyFloats, Floats
from discoformer.io.readers import STDIN, choose, header_in, is_number, open_text

MISSING = ("", "na", "n/a", "nan", "null", "none", "?")


class Gaps(NamedTuple):
    """The chosen columns of a table with missing cells, and how to write it anew."""

    values: AnyFloats  # (rows, D), NaN where missing
    columns: tuple[str, ...] | None
    write: Callable[[AnyFloats, Path | None], None]  # the same with no NaN, to a file or, for CSV, to stdout


def read_gaps(path: Path, wanted: Sequence[str] | None = None) -> Gaps:
    """Reads a table.

    Args:
        path: The file, .csv, .npy or .parquet; ``-`` is CSV on stdin.
        wanted: Names of the columns to read, all by default; the others may hold anything, and are kept.

    Raises:
        InputError: Another suffix, no such column, or a cell that is neither missing nor a finite number.
        OSError: The file cannot be read.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """
    readers = {".csv": _read_csv, ".npy": _read_npy, ".parquet": _read_parquet}
    reader = readers.get(".csv" if path == STDIN else path.suffix)
    if reader is None:
        raise InputError(f"{path} must end in one of {', '.join(readers)}; or pipe it in as CSV, to -")
    return reader(path, wanted)


def _read_csv(path: Path, wanted: Sequence[str] | None) -> Gaps:
    name = "stdin" if path == STDIN else str(path)
    rows = _read_rows(path, name)
    header = header_in(rows[0])
    body = rows[header is not None :]
    ragged = next((i for i, row in enumerate(body) if len(row) != len(rows[0])), None)
    if ragged is not None or not body:
        what = "there are no rows" if ragged is None else f"row {ragged + 1} has {len(body[ragged])} cells"
        raise InputError(f"{name}: {what}, where rows of {len(rows[0])} cells are needed; mend the file")
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
            _write_bytes(out, text.getvalue().encode())

    return Gaps(values, columns, write)


def _read_rows(path: Path, name: str) -> list[list[str]]:
    """The cells of a CSV file; a blank line is a missing cell of a single column, else it is left out."""
    with open_text(path) as file:
        reader = csv.reader(file)
        try:
            rows = list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            line = reader.line_num
            raise InputError(f"{name}, after line {line}: this is no CSV in UTF-8: {error}") from error
    while rows and not rows[-1]:
        rows.pop()
    width = next((len(row) for row in rows if row), 0)
    if not width:
        raise InputError(f"{name} has no rows of numbers")
    return [row or [""] for row in rows] if width == 1 else [row for row in rows if row]


def _cell(name: str, row: int, column: int, cell: str, header: tuple[str, ...] | None) -> float:
    if cell.strip().lower() in MISSING:
        return np.nan
    number = float(cell) if is_number(cell) else np.nan
    if not np.isfinite(number):
        where = repr(header[column]) if header else str(column + 1)
        raise InputError(
            f"{name}, row {row + 1}: column {where} holds {cell!r}, which is neither missing nor a finite "
            "number; leave it empty, or choose other columns (they are kept as they are)"
        )
    return number


def _read_npy(path: Path, wanted: Sequence[str] | None) -> Gaps:
    if wanted is not None:
        raise InputError(f"{path} has no column names to choose from: use CSV or Parquet")
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no NPY file of numbers: {error}") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "iuf":
        raise InputError(f"{path} must hold a matrix of real numbers, shape (rows, columns)")

    def write(filled: AnyFloats, out: Path | None) -> None:
        file = io.BytesIO()
        np.save(file, np.where(np.isnan(values), filled, values).astype(values.dtype))
        _write_bytes(_named(path, out), file.getvalue())

    return Gaps(values if values.dtype.kind == "f" else values.astype(float), None, write)


def _read_parquet(path: Path, wanted: Sequence[str] | None) -> Gaps:
    parquet, types = require("pyarrow.parquet"), require("pyarrow.types")
    try:
        table = parquet.read_table(path)
    except require("pyarrow").ArrowInvalid as error:
        raise InputError(f"{path} is no Parquet file: {error}") from error
    picked = choose(str(path), tuple(table.column_names), wanted, table.num_columns)
    for j in picked:
        kind = table.schema.field(j).type
        if not (types.is_integer(kind) or types.is_floating(kind)):
            raise InputError(
                f"{path}: column {table.column_names[j]!r} holds {kind}, no numbers; choose other columns "
                "(they are kept as they are)"
            )
    columns = tuple(table.column_names[j] for j in picked)
    values: Floats = np.column_stack([table.column(j).to_numpy().astype(float) for j in picked])

    def write(filled: AnyFloats, out: Path | None) -> None:
        found = table
        for k, j in enumerate(picked):
            if np.isnan(values[:, k]).any():
                found = _replaced(found, j, filled[:, k])
        with atomic(_named(path, out)) as part:
            parquet.write_table(found, part)

    return Gaps(values, columns, write)


def _replaced(table: Any, j: int, column: AnyFloats) -> Any:
    """An Arrow table with another column of floats, as wide as it was where it was one of floats."""
    arrow, field = require("pyarrow"), table.schema.field(j)
    kind = field.type if require("pyarrow.types").is_floating(field.type) else arrow.float64()
    values = arrow.array(column.astype(kind.to_pandas_dtype()), type=kind)
    found = table.set_column(j, arrow.field(field.name, kind), values)
    if kind == field.type:
        return found
    kept = {key: text for key, text in (table.schema.metadata or {}).items() if key != b"pandas"}
    return found.replace_schema_metadata(kept)  # pandas' own still says that the column is one of integers


def _named(path: Path, out: Path | None) -> Path:
    if out is None:
        raise InputError(f"{path} cannot be written to stdout, which is for CSV: name a file by --out")
    return out


def _write_bytes(out: Path, data: bytes) -> None:
    with atomic(out) as part:
        part.write_bytes(data)
