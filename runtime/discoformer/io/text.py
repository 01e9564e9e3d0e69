r"""Tables in text files: CSV, and its relatives with semicolons, tabs or blanks, packed by gzip or not.

What ``ReadOptions`` leave open is guessed from the first lines:

- The delimiter (comma, semicolon, tab, or blanks) and the decimal mark are those with which most cells are
  numbers. With semicolons, the decimal mark is a comma unless there are more points.
- The first row holds names if it has no number; if it holds all wanted names; or if its cells are 0, 1, 2 and
  so on: pandas writes these for columns without names (after an empty cell, if it writes the index too).
  Whole numbers such as years may be names as well. They are if a word stands beside them over a column of
  numbers, or if they are far from all cells below; a warning then says how the row is read.
- A column holds numbers if at least half of its cells that are not missing are numbers.

Lines before the table that start with # are comments; the last of them holds the names if it has a cell for
each column, as ``numpy.savetxt`` writes it.
"""

import codecs
import csv
import gzip
import io
import math
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any, Literal, TextIO, TypeAlias, cast

from discoformer.errors import DataWarning, InputError, warn_caller
from discoformer.io.frames import kind_of
from discoformer.io.limits import AHEAD, CELLS, LINE, SNIFFED, check_columns

STDIN = Path("-")
TEXT = (".csv", ".tsv", ".txt")  # suffixes
MISSING = ("", "na", "n/a", "nan", "null", "none", "?")  # cells that are missing, in upper or lower case
_SNIFFED = 50  # lines that the dialect is guessed from
_FEWEST = 3  # rows below the first that show whether its numbers are names

Row: TypeAlias = tuple[int, list[str]]  # number of the line that it ends in, from 1, and its cells


@dataclass(frozen=True)
class ReadOptions:
    """How files are read; None is a guess."""

    encoding: str = "utf-8"
    header: bool | None = None  # whether the first row of a text file holds names
    decimal: str | None = None  # decimal mark of a text file, a point or a comma
    missing: Literal["drop", "error", "keep"] = (
        "error"  # what is done with rows with missing cells; keep: NaN
    )


@dataclass(frozen=True)
class Dialect:
    """How the cells of a text file are written."""

    delimiter: str  # one character; a blank stands for any number of blanks
    decimal: str  # decimal mark

    def reader(self, lines: Iterable[str]) -> Any:
        """Return a reader of the cells of lines."""
        if self.delimiter == " ":
            return csv.reader(map(str.strip, lines), delimiter=" ", skipinitialspace=True)
        return csv.reader(lines, delimiter=self.delimiter)

    def number(self, cell: str) -> float:
        """Convert a cell to a number, NaN if it is missing.

        Raises:
            ValueError: It is neither missing nor a number. Unlike in Python, 1_000 is no number.
        """
        text = cell
        if self.decimal == ",":
            text = "_" if "." in cell else cell.replace(",", ".")
        try:
            number = float(text)
        except ValueError:
            if cell.strip().lower() in MISSING:
                return math.nan
            raise
        if "_" in cell:
            raise ValueError(cell)
        return number

    def kind(self, cells: Iterable[str]) -> str:
        """Return what a column holds: "text", "empty", or "" for numbers."""
        rows = numbers = others = 0
        for cell in cells:
            rows += 1
            try:
                numbers += not math.isnan(self.number(cell))
            except ValueError:
                others += 1
        return kind_of(rows, numbers, others)


@dataclass(frozen=True)
class TextTable:
    """An opened text file."""

    name: str  # for messages
    dialect: Dialect
    comments: list[str]  # lines before the table
    columns: tuple[str, ...] | None  # names of the columns, or None if there are none
    header: list[str] | None  # the first row as it is, if it holds the names
    kinds: list[str]  # what each column holds: "" for numbers, "text" or "empty"
    rows: Iterator[Row]  # all rows below the names; a blank line has no cells

    def checked_rows(self) -> Iterator[Row]:
        """Yield the rows that are not blank.

        Raises:
            InputError: A row has another number of cells than the first.
        """
        for line, cells in self.rows:
            if cells and len(cells) != len(self.kinds):
                raise InputError(
                    f"{self.name}, line {line}: found {len(cells)} cells, needed {len(self.kinds)} as in the "
                    "first line; correct or remove the line"
                )
            if cells:
                yield line, cells


def is_text(path: Path) -> bool:
    """Return whether a path is stdin, or has the suffix of a text file, followed by .gz or not."""
    return path == STDIN or suffix_of(path) in TEXT


