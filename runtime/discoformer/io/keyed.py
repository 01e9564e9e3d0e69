"""Tables of numbers with keys beside them: data frames, Arrow tables, Parquet and text files.

Files are read block by block, in memory that does not grow with their length.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from discoformer.errors import InputError, require
from discoformer.io.frames import column_names, columns_of
from discoformer.io.inputs import AnyFloats, read_matrix
from discoformer.io.limits import check_columns
from discoformer.io.readers import (
    BLOCK,
    in_blocks,
    numbers_in,
    parquet_batches,
    parquet_errors,
    pick,
    pick_fields,
    reader_for,
    up_to_bad_cell,
)
from discoformer.io.text import ReadOptions, Row, open_table

KEEP = ReadOptions(missing="keep")


class KeyedBlock(NamedTuple):
    """Rows with their keys."""

    labels: list[list[Any]]  # the values of each key column, as they were read
    values: AnyFloats  # (n, D), NaN where a cell is missing


@dataclass(frozen=True)
class KeyedRows:
    """The rows of a table with keys, which can be read once, from the first row to the last."""

    name: str  # name of the source, for error messages
    columns: tuple[str, ...]  # names (D,) of the columns of numbers
    whole: tuple[bool, ...]  # of each key column, whether its type in a Parquet file is whole numbers
    length: int | None  # number of rows, or None if it is not known before reading
    blocks: Iterator[KeyedBlock]


def open_keyed(
    table: Any, by: Sequence[str], wanted: Sequence[str] | None = None, options: ReadOptions = KEEP
) -> AbstractContextManager[KeyedRows]:
    """Open a table for reading with the keys of its rows.

    Args:
        table: A pandas or polars DataFrame, an Arrow table, or the path of a Parquet or text file.
        by: Names of the columns of keys.
        wanted: Names of the columns of numbers; by default all other columns that hold numbers.
        options: How a text file is read.

    Raises:
        InputError: It is none of these, a column does not exist or holds no numbers, or a value is infinite.
        OSError: The file cannot be read.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.

    Warns:
        DataWarning: Columns are left out because they hold no numbers.
    """
    if isinstance(table, str | Path):
        path = Path(table)
        return reader_for(path, _open_text, {".parquet": _open_parquet})(path, by, wanted, options)
    return nullcontext(_of_frame(table, by, wanted))


def _of_frame(table: Any, by: Sequence[str], wanted: Sequence[str] | None) -> KeyedRows:
    frame, names = columns_of(table), column_names(table)
    if frame is None or names is None:
        raise InputError(
            "table must be a pandas or polars DataFrame, an Arrow table, or the path of a file, with names "
            f"of columns, got {type(table).__name__}: only these have columns to group by"
        )
    key_positions, rest = _split("table", names, by)
    if wanted is None:
        kept = [names[j] for j in rest]
        read = read_matrix("table", table.select(kept) if hasattr(table, "select") else table[kept], True)
    else:
        read = read_matrix("table", table, True, wanted, keep_empty=True)
    labels = [_values(frame[j]) for j in key_positions]
    values = read.values.astype(read.width, copy=False)
    blocks = iter([KeyedBlock(labels, values)])
    return KeyedRows("table", read.columns or (), (False,) * len(by), len(values), blocks)


def _values(column: Any) -> list[Any]:
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


@contextmanager
def _open_text(
    path: Path, by: Sequence[str], wanted: Sequence[str] | None, options: ReadOptions
) -> Iterator[KeyedRows]:
    with open_table(path, options, BLOCK, (*by, *(wanted or ()))) as table:
        if table.columns is None:
            raise InputError(f"{table.name} has no column names to group by: add a header row")
        at, rest = _split(table.name, table.columns, by)
        others = tuple(table.columns[j] for j in rest)
        picked = [rest[i] for i in pick(table.name, others, wanted, [table.kinds[j] for j in rest])]
        check_columns(table.name, len(table.columns), len(picked))
        held: list[list[str]] = []

        def noted(rows: Iterator[Row]) -> Iterator[Row]:
            for row in rows:
                held.append([row[1][j].strip() for j in at])
                yield row

        def blocks() -> Iterator[KeyedBlock]:
            rows = numbers_in(table, noted(table.checked_rows()), picked, options.missing == "error")
            for values in in_blocks(rows):
                labels = [[cell or None for cell in column] for column in zip(*held, strict=True)]
                yield KeyedBlock([column[: len(values)] for column in labels], values)
                held.clear()

        names = tuple(table.columns[j] for j in picked)
        yield KeyedRows(table.name, names, (False,) * len(by), None, blocks())


@contextmanager
def _open_parquet(
    path: Path, by: Sequence[str], wanted: Sequence[str] | None, options: ReadOptions
) -> Iterator[KeyedRows]:
    parquet, types = require("pyarrow.parquet"), require("pyarrow.types")
    with parquet_errors(path):
        file = parquet.ParquetFile(path)
    with file:
        schema = file.schema_arrow
        at, rest = _split(str(path), schema.names, by)
        others = require("pyarrow").schema([schema.field(j) for j in rest])
        names = tuple(others.names[i] for i in pick_fields(path, others, wanted))
        check_columns(str(path), len(schema.names), len(names))
        held: list[list[list[Any]]] = []

        def numbers() -> Iterator[AnyFloats]:
            try:
                for batch in parquet_batches(file, (*by, *names)):
                    held.append([batch.column(name).to_pylist() for name in by])
                    columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
                    yield np.column_stack([np.asarray(column, np.float64) for column in columns])
            except (OSError, require("pyarrow").ArrowException) as error:
                raise InputError(f"{path} cannot be read to its end ({error}): write it again") from error

        def blocks() -> Iterator[KeyedBlock]:
            for values in up_to_bad_cell(str(path), names, numbers(), options):
                yield KeyedBlock([column[: len(values)] for column in held.pop()], values)

        whole = tuple(types.is_integer(schema.field(j).type) for j in at)
        yield KeyedRows(str(path), names, whole, file.metadata.num_rows, blocks())


def _split(name: str, columns: Sequence[str], by: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the positions of the columns of keys, and those of the others."""
    for column in by:
        if list(columns).count(column) != 1 or list(by).count(column) != 1:
            raise InputError(
                f"by must name different columns of {name}, each of them there once, got {column!r}; there "
                f"are {', '.join(columns)}: choose among these"
            )
    at = [list(columns).index(column) for column in by]
    return at, [j for j in range(len(columns)) if j not in at]
