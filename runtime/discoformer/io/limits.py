"""Limits of the data that are read from files. Beyond them there is an error, early.

Queries are read in blocks, so there may be any number of them.
"""

from discoformer.errors import InputError

LINE = 2**20  # characters of a line of text
AHEAD = 2**22  # characters of text that are read ahead, to find columns and what they hold
SNIFFED = 2**18  # characters of text that the dialect is guessed from
CELLS = 2**14  # columns of a file
COLUMNS = 1024  # columns of numbers that are read
VALUES = 2**26  # rows times columns of a table that is held in memory: 0.5 GiB
TEXTS = 2**23  # cells of a text file that is read to be written again


def check_columns(name: str, cells: int, picked: int) -> None:
    """Check the number of columns of a file, and how many of them are read.

    Raises:
        InputError: There are too many.
    """
    if cells > CELLS:
        raise InputError(f"{name} must have {CELLS} columns or fewer, got {cells}: check that it is a table")
    if picked > COLUMNS:
        raise InputError(f"{name} must have {COLUMNS} columns of numbers or fewer, got {picked}: choose some")


def check_values(name: str, rows: int, columns: int, most: int = VALUES) -> None:
    """Check the size of a table that is held in memory; ``most`` is that of rows times columns.

    Raises:
        InputError: It is too large.
    """
    if rows * columns > most:
        raise InputError(
            f"{name} must have {most // columns} rows of {columns} columns or fewer, to be held in memory: "
            "take fewer rows or columns"
        )
