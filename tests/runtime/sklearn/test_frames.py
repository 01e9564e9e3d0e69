"""Data frames with text: the estimators use the columns of numbers, and say which they leave out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from discoformer.errors import DataWarning
from discoformer.sklearn import AnomalyDetector, DensityClusterer, DensityEstimator, DensityImputer


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (DensityEstimator, "score_samples"),
        (AnomalyDetector, "predict"),
        (DensityClusterer, "predict"),
        (DensityImputer, "transform"),
    ],
)
def test_text_is_left_out(
    gaussian_folder: Path, rng: np.random.Generator, library: Any, estimator: Any, method: str
) -> None:
    values = rng.normal(size=(60, 2)).round(2)
    mixed = library({"name": ["x", "y"] * 30, "a": values[:, 0], "b": values[:, 1]})
    plain = library({"a": values[:, 0], "b": values[:, 1]})
    expected, found = (estimator(model=gaussian_folder, device="cpu", threads=1) for _ in range(2))
    expected.fit(plain)
    with pytest.warns(DataWarning, match=r"^Left out 1 of 3 columns of X, .*: 'name' \(text\)\.$"):
        found.fit(mixed)
    assert list(found.feature_names_in_) == ["a", "b"]
    np.testing.assert_array_equal(getattr(found, method)(plain), getattr(expected, method)(plain))
    with pytest.warns(DataWarning, match="'name'"):
        answers = getattr(found, method)(mixed)
    np.testing.assert_array_equal(answers, getattr(expected, method)(plain))
    with pytest.raises(ValueError, match="feature names"):  # as everywhere in scikit-learn
        getattr(found, method)(plain[["b", "a"]])


def test_an_empty_column_of_queries_is_imputed(gaussian_folder: Path, rng: np.random.Generator) -> None:
    values = rng.normal(size=(60, 2))
    imputer = DensityImputer(model=gaussian_folder, device="cpu", threads=1).fit(values)
    holed = values[:1].copy()
    holed[0, 1] = np.nan
    filled = imputer.transform(pd.DataFrame(holed))
    assert filled[0, 0] == holed[0, 0]
    assert np.isfinite(filled).all()


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_columns_in_another_order_are_an_error(
    gaussian_folder: Path, rng: np.random.Generator, library: Any
) -> None:
    """With every version of scikit-learn: some cannot read the names of some data frames."""
    values = rng.normal(size=(60, 2))
    names = {"a": values[:, 0], "b": values[:, 1]}
    fitted = DensityEstimator(model=gaussian_folder, device="cpu", threads=1).fit(library(names))
    assert list(fitted.feature_names_in_) == ["a", "b"]
    assert len(fitted.score_samples(library(names))) == 60
    with pytest.raises(ValueError, match="feature names"):
        fitted.score_samples(library(dict(reversed(names.items()))))
    fitted.fit(values)  # and names are forgotten
    assert not hasattr(fitted, "feature_names_in_")
