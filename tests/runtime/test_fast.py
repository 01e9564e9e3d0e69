"""Estimates of effort "fast", on a stand-in whose mixture is known: answers, files."""

import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import helper
from scipy.special import logsumexp
from scipy.stats import multivariate_t

import discoformer
from discoformer.base.frame import fit_frame
from discoformer.errors import InputError
from discoformer.io.inputs import Floats
from discoformer.onnx.model_folder import save_model

BROAD = 0.05  # as in conftest


@pytest.fixture
def x(rng: np.random.Generator) -> Floats:
    return (rng.normal(size=(80, 3)) + 4 * rng.integers(2, size=(80, 1))) * [1e4, 1, 1e-3] + [0, 5, 1]


@pytest.fixture
def p(mixture: discoformer.Model, x: Floats) -> discoformer.Estimate:
    return mixture.estimate(x, effort="fast")


def truth(x: Floats, w: Floats, y: Floats) -> Floats:
    """Log-density of the stand-in at y, by SciPy, for a sample x with weights w."""
    frame = fit_frame(x, w)
    z, at = frame.to_frame(x), frame.to_frame(y)
    parts = [multivariate_t(np.zeros(x.shape[1]), 4 * frame.precision_root, df=3).logpdf(at) + np.log(BROAD)]
    for point, weight in zip(z, w / w.sum(), strict=True):
        scale = 0.1 * (frame.precision_root + np.outer(point, point))
        part = multivariate_t(point, scale, df=3 + point @ point).logpdf(at)
        parts.append(part + np.log((1 - BROAD) * weight))
    return logsumexp(parts, axis=0) + frame.log_abs_det


def test_answers_are_those_of_the_mixture(
    mixture: discoformer.Model, x: Floats, rng: np.random.Generator
) -> None:
    w = rng.random(80) + 0.1
    p, y = mixture.estimate(x, w, effort="fast"), x[:20] + rng.normal(size=(20, 3)) * [1e4, 1, 1e-3]
    log_density, score = p.log_density_and_score(y)
    np.testing.assert_allclose(log_density, truth(x, w, y), atol=1e-4)
    units = x.std(axis=0)
    for j, step in enumerate(1e-4 * np.diag(units)):
        slope = (truth(x, w, y + step) - truth(x, w, y - step)) / 2e-4
        np.testing.assert_allclose(score[:, j] * units[j], slope, atol=2e-3, rtol=2e-3)


def test_far_queries_have_finite_answers(p: discoformer.Estimate) -> None:
    log_density, score = p.log_density_and_score([[1e12, 0, 0], [0, -1e9, 1e3], [1e30, 0, 0]])
    assert np.isfinite(log_density).all()
    assert np.isfinite(score).all()
    assert log_density[2] < log_density[0]


@pytest.mark.parametrize("dim", [1, 2])
def test_the_integral_is_one(mixture: discoformer.Model, rng: np.random.Generator, dim: int) -> None:
    p = mixture.estimate(rng.normal(size=(40, dim)), effort="fast")
    t = np.tan(np.linspace(-np.pi / 2, np.pi / 2, 802)[1:-1])  # of equal steps in the angle
    weight = np.pi / 801 * (1 + t**2)
    y = np.stack(np.meshgrid(*[t] * dim, indexing="ij"), -1).reshape(-1, dim)
    weights = np.multiply.reduce(np.meshgrid(*[weight] * dim, indexing="ij")).ravel()
    assert weights @ p.density(y) == pytest.approx(1, abs=2e-4)


def test_what_follows_from_a_closed_form(p: discoformer.Estimate, x: Floats) -> None:
    assert p.normalization(samples=100) == (0.0, 0.0, 100.0)
    np.testing.assert_array_equal(p.log_density(x, "normalized"), p.log_density(x))
    np.testing.assert_array_equal(p.consistency(x), 0)
    with pytest.raises(InputError, match="samples must be a whole number, 2 or more"):
        p.normalization(1)
    with pytest.raises(InputError, match=r"adapt needs effort='best', but this estimate has effort='fast'"):
        p.adapt()
    with pytest.raises(InputError, match="the base needs effort='best'"):
        _ = p.base


