"""Rows with missing values in the data that a caller passes: an error, or left out and counted."""

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from discoformer.errors import DataWarning, InputError, warn_caller
from discoformer.io.frames import is_frame
from discoformer.io.inputs import AnyFloats, Matrix, describe_column, read_matrix, read_weights

Missing: TypeAlias = Literal["drop", "error"]  # what happens to rows of a sample with missing values
MissingQueries: TypeAlias = Literal["drop", "error", "marginal"]  # and to such queries


def missing_rule(missing: str | None, data: Any, rules: Any) -> str:
    """Return the rule for rows with missing values: by default "drop" for data frames, else "error".

    Args:
        missing: The rule that was asked for, or None.
        data: The data that it is for.
        rules: The type of the rules to choose from.

    Raises:
        InputError: There is no such rule.
    """
    if missing is None:
        return "drop" if is_frame(data) else "error"
    if missing not in get_args(rules):
        raise InputError(f"missing must be one of {', '.join(map(repr, get_args(rules)))}, got {missing!r}")
    return missing


def complete_rows(X: Any, weights: Any, missing: Missing | None) -> tuple[Any, Any]:
    """Return a sample and its weights without the rows that have missing values.

    Args:
        X: Array-like (N, D).
        weights: Array-like (N,), or None.
        missing: ``"drop"`` or ``"error"``; None for the default.

    Raises:
        InputError: No row is complete, there is no such rule, or the data are malformed.

    Warns:
        DataWarning: Rows are left out.
    """
    if missing_rule(missing, X, Missing) == "error":
        return X, weights
    matrix = read_matrix("X", X, missing=True)
    kept = complete(matrix.values)
    weights = None if weights is None else read_weights(weights, len(kept))
    if kept.all():
        return matrix, weights
    check_some_complete("X", matrix.values, matrix.columns)
    warn_of_rows("X", int((~kept).sum()), len(kept))
    found = Matrix(matrix.values[kept], matrix.width, matrix.columns, rows=np.flatnonzero(kept))
    return found, None if weights is None else weights[kept]


def complete(values: AnyFloats) -> npt.NDArray[np.bool_]:
    """Return which rows (M,) of values (M, D) have no missing value, NaN."""
    return np.asarray(~np.isnan(values).any(axis=1))


def check_some_complete(name: str, values: AnyFloats, columns: tuple[str, ...] | None) -> None:
    """Raise an error if there are rows, and all of them have missing values.

    Raises:
        InputError: No row is complete.
    """
    if len(values) and not complete(values).any():
        missing = np.isnan(values).sum(axis=0)
        worst = int(missing.argmax())
        raise InputError(
            f"{name} must have complete rows, but all {len(values)} have missing values: leave out columns "
            f"with many of them, such as {describe_column(worst, columns)} with {missing[worst]}"
        )


def warn_of_rows(name: str, dropped: int, rows: int) -> None:
    """Warn that rows with missing values were left out."""
    warn_caller(f"Left out {dropped} of {rows} rows of {name}, which have missing values.", DataWarning)
