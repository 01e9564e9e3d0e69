"""Real data that scikit-learn brings along, made ready for density estimation; nothing is downloaded.

Data are printed with few digits, so many values repeat, and strictly no density exists. Every column in
which a value repeats has noise added, uniform within half a unit of its last decimal place: what rounding
took away.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import discoformer

Floats = NDArray[np.float64]

LOADERS: dict[str, Callable[[], Any]] = {
    "iris": datasets.load_iris,
    "linnerud": datasets.load_linnerud,
    "diabetes": lambda: datasets.load_diabetes(scaled=False),
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
SAME_UNIT = {
    "iris",
    "digits",
}  # whose columns share a unit: their principal axes are those of the raw columns
DECIMALS = 9  # places looked at, at most


class DataSet(NamedTuple):
    """Rows with a density, and a class for each."""

    points: Floats  # (N, D)
    labels: NDArray[np.int64]  # (N,); of no meaning in regression data


def load(name: str, seed: int = 0) -> DataSet:
    """A data set by name, without its constant columns, the rounding of the others undone at random."""
    found = LOADERS[name]()
    points = np.asarray(found.data, dtype=np.float64)
    points = points[:, np.ptp(points, axis=0) > 0]
    rng = np.random.default_rng(seed)
    columns = [jittered(column, rng) for column in points.T]
    labels = found.target if found.target.ndim == 1 else np.zeros(len(points))
    return DataSet(np.stack(columns, axis=1), labels.astype(np.int64))


def jittered(column: Floats, rng: np.random.Generator) -> Floats:
    """A column (N,) with noise of half a unit in the last place, if any of its values repeats."""
    if len(np.unique(column)) == len(column):
        return column
    unit = last_place(column)
    return column + unit * rng.uniform(-0.5, 0.5, len(column))


def last_place(column: Floats) -> float:
    """The greatest power of ten, at most 1, of which all values are multiples."""
    units = [10.0**-places for places in range(DECIMALS + 1)]
    fits = (unit for unit in units if np.allclose(column / unit, np.round(column / unit), rtol=0, atol=1e-3))
    return next(fits, units[-1])


def principal(name: str, points: Floats, dim: int | None) -> Floats:
    """All columns, standardised (dim None), or so many principal components of columns in like units."""
    if dim is None or name not in SAME_UNIT:
        points = StandardScaler().fit_transform(points)
    return points if dim is None else PCA(dim, svd_solver="full").fit_transform(points)


def write(
    out: Path, name: str, model: discoformer.Model, seed: int, text: str, results: list[dict[str, Any]]
) -> None:
    """Writes a report, NAME.md, and all results with what they were measured on, NAME.json, by columns."""
    out.mkdir(parents=True, exist_ok=True)
    about = model.metadata
    found = {
        "model": {"name": about.name, "version": about.version, "weights_sha256": about.weights_sha256},
        "seed": seed,
        "results": {key: [result[key] for result in results] for key in results[0]},
    }
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    (out / f"{name}.json").write_text(json.dumps(found) + "\n", encoding="utf-8")


def read(path: Path) -> list[dict[str, Any]]:
    """Reads the results from a NAME.json."""
    columns = json.loads(path.read_text(encoding="utf-8"))["results"]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
