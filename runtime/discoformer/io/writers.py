"""Rows of numbers written block by block: CSV, JSON lines, NPY and Parquet.

A file is written as ``NAME.partial`` and renamed when it is complete. Where that fails half-way, the partial
file is a valid one that holds the whole blocks written until then, and the error says so.

In text a number has the fewest digits that read back the same. CSV says ``inf`` where JSON, which has no such
number, says ``null``.
"""

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from discoformer.errors import InputError, require
from discoformer.io.inputs import AnyFloats

STDOUT_FORMATS = ("csv", "jsonl")
_NOT_JSON = ("inf", "nan")
_FOOTER = 256  # bytes that Parquet's footer has, at most, for a column of a row group, beside its name


class Writer:
    """Writes blocks of rows to a binary file, unbuffered so that an error comes with its block.

    Attributes:
        rows: How many rows have been written.
        size: How many bytes of the file hold them.
    """

    def __init__(self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any]) -> None:
        """Starts a table with these column names, for blocks of this dtype."""
        self.rows = 0
        self.size = 0
        self._file = file

    def write(self, block: AnyFloats) -> None:
        """Writes rows (n, number of columns).

        Raises:
            OSError: They cannot be written.
        """
        self._write(block)
        self.rows += len(block)

    def finish(self) -> None:
        """Writes what comes after the last block.

        Raises:
            OSError: It cannot be written.
        """

    def _write(self, block: AnyFloats) -> None:
        raise NotImplementedError

    def _append(self, data: bytes) -> None:
        _write_all(self._file, data)
        self.size += len(data)


class CsvWriter(Writer):
    """A header, then one line for each row."""

    def __init__(self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any]) -> None:
        super().__init__(file, columns, dtype)
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(columns)
        self._append(header.getvalue().encode())

    def _write(self, block: AnyFloats) -> None:
        lines = (",".join(cells) + "\n" for cells in _digits(block))
        self._append("".join(lines).encode())


class JsonLinesWriter(Writer):
    """One object for each row."""

    def __init__(self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any]) -> None:
        super().__init__(file, columns, dtype)
        self._keys = [json.dumps(name, ensure_ascii=False) for name in columns]

    def _write(self, block: AnyFloats) -> None:
        self._append("".join(map(self._line, _digits(block))).encode())

    def _line(self, cells: list[str]) -> str:
        pairs = zip(self._keys, cells, strict=True)
        return "{" + ", ".join(f"{key}: {_or_null(cell)}" for key, cell in pairs) + "}\n"


class NpyWriter(Writer):
    """A matrix; its header, in which numpy leaves room for this, is written anew after every block."""

    def __init__(self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any]) -> None:
        super().__init__(file, columns, dtype)
        self._width, self._dtype = len(columns), dtype
        self._append(self._header())

    def write(self, block: AnyFloats) -> None:
        """Writes rows, and then how many there are."""
        super().write(block)
        self.finish()

    def finish(self) -> None:
        """Writes the header anew."""
        self._file.seek(0)
        _write_all(self._file, self._header())
        self._file.seek(self.size)

    def _write(self, block: AnyFloats) -> None:
        self._append(block.tobytes())

    def _header(self) -> bytes:
        header = io.BytesIO()
        shape = {"shape": (self.rows, self._width), "fortran_order": False}
        descr = np.lib.format.dtype_to_descr(self._dtype)
        np.lib.format.write_array_header_1_0(header, {"descr": descr, **shape})
        return header.getvalue()


