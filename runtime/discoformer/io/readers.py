"""Readers of numeric tables in CSV, NPY and Parquet files, block by block in the order of the rows.

Each ``open_*`` takes a path and the names of the columns to read (None: all columns). Columns that are not
read may hold anything. The rows are float32 if the columns hold nothing wider, else float64. If a cell is not
a finite number, the reader yields the rows before it and then raises an ``InputError`` that names the place
of the cell. Rows and lines are counted from 1.
"""

import csv
import io
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar, cast

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError, require
from discoformer.io.inputs import AnyFloats, Floats

STDIN = Path("-")
BLOCK = 8192  # number of rows that are read, answered and written at a time
_PAGE = 2**20  # bytes of a Parquet column read at a time

Reader = TypeVar("Reader")


@dataclass(frozen=True)
class Rows:
    """The rows of a numeric table, which can be read once, from the first row to the last."""

    name: str  # name of the source, for error messages
    columns: tuple[str, ...] | None  # column names, or None if there are none
    dim: int  # number of columns D
    dtype: np.dtype[Any]  # float32 or float64
    length: int | None  # number of rows, or None if it is not known before reading
    blocks: Iterator[AnyFloats]  # each (1 to BLOCK, D)


def rows_of(name: str, values: AnyFloats) -> Rows:
    """Return the rows of a matrix (rows, D) in memory."""
    return Rows(name, None, values.shape[1], values.dtype, len(values), _slices(values))


def reader_for(path: Path, readers: Mapping[str, Reader]) -> Reader:
    """Return the reader for the suffix of a path; the path ``-``, stdin, is CSV.

    Raises:
        InputError: There is no reader for this suffix.
    """
    reader = readers.get(".csv" if path == STDIN else path.suffix)
    if reader is None:
        raise InputError(
            f"{path} must end in one of {', '.join(readers)}: convert the file, or pipe it in as CSV, to -"
        )
    return reader


@contextmanager
def open_csv(path: Path, wanted: Sequence[str] | None) -> Iterator[Rows]:
    """Open a CSV file; the path ``-`` is stdin."""
    name = name_of(path)
    with open_text(path) as file:
        lines = ((number, cells) for number, cells in csv_lines(name, file) if cells)
        first = next(lines, None)
        if first is None:
            raise no_rows(name)
        header = header_in(first[1])
        width = len(first[1])
        picked = choose(name, header, wanted, width)
        body = lines if header is not None else chain([first], lines)
        blocks = _in_blocks(_parse(name, body, header, picked, width))
        yield Rows(name, _names(header, picked), len(picked), np.dtype(np.float64), None, blocks)


def name_of(path: Path) -> str:
    """Return how messages refer to a file; the path ``-`` is stdin."""
    return "stdin" if path == STDIN else str(path)


def no_rows(name: str) -> InputError:
    """Return the error for a file without rows."""
    return InputError(
        f"{name} must have one row of numbers or more, got none: check that it is the right file"
    )


def open_text(path: Path) -> AbstractContextManager[TextIO]:
    """Open a CSV file as text; the path ``-`` is stdin."""
    if path != STDIN:
        return path.open(encoding="utf-8-sig", newline="")
    stdin = cast(io.TextIOWrapper, sys.stdin)
    stdin.reconfigure(encoding="utf-8-sig", newline="")
    return nullcontext(stdin)


