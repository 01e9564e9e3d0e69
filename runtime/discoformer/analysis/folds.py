"""Folds: rows dealt at random, so that each row can be answered by an estimate that has not seen it."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.errors import DataWarning, InputError, warn_caller
from discoformer.fit import Sample, read_sample
from discoformer.fitted import FittedDensity, warn_of_range
from discoformer.held_sample import EncodingModel
from discoformer.io.inputs import Floats, Matrix, read_matrix, read_seed, whole_number
from discoformer.io.tables import Table
from discoformer.onnx.names import Effort, check_effort
from discoformer.table.cells import Rounding, find_cells, read_rounding, spread
from discoformer.table.contamination import describe_rows_far_out
from discoformer.table.dependent import DOUBT, are_dependent
from discoformer.table.outlying import outlying

FOLDS = 5


class Rows(NamedTuple):
    """A sample to be dealt into folds: N rows, each of which is read at c places within its cells."""

    places: Floats  # (N, c, D); the rows as they are, with c = 1, if no column is rounded
    columns: tuple[str, ...] | None

    @property
    def dim(self) -> int:
        """The number of columns D."""
        return self.places.shape[2]


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


def in_cells(sample: Matrix, rounding: Rounding, apart: bool = True, allow_singular: bool = False) -> Rows:
    """Spread the rows of a sample within the cells of their values.

    Args:
        sample: The sample.
        rounding: As in ``Model.estimate``.
        apart: Whether rows far out are left out and, if there is one column, rows at atoms. Else rows far out
            are kept at their values.
        allow_singular: Whether rows stay on their affine hull.

    Raises:
        InputError: There is no such ``rounding``.

    Warns:
        DataWarning: Rows far out are left out, or columns that depend on others are spread on their own.
    """
    points, columns = sample.values, sample.columns
    given = read_rounding(rounding, points.shape[1], columns)
    out = outlying(points, np.full(len(points), 1 / len(points)), len(points))
    near = points[~out]
    weights = np.full(len(near), 1 / len(near))
    cells = find_cells(near, weights, given, apart)
    dependent = not cells.empty and are_dependent(near, weights)
    if dependent and not allow_singular:
        warn_caller(DOUBT, DataWarning)
    places = spread(near, weights, cells, dependent and allow_singular)[0].reshape(
        -1, cells.copies, points.shape[1]
    )
    if out.any() and apart:
        warn_caller(describe_rows_far_out(points, out, np.arange(len(points)), columns), DataWarning)
    elif out.any():
        near_places, places = places, np.repeat(points[:, None], cells.copies, axis=1)
        places[~out] = near_places
    return Rows(places, columns)


def deal(rows: int, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal rows at random into folds of nearly equal size; return the fold (rows,) of each row.

    Raises:
        InputError: ``seed`` is not a whole number of 0 or more.
    """
    return np.random.default_rng(read_seed(seed)).permutation(rows) % folds


def fit_parts(
    model: EncodingModel,
    sample: Rows,
    parts: Iterable[npt.NDArray[np.bool_]],
    effort: Effort = "best",
    allow_singular: bool = False,
) -> list[FittedDensity]:
    """Fit a model to parts of a sample.

    Args:
        model: The model.
        sample: The sample, of N rows.
        parts: Which rows (N,) belong to each part.
        effort: How they are read, ``"fast"`` or ``"best"``.
        allow_singular: As in ``Model.estimate``.

    Raises:
        DegenerateDataError: All rows of a part are the same; or, unless ``allow_singular``, the sample or one
            of the parts has a constant column or collinear columns.
        InputError: There is no such effort.
        ModelError: The model has no files for this effort.

    Warns:
        DataWarning: A part is singular.
        RangeWarning: The size of a part is outside the ranges the model was trained on.
    """
    check_effort(effort)
    metadata = model.graphs.files(effort).metadata
    samples = [_read_part(sample, part, effort, allow_singular) for part in parts]
    warn_of_range(metadata, samples)
    return FittedDensity.of_batch(model, samples)


def _read_part(sample: Rows, part: npt.NDArray[np.bool_], effort: Effort, allow_singular: bool) -> Sample:
    size = None if sample.places.shape[1] == 1 else float(part.sum())
    try:
        return read_sample(_table(sample, part), None, size, effort=effort, allow_singular=allow_singular)
    except InputError:
        read_sample(_table(sample, np.ones_like(part)), None)  # the clearer error, if all rows have the fault
        raise


def _table(sample: Rows, part: npt.NDArray[np.bool_]) -> Table:
    return Table(sample.places[part].reshape(-1, sample.dim), sample.columns)
