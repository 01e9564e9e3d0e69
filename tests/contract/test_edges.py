"""Input at the edges of float64 and of sense: a right answer, or an error of the package."""

from typing import Any

import numpy as np
import pytest

import discoformer
from discoformer import DegenerateDataError, InputError

HUGE = 10**400  # beyond float64
pytestmark = pytest.mark.filterwarnings("ignore:.*rows, outside:discoformer.RangeWarning")


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


@pytest.fixture(params=["fast", "best"])
def effort(request: pytest.FixtureRequest) -> Any:
    return request.param


def assert_finite(*arrays: Any) -> None:
    for array in arrays:
        assert np.isfinite(array).all()


@pytest.mark.parametrize("shape", [(10, 1), (10, 2), (200, 2), (10, 5)])
@pytest.mark.parametrize("greatest", [1e3, 1e8, 1e12, 1e24, 1e300])
def test_a_dominant_weight_is_an_error_or_answered(
    model: discoformer.Model, rng: np.random.Generator, effort: Any, shape: tuple[int, int], greatest: float
) -> None:
    x, w = rng.normal(size=shape), np.ones(shape[0])
    w[3] = greatest
    if greatest > 1e9 * shape[0]:
        for allow in (False, True):
            with pytest.raises(
                DegenerateDataError, match=r"X must have 2 rows (that count|of positive weight)"
            ):
                model.estimate(x, w, effort=effort, allow_singular=allow)
        return
    p = model.estimate(x, w, effort=effort)
    assert_finite(*p.log_density_and_score(x), *p.components, p.normalization(64).log_integral)


def test_weights_that_float64_does_not_see_beside_others_count_as_none(
    model: discoformer.Model, rng: np.random.Generator, effort: Any
) -> None:
    x = rng.normal(size=(40, 2))
    w = np.r_[np.ones(30), 10.0 ** -rng.uniform(19, 320, 10)]
    found, expected = (model.estimate(*given, effort=effort) for given in ((x, w), (x[:30], w[:30])))
    assert found.diagnostics.n == 30
    for ours, theirs in zip(*(p.log_density_and_score(x) for p in (found, expected)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_far_from_the_data_the_origin_is_answered(
    model: discoformer.Model, rng: np.random.Generator, effort: Any
) -> None:
    x = 1e15 + np.arange(30.0)[:, None] * rng.integers(1, 4, (1, 2)) + 100 * rng.normal(size=(30, 2))
    p = model.estimate(1e3 * x, effort=effort, rounding=None)
    assert_finite(*p.log_density_and_score(np.zeros((1, 2))))
    assert_finite(*model.estimate(rng.normal(size=(30, 2)) + 1e14).log_density_and_score(np.zeros((1, 2))))


def test_effective_sizes_that_no_sample_has_are_errors(
    model: discoformer.Model, rng: np.random.Generator, effort: Any
) -> None:
    x = rng.normal(size=(20, 2))
    for size in (1e300, HUGE, -1, np.nan, np.inf, "3", [3]):
        with pytest.raises(InputError, match="effective_size must be a number from 1 to 1e"):
            model.estimate(x, effective_size=size, effort=effort)
    p = model.estimate(x, effective_size=1e12, effort=effort)
    assert_finite(*p.log_density_and_score(x))


def test_integers_beyond_float64_are_errors(model: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(20, 2))
    p = model.estimate(x, effort="fast")
    calls: list[tuple[str, Any]] = [
        ("X must hold real numbers", lambda: model.estimate([[HUGE, 1], [2, 3]])),
        ("weights must hold real numbers", lambda: model.estimate(x, [HUGE] * 20)),
        ("landmarks must be a whole number", lambda: model.estimate(x, landmarks=HUGE)),
        ("Y must hold real numbers", lambda: p.score([[HUGE, 1]])),
        ("Y must hold real numbers", lambda: p.impute([[HUGE, None]])),
        ("n must be a whole number", lambda: p.sample(HUGE)),
        ("given must hold finite numbers", lambda: p.conditional({0: HUGE})),
        ("features must be positions", lambda: p.marginal(HUGE)),
    ]
    for message, call in calls:
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(InputError, match="very many digits"):
        p.sample(10**5000)
    assert p.sample(3, seed=HUGE).shape == (3, 2)  # a seed may be of any size


@pytest.mark.parametrize("features", [None, 1.5, [None], [[0]], [0.0], True])
def test_features_of_another_type_are_errors(
    model: discoformer.Model, rng: np.random.Generator, features: Any
) -> None:
    p = model.estimate(rng.normal(size=(20, 2)), effort="fast")
    with pytest.raises(InputError, match="features must be positions from 0 to 1, got"):
        p.marginal(features)


@pytest.mark.parametrize("scale", [1e-299, 1e-200, 1e200, 1e307])
def test_any_scale_that_float64_holds_is_exact(
    model: discoformer.Model, rng: np.random.Generator, effort: Any, scale: float
) -> None:
    x = rng.normal(size=(50, 3))
    plain, scaled = (model.estimate(s * x, effort=effort) for s in (1.0, scale))
    np.testing.assert_allclose(
        scaled.log_density(x * scale) + 3 * np.log(scale), plain.log_density(x), atol=1e-5
    )
    far = np.array([[1.7e308, -1.7e308, 0], [5e-324, 0, 0]])
    assert_finite(*scaled.log_density_and_score(far))


@pytest.mark.parametrize("scale", [1e-302, 1e-308, 1e-315])
def test_data_that_vary_too_little_for_float64_are_an_error(
    model: discoformer.Model, rng: np.random.Generator, effort: Any, scale: float
) -> None:
    x = rng.normal(size=(50, 3)) * [1, scale, 1]
    for allow in (False, True):
        with pytest.raises(DegenerateDataError, match=r"spread of 1e-300 or more .* in column 1"):
            model.estimate(x, effort=effort, allow_singular=allow)


def test_scores_beyond_float32_are_the_greatest_value(
    model: discoformer.Model, rng: np.random.Generator, effort: Any
) -> None:
    x = rng.normal(size=(50, 3)) * 1e-40
    wide = model.estimate(x, effort=effort)
    score = wide.score(x)
    narrow = wide.score(x.astype(np.float32))
    assert narrow.dtype == np.float32
    assert (np.abs(score) > np.finfo(np.float32).max).any()
    assert_finite(narrow, wide.score(np.full((1, 3), 1e-42, np.float32)))
    assert np.abs(narrow).max() == np.finfo(np.float32).max


@pytest.mark.parametrize("n", [10, 19])
def test_a_lone_row_far_out_is_named_not_the_columns(
    model: discoformer.Model, rng: np.random.Generator, n: int
) -> None:
    x = rng.normal(size=(n, 3))
    x[4] = 1e9
    with pytest.raises(DegenerateDataError, match=r"the row \(1e\+09, 1e\+09, 1e\+09\) lies so far out"):
        model.estimate(x)


def test_a_row_far_out_among_many_is_left_out(
    model: discoformer.Model, rng: np.random.Generator, effort: Any
) -> None:
    x = rng.normal(size=(50, 3))
    x[4] = 1e9
    with pytest.warns(discoformer.DataWarning, match="Left out 1 of 50 rows of X"):
        p = model.estimate(x, effort=effort)
    assert p.diagnostics.left_out == pytest.approx(0.02)
