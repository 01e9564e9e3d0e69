"""Tables in files: CSV, NPY and Parquet, read into arrays and written atomically.

CSV files are comma-separated UTF-8. A first row without a single number is the header. Parquet needs the
extra ``[io]``.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError, require

SUFFIXES = (".csv", ".npy", ".parquet")


@dataclass(frozen=True)
class Table:
    """Numeric columns of a file."""

    values: npt.NDArray[Any]  # (rows, D)
    columns: tuple[str, ...] | None  # names, where the file has any

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The values, for ``np.asarray``: a table is an array-like with named columns."""
        return np.array(self.values, dtype=dtype, copy=copy)

    def split_off(self, name: str) -> tuple["Table", npt.NDArray[Any]]:
        """The table without the named column, and that column (rows,).

        Raises:
            InputError: No such column.
        """
        if self.columns is None or name not in self.columns:
            raise InputError(
                f"there is no column {name!r}; there are {', '.join(self.columns or ('no names',))}"
            )
        j = self.columns.index(name)
        rest = Table(np.delete(self.values, j, axis=1), self.columns[:j] + self.columns[j + 1 :])
        return rest, self.values[:, j]


def read_table(path: Path, wanted: Sequence[str] | None = None) -> Table:
    """Reads the columns ``wanted`` of a file (all by default); other columns may hold anything.

    Raises:
        InputError: Another suffix, no such column, or a cell that is no number; it names the place.
        OSError: The file cannot be read.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """
    if path.suffix == ".csv":
        return _read_csv(path, wanted)
    if path.suffix == ".npy":
        return _read_npy(path, wanted)
    if path.suffix == ".parquet":
        return _read_parquet(path, wanted)
    raise InputError(f"{path} must end in one of {', '.join(SUFFIXES)}")


def write_table(path: Path, columns: Sequence[str], values: npt.NDArray[Any]) -> None:
    """Writes a matrix (rows, D) with named columns; NPY keeps the matrix and drops the names.

    Raises:
        InputError: Another suffix.
        OSError: The file cannot be written; what stood there before is untouched.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} must end in one of {', '.join(SUFFIXES)}")
    with atomic(path) as part:
        if path.suffix == ".csv":
            with part.open("w", encoding="utf-8", newline="") as file:
                write_csv(file, columns, values)
        elif path.suffix == ".npy":
            np.save(part, values)
        else:
            arrow = require("pyarrow").table(dict(zip(columns, values.T, strict=True)))
            require("pyarrow.parquet").write_table(arrow, part)


def write_csv(file: TextIO, columns: Sequence[str], values: npt.NDArray[Any]) -> None:
    """Writes a matrix (rows, D) as CSV, each number in the fewest digits that read back the same."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([str(value) for value in row] for row in values)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to; it replaces ``path`` when the block ends without an error."""
    part = path.with_name(f".part{os.getpid()}-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read_csv(path: Path, wanted: Sequence[str] | None) -> Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file in UTF-8: {error}") from error
    columns = None
    if lines and not any(_is_number(cell) for cell in lines[0][1]):
        columns = tuple(cell.strip() for cell in lines.pop(0)[1])
    if not lines:
        raise InputError(f"{path} has no rows of numbers")
    width = len(columns or lines[0][1])
    for line, row in lines:
        if len(row) != width:
            raise InputError(f"{path}, line {line}: {len(row)} cells, where {width} are needed")
    picked = _positions(path, columns, wanted, width)
    return Table(_parse(path, lines, columns, picked), _names(columns, picked))


def _parse(
    path: Path, lines: list[tuple[int, list[str]]], columns: tuple[str, ...] | None, picked: list[int]
) -> npt.NDArray[np.float64]:
    try:
        return np.array([[float(row[j]) for j in picked] for _, row in lines])
    except ValueError:
        line, j, cell = next(
            (line, j, row[j]) for line, row in lines for j in picked if not _is_number(row[j])
        )
    name = repr(columns[j]) if columns else str(j + 1)
    what = "is missing" if not cell.strip() else f"holds {cell!r}, which is no number"
    raise InputError(f"{path}, line {line}: column {name} {what}; drop the row or choose other columns")


def _read_npy(path: Path, wanted: Sequence[str] | None) -> Table:
    if wanted is not None:
        raise InputError(f"{path} has no column names to choose from: use CSV or Parquet")
    try:
        values = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path} is no NPY file of numbers: {error}") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "iuf":
        raise InputError(f"{path} must hold a matrix of real numbers, shape (rows, columns)")
    return Table(values, None)


def _read_parquet(path: Path, wanted: Sequence[str] | None) -> Table:
    parquet = require("pyarrow.parquet")
    try:
        table = parquet.read_table(path)
    except require("pyarrow").ArrowInvalid as error:
        raise InputError(f"{path} is no Parquet file: {error}") from error
    names = tuple(table.column_names)
    picked = _positions(path, names, wanted, len(names))
    columns = [table.column(j).to_numpy() for j in picked]
    for j, column in zip(picked, columns, strict=True):
        if column.dtype.kind not in "iuf":
            kind = table.schema.field(j).type
            raise InputError(f"{path}: column {names[j]!r} holds {kind}, no numbers; choose other columns")
    return Table(np.column_stack(columns), _names(names, picked))


def _positions(
    path: Path, columns: tuple[str, ...] | None, wanted: Sequence[str] | None, width: int
) -> list[int]:
    if wanted is None:
        return list(range(width))
    if columns is None:
        raise InputError(f"{path} has no column names to choose {', '.join(wanted)} from: add a header row")
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; it has {', '.join(columns)}")
    return [columns.index(name) for name in wanted]


def _names(columns: tuple[str, ...] | None, picked: list[int]) -> tuple[str, ...] | None:
    return None if columns is None else tuple(columns[j] for j in picked)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
