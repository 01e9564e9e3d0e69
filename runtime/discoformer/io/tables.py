"""Tables of numbers in text files (see ``io.text``), NPY and Parquet, or on stdin: read whole or in blocks.

Parquet needs the extra ``[io]``.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError
from discoformer.io.incomplete import check_some_complete, complete, warn_of_rows
from discoformer.io.limits import check_values
from discoformer.io.readers import Rows, open_npy, open_parquet, open_text, reader_for
from discoformer.io.text import TEXT, ReadOptions, no_rows

_OPENERS = {".npy": open_npy, ".parquet": open_parquet}
SUFFIXES = (*TEXT, *_OPENERS)
READ_OPTIONS = ReadOptions()


@dataclass(frozen=True)
class Table:
    """The numeric columns of a file."""

    values: npt.NDArray[Any]  # (rows, D)
    columns: tuple[str, ...] | None  # column names, or None if the file has none
    rows: npt.NDArray[np.intp] | None = None  # numbers of the rows in the file; None for all in order

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the values, so that ``np.asarray`` accepts a table."""
        return np.array(self.values, dtype=dtype, copy=copy)

    def complete(self, name: str) -> "Table":
        """Return the table without the rows that have missing cells, which a warning counts.

        Raises:
            InputError: All rows have missing cells.
        """
        kept = complete(self.values)
        if kept.all():
            return self
        check_some_complete(name, self.values, self.columns)
        warn_of_rows(name, int((~kept).sum()), len(kept))
        return Table(self.values[kept], self.columns, np.flatnonzero(kept))

    def split_off(self, name: str) -> tuple["Table", npt.NDArray[Any]]:
        """Return the table without the named column, and the values of that column (rows,).

        Raises:
            InputError: There is no such column.
        """
        if self.columns is None:
            raise InputError(f"there is no column {name!r}: the file has no column names, add a header row")
        if name not in self.columns:
            raise InputError(
                f"there is no column {name!r}; there are {', '.join(self.columns)}: choose among these"
            )
        j = self.columns.index(name)
        columns = self.columns[:j] + self.columns[j + 1 :]
        return Table(np.delete(self.values, j, axis=1), columns, self.rows), self.values[:, j]


def read_table(path: Path, wanted: Sequence[str] | None = None, options: ReadOptions = READ_OPTIONS) -> Table:
    """Read a file into memory; the arguments are those of ``open_rows``.

    Raises:
        InputError: As in ``open_rows``, or the file has no rows, or no complete row if others are dropped.
        OSError: The file cannot be read.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
    """
    drop = options.missing == "drop"
    with open_rows(path, wanted, replace(options, missing="keep") if drop else options) as rows:
        if rows.length is not None:
            check_values(rows.name, rows.length, rows.dim)
        blocks, read = [], 0
        for block in rows.blocks:
            read += len(block)
            check_values(rows.name, read, rows.dim)
            blocks.append(block)
    if not blocks:
        raise no_rows(rows.name)
    table = Table(np.concatenate(blocks), rows.columns)
    return table.complete(rows.name) if drop else table


def open_rows(
    path: Path, wanted: Sequence[str] | None = None, options: ReadOptions = READ_OPTIONS
) -> AbstractContextManager[Rows]:
    """Open a file for reading block by block; the memory used does not grow with the number of rows.

    Args:
        path: The file. Its suffix determines the format. ``-`` is text on stdin.
        wanted: Names of the columns to read, by default all that hold numbers. Columns that are not read may
            hold anything.
        options: How the file is read.

    Raises:
        InputError: The suffix is unknown, a column does not exist, two columns have the same name, or a cell
            is not a finite number (raised when its block is read).
        OSError: The file cannot be read.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.

    Warns:
        DataWarning: Columns or rows are left out, or the first row may be read in another way than intended.
    """
    return reader_for(path, open_text, _OPENERS)(path, wanted, options)