def suffix_of(path: Path) -> str:
    """Return the suffix of a path in lower case, without .gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def name_of(path: Path) -> str:
    """Return how messages refer to a file; the path ``-`` is stdin."""
    return "stdin" if path == STDIN else str(path)


@contextmanager
def open_table(
    path: Path, options: ReadOptions, ahead: int, wanted: Sequence[str] | None = None
) -> Iterator[TextTable]:
    """Open a text file; the path ``-`` is stdin.

    Args:
        path: The file.
        options: How it is read.
        ahead: Number of lines to guess from, which are read at once.
        wanted: Names of columns that should be there.

    Raises:
        InputError: There are no rows, or the lines cannot be read (raised when they are read).
        OSError: The file cannot be read.

    Warns:
        DataWarning: The first row holds numbers that may be names.
    """
    name = name_of(path)
    with _open(path, options.encoding) as file:
        lines = _decoded(name, options.encoding, file)
        head = first_lines(lines, ahead, AHEAD)
        comments = list(takewhile(lambda line: line.startswith("#"), head))
        head = head[len(comments) :]
        dialect = guess_dialect(head, options.decimal)
        rows = _parsed(name, dialect, chain(head, lines), len(comments))
        first = list(islice(rows, len(head)))
        table = [cells for _, cells in first if cells]
        if not table:
            raise no_rows(name)
        check_columns(name, len(table[0]), 0)
        columns = _names_in_row(name, table, dialect, options, wanted)
        header, below = None, chain(first, rows)
        if columns is not None:
            header = next(cells for _, cells in below if cells)
        elif comments and options.header is None:
            columns = _names_in_comment(comments[-1], len(table[0]), dialect)
        body = [cells for cells in table[header is not None :] if len(cells) == len(table[0])]
        kinds = [dialect.kind(row[j] for row in body) for j in range(len(table[0]))]
        yield TextTable(name, dialect, comments, columns, header, kinds, below)


def first_lines(lines: Iterable[str], most: int, characters: int) -> list[str]:
    """Return the first lines: at most so many, and no further line after so many characters."""
    head: list[str] = []
    for line in islice(lines, most):
        head.append(line)
        characters -= len(line)
        if characters < 0:
            break
    return head


def no_rows(name: str) -> InputError:
    """Return the error for a file without rows."""
    return InputError(
        f"{name} must have one row of numbers or more, got none: check that it is the right file"
    )


def guess_dialect(lines: Iterable[str], decimal: str | None = None) -> Dialect:
    """Guess how cells are written: so that most of them are numbers or missing.

    Args:
        lines: The first lines.
        decimal: The decimal mark if it is known.
    """
    sample = [line for line in first_lines(lines, _SNIFFED, SNIFFED) if line.strip()]
    pairs = ("\t.", "\t,", ";,", ";.", ",.", " .", " ,")
    shares = {Dialect(*pair): _share(Dialect(*pair), sample) for pair in pairs if decimal in (None, pair[1])}
    best = max(shares, key=lambda dialect: shares[dialect])
    if shares[best] < 0:  # a single column
        return Dialect(";", decimal) if decimal == "," else Dialect(",", ".")
    return best


def _share(dialect: Dialect, lines: Sequence[str]) -> float:
    """Return the share of cells that are numbers or missing, -1 if there is a single column."""
    try:
        rows = [row for row in dialect.reader(lines) if row]
    except csv.Error:
        return -1
    widths = {len(row) for row in rows}
    if not rows or len(rows[0]) < 2 or (dialect.delimiter == " " and len(widths) > 1):
        return -1
    cells = list(chain.from_iterable(row[:CELLS] for row in rows))
    return sum(dialect.kind([cell]) != "text" for cell in cells) / len(cells)


def _names_in_row(
    name: str,
    table: Sequence[Sequence[str]],
    dialect: Dialect,
    options: ReadOptions,
    wanted: Sequence[str] | None,
) -> tuple[str, ...] | None:
    """Return the names in the first row of a table, None if it holds data."""
    cells = tuple(cell.strip() for cell in table[0])
    if options.header is not None:
        return cells if options.header else None
    numbered = cells[1:] if cells[0] == "" else cells
    if len(numbered) > 1 and numbered == tuple(map(str, range(len(numbered)))):
        return cells
    if wanted and set(wanted) <= set(cells):
        return cells
    kinds = [dialect.kind([cell]) for cell in cells]
    if "" not in kinds:
        return cells if "text" in kinds else None
    below = [row for row in table[1:] if len(row) == len(cells)]
    are_names = _numbers_are_names(cells, kinds, below, dialect)
    if are_names is None:
        return None
    taken, other = ("column names", "--no-header") if are_names else ("data", "--header")
    warn_caller(
        f"The first row of {name} ({', '.join(cells)}) looks like column names, and is read as {taken}: pass "
        f"{other} if that is wrong.",
        DataWarning,
    )
    return cells if are_names else None


def _numbers_are_names(
    cells: Sequence[str], kinds: Sequence[str], below: Sequence[Sequence[str]], dialect: Dialect
) -> bool | None:
    """Return whether a first row that holds numbers holds names; None if it does not look like that.

    Args:
        cells: The cells of the row.
        kinds: What each of them is, as in ``Dialect.kind``.
        below: The rows below it.
        dialect: How cells are written.
    """
    numbers = [j for j, kind in enumerate(kinds) if kind == ""]
    written = {cells[j] for j in numbers}
    if len(written) < len(numbers) or not all(map(str.isdecimal, written)):
        return None
    words = [j for j, kind in enumerate(kinds) if kind == "text"]
    if below and any(dialect.kind(row[j] for row in below) == "" for j in words):
        return True
    columns = [[dialect.number(row[j]) for row in below if dialect.kind([row[j]]) == ""] for j in numbers]
    if len(numbers) < 2 or any(len(column) < _FEWEST for column in columns):
        return None
    if all(_is_far(float(cells[j]), column) for j, column in zip(numbers, columns, strict=True)):
        return True
    return False if all(any(value % 1 for value in column) for column in columns) else None


def _is_far(value: float, others: Sequence[float]) -> bool:
    """Return whether a value is farther from all others than they are from each other."""
    low, high = min(others), max(others)
    return max(low - value, value - high) > high - low


def _names_in_comment(comment: str, width: int, dialect: Dialect) -> tuple[str, ...] | None:
    """Return the names in a comment if there is one for each column, else None."""
    rows = list(dialect.reader([comment.strip("#\r\n ")]))
    names = tuple(cell.strip() for cell in rows[0]) if rows else ()
    return names if len(names) == width and all(dialect.kind([name]) == "text" for name in names) else None


def _open(path: Path, encoding: str) -> AbstractContextManager[TextIO]:
    try:
        codec = codecs.lookup(encoding).name
    except LookupError as error:
        raise InputError(
            f"encoding must be one that Python knows, such as utf-8, latin-1 or utf-16, got {encoding!r}"
        ) from error
    codec = "utf-8-sig" if codec == "utf-8" else codec  # which takes a byte order mark off
    if path != STDIN:
        if path.suffix.lower() == ".gz":
            return cast(TextIO, gzip.open(path, "rt", encoding=codec, newline=""))
        return path.open(encoding=codec, newline="")
    if sys.stdin is None:
        raise InputError("stdin is closed: pipe text to it, or name a file")
    stdin = cast(io.TextIOWrapper, sys.stdin)
    stdin.reconfigure(encoding=codec, newline="")
    return nullcontext(stdin)


def _decoded(name: str, encoding: str, file: TextIO) -> Iterator[str]:
    """Yield the lines of a file.

    Raises:
        InputError: The file has another encoding, is a damaged .gz, or has a line that is too long.
    """
    number = 0
    try:
        while line := file.readline(LINE + 1):
            if len(line) > LINE:
                raise InputError(
                    f"{name} must have lines of {LINE} characters or fewer, but line {number + 1} is longer: "
                    "check that it is a table in text"
                )
            number += 1
            yield line
    except UnicodeError as error:
        raise InputError(
            f"{name} must be text in {encoding}, but cannot be read after line {number} ({error}): pass its "
            "encoding by --encoding, such as latin-1 or utf-16"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{name} cannot be unpacked after line {number} ({error}): pack it again") from error


def _parsed(name: str, dialect: Dialect, lines: Iterable[str], before: int) -> Iterator[Row]:
    """Yield the rows of lines, given the number of lines before them."""
    reader = dialect.reader(lines)
    try:
        for cells in reader:
            yield before + reader.line_num, cells
    except csv.Error as error:
        raise InputError(
            f"{name} cannot be read as CSV after line {before + reader.line_num} ({error}): correct the file"
        ) from error
