"""Tables of numbers in files and on stdin: CSV, NPY and Parquet, whole or block by block.

CSV is comma-separated UTF-8; a first row without a single number, or of the numbers 0, 1, 2 and so on, is the
header. Parquet needs the extra ``[io]``.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError
from discoformer.io.readers import STDIN, Rows, open_csv, open_npy, open_parquet

_OPENERS = {".csv": open_csv, ".npy": open_npy, ".parquet": open_parquet}
SUFFIXES = tuple(_OPENERS)


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
    """Reads the columns ``wanted`` of a file whole; the arguments and errors are those of ``open_rows``.

    Raises:
        InputError: As there, and where the file has no rows.
        OSError: The file cannot be read.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """
    with open_rows(path, wanted) as rows:
        blocks = list(rows.blocks)
    if not blocks:
        raise InputError(f"{rows.name} has no rows of numbers")
    return Table(np.concatenate(blocks), rows.columns)


def open_rows(path: Path, wanted: Sequence[str] | None = None) -> AbstractContextManager[Rows]:
    """Opens a file to be read block by block, in memory that does not grow with the number of rows.

    Args:
        path: The file; its suffix says in which format it is. ``-`` is CSV on stdin.
        wanted: Names of the columns to read, all by default; other columns may hold anything.

    Raises:
        InputError: Another suffix, no such column, two of one name, or a cell that is no finite number (said
            when its block is read).
        OSError: The file cannot be read.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """
    opener = _OPENERS.get(".csv" if path == STDIN else path.suffix)
    if opener is None:
        raise InputError(f"{path} must end in one of {', '.join(SUFFIXES)}; or pipe it in as CSV, to -")
    return opener(path, wanted)
