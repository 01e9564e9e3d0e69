"""Particle flows: compared with solutions in closed form, with exact densities."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import discoformer
from discoformer.errors import InputError
from discoformer.io.inputs import Floats
from discoformer.particles import (
    Particles,
    flow,
    fokker_planck,
    heat,
    landau,
    ornstein_uhlenbeck,
    own_density,
)

DIFFUSION = np.array([[1.0, 0.4], [0.4, 0.5]])


def gaussian(points: Floats) -> tuple[Floats, Floats]:
    """The Gaussian fit of points: log-density and score at them."""
    offsets, C = points - points.mean(axis=0), np.cov(points.T, ddof=0).reshape(points.shape[1], -1)
    score = -np.linalg.solve(C, offsets.T).T
    return (offsets * score).sum(axis=1) / 2 - np.linalg.slogdet(2 * np.pi * C)[1] / 2, score


def covariance(points: Floats) -> Floats:
    return np.cov(points.T, ddof=0)


def bkw(dim: int, K: float, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draws of the solution of Bobylev, Krook and Wu, and their scores: ``(a + b |v|^2) N(v; 0, K I)``."""
    a, b = ((dim + 2) * K - dim) / (2 * K), (1 - K) / (2 * K**2)
    square = K * rng.chisquare(np.where(rng.uniform(size=n) < a, dim, dim + 2))
    v = rng.normal(size=(n, dim))
    v *= np.sqrt(square / np.square(v).sum(axis=1))[:, None]
    return v, v * (2 * b / (a + b * square) - 1 / K)[:, None]


@given(st.integers(1, 6), st.integers(2, 30), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_landau_by_moments_is_the_sum_over_pairs(dim: int, n: int, seed: int) -> None:
    v, score = np.random.default_rng(seed).normal(size=(2, n, dim)) + 3
    z, ds = v[:, None] - v, score[:, None] - score
    pairs = np.square(z).sum(axis=2, keepdims=True) * ds - z * (z * ds).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(landau(0.7)(v, score), -0.7 * pairs.mean(axis=1), atol=1e-9)


def test_landau_keeps_momentum_and_energy_whatever_the_score(rng: np.random.Generator) -> None:
    v, score = rng.normal(size=(2, 50, 3)) + 1
    rate = landau()(v, score)
    np.testing.assert_allclose(rate.mean(axis=0), 0, atol=1e-12)
    assert (v * rate).sum(axis=1).mean() == pytest.approx(0, abs=1e-12)
    assert (score * rate).sum(axis=1).mean() < 0  # the entropy grows


@pytest.mark.parametrize("dim", [2, 3])
def test_landau_relaxes_the_covariance_at_the_known_rate(dim: int, rng: np.random.Generator) -> None:
    widths = np.array([2.0, 1.0, 0.5])[:dim]
    v = rng.normal(size=(100_000, dim)) * widths
    rate = landau(0.3)(v, -v / widths**2)
    found = 2 * (v * rate).mean(axis=0)
    expected = -4 * dim * 0.3 * (widths**2 - np.mean(widths**2))
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


@pytest.mark.parametrize(("dim", "K"), [(2, 0.6), (3, 0.75)])
def test_landau_follows_the_solution_of_bobylev_krook_and_wu(
    dim: int, K: float, rng: np.random.Generator
) -> None:
    """``E |v|^4 = D (D + 2) K (2 - K)``, and ``dK / dt = 2 (D - 1) C (1 - K)``."""
    v, score = bkw(dim, K, 200_000, rng)
    square = np.square(v).sum(axis=1)
    assert np.square(square).mean() == pytest.approx(dim * (dim + 2) * K * (2 - K), rel=0.02)
    found = 4 * (square * (v * landau(0.1)(v, score)).sum(axis=1)).mean()
    assert found == pytest.approx(dim * (dim + 2) * 2 * (1 - K) * 2 * (dim - 1) * 0.1 * (1 - K), rel=0.05)


def test_own_density_is_the_model_s_at_the_particles(
    kde: discoformer.Model, rng: np.random.Generator
) -> None:
    X = rng.normal(size=(30, 2))
    log_density, score = own_density(kde)(X)
    np.testing.assert_array_equal(log_density, kde.estimate(X).log_density(X))
    np.testing.assert_array_equal(score, kde.estimate(X).score(X))


def test_heat_spreads_a_gaussian(rng: np.random.Generator) -> None:
    X = rng.normal(size=(100, 3)) * [1, 2, 3] + 5
    seen: list[Particles] = []
    end = flow(X, heat(0.5), 2.0, 8, gaussian, seen.append)
    assert [at.time for at in seen] == pytest.approx(np.linspace(0, 2, 9))
    assert end is seen[-1]
    np.testing.assert_allclose(end.points.mean(axis=0), X.mean(axis=0), atol=1e-4)
    expected = covariance(X) + 2 * 0.5 * 2.0 * np.eye(3)
    np.testing.assert_allclose(covariance(end.points), expected, atol=0.01)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * expected)[1]
    assert end.entropy == pytest.approx(entropy, abs=0.01)
    assert np.all(np.diff([at.entropy for at in seen]) > 0)