def test_the_effort_is_kept(mixture: discoformer.Model, p: discoformer.Estimate, x: Floats) -> None:
    assert (p.effort, p.diagnostics.effort) == ("fast", "fast")
    assert "effort='fast'" in repr(p)
    assert mixture.estimate(x).effort == mixture.estimate(x).diagnostics.effort == "best"
    assert p.refit(x[:50]).effort == p.marginal([0, 2]).effort == p.without_sample().effort == "fast"
    np.testing.assert_allclose(
        p.refit(x[:50]).log_density(x), mixture.estimate(x[:50], effort="fast").log_density(x), atol=1e-9
    )


@pytest.mark.parametrize("effort", ["quick", None, 1])
def test_other_efforts_are_refused(mixture: discoformer.Model, x: Floats, effort: Any) -> None:
    for call in (
        lambda: mixture.estimate(x, effort=effort),
        lambda: mixture.estimate_batch([x], effort=effort),
        lambda: discoformer.estimate(x, effort=effort),
        lambda: discoformer.Reference(x, model=mixture, effort=effort),
    ):
        with pytest.raises(InputError, match=r"effort must be 'fast' .* or 'best' .*, got"):
            call()


def test_a_model_of_a_mixture_alone(mixture_alone: Path, x: Floats) -> None:
    model = discoformer.load(mixture_alone, "cpu")
    assert model.metadata.name == "stand-in"
    assert model.estimate(x, effort="fast").log_density(x).shape == (80,)
    with pytest.raises(
        discoformer.ModelNotFoundError,
        match=r"'best' needs encode\.onnx and query\.onnx, which .* lacks: use effort='fast'",
    ):
        model.estimate(x)


def unusable(path: Path) -> None:
    """Make a graph file that passes every check, but that onnxruntime cannot open."""
    made = onnx.load(path)
    made.graph.node.append(helper.make_node("Reshape", [made.graph.output[0].name], ["more"]))
    onnx.save(made, path)


def test_only_the_files_of_the_effort_are_opened(gaussian_folder: Path, tmp_path: Path, x: Floats) -> None:
    shutil.copytree(gaussian_folder, tmp_path, dirs_exist_ok=True)
    unusable(tmp_path / "encode.onnx")
    model = discoformer.load(tmp_path, "cpu", trust=True)
    for copy in (model, pickle.loads(pickle.dumps(model))):
        assert np.isfinite(copy.estimate(x, effort="fast").log_density(x)).all()
        with pytest.raises(discoformer.ModelError, match="cannot be run by onnxruntime"):
            copy.estimate(x)


def test_a_mixture_that_changed_is_refused(gaussian_folder: Path, tmp_path: Path, x: Floats) -> None:
    shutil.copytree(gaussian_folder, tmp_path, dirs_exist_ok=True)
    model = discoformer.load(tmp_path, "cpu")
    model.graphs.files("fast")
    changed = onnx.load(tmp_path / "mixture.onnx")
    changed.doc_string = "another one"
    onnx.save(changed, tmp_path / "mixture.onnx")
    with pytest.raises(discoformer.ModelError, match="has changed since it was loaded"):
        model.estimate(x, effort="fast")


def test_ranges_are_those_of_the_mixture(other_folder: Callable[..., Path], x: Floats) -> None:
    model = discoformer.load(other_folder(query={"trained_dim_max": "2"}), "cpu")
    assert model.estimate(x, effort="fast").diagnostics.warnings == ()
    with pytest.warns(discoformer.RangeWarning, match="3 columns, outside the 1 to 2"):
        model.estimate(x)


