"""Tables of numbers in CSV, NPY and Parquet files or on stdin, read whole or block by block.

CSV is comma-separated UTF-8. Its first row is a header if no cell is a number, or if the cells are 0, 1, 2
and so on. Parquet needs the extra ``[io]``.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError
from discoformer.io.readers import Rows, no_rows, open_csv, open_npy, open_parquet, reader_for

_OPENERS = {".csv": open_csv, ".npy": open_npy, ".parquet": open_parquet}
SUFFIXES = tuple(_OPENERS)


@dataclass(frozen=True)
class Table:
    """The numeric columns of a file."""

    values: npt.NDArray[Any]  # (rows, D)
    columns: tuple[str, ...] | None  # column names, or None if the file has none

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the values, so that ``np.asarray`` accepts a table."""
        return np.array(self.values, dtype=dtype, copy=copy)

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
        rest = Table(np.delete(self.values, j, axis=1), self.columns[:j] + self.columns[j + 1 :])
        return rest, self.values[:, j]


def read_table(path: Path, wanted: Sequence[str] | None = None) -> Table:
    """Read a file into memory; the arguments are those of ``open_rows``.

    Raises:
        InputError: As in ``open_rows``, or the file has no rows.
        OSError: The file cannot be read.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
    """
    with open_rows(path, wanted) as rows:
        blocks = list(rows.blocks)
    if not blocks:
        raise no_rows(rows.name)
    return Table(np.concatenate(blocks), rows.columns)


def open_rows(path: Path, wanted: Sequence[str] | None = None) -> AbstractContextManager[Rows]:
    """Open a file for reading block by block; the memory used does not grow with the number of rows.

    Args:
        path: The file. Its suffix determines the format. ``-`` is CSV on stdin.
        wanted: Names of the columns to read, all by default. Columns that are not read may hold anything.

    Raises:
        InputError: The suffix is unknown, a column does not exist, two columns have the same name, or a cell
            is not a finite number (raised when its block is read).
        OSError: The file cannot be read.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
    """
    return reader_for(path, _OPENERS)(path, wanted)
