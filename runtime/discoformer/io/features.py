"""Features (the columns of an estimate), selected by name or by position."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from discoformer.errors import InputError

Feature: TypeAlias = str | int


def feature_indices(
    name: str, features: Feature | Iterable[Feature], dim: int, columns: tuple[str, ...] | None
) -> tuple[int, ...]:
    """Return the positions of features, in the given order.

    Args:
        name: Name of the argument, for error messages.
        features: Names or positions (0 to D - 1) of one or more features.
        dim: Number of columns D.
        columns: Names of the columns, or None if they have no names.

    Raises:
        InputError: There is no feature, an unknown one, or the same one twice.
    """
    wanted = (
        list(features) if isinstance(features, Iterable) and not isinstance(features, str) else [features]
    )
    if not wanted:
        raise InputError(f"{name} must name one feature or more, got none: pass positions or column names")
    found = tuple(_index(name, feature, dim, columns) for feature in wanted)
    twice = [feature for feature, j in zip(wanted, found, strict=True) if found.count(j) > 1]
    if twice:
        raise InputError(f"{name} must name each feature once, got {twice[0]!r} more than once: drop one")
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
    names = f", or names among {', '.join(columns)}" if columns else ""
    raise InputError(f"{name} must be positions from 0 to {dim - 1}{names}, got {feature!r}")
