"""Writers of numeric tables, block by block: CSV, JSON lines, NPY and Parquet.

A file is written as ``NAME.RANDOM.partial`` and renamed when it is complete (see ``files``). If writing
fails, the partial file stays. It is a valid file with the blocks written so far, and a note to the error says
so.
After ``kill -9``, too, the blocks can be read, but not those of Parquet, whose footer is missing.

Columns of labels, text or whole numbers, may stand before those of numbers.

As text, each number has the fewest digits that read back to the same value. JSON has no infinity, so JSON
lines have ``null`` where CSV has ``inf``.
"""

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from discoformer.errors import InputError, require
from discoformer.io.files import create_beside, put_in_place, target_of
from discoformer.io.inputs import AnyFloats

STDOUT_FORMATS = ("csv", "jsonl")
Labels: TypeAlias = Mapping[str, bool]  # names of columns, and whether they hold whole numbers
NO_LABELS: Labels = {}
_NOT_JSON = ("inf", "nan")
_FOOTER = 256  # upper bound on the bytes of the Parquet footer per column and row group, without the name


class Writer:
    """Writer of blocks of rows to a binary file, without a buffer so that errors occur at their block.

    Attributes:
        rows: Number of rows written so far.
        size: Number of bytes in the file that hold these rows.
    """

    def __init__(
        self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any], labels: Labels = NO_LABELS
    ) -> None:
        """Start a table with the given column names, for blocks of the given dtype."""
        self.rows = 0
        self.size = 0
        self._file = file

    def write(self, block: AnyFloats, labels: Sequence[Sequence[Any]] = ()) -> None:
        """Write a block of rows, shape (n, number of columns), and the n labels of each column of labels.

        Raises:
            OSError: The rows cannot be written.
        """
        self._write(block, labels)
        self.rows += len(block)

    def finish(self) -> None:
        """Complete the table after the last block.

        Raises:
            OSError: The end of the table cannot be written.
        """

    def _write(self, block: AnyFloats, labels: Sequence[Sequence[Any]]) -> None:
        raise NotImplementedError

    def _append(self, data: bytes) -> None:
        _write_all(self._file, data)
        self.size += len(data)


class CsvWriter(Writer):
    """Writer of CSV: a header, then one line for each row."""

    def __init__(
        self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any], labels: Labels = NO_LABELS
    ) -> None:
        super().__init__(file, columns, dtype)
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow([*labels, *columns])
        self._append(header.getvalue().encode())

    def _write(self, block: AnyFloats, labels: Sequence[Sequence[Any]]) -> None:
        text = io.StringIO()
        rows = zip(*labels, *zip(*_digits(block), strict=True), strict=True) if labels else _digits(block)
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._append(text.getvalue().encode())


class JsonLinesWriter(Writer):
    """Writer of JSON lines: one object for each row."""

    def __init__(
        self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any], labels: Labels = NO_LABELS
    ) -> None:
        super().__init__(file, columns, dtype)
        self._keys = [json.dumps(name, ensure_ascii=False) for name in (*labels, *columns)]

    def _write(self, block: AnyFloats, labels: Sequence[Sequence[Any]]) -> None:
        before = zip(*labels, strict=True) if labels else repeat((), len(block))
        self._append("".join(map(self._line, before, _digits(block))).encode())

    def _line(self, labels: Sequence[Any], cells: list[str]) -> str:
        values = (*(json.dumps(label, ensure_ascii=False) for label in labels), *map(_or_null, cells))
        pairs = zip(self._keys, values, strict=True)
        return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}\n"


class NpyWriter(Writer):
    """Writer of an NPY matrix. Its header, which holds the number of rows, is rewritten after every block."""

    def __init__(
        self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any], labels: Labels = NO_LABELS
    ) -> None:
        super().__init__(file, columns, dtype)
        if labels:
            raise InputError(
                f"an NPY file holds numbers, and no column such as {next(iter(labels))!r}: write another kind"
            )
        self._width, self._dtype = len(columns), dtype
        self._append(self._header())

    def write(self, block: AnyFloats, labels: Sequence[Sequence[Any]] = ()) -> None:
        """Write a block of rows, then update the number of rows in the header."""
        super().write(block, labels)
        self.finish()

    def finish(self) -> None:
        """Rewrite the header; NumPy pads it, so its length stays the same."""
        self._file.seek(0)
        _write_all(self._file, self._header())
        self._file.seek(self.size)

    def _write(self, block: AnyFloats, labels: Sequence[Sequence[Any]]) -> None:
        self._append(block.tobytes())

    def _header(self) -> bytes:
        header = io.BytesIO()
        shape = {"shape": (self.rows, self._width), "fortran_order": False}
        descr = np.lib.format.dtype_to_descr(self._dtype)
        np.lib.format.write_array_header_1_0(header, {"descr": descr, **shape})
        return header.getvalue()


