"""Points drawn from an estimate have its distribution, where that is known in closed form."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import chi2, kstest
from sklearn.exceptions import NotFittedError

import discoformer
from discoformer.analysis.held_out import fit_folds
from discoformer.analysis.sampling import langevin, sample
from discoformer.base.mixture import Components
from discoformer.cli import main
from discoformer.errors import InputError
from discoformer.io.inputs import Floats
from discoformer.scipy import DensityEstimate
from discoformer.sklearn import DensityEstimator

pytestmark = pytest.mark.slow

METHODS = ("langevin", "diffusion", "ode")  # of effort "best"; the exact draws are tested with closed forms
IRIS = Path(__file__).parents[2] / "data" / "iris_petals.csv"
BANDWIDTH = 0.4  # bandwidth of the KDE stand-in, in the frame
MODES, SPREADS, SHARES = np.array([-3.0, 3.0]), np.array([0.5, 1.0]), np.array([0.8, 0.2])


def two_modes(points: Floats) -> tuple[Floats, Floats]:
    """Log-density and score of a mixture of two normal distributions on the line."""
    offsets = (points - MODES) / SPREADS
    logs = np.log(SHARES / SPREADS) - np.square(offsets) / 2
    total = logsumexp(logs, axis=1)
    shares = np.exp(logs - total[:, None])
    return total, -(shares * offsets / SPREADS).sum(axis=1, keepdims=True)


def draw_two_modes(n: int, rng: np.random.Generator) -> Floats:
    which = rng.choice(2, size=n, p=SHARES)
    return (MODES[which] + SPREADS[which] * rng.normal(size=n))[:, None]


def correlated(n: int, dim: int, rng: np.random.Generator) -> Floats:
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) * np.geomspace(1e-3, 1e3, dim) + 5


@pytest.mark.parametrize(("method", "dim"), [*((m, d) for m in METHODS for d in (1, 5)), ("langevin", 2)])
def test_draws_follow_a_gaussian(
    gaussian: discoformer.Model, method: Any, dim: int, rng: np.random.Generator
) -> None:
    X = correlated(50 * dim, dim, rng)
    points = gaussian.estimate(X).sample(1000, method)
    whitened = np.linalg.solve(np.linalg.cholesky(np.atleast_2d(np.cov(X.T))), (points - X.mean(axis=0)).T).T
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=0.15)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(dim) if dim > 1 else 1, atol=0.25)
    if method == "langevin":  # the only exact method
        assert kstest(np.square(whitened).sum(axis=1), chi2(dim).cdf).pvalue > 1e-3


def test_draws_follow_a_weighted_kde(kde: discoformer.Model, rng: np.random.Generator) -> None:
    X, weights = rng.normal(size=(40, 2)) + np.repeat([[0, 0], [8, 0]], 20, axis=0), np.repeat([3.0, 1.0], 20)
    estimate = kde.estimate(X, weights)
    z = estimate.frame.to_frame(estimate.sample(4000))
    context, w = estimate.z, estimate.data.weights
    assert np.mean(estimate.frame.to_data(z)[:, 0] < 4) == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(z.mean(axis=0), w @ context, atol=0.08)
    covariance = np.cov(context.T, aweights=w, ddof=0) + BANDWIDTH**2 * np.eye(2)
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.08 * np.trace(covariance))


@pytest.mark.parametrize("step", [0.01, 0.3, 5.0])
def test_moves_leave_the_target_as_it_is_whatever_the_step(step: float, rng: np.random.Generator) -> None:
    start = draw_two_modes(2000, rng)
    found = langevin(two_modes, start, 1, rng, step=step)  # one step, whose size is not adapted
    assert found.step == step
    assert kstest(found.points[:, 0], draw_two_modes(20000, rng)[:, 0]).pvalue > 1e-3
    assert found.points.std() == pytest.approx(start.std(), rel=0.05)
    assert 0 < np.mean(found.points != start) == found.acceptance


def test_the_step_comes_to_where_enough_moves_are_accepted(rng: np.random.Generator) -> None:
    for step in (1e-3, 30.0):
        found = langevin(two_modes, draw_two_modes(1000, rng), 40, rng, step=step)
        assert found.acceptance == pytest.approx(0.574, abs=0.06)


@pytest.mark.parametrize("width", [2.0, 6.0])
def test_jumps_put_right_what_the_proposal_has_wrong(width: float, rng: np.random.Generator) -> None:
    wide = Components(
        np.zeros((1, 1)), np.zeros((1, 1, 1)), np.full((1, 1, 1, 1), 1 / width), np.full((1, 1), 3.0)
    )
    found = langevin(two_modes, np.full((2000, 1), 3.0), 60, rng, proposal=wide)
    assert 0.05 < found.jumps < 0.6
    assert np.mean(found.points < 0) == pytest.approx(0.8, abs=0.04)
    assert kstest(found.points[:, 0], draw_two_modes(20000, rng)[:, 0]).pvalue > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_units_do_not_matter(kde: discoformer.Model, method: Any, rng: np.random.Generator) -> None:
    X, scale, shift = rng.normal(size=(30, 3)), np.array([1e-4, 1.0, 1e5]), np.array([1.0, -7.0, 1e6])
    points = kde.estimate(X).sample(200, method, steps=2)
    moved = (kde.estimate(X * scale + shift).sample(200, method, steps=2) - shift) / scale
    same = np.abs(moved - points).max(axis=1) < 1e-3  # except where rounding changed a decision
    assert same.mean() > 0.98


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_fixes_the_draw(kde: discoformer.Model, method: Any, rng: np.random.Generator) -> None:
    estimate = kde.estimate(rng.normal(size=(50, 2)))
    first, again, other = (estimate.sample(20, method, seed=seed, steps=2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).min() > 0


def test_warnings_of_other_threads_are_not_turned_off(
    kde: discoformer.Model, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warning filters are global: a thread that restores them may overwrite those of another thread."""
    p = kde.estimate(rng.normal(size=(40, 2)))

    def changed(*_: object, **__: object) -> None:
        raise AssertionError("the filters of all threads were changed")

    monkeypatch.setattr("warnings.catch_warnings", changed)
    assert p.sample(3, method="diffusion", steps=2).shape == (3, 2)
    assert fit_folds(p, 0)


