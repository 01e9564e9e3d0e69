"""Folds: rows dealt at random, so that each row can be answered by an estimate that has not seen it."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError
from discoformer.fit import Sample, read_sample
from discoformer.fitted import EncodingModel, FittedDensity, warn_of_range
from discoformer.io.inputs import Matrix, read_matrix, whole_number
from discoformer.io.tables import Table
from discoformer.onnx.names import Effort, check_effort

FOLDS = 5


def read_rows(name: str, data: Any, folds: int, wanted: Sequence[str] | None = None) -> Matrix:
    """Read a sample that will be dealt into folds.

    Args:
        name: Name of the argument, for error messages.
        data: Array-like (rows, D).
        folds: Number of folds.
        wanted: As in ``read_matrix``.

    Raises:
        InputError: ``data`` is not a matrix of finite real numbers, there are fewer than 2 folds, or there
            are fewer than 2 rows for each fold.
    """
    whole_number("folds", folds, 2)
    matrix = read_matrix(name, data, wanted=wanted)
    if len(matrix.values) < 2 * folds:
        raise InputError(
            f"{name} must have {2 * folds} rows or more, 2 for each of {folds} folds, "
            f"got {len(matrix.values)}: give more rows, or take fewer folds"
        )
    return matrix


def deal(rows: int, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal rows at random into folds of nearly equal size; return the fold (rows,) of each row.

    Raises:
        InputError: ``seed`` is not a whole number of 0 or more.
    """
    return np.random.default_rng(whole_number("seed", seed, 0)).permutation(rows) % folds


def fit_parts(
    model: EncodingModel, sample: Matrix, parts: Iterable[npt.NDArray[np.bool_]], effort: Effort = "best"
) -> list[FittedDensity]:
    """Fit a model to parts of a sample.

    Args:
        model: The model.
        sample: The sample, of N rows.
        parts: Which rows (N,) belong to each part.
        effort: How they are read, ``"fast"`` or ``"best"``.

    Raises:
        DegenerateDataError: The sample, or one of the parts, has a constant column or collinear columns.
        InputError: There is no such effort.
        ModelError: The model has no files for this effort.

    Warns:
        RangeWarning: The size of a part is outside the ranges the model was trained on.
    """
    check_effort(effort)
    metadata = model.graphs.files(effort).metadata
    samples = [_read_part(sample, part, effort) for part in parts]
    warn_of_range(metadata, samples)
    return FittedDensity.of_batch(model, samples)


def _read_part(sample: Matrix, part: npt.NDArray[np.bool_], effort: Effort) -> Sample:
    try:
        return read_sample(Table(sample.values[part], sample.columns), None, effort=effort)
    except InputError:
        read_sample(
            Table(sample.values, sample.columns), None
        )  # the clearer error, if all rows have the fault
        raise
