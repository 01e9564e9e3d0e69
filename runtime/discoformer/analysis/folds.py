"""Rows dealt into folds, so that a row may be asked of an estimate that has not seen it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError
from discoformer.fit import Sample, read_sample
from discoformer.fitted import EncodingModel, FittedDensity, warn_of_range
from discoformer.io.inputs import Matrix, read_matrix, whole_number
from discoformer.io.tables import Table

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


def fit_parts(
    model: EncodingModel, sample: Matrix, parts: Iterable[npt.NDArray[np.bool_]]
) -> list[FittedDensity]:
    """Fit a model to parts of a sample.

    Args:
        model: The model.
        sample: The sample, of N rows.
        parts: For each part which rows (N,) it has.

    Raises:
        DegenerateDataError: The sample has a constant column or collinear columns, or a part alone has.

    Warns:
        RangeWarning: The size of a part is outside the ranges the model was trained on.
    """
    samples = [_read_part(sample, part) for part in parts]
    warn_of_range(model.graphs.metadata, samples, stacklevel=3)
    return FittedDensity.of_batch(model, samples)


def _read_part(sample: Matrix, part: npt.NDArray[np.bool_]) -> Sample:
    try:
        return read_sample(Table(sample.values[part], sample.columns), None)
    except InputError:
        read_sample(Table(sample.values, sample.columns), None)  # raises if it is the whole sample
        raise