@pytest.mark.parametrize("diffusion", [0.8, DIFFUSION])
def test_ornstein_uhlenbeck_in_closed_form(diffusion: float | Floats, rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(60, 2)) * [1, 3], np.array([4.0, -1.0])
    end = flow(X, ornstein_uhlenbeck(0.5, diffusion, target), 2.0, 8, gaussian)
    decay, rest = (
        np.exp(-0.5 * 2.0),
        diffusion * np.eye(2) / 0.5 if np.isscalar(diffusion) else DIFFUSION / 0.5,
    )
    np.testing.assert_allclose(end.points.mean(axis=0), target + decay * (X.mean(axis=0) - target), atol=0.02)
    np.testing.assert_allclose(covariance(end.points), rest + decay**2 * (covariance(X) - rest), atol=0.05)


def test_twice_the_steps_are_four_times_as_exact(rng: np.random.Generator) -> None:
    X = rng.normal(size=(40, 2))
    run = partial(flow, X, heat(), 1.0, density=gaussian)
    errors = [np.abs(covariance(run(steps=n).points) - covariance(X) - 2 * np.eye(2)).max() for n in (4, 8)]
    assert 3 < errors[0] / errors[1] < 5


def test_drift_alone_carries_particles_along(rng: np.random.Generator) -> None:
    X, turn = rng.normal(size=(30, 2)), np.array([[0.0, 1.0], [-1.0, 0.0]])
    end = flow(X, fokker_planck(lambda x: x @ turn, 0.0), np.pi / 2, 100, gaussian)
    np.testing.assert_allclose(end.points, X @ turn, atol=1e-3)


def test_the_released_model_flattens_two_modes(rng: np.random.Generator) -> None:
    X = rng.normal(size=(150, 2)) * 0.5 + np.repeat([[-2, 0], [2, 0]], 75, axis=0)
    seen: list[Particles] = []
    density = own_density(discoformer.load(device="cpu", threads=1))
    end = flow(X, heat(), 0.5, 3, density, seen.append)
    np.testing.assert_allclose(
        np.trace(covariance(end.points)), np.trace(covariance(X)) + 2 * 2 * 0.5, rtol=0.1
    )
    assert np.all(np.diff([at.entropy for at in seen]) > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duration": 0}, "duration must be positive and finite, got 0"),
        ({"duration": np.inf}, "duration must be positive and finite, got inf"),
        ({"steps": 1.5}, "steps must be a whole number, 1 or more, got 1.5"),
        ({"X": [1.0, 2.0]}, r"X must have shape \(rows, columns\)"),
        (
            {"velocity": lambda points, score: points * 1e308},
            "no longer finite after time 0: take more",
        ),
    ],
)
def test_bad_arguments_are_named(change: dict[str, object], message: str, rng: np.random.Generator) -> None:
    given: dict[str, object] = {
        "X": rng.normal(size=(20, 2)),
        "velocity": heat(),
        "duration": 10.0,
        "steps": 2,
    }
    with pytest.raises(InputError, match=message), np.errstate(over="ignore", invalid="ignore"):
        flow(**given | change, density=gaussian)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "diffusion", [[1.0, 2.0], [[1.0, 0.5], [0.0, 1.0]], -1.0, [[1.0, 2.0], [2.0, 1.0]], np.nan]
)
def test_a_diffusion_that_is_none_is_refused(diffusion: object) -> None:
    with pytest.raises(InputError, match="diffusion must be"):
        fokker_planck(None, diffusion)
