"""Real data sets of scikit-learn, prepared for density estimation; nothing is downloaded.

The data are rounded, so many values repeat, and strictly no density exists. Noise is added to every column
with repeated values: uniform within half a unit of the last decimal place, which undoes the rounding.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

Floats = NDArray[np.float64]

LOADERS: dict[str, Callable[[], Any]] = {
    "iris": datasets.load_iris,
    "linnerud": datasets.load_linnerud,
    "diabetes": lambda: datasets.load_diabetes(scaled=False),
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
SAME_UNIT = {"iris", "digits"}  # all columns have one unit: no standardisation before the principal axes
DECIMALS = 9  # greatest number of decimal places


class DataSet(NamedTuple):
    """Rows, and the class of each row."""

    points: Floats  # (N, D)
    labels: NDArray[np.int64]  # (N,); zeros for regression data


def load(name: str, seed: int = 0) -> DataSet:
    """Load a data set by name. Constant columns are dropped, and noise undoes the rounding of the others."""
    bunch = LOADERS[name]()
    points = np.asarray(bunch.data, dtype=np.float64)
    points = points[:, np.ptp(points, axis=0) > 0]
    rng = np.random.default_rng(seed)
    columns = [jittered(column, rng) for column in points.T]
    labels = bunch.target if bunch.target.ndim == 1 else np.zeros(len(points))
    return DataSet(np.stack(columns, axis=1), labels.astype(np.int64))


def jittered(column: Floats, rng: np.random.Generator) -> Floats:
    """Add noise of half a unit in the last place to a column (N,) with repeated values."""
    if len(np.unique(column)) == len(column):
        return column
    unit = last_place(column)
    return column + unit * rng.uniform(-0.5, 0.5, len(column))


def last_place(column: Floats) -> float:
    """Return the greatest power of ten, at most 1, of which all values are multiples."""
    units = [10.0**-places for places in range(DECIMALS + 1)]
    fits = (unit for unit in units if np.allclose(column / unit, np.round(column / unit), rtol=0, atol=1e-3))
    return next(fits, units[-1])


def principal(name: str, points: Floats, dim: int | None) -> Floats:
    """Return the standardised columns (dim None), or the first principal components."""
    if dim is None or name not in SAME_UNIT:
        points = StandardScaler().fit_transform(points)
    return points if dim is None else PCA(dim, svd_solver="full").fit_transform(points)
