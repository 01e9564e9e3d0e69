"""Rows of numbers read block by block from CSV, NPY and Parquet files, in their order.

Each ``open_*`` takes a path and the names of the columns wanted (None: all); other columns may hold anything.
Rows stay float32 where a file holds nothing wider. Where a cell is no finite number, the rows before it are
given first; then an ``InputError`` names its place. Rows and lines are counted from 1.
"""

import csv
import io
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError, require
from discoformer.io.inputs import AnyFloats, Floats

STDIN = Path("-")
BLOCK = 8192  # rows of a block: what is read, answered and written at a time
_PAGE = 2**20  # bytes of a Parquet column read at a time


@dataclass(frozen=True)
class Rows:
    """Numeric columns, to be read once from the first row to the last."""

    name: str  # what messages call them
    columns: tuple[str, ...] | None  # names, where there are any
    dim: int  # number of columns D
    dtype: np.dtype[Any]  # float32 or float64
    length: int | None  # number of rows, where it is known ahead
    blocks: Iterator[AnyFloats]  # (1 to BLOCK, D) each


def rows_of(name: str, values: AnyFloats) -> Rows:
    """The rows of a matrix (rows, D) in memory."""
    return Rows(name, None, values.shape[1], values.dtype, len(values), _slices(values))


@contextmanager
def open_csv(path: Path, wanted: Sequence[str] | None) -> Iterator[Rows]:
    """Opens a CSV file, or stdin by the path ``-``."""
    name = "stdin" if path == STDIN else str(path)
    with open_text(path) as file:
        lines = _lines(name, file)
        first = next(lines, None)
        if first is None:
            raise InputError(f"{name} has no rows of numbers")
        header = header_in(first[1])
        if header is None:
            lines = chain([first], lines)
        width = len(first[1])
        picked = choose(name, header, wanted, width)
        blocks = _in_blocks(_parse(name, lines, header, picked, width))
        yield Rows(name, _names(header, picked), len(picked), np.dtype(np.float64), None, blocks)


def open_text(path: Path) -> AbstractContextManager[TextIO]:
    """Opens a CSV file, or stdin by the path ``-``, as text."""
    if path != STDIN:
        return path.open(encoding="utf-8-sig", newline="")
    stdin = cast(io.TextIOWrapper, sys.stdin)
    stdin.reconfigure(encoding="utf-8-sig", newline="")
    return nullcontext(stdin)


def _lines(name: str, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file that are not blank: number and cells."""
    reader = csv.reader(file)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{name}, after line {reader.line_num}: this is no CSV in UTF-8: {error}") from error


def _parse(
    name: str,
    lines: Iterator[tuple[int, list[str]]],
    header: tuple[str, ...] | None,
    picked: list[int],
    width: int,
) -> Iterator[list[float]]:
    for line, cells in lines:
        if len(cells) != width:
            raise InputError(
                f"{name}, line {line}: {len(cells)} cells, where {width} are needed; mend or drop the line"
            )
        numbers = [_number(cells[j]) for j in picked]
        if not all(map(math.isfinite, numbers)):
            j = next(j for j in picked if not math.isfinite(_number(cells[j])))
            raise _bad_cell(f"{name}, line {line}", repr(header[j]) if header else str(j + 1), cells[j])
        yield numbers


def _in_blocks(rows: Iterator[list[float]]) -> Iterator[Floats]:
    """Rows in blocks; where one is bad, those before it and then its error."""
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
    """Opens an NPY file, mapped into memory."""
    if wanted is not None:
        raise InputError(f"{path} has no column names to choose from: use CSV or Parquet")
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no NPY file of numbers: {error}") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "iuf":
        raise InputError(f"{path} must hold a matrix of real numbers, shape (rows, columns)")
    dtype = _dtype(values.dtype.kind == "f" and values.dtype.itemsize <= 4)
    blocks = (np.asarray(block, dtype=dtype) for block in _slices(values))
    yield Rows(str(path), None, values.shape[1], dtype, len(values), _up_to_bad_cell(str(path), None, blocks))


@contextmanager
def open_parquet(path: Path, wanted: Sequence[str] | None) -> Iterator[Rows]:
    """Opens a Parquet file, read page by page."""
    parquet = require("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path, buffer_size=_PAGE)
    except require("pyarrow").ArrowInvalid as error:
        raise InputError(f"{path} is no Parquet file: {error}") from error
    with file:
        schema = file.schema_arrow
        picked = choose(str(path), tuple(schema.names), wanted, len(schema.names))
        names = tuple(schema.names[j] for j in picked)
        dtype = _parquet_dtype(path, [schema.field(j) for j in picked])
        blocks = _up_to_bad_cell(str(path), names, _parquet_blocks(path, file, names, dtype))
        yield Rows(str(path), names, len(names), dtype, file.metadata.num_rows, blocks)


def _parquet_dtype(path: Path, fields: list[Any]) -> np.dtype[Any]:
    types = require("pyarrow.types")
    for field in fields:
        if not (types.is_integer(field.type) or types.is_floating(field.type)):
            raise InputError(
                f"{path}: column {field.name!r} holds {field.type}, no numbers; choose other columns"
            )
    return _dtype(all(types.is_float32(field.type) or types.is_float16(field.type) for field in fields))


def _parquet_blocks(
    path: Path, file: Any, names: tuple[str, ...], dtype: np.dtype[Any]
) -> Iterator[AnyFloats]:
    try:
        for batch in file.iter_batches(BLOCK, columns=list(names)):
            columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
            yield np.column_stack(columns).astype(dtype, copy=False)
    except (OSError, require("pyarrow").ArrowException) as error:
        raise InputError(f"{path} cannot be read to its end: {error}; write the file anew") from error


def _up_to_bad_cell(
    name: str, columns: tuple[str, ...] | None, blocks: Iterator[AnyFloats]
) -> Iterator[AnyFloats]:
    """The rows before the first that holds a number that is not finite, then an error if there is one."""
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
    what = f"holds {cell!r}, which is no finite number" if cell.strip() else "is missing"
    return InputError(f"{place}: column {column} {what}; drop the row or choose other columns")


def _slices(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    return (values[start : start + BLOCK] for start in range(0, len(values), BLOCK))


def choose(name: str, columns: tuple[str, ...] | None, wanted: Sequence[str] | None, width: int) -> list[int]:
    """Positions of the columns wanted."""
    if columns is None:
        if wanted is not None:
            raise InputError(
                f"{name} has no column names to choose {', '.join(wanted)} from: add a header row"
            )
        return list(range(width))
    if wanted is None and "" in columns:
        raise InputError(
            f"{name} has a column without a name, an index perhaps: name it, leave it out, or choose columns"
        )
    wanted = columns if wanted is None else wanted
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise InputError(f"{name} has no column {', '.join(missing)}; it has {', '.join(columns)}")
    double = [column for column in wanted if columns.count(column) > 1]
    if double:
        raise InputError(f"{name} has more than one column {double[0]!r}: rename them, or choose others")
    twice = [column for column in wanted if wanted.count(column) > 1]
    if twice:
        raise InputError(f"column {twice[0]!r} of {name} is asked for more than once: name it once")
    return [columns.index(column) for column in wanted]


def header_in(first: Sequence[str]) -> tuple[str, ...] | None:
    """The names of the columns, where the first row of a CSV file has them.

    It does if no cell is a number, or if several are 0, 1, 2 and so on, as pandas calls columns without
    names (after an empty cell, where it has written its index).
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
    """Whether this is a number outside Python too, where 1_000 is none."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
