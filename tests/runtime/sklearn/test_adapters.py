"""The clusterer and the imputer pass scikit-learn's checks and agree with the estimate."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from discoformer.errors import InputError, ModelNotFoundError, RangeWarning
from discoformer.io.inputs import Floats
from discoformer.onnx.finding import DEFAULT_NAME, find_folder
from discoformer.sklearn import DensityClusterer, DensityImputer

pytestmark = pytest.mark.slow

try:
    find_folder(DEFAULT_NAME)
except ModelNotFoundError as error:
    pytest.skip(f"the default model is not there: {error}", allow_module_level=True)

WEIGHTS = {
    "check_sample_weight_equivalence_on_dense_data": "weights are no counts: they leave the effective size",
    "check_sample_weight_equivalence_on_sparse_data": "likewise",
}


def blobs(rng: np.random.Generator) -> tuple[Floats, Floats]:
    labels = np.repeat([0, 1], [60, 30])
    return rng.normal(size=(90, 2)) + 9 * labels[:, None], labels


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("estimator", "expected"),
    [(DensityClusterer, WEIGHTS), (DensityImputer, {})],
    ids=["clusters", "imputer"],
)
def test_the_rules_of_scikit_learn(estimator: Any, expected: dict[str, str]) -> None:
    check_estimator(
        estimator(device="cpu", threads=1), expected_failed_checks=expected, on_skip=None, on_fail="raise"
    )


def test_clusters(rng: np.random.Generator) -> None:
    x, labels = blobs(rng)
    order = rng.permutation(len(x))
    clusterer = DensityClusterer(device="cpu", threads=1)
    np.testing.assert_array_equal(clusterer.fit_predict(x[order]), labels[order])
    np.testing.assert_array_equal(clusterer.predict([[9.0, 9.0], [0.0, 0.0]]), [1, 0])
    np.testing.assert_allclose(clusterer.cluster_centers_, [[0, 0], [9, 9]], atol=0.6)
    assert len(clone(clusterer).set_params(prominence=1e3).fit(x).cluster_centers_) == 1


def test_imputer_in_a_pipeline(rng: np.random.Generator) -> None:
    x = np.c_[rng.normal(size=200), rng.normal(size=200)] @ [[1, 2], [0, 0.1]] * [1, 1e4]
    holed = x.copy()
    holed[::4, 1] = np.nan
    imputer = DensityImputer(device="cpu", threads=1)
    filled = imputer.fit_transform(pd.DataFrame(holed, columns=["a", "b"]))
    assert imputer.n_complete_ == 150
    assert list(imputer.get_feature_names_out()) == ["a", "b"]
    np.testing.assert_array_equal(filled[~np.isnan(holed)], holed[~np.isnan(holed)])
    np.testing.assert_allclose(filled / [1, 1e4], x / [1, 1e4], atol=0.5)
    drawn = clone(imputer).set_params(sample=True).fit_transform(holed)
    assert (drawn[::4, 1] != filled[::4, 1]).all()
    assert np.isfinite(make_pipeline(imputer, StandardScaler()).fit_transform(holed)).all()


def test_too_few_complete_rows() -> None:
    with pytest.raises(InputError, match="X must have 2 complete rows or more, got 1 of 3"):
        DensityImputer(device="cpu").fit([[1.0, np.nan], [1.0, 2.0], [np.nan, 1.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)
        with pytest.raises(InputError, match="prominence must be finite"):
            DensityClusterer(-1.0, device="cpu").fit([[1.0], [2.0], [4.0]])
