"""Readers of numeric tables in text, NPY and Parquet files, block by block in the order of the rows.

Each ``open_*`` takes a path, the names of the columns to read (None: all that hold numbers), and options.
Columns that are not read may hold anything. The rows are float32 if the columns hold nothing wider, else
float64. If a cell is neither a finite number nor missing, the reader yields the rows before it and then
raises an ``InputError`` that names the place of the cell. Rows and lines are counted from 1.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from discoformer.errors import DataWarning, InputError, require, warn_caller
from discoformer.io.frames import left_out
from discoformer.io.incomplete import complete, warn_of_rows
from discoformer.io.inputs import AnyFloats, Floats, names_of
from discoformer.io.limits import check_columns
from discoformer.io.text import TEXT, ReadOptions, Row, TextTable, is_text, open_table

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


def reader_for(path: Path, text: Reader, others: Mapping[str, Reader]) -> Reader:
    """Return the reader for the suffix of a path: that of text files, or another; ``-``, stdin, is text.

    Raises:
        InputError: There is no reader for this suffix.
    """
    reader = text if is_text(path) else others.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path} must end in one of {', '.join((*TEXT, *others))}, or text in .gz: convert the file, or "
            "pipe it in as CSV, to -"
        )
    return reader


@contextmanager
def open_text(path: Path, wanted: Sequence[str] | None, options: ReadOptions) -> Iterator[Rows]:
    """Open a text file; the path ``-`` is stdin."""
    with open_table(path, options, BLOCK, wanted) as table:
        picked = pick(table.name, table.columns, wanted, table.kinds)
        check_columns(table.name, len(table.kinds), len(picked))
        blocks = in_blocks(numbers_in(table, table.checked_rows(), picked, options.missing == "error"))
        names = names_of(picked, table.columns)
        yield _rows(table.name, names, len(picked), np.dtype(np.float64), None, blocks, options)


def numbers_in(
    table: TextTable, rows: Iterable[Row], picked: Sequence[int], strict: bool
) -> Iterator[list[float]]:
    """Yield the numbers in the chosen columns of each row, NaN where a cell is missing.

    Raises:
        InputError: A cell is neither missing nor a finite number; or missing, if ``strict``.
    """
    number, good = table.dialect.number, math.isfinite if strict else _not_infinite
    for line, cells in rows:
        try:
            numbers = [number(cells[j]) for j in picked]
        except ValueError:
            numbers = [math.inf]
        if not all(map(good, numbers)):
            raise _bad_cell_in(table, line, cells, picked, strict)
        yield numbers


def _not_infinite(number: float) -> bool:
    return not math.isinf(number)


def _bad_cell_in(
    table: TextTable, line: int, cells: Sequence[str], picked: Sequence[int], strict: bool
) -> InputError:
    """Return the error for the first cell of a row that ``numbers_in`` does not take."""
    kinds = {j: table.dialect.kind([cells[j]]) for j in picked}
    j = next(
        j
        for j, kind in kinds.items()
        if kind == "text" or (math.isinf(table.dialect.number(cells[j])) if kind == "" else strict)
    )
    column = repr(table.columns[j]) if table.columns else str(j + 1)
    mark = " with a decimal comma" if table.dialect.decimal == "," else ""
    return _bad_cell(f"{table.name}, line {line}", column, cells[j], kinds[j] == "empty", mark)


def in_blocks(rows: Iterator[list[float]]) -> Iterator[Floats]:
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
def open_npy(path: Path, wanted: Sequence[str] | None, options: ReadOptions) -> Iterator[Rows]:
    """Open an NPY file, mapped into memory."""
    values = load_npy(path, wanted)
    check_columns(str(path), 0, values.shape[1])
    dtype = _dtype(values.dtype.kind == "f" and values.dtype.itemsize <= 4)
    slices = (np.asarray(block, dtype=dtype) for block in _slices(values))
    blocks = up_to_bad_cell(str(path), None, slices, options)
    yield _rows(str(path), None, values.shape[1], dtype, len(values), blocks, options)


def load_npy(path: Path, wanted: Sequence[str] | None) -> npt.NDArray[Any]:
    """Map a matrix (rows, columns) of real numbers in an NPY file into memory.

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
        values = np.load(path, mmap_mode="r", allow_pickle=False)
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
def open_parquet(path: Path, wanted: Sequence[str] | None, options: ReadOptions) -> Iterator[Rows]:
    """Open a Parquet file, which is read page by page."""
    parquet = require("pyarrow.parquet")
    with parquet_errors(path):
        file = parquet.ParquetFile(path, buffer_size=_PAGE)
    with file:
        schema = file.schema_arrow
        picked = pick_fields(path, schema, wanted)
        check_columns(str(path), len(schema.names), len(picked))
        names = tuple(schema.names[j] for j in picked)
        fields = [schema.field(j) for j in picked]
        types = require("pyarrow.types")
        dtype = _dtype(all(types.is_float32(field.type) or types.is_float16(field.type) for field in fields))
        blocks = up_to_bad_cell(str(path), names, _parquet_blocks(path, file, names, dtype), options)
        yield _rows(str(path), names, len(names), dtype, file.metadata.num_rows, blocks, options)


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn the error of pyarrow for a file that is not Parquet into an ``InputError``."""
    try:
        yield
    except require("pyarrow").ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file ({error}): write the file again") from error


def parquet_batches(file: Any, names: Sequence[str]) -> Iterator[Any]:
    """Yield the record batches of some columns of a ``ParquetFile``.

    pyarrow keeps what it has read until a call of ``iter_batches`` ends. So a call is for a few row groups.
    """
    groups, rows = list[int](), 0
    for group in range(file.num_row_groups):
        groups.append(group)
        rows += file.metadata.row_group(group).num_rows
        if rows >= BLOCK or group == file.num_row_groups - 1:
            yield from file.iter_batches(BLOCK, row_groups=groups, columns=list(names))
            groups, rows = [], 0


def pick_fields(path: Path, schema: Any, wanted: Sequence[str] | None) -> list[int]:
    """Return the positions of the chosen fields of an Arrow schema; as ``pick``.

    Raises:
        InputError: As in ``pick``, or a wanted field does not hold numbers.
    """
    types = require("pyarrow.types")
    kinds = ["" if types.is_integer(kind) or types.is_floating(kind) else str(kind) for kind in schema.types]
    picked = pick(str(path), tuple(schema.names), wanted, kinds)
    for j in picked:
        if kinds[j]:
            raise InputError(
                f"{path}: column {schema.names[j]!r} must hold numbers, got {kinds[j]}; choose other columns"
            )
    return picked


def _parquet_blocks(
    path: Path, file: Any, names: tuple[str, ...], dtype: np.dtype[Any]
) -> Iterator[AnyFloats]:
    try:
        for batch in parquet_batches(file, names):
            columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
            yield np.column_stack(columns).astype(dtype, copy=False)
    except (OSError, require("pyarrow").ArrowException) as error:
        raise InputError(f"{path} cannot be read to its end ({error}): write the file again") from error


def _rows(
    name: str,
    columns: tuple[str, ...] | None,
    dim: int,
    dtype: np.dtype[Any],
    length: int | None,
    blocks: Iterator[AnyFloats],
    options: ReadOptions,
) -> Rows:
    """Return the rows of a file, without those that have missing cells if they are to be dropped."""
    kept = _complete(name, blocks) if options.missing == "drop" else blocks
    return Rows(name, columns, dim, dtype, length, kept)


def _complete(name: str, blocks: Iterator[AnyFloats]) -> Iterator[AnyFloats]:
    """Yield the rows without missing cells, then warn if there were others."""
    rows = dropped = 0
    for block in blocks:
        kept = complete(block)
        rows, dropped = rows + len(block), dropped + int((~kept).sum())
        if kept.any():
            yield block[kept]
    if dropped:
        warn_of_rows(name, dropped, rows)


def up_to_bad_cell(
    name: str, columns: tuple[str, ...] | None, blocks: Iterator[AnyFloats], options: ReadOptions
) -> Iterator[AnyFloats]:
    """Yield the rows before the first one with a number that is not finite, then raise its error."""
    done = 0
    for block in blocks:
        bad = np.argwhere(~np.isfinite(block) if options.missing == "error" else np.isinf(block))
        good = block[: bad[0, 0]] if len(bad) else block
        if len(good):
            yield good
        if len(bad):
            i, j = bad[0]
            column = repr(columns[j]) if columns else str(j + 1)
            missing = bool(np.isnan(block[i, j]))
            raise _bad_cell(f"{name}, row {done + i + 1}", column, str(block[i, j]), missing)
        done += len(block)


def _bad_cell(place: str, column: str, cell: str, missing: bool, mark: str = "") -> InputError:
    what = "has a missing cell" if missing else f"holds {cell!r}, which is not a finite number{mark}"
    return InputError(f"{place}: column {column} {what}; remove the row or choose other columns")


def _slices(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    return (values[start : start + BLOCK] for start in range(0, len(values), BLOCK))


def pick(
    name: str, columns: tuple[str, ...] | None, wanted: Sequence[str] | None, kinds: Sequence[str]
) -> list[int]:
    """Return the positions of the chosen columns.

    Args:
        name: Name of the file, for messages.
        columns: Column names, or None if the file has none.
        wanted: Names of the chosen columns, or None for all that hold numbers.
        kinds: What each column holds; "" for numbers.

    Raises:
        InputError: A chosen column does not exist, is chosen twice, or has a name that is not unique; or no
            column holds numbers.

    Warns:
        DataWarning: Columns are left out because they hold no numbers.
    """
    if wanted is not None:
        return _positions(name, columns, wanted)
    others = {j: kind for j, kind in enumerate(kinds) if kind}
    picked = [j for j in range(len(kinds)) if j not in others]
    if not picked:
        raise InputError(f"{name} must have a column of numbers, got none among {len(kinds)} columns")
    names = names_of(picked, columns)
    if names is not None:
        if "" in names:
            raise InputError(
                f"{name} has a column without a name, perhaps an index: name it, remove it, or choose columns"
            )
        _positions(name, columns, names)  # raises if a name is not unique
    if others:
        positions = columns or [str(j + 1) for j in range(len(kinds))]
        warn_caller(left_out(name, len(kinds), positions, others), DataWarning)
    return picked


def _positions(name: str, columns: tuple[str, ...] | None, wanted: Sequence[str]) -> list[int]:
    if columns is None:
        raise InputError(
            f"{name} has no column names to choose {', '.join(wanted)} from: add a header row, or pass "
            "--header if there is one"
        )
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


def _dtype(narrow: bool) -> np.dtype[Any]:
    return np.dtype(np.float32 if narrow else np.float64)
