"""Rows dealt into folds, so that a row may be asked of an estimate that has not seen it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.fit import read_sample
from discoformer.io.inputs import Matrix, read_matrix, whole_number
from discoformer.io.tables import Table
from discoformer.model import Model

FOLDS = 5


def read_rows(name: str, data: Any, folds: int) -> Matrix:
    """Reads a sample that is to be dealt into folds.

    Args:
        name: Name of the argument, for error messages.
        data: Array-like (rows, D).
        folds: How many.

    Raises:
        InputError: Not a matrix of finite real numbers, fewer than 2 folds, or fewer than 2 rows for each.
    """
    whole_number("folds", folds, 2)
    matrix = read_matrix(name, data)
    if len(matrix.values) < 2 * folds:
        raise InputError(
            f"{name} must have {2 * folds} rows or more, 2 for each of {folds} folds, "
            f"got {len(matrix.values)}"
        )
    return matrix


def deal(rows: int, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deals rows into folds of like size: the fold (rows,) of each.

    Raises:
        InputError: The seed is no whole number of 0 or more.
    """
    return np.random.default_rng(whole_number("seed", seed, 0)).permutation(rows) % folds


def estimate_parts(model: Model, sample: Matrix, parts: Iterable[npt.NDArray[np.bool_]]) -> list[Estimate]:
    """Estimates from parts of a sample, each given by the rows (rows,) that it has.

    Raises:
        DegenerateDataError: A constant column, or collinear columns: of the sample, or of a part alone.
    """
    try:
        return model.estimate_batch([Table(sample.values[part], sample.columns) for part in parts])
    except InputError:
        read_sample(Table(sample.values, sample.columns), None)  # says it of the sample, where it holds there
        raise
