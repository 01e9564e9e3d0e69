"""The standard streams of a command, which whoever started it may have closed.

The numbers 0 to 2 of closed streams are taken, or the next file that is opened would get what is meant for a
stream. Messages to a closed stderr are lost. Writing to a closed stdout is an error.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click


class _Closed(io.RawIOBase):
    """The file behind a closed stdout."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OSError("stdout is closed: open it, or write to a file")


@contextmanager
def standard_streams() -> Iterator[None]:
    """Run a command whatever streams are closed, and turn its failure to read or write into a message."""
    for number in range(3):
        _take(number)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Closed(), 1), encoding="utf-8", write_through=True)
    try:
        yield
    except OSError as error:
        click.echo(f"Error: {error}", err=True)
        _forget_output()
        sys.exit(1)


def _take(number: int) -> None:
    """Open the null device as a descriptor, unless something is open there."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _forget_output() -> None:
    """Send what stdout could not take to the null device, where the flush at exit cannot fail."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