@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 3), st.sampled_from(METHODS))
@settings(max_examples=6, deadline=None)
def test_any_number_of_points_and_steps(
    kde: discoformer.Model, dim: int, n: int, steps: int, method: Any
) -> None:
    seen = []
    estimate = kde.estimate(np.random.default_rng(dim).normal(size=(30, dim)))
    found = sample(estimate, n, method, steps=steps, on_progress=lambda *done: seen.append(done))
    assert found.points.shape == (n, dim)
    assert np.isfinite(found.points).all()
    assert 0 <= found.acceptance <= 1
    assert seen == [(done + 1, steps) for done in range(steps)]


def test_the_released_model_draws_new_points_from_two_modes(rng: np.random.Generator) -> None:
    X = rng.normal(size=(200, 2)) + np.repeat([[0, 0], [10, 0]], [60, 140], axis=0)
    estimate = discoformer.load(device="cpu", threads=1).estimate(X)
    for method in METHODS:
        points = estimate.sample(500, method, steps=8)
        assert np.mean(points[:, 0] < 5) == pytest.approx(0.3, abs=0.08)
        spread = np.diff(np.quantile(points[points[:, 0] < 5], [0.25, 0.75], axis=0), axis=0) / 1.349
        np.testing.assert_allclose(spread, 1, atol=0.3 if method == "langevin" else 0.5)
        assert np.abs(points[:, None] - X).max(axis=2).min() > 1e-9  # none is a point of the sample


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n must be a whole number, 1 or more, got 0"),
        ((2.5,), "n must be a whole number"),
        ((3, "gibbs"), "method must be one of 'langevin', 'diffusion', 'ode', 'exact', got 'gibbs'"),
        ((3, "ode", -1), "seed must be a whole number, 0 or more, got -1"),
        ((3, "ode", 0, 0), "steps must be a whole number, 1 or more, got 0"),
    ],
)
def test_bad_arguments_are_named(
    gaussian: discoformer.Model, arguments: tuple[Any, ...], message: str, rng: np.random.Generator
) -> None:
    estimate = gaussian.estimate(rng.normal(size=(20, 2)))
    with pytest.raises(InputError, match=message):
        estimate.sample(*arguments)


def test_scikit_learn_s_way(gaussian_folder: Path, rng: np.random.Generator) -> None:
    estimator = DensityEstimator(gaussian_folder, device="cpu", threads=1)
    with pytest.raises(NotFittedError):
        estimator.sample()
    estimator.fit(rng.normal(size=(50, 3)))
    assert estimator.sample().shape == (1, 3)
    first, again = (estimator.sample(10, random_state=7) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (estimator.sample(10) != first).any()
    assert (estimator.sample(10, np.random.RandomState(7)) == first).all()


def test_scipy_s_way(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    weights = np.r_[np.ones(40), np.zeros(10)]
    kde = DensityEstimate(rng.normal(size=(3, 50)), weights=weights, model=gaussian)
    assert kde.resample().shape == (3, 40)
    np.testing.assert_array_equal(kde.resample(5, seed=1), kde.resample(5, seed=np.random.default_rng(1)))
    assert (kde.resample(5) != kde.resample(5)).all()
    with pytest.raises(InputError, match="n must be"):
        kde.resample(0)


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_the_command_writes_what_the_library_draws(
    gaussian_folder: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"new{suffix}"
    options = ["--model", gaussian_folder, "--threads", 1, "--seed", 3, "--steps", 2, "--out", out]
    result = CliRunner().invoke(main, ["sample", str(IRIS), "-n", "7", *map(str, options)])
    assert result.exit_code == 0, result.output
    assert "of the moves" in result.stderr
    frame = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".npy": lambda f: pd.DataFrame(np.load(f))}[
        suffix
    ](out)
    model = discoformer.load(gaussian_folder, device="cpu", threads=1)
    expected = model.estimate(pd.read_csv(IRIS)).sample(7, seed=3, steps=2)
    np.testing.assert_array_equal(frame.to_numpy(), expected)
    if suffix != ".npy":
        assert list(frame.columns) == ["petal_length_cm", "petal_width_cm"]


def test_the_command_leaves_out_the_weights_and_says_what_is_wrong(gaussian_folder: Path) -> None:
    def run(*options: str) -> Any:
        return CliRunner().invoke(
            main, ["sample", "-", "--model", str(gaussian_folder), *options], "a,b,w\n1,2,1\n3,1,2\n2,5,1\n"
        )

    result = run("-n", "2", "--weights", "w", "--method", "ode", "--steps", "2", "--format", "jsonl")
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ['{"a"', '{"a"']
    assert '"w"' not in result.stdout
    assert run("-n", "0").exit_code == 2
    assert run("-n", "2", "--format", "csv", "--out", "x.npy").exit_code == 2
