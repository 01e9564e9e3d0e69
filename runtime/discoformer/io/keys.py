"""Keys of groups: the values in one or more columns that say to which group a row belongs.

A key is text or a whole number, or a tuple of these if there are several columns. The same key may be read
from different sources: so text of plain digits is the number that it writes, a float without a fraction is
that number, dates and times are their ISO 8601 text, and booleans are ``"true"`` and ``"false"``.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError
from discoformer.io.inputs import shown

Part: TypeAlias = str | int
Key: TypeAlias = Part | tuple[Part, ...]

_MOST_DIGITS = 18  # of text that is a number, so that it fits into 64 bits


def key_of(value: Any) -> Key | None:
    """Return the key that a value, or a tuple of values, stands for; None if one of them is missing.

    >>> key_of("17"), key_of(17.0), key_of("017"), key_of(("a", True))
    (17, 17, '017', ('a', 'true'))

    Raises:
        InputError: A value is no key.
    """
    if not isinstance(value, tuple):
        return _part(value)
    parts = tuple(map(_part, value))
    return None if any(part is None for part in parts) else parts  # type: ignore[return-value]


def _part(value: Any) -> Part | None:
    if _is_missing(value):
        return None
    if isinstance(value, str):
        return int(value) if _is_number(value) else value
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise InputError(
        f"a key must be text, a whole number, a boolean, a date or a time, got {shown(value)}: convert the "
        "column to text"
    )


def _is_missing(value: Any) -> bool:
    is_nan = isinstance(value, float | np.floating) and np.isnan(value)
    return bool(value is None or is_nan or type(value).__name__ in ("NAType", "NaTType"))


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS
    return plain and (digits[0] != "0" or text == "0")


class Keys:
    """The keys of rows, numbered in the order in which they first appear.

    Attributes:
        found: The keys, by number.
    """

    def __init__(self) -> None:
        self.found: list[Key] = []
        self._numbers: dict[Key, int] = {}
        self._seen: dict[Any, int] = {}  # by the values that they were read from

    def numbers(self, values: Iterable[Any]) -> npt.NDArray[np.intp]:
        """Return the number (M,) of the key of each row; -1 for rows without one.

        Args:
            values: M values, or tuples of values.

        Raises:
            InputError: A value is no key.
        """
        seen = self._seen
        try:
            return np.fromiter(
                (seen[value] if value in seen else self._number(value) for value in values), np.intp
            )
        except TypeError as error:
            raise InputError(
                f"keys must be text or numbers, got a list or the like ({error}): convert the column to text"
            ) from error

    def _number(self, value: Any) -> int:
        key = key_of(value)
        if key is None:
            return -1
        number = self._numbers.setdefault(key, len(self.found))
        if number == len(self.found):
            self.found.append(key)
        self._seen[value] = number
        return number


def row_keys(labels: Sequence[Sequence[Any]]) -> Iterable[Any]:
    """Return the values, or tuples of values, of the rows of one or more columns."""
    return labels[0] if len(labels) == 1 else zip(*labels, strict=True)
