"""Features of an estimate, its columns, by name or by position."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from discoformer.errors import InputError

Feature: TypeAlias = str | int


def feature_indices(
    name: str, features: Feature | Iterable[Feature], dim: int, columns: tuple[str, ...] | None
) -> tuple[int, ...]:
    """Positions of features, in the order in which they are named.

    Args:
        name: Name of the argument, for error messages.
        features: Names or positions (0 to D - 1) of one feature or several.
        dim: Number of columns D.
        columns: Their names, where there are any.

    Raises:
        InputError: No feature, one that is not there, or one that is named twice.
    """
    wanted = [features] if isinstance(features, (str, int, np.integer)) else list(features)
    if not wanted:
        raise InputError(f"{name} must name one feature or more, got none")
    found = tuple(_index(name, feature, dim, columns) for feature in wanted)
    twice = [feature for feature, j in zip(wanted, found, strict=True) if found.count(j) > 1]
    if twice:
        raise InputError(f"{name} must name each feature once, got {twice[0]!r} more than once")
    return found


def _index(name: str, feature: Any, dim: int, columns: tuple[str, ...] | None) -> int:
    if isinstance(feature, str) and columns and feature in columns:
        return columns.index(feature)
    if (
        isinstance(feature, (int, np.integer))
        and not isinstance(feature, (bool, np.bool_))
        and 0 <= feature < dim
    ):
        return int(feature)
    names = f" or one of {', '.join(columns)}" if columns else ""
    raise InputError(f"{name} must be positions from 0 to {dim - 1}{names}, got {feature!r}")


def names_of(indices: Iterable[int], columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names of features, where there are any."""
    return None if columns is None else tuple(columns[j] for j in indices)
