"""The density estimator passes scikit-learn's checks and agrees with the estimate."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import discoformer
from discoformer.errors import ModelNotFoundError
from discoformer.io.inputs import Floats
from discoformer.onnx.finding import DEFAULT_NAME, find_folder
from discoformer.sklearn import DensityEstimator

try:
    find_folder(DEFAULT_NAME)
except ModelNotFoundError as error:
    pytest.skip(f"the default model is not there: {error}", allow_module_level=True)

ROUNDING = "the network is float32: one nat-sized answer moves by 1e-6, the check allows 1e-7 of it"
EXPECTED = {
    "check_methods_subset_invariance": ROUNDING,
    "check_methods_sample_order_invariance": ROUNDING,
}  # test_rows_are_answered_alone checks both, to the rounding of float32


def unfitted(**parameters: Any) -> DensityEstimator:
    return DensityEstimator(device="cpu", threads=1, **parameters)


@pytest.fixture
def bimodal(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(120, 2)) * [0.5, 20] + rng.choice([-3.0, 3.0], (120, 1)) * [1, 0]


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")  # the checks fit as few as 2 rows
@pytest.mark.filterwarnings("ignore:.* repeat others:discoformer.errors.DataWarning")  # instead of weights
@parametrize_with_checks([unfitted()], expected_failed_checks=lambda _: EXPECTED)
def test_rules(estimator: DensityEstimator, check: Callable[[DensityEstimator], None]) -> None:
    check(estimator)


def test_rows_are_answered_alone(bimodal: Floats, rng: np.random.Generator) -> None:
    fitted = unfitted().fit(bimodal)
    together, order = fitted.score_samples(bimodal), rng.permutation(120)
    alone = np.concatenate([fitted.score_samples(bimodal[[row]]) for row in order[:20]])
    np.testing.assert_allclose(alone, together[order[:20]], atol=1e-5)
    np.testing.assert_allclose(fitted.score_samples(bimodal[order]), together[order], atol=1e-5)


def test_answers_are_those_of_the_estimate(bimodal: Floats) -> None:
    weights = np.linspace(0, 2, 120)
    fitted = unfitted().fit(bimodal, sample_weight=weights)
    log_density, gradient = (
        discoformer.load(device="cpu", threads=1).estimate(bimodal, weights).log_density_and_score(bimodal)
    )
    np.testing.assert_array_equal(fitted.score_samples(bimodal), log_density)
    np.testing.assert_array_equal(fitted.log_density_gradient(bimodal), gradient)
    assert fitted.score(bimodal) == pytest.approx(log_density.mean())


def test_float32_in_float32_out(bimodal: Floats) -> None:
    fitted = unfitted().fit(bimodal.astype(np.float32))
    assert fitted.score_samples(bimodal.astype(np.float32)).dtype == np.float32
    assert fitted.log_density_gradient(bimodal).dtype == np.float64


def test_score_is_that_of_a_good_gaussian_mixture(bimodal: Floats) -> None:
    """The convention is the same, and the score is that of a mixture that starts at the true modes."""
    train, test = bimodal[:80], bimodal[80:]
    told = GaussianMixture(2, means_init=[[-3, 0], [3, 0]]).fit(train)
    assert unfitted().fit(train).score(test) == pytest.approx(told.score(test), abs=0.3)


def test_in_a_pipeline_densities_are_of_the_scaled_columns(bimodal: Floats) -> None:
    scaler = StandardScaler()
    piped = make_pipeline(scaler, unfitted()).fit(bimodal)
    raw = unfitted().fit(bimodal).score_samples(bimodal)
    np.testing.assert_allclose(piped.score_samples(bimodal), raw + np.log(scaler.scale_).sum(), atol=1e-3)


def test_cross_validation_prefers_the_model_that_sees_two_modes(
    bimodal: Floats, gaussian_folder: Path
) -> None:
    candidates = ["base", gaussian_folder]
    search = GridSearchCV(unfitted(), {"model": candidates}, cv=3).fit(bimodal)
    assert search.best_params_ == {"model": "base"}
    scores = cross_val_score(unfitted(), bimodal, cv=3)
    np.testing.assert_allclose(scores.mean(), search.best_score_)


def test_clone_is_unfitted_and_keeps_parameters(bimodal: Floats, gaussian_folder: Path) -> None:
    copy = clone(unfitted(model=gaussian_folder).fit(bimodal))
    given = {"model": gaussian_folder, "device": "cpu", "threads": 1}
    options = {"effort": "best", "rounding": "auto", "allow_singular": True}
    assert copy.get_params() == given | options
    assert not hasattr(copy, "estimate_")


def test_a_fitted_estimator_goes_to_another_process(bimodal: Floats, tmp_path: Path) -> None:
    fitted = unfitted().fit(pd.DataFrame(bimodal, columns=["a", "b"]))
    path = tmp_path / "fitted.pickle"
    path.write_bytes(pickle.dumps(fitted))
    code = (
        "import pathlib, pickle, pandas, sys\n"
        "fitted = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(*fitted.feature_names_in_, fitted.score(pandas.DataFrame([[3.0, 1.0]], columns=['a', 'b'])))"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert out[:2] == ["a", "b"]
    assert float(out[2]) == fitted.score(pd.DataFrame([[3.0, 1.0]], columns=["a", "b"]))


def test_columns_in_another_order_are_refused(bimodal: Floats) -> None:
    fitted = unfitted().fit(pd.DataFrame(bimodal, columns=["a", "b"]))
    with pytest.raises(ValueError, match="same order"):
        fitted.score_samples(pd.DataFrame(bimodal, columns=["b", "a"]))


def test_few_rows_warn_the_user(bimodal: Floats) -> None:
    with pytest.warns(discoformer.RangeWarning, match="5 rows"):
        fitted = unfitted().fit(bimodal[:5])
    assert "5 rows" in fitted.estimate_.diagnostics.warnings[0]


def test_a_model_is_loaded_once_and_again_when_it_changes(
    bimodal: Floats, other_folder: Callable[..., Path]
) -> None:
    folder = other_folder()
    first, second = (unfitted(model=folder).fit(bimodal).estimate_.graphs for _ in range(2))
    assert first is second
    other_folder({"weights_sha256": "f" * 64}, {"weights_sha256": "f" * 64})
    os.utime(folder / "query.onnx", ns=(0, 0))  # the clock may be too coarse to show the change
    assert unfitted(model=folder).fit(bimodal).estimate_.graphs.metadata.weights_sha256 == "f" * 64


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "try:\n"
        "    import discoformer.sklearn\n"
        "except ModuleNotFoundError as error:\n"
        "    print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert out.startswith("MissingExtraError")
    assert "pip install scikit-learn" in out
