"""The outlier detector passes scikit-learn's checks and finds anomalies."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import discoformer
from discoformer.analysis.typicality import Typicality
from discoformer.anomalies import Reference
from discoformer.errors import InputError, ModelNotFoundError
from discoformer.io.inputs import Floats
from discoformer.onnx.finding import DEFAULT_NAME, find_folder
from discoformer.sklearn import AnomalyDetector

try:
    find_folder(DEFAULT_NAME)
except ModelNotFoundError as error:
    pytest.skip(f"the default model is not there: {error}", allow_module_level=True)

ROUNDING = "the network is float32: one nat-sized answer moves by 1e-6, the check allows 1e-7 of it"
EXPECTED = {
    "check_methods_subset_invariance": ROUNDING,
    "check_methods_sample_order_invariance": ROUNDING,
}


def unfitted(**parameters: Any) -> AnomalyDetector:
    return AnomalyDetector(device="cpu", threads=1, **parameters)


@pytest.fixture
def clean(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(150, 3)) * [1, 100, 0.01]


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")  # the checks fit as few as 2 rows
@parametrize_with_checks([unfitted()], expected_failed_checks=lambda _: EXPECTED)
def test_rules(estimator: AnomalyDetector, check: Callable[[AnomalyDetector], None]) -> None:
    check(estimator)


def test_the_share_asked_for_is_called_anomalous(clean: Floats) -> None:
    detector = unfitted(contamination=0.2)
    labels = detector.fit_predict(clean)
    assert np.sum(labels == -1) == 30
    np.testing.assert_array_equal(labels == -1, detector.score_samples(clean) < detector.offset_)
    np.testing.assert_array_equal(labels < 0, detector.decision_function(clean) < 0)
    np.testing.assert_array_equal(detector.score_samples(clean), Typicality(detector.estimate_)(clean))


def test_new_rows_are_held_against_the_sample(clean: Floats, rng: np.random.Generator) -> None:
    detector = unfitted().fit(clean)
    asked = np.r_[rng.normal(size=(18, 3)) * [1, 100, 0.01], [[0, 900, 0], [0, 0, -0.09]]]
    found = detector.find(asked, fdr=0.2)
    assert found.found[-2:].all()
    assert found.contributions[-2].argmax() == 1
    assert found.contributions[-1].argmin() == 2
    expected = Reference(clean, model=detector.estimate_.model).p_values(asked)
    np.testing.assert_array_equal(found.p_values, expected)
    np.testing.assert_array_equal(detector.p_values(asked), expected)
    detector.fit(clean[:100])
    assert not np.array_equal(detector.p_values(asked), expected)  # these belong to the new fit


def test_what_was_fitted_stays_as_it_was(clean: Floats) -> None:
    mine = clean.copy()
    detector = unfitted().fit(mine)
    mine *= 10
    np.testing.assert_array_equal(detector.p_values(clean), unfitted().fit(clean).p_values(clean))


def test_in_a_pipeline_and_by_pickle(clean: Floats) -> None:
    frame = pd.DataFrame(clean, columns=["a", "b", "c"])
    piped = make_pipeline(StandardScaler(), unfitted()).fit(frame)
    labels = piped.predict(frame)
    assert (labels == unfitted().fit(clean).predict(clean)).mean() > 0.97  # up to rounding at the offset
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(piped)).predict(frame), labels)
    with pytest.raises(ValueError, match="same order"):
        unfitted().fit(frame).predict(frame[["b", "a", "c"]])


@pytest.mark.parametrize("contamination", [0.0, 0.6, -1.0, np.nan])
def test_the_share_is_checked(clean: Floats, contamination: float) -> None:
    with pytest.raises(InputError, match=r"^contamination must be above 0 and up to 0.5, got"):
        unfitted(contamination=contamination).fit(clean)


def test_few_rows_have_no_p_values(clean: Floats) -> None:
    with pytest.warns(discoformer.RangeWarning):
        detector = unfitted().fit(clean[:3])
    with pytest.raises(InputError, match=r"^X must have 4 rows or more"):
        detector.p_values(clean)


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "import discoformer.anomalies\n"
        "try:\n"
        "    import discoformer.sklearn\n"
        "except ModuleNotFoundError as error:\n"
        "    print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert out.startswith("MissingExtraError")
    assert "pip install scikit-learn" in out