def test_a_batch_is_one_by_one(mixture: discoformer.Model, rng: np.random.Generator) -> None:
    contexts = [
        10.0**k * rng.normal(size=(n, d)) for k, (n, d) in enumerate([(30, 2), (25, 2), (60, 3), (28, 2)])
    ]
    weights = [None, rng.random(25), None, None]
    batch = mixture.estimate_batch(contexts, weights, effort="fast")
    for found, context, w in zip(batch, contexts, weights, strict=True):
        alone = mixture.estimate(context, w, effort="fast")
        assert found.diagnostics == alone.diagnostics
        assert found.components.means.shape[1] == len(context) + 1
        for got, want in zip(
            found.log_density_and_score(context), alone.log_density_and_score(context), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert mixture.estimate_batch([], effort="fast") == []


def test_landmarks(mixture: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 2))
    p = mixture.estimate(x, landmarks=50, effort="fast")
    assert p.diagnostics.landmarks == 50
    assert p.components.means.shape == (1, 51, 2)
    assert len(p.data.points) == 300
    assert p.refit(x).diagnostics.landmarks == 50


def test_a_saved_estimate_answers_as_before(mixture: discoformer.Model, x: Floats, tmp_path: Path) -> None:
    p, path = mixture.estimate(pd.DataFrame(x, columns=[*"abc"]), effort="fast"), tmp_path / "p"
    for estimate in (p, p.marginal(["c", "a"], method="mixture")):
        for sample in (True, False):
            estimate.save(path, sample)
            again = discoformer.load_estimate(path, mixture)
            y = estimate.data.points
            for got, want in zip(
                again.log_density_and_score(y), estimate.log_density_and_score(y), strict=True
            ):
                np.testing.assert_array_equal(got, want)
            assert again.diagnostics == estimate.diagnostics
            assert again.columns == estimate.columns
            np.testing.assert_array_equal(again.sample(9), estimate.sample(9))


def test_an_estimate_needs_the_files_of_its_effort(
    mixture: discoformer.Model, mixture_alone: Path, x: Floats, tmp_path: Path
) -> None:
    alone = discoformer.load(mixture_alone, "cpu")
    for effort in ("fast", "best"):
        mixture.estimate(x, effort=effort).save(tmp_path / effort)  # type: ignore[arg-type]
    discoformer.load_estimate(tmp_path / "fast", alone)
    with pytest.raises(discoformer.ModelNotFoundError, match=r"'best' needs encode\.onnx"):
        discoformer.load_estimate(tmp_path / "best", alone)


def test_a_mixture_that_is_not_complete_is_refused(
    mixture: discoformer.Model, p: discoformer.Estimate, tmp_path: Path
) -> None:
    del p.encoded.arrays["mixture_scales"]
    p.save(tmp_path / "p")
    with pytest.raises(InputError, match=r"damaged .*mixture_scales"):
        discoformer.load_estimate(tmp_path / "p", mixture)


def test_a_pickle_holds_the_mixture_once(p: discoformer.Estimate, x: Floats) -> None:
    before = pickle.dumps(p)
    expected = p.log_density(x)  # prepares matrices
    assert len(pickle.dumps(p)) == len(before)
    np.testing.assert_array_equal(pickle.loads(before).log_density(x), expected)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes_answer_and_estimate_alike(p: discoformer.Estimate, x: Floats, start: str) -> None:
    expected, again = p.log_density(x), p.refit(x[:50]).log_density(x)
    with ProcessPoolExecutor(1, mp_context=get_context(start)) as pool:
        np.testing.assert_array_equal(pool.submit(p.log_density, x).result(), expected)
        np.testing.assert_array_equal(pool.submit(p.refit, x[:50]).result().log_density(x), again)


def test_a_saved_model_keeps_its_mixture(tmp_path: Path, x: Floats) -> None:
    model = discoformer.load("base", "cpu", 1)
    adapted = model.graphs.with_weights((model.folder / "weights.safetensors").read_bytes())
    save_model(adapted, tmp_path, {})
    for path in (*model.folder.glob("mixture.*"), model.folder / "discoformer.onnx"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    again = discoformer.load(tmp_path, "cpu", 1)
    assert again.metadata.version.endswith("+adapted")
    np.testing.assert_array_equal(
        again.estimate(x, effort="fast").score(x), model.estimate(x, effort="fast").score(x)
    )