def csv_lines(name: str, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line of a CSV file; a blank line has no cells.

    Raises:
        InputError: The file is not CSV in UTF-8.
    """
    reader = csv.reader(file)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{name} must be CSV in UTF-8, but cannot be read after line {reader.line_num} ({error}): "
            "save it in that format"
        ) from error


def _parse(
    name: str,
    lines: Iterable[tuple[int, list[str]]],
    header: tuple[str, ...] | None,
    picked: list[int],
    width: int,
) -> Iterator[list[float]]:
    """Yield the chosen numbers of each line."""
    for line, cells in lines:
        if len(cells) != width:
            raise InputError(
                f"{name}, line {line}: found {len(cells)} cells, needed {width} as in the first line; "
                "correct or remove the line"
            )
        numbers = [_number(cells[j]) for j in picked]
        if not all(map(math.isfinite, numbers)):
            j = next(j for j in picked if not math.isfinite(_number(cells[j])))
            raise _bad_cell(f"{name}, line {line}", repr(header[j]) if header else str(j + 1), cells[j])
        yield numbers


def _in_blocks(rows: Iterator[list[float]]) -> Iterator[Floats]:
    """Collect rows in blocks; if a row raises an error, yield the rows before it and then raise."""
    stop: InputError | None = None
    while stop is None:
        block = []
        try:
            for row in islice(rows, BLOCK):
                block.append(row)
        except InputError as error:
            stop = error
        if block:
            yield np.array(block)
        elif stop is None:
            return
    raise stop


@contextmanager
def open_npy(path: Path, wanted: Sequence[str] | None) -> Iterator[Rows]:
    """Open an NPY file, mapped into memory."""
    values = load_npy(path, wanted, "r")
    dtype = _dtype(values.dtype.kind == "f" and values.dtype.itemsize <= 4)
    blocks = (np.asarray(block, dtype=dtype) for block in _slices(values))
    yield Rows(str(path), None, values.shape[1], dtype, len(values), _up_to_bad_cell(str(path), None, blocks))


def load_npy(
    path: Path, wanted: Sequence[str] | None, mmap_mode: Literal["r"] | None = None
) -> npt.NDArray[Any]:
    """Load a matrix (rows, columns) of real numbers from an NPY file.

    Raises:
        InputError: Columns are chosen by name (``wanted``), or the file does not hold such a matrix.
        OSError: The file cannot be read.
    """
    if wanted is not None:
        raise InputError(
            f"{path} has no column names to choose {', '.join(wanted)} from: read all columns, or use CSV or "
            "Parquet"
        )
    try:
        values = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{path} is not an NPY file of numbers ({error}): save a matrix with numpy.save"
        ) from error
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "iuf":
        return values
    found = f"shape {values.shape}, dtype {values.dtype}" if isinstance(values, np.ndarray) else "an archive"
    raise InputError(
        f"{path} must hold a matrix of real numbers, shape (rows, columns), got {found}: save such a matrix "
        "with numpy.save"
    )


@contextmanager
def open_parquet(path: Path, wanted: Sequence[str] | None) -> Iterator[Rows]:
    """Open a Parquet file, which is read page by page."""
    parquet = require("pyarrow.parquet")
    with parquet_errors(path):
        file = parquet.ParquetFile(path, buffer_size=_PAGE)
    with file:
        schema = file.schema_arrow
        picked = choose(str(path), tuple(schema.names), wanted, len(schema.names))
        names = tuple(schema.names[j] for j in picked)
        fields = [schema.field(j) for j in picked]
        check_numeric(path, fields)
        types = require("pyarrow.types")
        dtype = _dtype(all(types.is_float32(field.type) or types.is_float16(field.type) for field in fields))
        blocks = _up_to_bad_cell(str(path), names, _parquet_blocks(path, file, names, dtype))
        yield Rows(str(path), names, len(names), dtype, file.metadata.num_rows, blocks)


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn the error of pyarrow for a file that is not Parquet into an ``InputError``."""
    try:
        yield
    except require("pyarrow").ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file ({error}): write the file again") from error


def check_numeric(path: Path, fields: Iterable[Any]) -> None:
    """Check that fields of an Arrow schema hold numbers.

    Raises:
        InputError: A field holds something else.
    """
    types = require("pyarrow.types")
    for field in fields:
        if not (types.is_integer(field.type) or types.is_floating(field.type)):
            raise InputError(
                f"{path}: column {field.name!r} must hold numbers, got {field.type}; choose other columns"
            )


def _parquet_blocks(
    path: Path, file: Any, names: tuple[str, ...], dtype: np.dtype[Any]
) -> Iterator[AnyFloats]:
    try:
        for batch in file.iter_batches(BLOCK, columns=list(names)):
            columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
            yield np.column_stack(columns).astype(dtype, copy=False)
    except (OSError, require("pyarrow").ArrowException) as error:
        raise InputError(f"{path} cannot be read to its end ({error}): write the file again") from error


def _up_to_bad_cell(
    name: str, columns: tuple[str, ...] | None, blocks: Iterator[AnyFloats]
) -> Iterator[AnyFloats]:
    """Yield the rows before the first one with a number that is not finite, then raise its error."""
    done = 0
    for block in blocks:
        bad = np.argwhere(~np.isfinite(block))
        good = block[: bad[0, 0]] if len(bad) else block
        if len(good):
            yield good
        if len(bad):
            i, j = bad[0]
            column = repr(columns[j]) if columns else str(j + 1)
            raise _bad_cell(f"{name}, row {done + i + 1}", column, str(block[i, j]))
        done += len(block)


def _bad_cell(place: str, column: str, cell: str) -> InputError:
    what = f"holds {cell!r}, which is not a finite number" if cell.strip() else "has a missing cell"
    return InputError(f"{place}: column {column} {what}; remove the row or choose other columns")


def _slices(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    return (values[start : start + BLOCK] for start in range(0, len(values), BLOCK))


def choose(name: str, columns: tuple[str, ...] | None, wanted: Sequence[str] | None, width: int) -> list[int]:
    """Return the positions of the chosen columns.

    Args:
        name: Name of the file, for error messages.
        columns: Column names, or None if the file has none.
        wanted: Names of the chosen columns, or None for all columns.
        width: Number of columns.

    Raises:
        InputError: A chosen column does not exist, is chosen twice, or has a name that is not unique.
    """
    if columns is None:
        if wanted is not None:
            raise InputError(
                f"{name} has no column names to choose {', '.join(wanted)} from: add a header row"
            )
        return list(range(width))
    if wanted is None and "" in columns:
        raise InputError(
            f"{name} has a column without a name, perhaps an index: name it, remove it, or choose columns"
        )
    wanted = columns if wanted is None else wanted
    absent = [column for column in wanted if column not in columns]
    if absent:
        raise InputError(
            f"{name} has no column {', '.join(absent)}; it has {', '.join(columns)}: choose among these"
        )
    double = [column for column in wanted if columns.count(column) > 1]
    if double:
        raise InputError(f"{name} has more than one column {double[0]!r}: rename them, or choose others")
    twice = [column for column in wanted if wanted.count(column) > 1]
    if twice:
        raise InputError(f"column {twice[0]!r} of {name} is chosen more than once: choose it once")
    return [columns.index(column) for column in wanted]


def header_in(first: Sequence[str]) -> tuple[str, ...] | None:
    """Return the column names if the first row of a CSV file is a header, else None.

    A row is a header if no cell is a number. It is also a header if it has two or more cells and they are 0,
    1, 2 and so on: pandas writes these for columns without names (after an empty cell, if it writes the
    index too).
    """
    cells = tuple(cell.strip() for cell in first)
    numbered = cells[1:] if cells[0] == "" else cells
    if len(numbered) > 1 and numbered == tuple(map(str, range(len(numbered)))):
        return cells
    return None if any(map(is_number, cells)) else cells


def _names(columns: tuple[str, ...] | None, picked: list[int]) -> tuple[str, ...] | None:
    return None if columns is None else tuple(columns[j] for j in picked)


def _dtype(narrow: bool) -> np.dtype[Any]:
    return np.dtype(np.float32 if narrow else np.float64)


def _number(cell: str) -> float:
    return float(cell) if is_number(cell) else math.nan


def is_number(cell: str) -> bool:
    """Return whether a cell is a number; unlike ``float()``, without underscores as in 1_000."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
