"""Rows of many groups, collected group by group: in memory, or on disk if they come from a file.

A file may hold the rows of a group anywhere. So its rows are written to temporary files, in parts that hold
whole groups, and the parts are then read one after another. Memory holds one part at a time.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from discoformer.io.inputs import Floats

T = TypeVar("T", bound=np.generic)

PARTS = 64  # files, so that memory holds 1 / 64 of the rows


class Parts(Protocol):
    """Rows of many groups."""

    def add(self, numbers: npt.NDArray[np.intp], values: Floats) -> None:
        """Add rows (n, D), given the number (n,) of the group of each."""

    def groups(self) -> Iterator[tuple[int, Floats]]:
        """Yield the number and the rows (n, D) of each group, in an order that only depends on the rows."""


class InMemory:
    """The rows in memory."""

    def __init__(self) -> None:
        self._numbers: list[npt.NDArray[np.intp]] = []
        self._values: list[Floats] = []

    def add(self, numbers: npt.NDArray[np.intp], values: Floats) -> None:
        """Add rows; see ``Parts``."""
        self._numbers.append(numbers)
        self._values.append(values)

    def groups(self) -> Iterator[tuple[int, Floats]]:
        """Yield the groups; see ``Parts``."""
        if self._numbers:
            yield from split(np.concatenate(self._numbers), np.concatenate(self._values))


class OnDisk:
    """The rows in temporary files, which are removed at the end of the ``with`` block."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="discoformer-groups-")
        self._width = 0

    def __enter__(self) -> Self:
        paths = [Path(self._folder.name) / str(part) for part in range(PARTS)]
        self._files: Sequence[Any] = [path.open("w+b") for path in paths]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        self._folder.cleanup()

    def add(self, numbers: npt.NDArray[np.intp], values: Floats) -> None:
        """Add rows; see ``Parts``."""
        table = np.column_stack([numbers, values])
        self._width = table.shape[1]
        for part, rows in split(numbers % PARTS, table):
            self._files[part].write(rows.tobytes())

    def groups(self) -> Iterator[tuple[int, Floats]]:
        """Yield the groups; see ``Parts``."""
        for file in self._files:
            file.seek(0)
            table = np.frombuffer(file.read()).reshape(-1, self._width or 1)
            yield from split(table[:, 0].astype(np.intp), table[:, 1:])


def split(numbers: npt.NDArray[np.intp], rows: npt.NDArray[T]) -> Iterator[tuple[int, npt.NDArray[T]]]:
    """Yield each number that occurs, in ascending order, and its rows, in their order.

    Args:
        numbers: (n,), not negative.
        rows: (n, ...).
    """
    if not len(numbers):
        return
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    for number, where in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        yield number, rows[where]