class ParquetWriter(Writer):
    """A row group for each block.

    After one failed write pyarrow can write no footer any more, and without it nothing can be read. So room
    for a block and for the footer is taken, on Linux, before pyarrow hears of the block.
    """

    def __init__(self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any]) -> None:
        super().__init__(file, columns, dtype)
        arrow = require("pyarrow")
        self._schema = arrow.schema([(name, arrow.from_numpy_dtype(dtype)) for name in columns])
        self._footer = sum(_FOOTER + 4 * len(name.encode()) for name in columns)
        self._groups = 0
        self._sink = arrow.OSFile(file.name, "wb")  # which Ctrl-C cannot interrupt, as it would a Python file
        parquet = require("pyarrow.parquet")
        self._writer = parquet.ParquetWriter(self._sink, self._schema, use_dictionary=False)

    def finish(self) -> None:
        """Writes the footer."""
        if self._sink.closed:
            return
        rows_end = self._sink.tell()
        self._writer.close()  # without a footer, and without a word, where a write has failed
        self.size = self._sink.tell()
        self._sink.close()
        if self.size == rows_end:
            raise OSError("its footer is missing, so it cannot be read")

    def _write(self, block: AnyFloats) -> None:
        self._reserve(2 * block.nbytes + (self._groups + 4) * self._footer)
        self._writer.write_table(require("pyarrow").table(list(block.T), schema=self._schema))
        self._groups += 1

    def _reserve(self, size: int) -> None:
        if sys.platform != "linux":
            return
        try:
            os.posix_fallocate(self._file.fileno(), self._sink.tell(), size)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise


WRITERS: dict[str, type[Writer]] = {
    ".csv": CsvWriter,
    ".jsonl": JsonLinesWriter,
    ".npy": NpyWriter,
    ".parquet": ParquetWriter,
}


@contextmanager
def open_file(path: Path, columns: Sequence[str], dtype: np.dtype[Any]) -> Iterator[Writer]:
    """Gives a writer to a file, which stands there when the ``with`` block ends without an error.

    After an error the rows are in ``NAME.partial``, if there are any, and a note to the error says so.

    Args:
        path: The file; its suffix, one of ``WRITERS``, says in which format.
        columns: Names of the columns; NPY drops them.
        dtype: Of the blocks.

    Raises:
        OSError: The file cannot be written; what stood there before is untouched.
        InputError: Another process is writing it.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """
    partial = path.with_name(f"{path.name}.partial")
    with _open_alone(partial) as file:
        writer = None
        try:
            writer = WRITERS[path.suffix](file, columns, dtype)
            yield writer
            _finish(writer, file)
        except BaseException as error:
            error.add_note(_keep(writer, file, partial))
            raise
        if os.name == "posix":
            partial.replace(path)  # while it is locked, or another process might begin to write into it
    if os.name != "posix":
        partial.replace(path)


def _open_alone(partial: Path) -> io.FileIO:
    """Opens a file to write it anew, unless another process is writing it."""
    file = io.FileIO(str(partial), "r+", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o666))
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _stands_at(file, partial):  # another process has just finished it
                raise BlockingIOError
        file.truncate(0)
    except BlockingIOError as error:
        file.close()
        raise InputError(
            f"{partial} is being written by another process: wait for it, or choose another --out"
        ) from error
    return file


def _stands_at(file: io.FileIO, path: Path) -> bool:
    """Whether an open file is still the one of this name."""
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


@contextmanager
def open_stdout(form: str, columns: Sequence[str], dtype: np.dtype[Any]) -> Iterator[Writer]:
    """Gives a writer to stdout in a format of ``STDOUT_FORMATS``; a note to an error says how far it came."""
    out = sys.stdout.buffer
    writer = None
    try:
        # not through the buffer, which would hold on to what cannot be written, and try again at exit
        writer = WRITERS[f".{form}"](getattr(out, "raw", out), columns, dtype)
        yield writer
    except BaseException as error:
        error.add_note(f"Stopped after {writer.rows if writer else 0} rows of answers.")
        raise


def _finish(writer: Writer, file: BinaryIO) -> None:
    writer.finish()
    file.truncate(writer.size)


def _keep(writer: Writer | None, file: BinaryIO, partial: Path) -> str:
    """Leaves a valid partial file, or none where it would have no rows; says which."""
    kept = f"kept in {partial}"
    try:
        if writer:
            _finish(writer, file)
    except OSError as error:
        kept = f"but {partial} could not be completed: {error}"
    if writer and writer.rows:
        return f"Stopped after {writer.rows} rows of answers, {kept}"
    file.close()
    partial.unlink(missing_ok=True)
    return "Stopped before the first row of answers."


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Writes all bytes to a raw file, which may take some at a time."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _digits(block: AnyFloats) -> list[list[str]]:
    return block.astype(str).tolist()


def _or_null(cell: str) -> str:
    return "null" if cell.endswith(_NOT_JSON) else cell
