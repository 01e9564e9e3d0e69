"""The whole path from data to log-density and score, on stand-in graphs whose answer is known."""

import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import pytest

import discoformer
from discoformer.io.inputs import Floats
from discoformer.onnx import graphs
from discoformer.onnx.names import Effort


def gaussian_fit(x: Floats, y: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Log-density and score of the normal distribution with the moments of x."""
    mean, covariance = (
        np.average(x, 0, weights),
        np.cov(x.T, bias=True, aweights=weights).reshape(2 * x.shape[1:]),
    )
    pull = np.linalg.solve(covariance, (y - mean).T).T
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return -0.5 * ((y - mean) * pull).sum(axis=1) - 0.5 * log_det, -pull


@pytest.mark.parametrize(("n", "dim"), [(40, 1), (300, 2), (500, 10), (2500, 3), (400, 50)])
def test_the_gaussian_stand_in_is_the_gaussian_fit(
    gaussian: discoformer.Model, rng: np.random.Generator, n: int, dim: int
) -> None:
    scale = 10.0 ** rng.uniform(-6, 6, dim)
    x = (rng.normal(size=(n, dim)) @ (rng.normal(size=(dim, dim)) + 3 * np.eye(dim)) + 7) * scale
    y = x[:30] * 1.1
    log_density, score = gaussian.estimate(x).log_density_and_score(y)
    expected, slope = gaussian_fit(x / scale, y / scale)
    np.testing.assert_allclose(log_density, expected - np.log(scale).sum(), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(score * scale, slope, rtol=1e-3, atol=2e-4)


def test_the_methods_agree(kde: discoformer.Model, rng: np.random.Generator) -> None:
    p, y = kde.estimate(rng.normal(size=(100, 2))), rng.normal(size=(7, 2))
    log_density, score = p.log_density_and_score(y)
    np.testing.assert_array_equal(p.log_density(y), log_density)
    np.testing.assert_array_equal(p.density(y), np.exp(log_density))
    np.testing.assert_array_equal(p.score(y), score)
    assert (log_density.shape, score.shape) == ((7,), (7, 2))


def test_the_score_is_the_gradient(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 3))
    p, y, step = kde.estimate(x), x[:20], 0.02
    score = p.score(y)
    for j, e in enumerate(step * np.eye(3)):
        slope = (p.log_density(y + e) - p.log_density(y - e)) / (2 * step)
        np.testing.assert_allclose(score[:, j], slope, rtol=0.02, atol=0.02)


def test_the_kde_stand_in_integrates_to_one(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x = 50 + 3 * rng.standard_t(5, size=(300, 1))
    grid = np.linspace(-50, 150, 4001)[:, None]
    assert kde.estimate(x).density(grid).sum() * 0.05 == pytest.approx(1, abs=1e-3)


def test_context_and_query_rows_in_any_order(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(150, 4)), rng.normal(size=(40, 4))
    order = rng.permutation(40)
    expected, score = kde.estimate(x).log_density_and_score(y)
    again, score_again = kde.estimate(x[rng.permutation(150)]).log_density_and_score(y[order])
    np.testing.assert_allclose(again, expected[order], atol=1e-5)
    np.testing.assert_allclose(score_again, score[order], atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 129])
def test_chunks_do_not_show(
    kde: discoformer.Model, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    p, y = kde.estimate(rng.normal(size=(60, 2))), rng.normal(size=(count, 2))
    expected, score = p.log_density_and_score(y)
    for size in (64, 7, 1):
        monkeypatch.setattr(graphs, "CHUNK", size)
        np.testing.assert_allclose(p.log_density(y), expected, atol=2e-6)
        np.testing.assert_allclose(p.score(y), score, atol=2e-5)
    np.testing.assert_allclose([p.log_density(row[None])[0] for row in y], expected, atol=2e-6)


def test_the_context_can_be_had_again(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x = 1e3 + np.array([1, 1e-3]) * rng.normal(size=(50, 2))
    w = rng.uniform(1, 2, size=50) * (np.arange(50) != 7)
    points, weights = kde.estimate(x, w).landmarks  # in an order of its own
    kept = np.delete(np.argsort(x[:, 0]), np.flatnonzero(np.sort(x[:, 0]) == x[7, 0]))
    order = np.argsort(points[:, 0])
    np.testing.assert_allclose((points[order] - x[kept]) / x.std(0), 0, atol=1e-6)
    np.testing.assert_allclose(weights[order], w[kept] / w.sum(), rtol=1e-5)
    assert kde.estimate(x).model.metadata == kde.metadata


def test_no_queries(kde: discoformer.Model, rng: np.random.Generator) -> None:
    log_density, score = kde.estimate(rng.normal(size=(60, 2))).log_density_and_score(np.empty((0, 2)))
    assert (log_density.shape, score.shape) == ((0,), (0, 2))


def test_weights(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, y, repeats = rng.normal(size=(100, 2)), rng.normal(size=(20, 2)), rng.integers(0, 4, 100)
    expected = kde.estimate(np.repeat(x, repeats, axis=0), effective_size=80).log_density_and_score(y)
    weighted = kde.estimate(x, weights=0.3 * repeats, effective_size=80)
    for got, want in zip(weighted.log_density_and_score(y), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4)
    assert weighted.diagnostics.n == np.count_nonzero(repeats)
    even = kde.estimate(x, weights=np.full(100, 7.0)).log_density(y)
    np.testing.assert_allclose(even, kde.estimate(x).log_density(y), atol=1e-6)


def test_results_have_the_float_width_of_the_queries(
    kde: discoformer.Model, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(50, 2))
    for y, width in ((x, np.float64), (x.astype(np.float32), np.float32), ([[0, 1]], np.float64)):
        p = kde.estimate(x)
        assert {p.log_density(y).dtype, p.density(y).dtype, p.score(y).dtype} == {np.dtype(width)}


def test_densities_beyond_the_float_width(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x = 1e-12 * rng.normal(size=(500, 40))
    p = gaussian.estimate(x)
    assert p.log_density(x[:1])[0] > 900
    assert p.density(x[:1])[0] == np.inf
    assert p.density(x[:1].astype(np.float32)).dtype == np.float32


def test_diagnostics(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    plain = gaussian.estimate(rng.normal(size=(100, 3))).diagnostics
    assert (plain.n, plain.dim, plain.effective_size, plain.device) == (100, 3, pytest.approx(100), "cpu")
    assert (plain.initialisation, plain.shrinkage, plain.warnings) == ("whitened", 0, ())
    few = gaussian.estimate(rng.normal(size=(10, 3))).diagnostics
    assert "below 4 x 3 columns" in few.warnings[0]
    two = np.c_[rng.normal(size=300), rng.integers(2, size=300)]
    doubt = gaussian.estimate(pd.DataFrame(two, columns=["a", "b"])).diagnostics.warnings[0]
    assert "X takes few values in column 1 ('b')" in doubt
    member = rng.integers(2, size=300)[:, None]
    high = gaussian.estimate(6 * member + rng.normal(size=(300, 45))).diagnostics
    assert "standardised" in high.warnings[0]


def test_outside_the_trained_ranges(other_folder: Callable[..., Any], rng: np.random.Generator) -> None:
    model = discoformer.load(other_folder(query={"trained_dim_max": "2", "trained_context_max": "50"}), "cpu")
    with pytest.warns(discoformer.RangeWarning, match=r"60 rows, outside the 2 to 50 .* 3 columns") as caught:
        p = model.estimate(rng.normal(size=(60, 3)))
    assert len(caught) == 1
    assert len(p.diagnostics.warnings) == 2
    assert np.isfinite(p.log_density(np.zeros((1, 3)))).all()


def test_what_is_wrong_is_named(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 2))
    p = kde.estimate(x)
    with pytest.raises(discoformer.InputError, match=r"2 columns like the sample X, got shape \(5, 3\)"):
        p.score(np.ones((5, 3)))
    with pytest.raises(discoformer.InputError, match=r"pass Y\[:, None\]"):
        p.score(np.ones(2))
    with pytest.raises(discoformer.InputError, match=r"effective_size .* got 0.5"):
        kde.estimate(x, effective_size=0.5)
    with pytest.raises(discoformer.InputError, match="weights must have shape"):
        kde.estimate(x, weights=[1.0])
    for nothing in (np.empty((0, 2)), np.ones((1, 2))):
        with pytest.raises(discoformer.DegenerateDataError, match="2 rows"):
            kde.estimate(nothing)


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_the_answer_far_out_is_that_of_the_farthest_point_on_the_ray(
    gaussian: discoformer.Model, rng: np.random.Generator, effort: Effort
) -> None:
    p = gaussian.estimate(rng.normal(size=(60, 2)) * [1e-3, 1e3], effort=effort)
    ray = rng.normal(size=2)
    log_density, score = p.log_density_and_score(np.outer([1e9, 1e30, 1e200, 1e307], ray))
    assert np.isfinite(log_density).all()
    assert np.isfinite(score).all()
    assert log_density[1] < log_density[0] < p.log_density(10 * ray[None])[0]
    np.testing.assert_allclose(log_density[2:], log_density[1], rtol=1e-6)


def test_threads_share_a_model(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, ys = rng.normal(size=(200, 2)), rng.normal(size=(8, 300, 2))
    p = kde.estimate(x)
    with ThreadPoolExecutor(4) as pool:
        for y, got in zip(ys, pool.map(p.log_density, ys), strict=True):
            np.testing.assert_array_equal(got, p.log_density(y))


def test_models_and_estimates_travel_by_pickle(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 2))
    p = kde.estimate(x)
    copy = pickle.loads(pickle.dumps(p))
    np.testing.assert_array_equal(copy.score(x), p.score(x))
    assert repr(copy) == repr(p)


def test_pickles_of_another_model_are_refused(
    other_folder: Callable[..., Any], rng: np.random.Generator
) -> None:
    folder = other_folder()
    pickled = pickle.dumps(discoformer.load(folder, "cpu").estimate(rng.normal(size=(60, 2))))
    other_folder(encode={"weights_sha256": "f" * 64}, query={"weights_sha256": "f" * 64})
    p = pickle.loads(pickled)
    for _ in range(2):  # not only the first time
        with pytest.raises(discoformer.ModelError, match="has changed since it was loaded"):
            p.log_density(np.zeros((1, 2)))


_in_parent: Any = None


def _answer_in_child(y: Floats) -> Floats:
    return _in_parent.log_density(y)  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_sessions(kde: discoformer.Model, rng: np.random.Generator) -> None:
    global _in_parent
    _in_parent, y = kde.estimate(rng.normal(size=(60, 2))), rng.normal(size=(5, 2))
    expected = _in_parent.log_density(y)
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        np.testing.assert_array_equal(pool.submit(_answer_in_child, y).result(timeout=60), expected)


def test_a_sample_cannot_be_worth_more_than_its_rows(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(40, 2))
    assert not gaussian.estimate(x, effective_size=40).diagnostics.warnings
    (doubt,) = gaussian.estimate(x, effective_size=400).diagnostics.warnings
    assert doubt.startswith("effective_size is 400, but X has only 40 rows")
    wrong: Any = "many"
    with pytest.raises(discoformer.InputError, match="effective_size must be a number from 1 to"):
        gaussian.estimate(x, effective_size=wrong)