class ParquetWriter(Writer):
    """Writer of Parquet: one row group for each block.

    After a failed write pyarrow cannot write the footer, and a file without its footer cannot be read.
    Therefore, on Linux, disk space for a block and for the footer is reserved before the block is written.
    """

    def __init__(
        self, file: BinaryIO, columns: Sequence[str], dtype: np.dtype[Any], labels: Labels = NO_LABELS
    ) -> None:
        super().__init__(file, columns, dtype)
        arrow = require("pyarrow")
        kinds = [(name, arrow.int64() if whole else arrow.string()) for name, whole in labels.items()]
        numbers = [(name, arrow.from_numpy_dtype(dtype)) for name in columns]
        self._schema = arrow.schema(kinds + numbers)
        self._footer = sum(_FOOTER + 4 * len(name.encode()) for name in self._schema.names)
        self._groups = 0
        self._sink = arrow.OSFile(file.name, "wb")  # unlike a Python file, Ctrl-C cannot interrupt its writes
        parquet = require("pyarrow.parquet")
        self._writer = parquet.ParquetWriter(self._sink, self._schema, use_dictionary=False)

    def finish(self) -> None:
        """Write the footer."""
        if self._sink.closed:
            return
        rows_end = self._sink.tell()
        self._writer.close()  # after a failed write, this writes no footer and raises no error
        self.size = self._sink.tell()
        self._sink.close()
        if self.size == rows_end:
            raise OSError("the footer could not be written, so the file cannot be read")

    def _write(self, block: AnyFloats, labels: Sequence[Sequence[Any]]) -> None:
        text = sum(len(str(label).encode()) + 8 for column in labels for label in column)
        self._reserve(2 * (block.nbytes + text) + (self._groups + 4) * self._footer)
        columns = [[*map(_label, column)] for column in labels]
        self._writer.write_table(require("pyarrow").table([*columns, *block.T], schema=self._schema))
        self._groups += 1

    def _reserve(self, size: int) -> None:
        """Reserve disk space after the rows written so far."""
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
def open_file(
    path: Path, columns: Sequence[str], dtype: np.dtype[Any], labels: Labels = NO_LABELS
) -> Iterator[Writer]:
    """Open a file for writing; it appears under its name if the ``with`` block ends without an error.

    After an error the rows written so far are in ``NAME.RANDOM.partial``, and a note to the error says where.
    If there are none, that file is removed. If ``path`` is a symbolic link, the file that it points to is
    written. Of several jobs that write one file at the same time, the last one to end determines it.

    Args:
        path: The file. Its suffix, one of ``WRITERS``, determines the format.
        columns: Names of the columns. NPY does not store them.
        dtype: dtype of the blocks.
        labels: Names of the columns of labels, and whether they hold whole numbers.

    Raises:
        OSError: The file cannot be written. An existing file of that name is unchanged.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
    """
    target = target_of(path)
    file = create_beside(target)
    writer = None
    try:
        writer = WRITERS[path.suffix](file, columns, dtype, labels)
        yield writer
        _finish(writer, file)
        put_in_place(file, target)
    except BaseException as error:
        error.add_note(_keep(writer, file))
        raise


@contextmanager
def open_stdout(
    form: str, columns: Sequence[str], dtype: np.dtype[Any], labels: Labels = NO_LABELS
) -> Iterator[Writer]:
    """Write to stdout in one of ``STDOUT_FORMATS``; a note to an error gives the number of rows written."""
    out = sys.stdout.buffer
    writer = None
    try:
        # Bypass the buffer: it would keep what cannot be written, and try to write it again at exit.
        writer = WRITERS[f".{form}"](getattr(out, "raw", out), columns, dtype, labels)
        yield writer
    except BaseException as error:
        error.add_note(f"Stopped after {writer.rows if writer else 0} rows of answers.")
        raise


def _finish(writer: Writer, file: BinaryIO) -> None:
    """Complete the table, and cut off what follows it in the file."""
    writer.finish()
    file.truncate(writer.size)


def _keep(writer: Writer | None, file: FileIO) -> str:
    """Make the partial file valid, or remove it if it has no rows; return a note that says which."""
    partial = Path(os.fsdecode(file.name))
    kept = f"kept in {partial}"
    try:
        if writer and not file.closed:
            _finish(writer, file)
    except OSError as error:
        kept = f"but {partial} could not be completed: {error}"
    file.close()
    if not partial.exists():
        return f"All {writer.rows if writer else 0} rows of answers are in place."
    if writer and writer.rows:
        return f"Stopped after {writer.rows} rows of answers, {kept}"
    partial.unlink()
    return "Stopped before the first row of answers."


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write all bytes to a raw file, which may accept only a part at a time."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _digits(block: AnyFloats) -> list[list[str]]:
    """Return the numbers of a block as text, with the fewest digits that read back to the same value."""
    return block.astype(str).tolist()


def _label(label: Any) -> Any:
    """Return a label as Parquet has it: a whole number, text, or None."""
    return label if label is None or isinstance(label, int) else str(label)


def _or_null(cell: str) -> str:
    """Return the JSON value of a number: null if it is not finite."""
    return "null" if cell.endswith(_NOT_JSON) else cell
