"""Particles moved to a posterior: the right one, from any start, in any units."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import discoformer
from discoformer.errors import InputError
from discoformer.io.inputs import Floats
from discoformer.particles import own_density
from discoformer.posterior import Posterior, sample_posterior

MEAN, COVARIANCE = np.array([3.0, -2.0]), np.array([[1.0, 0.9], [0.9, 1.0]])
PRECISION = np.linalg.inv(COVARIANCE)


def gaussian(points: Floats) -> tuple[Floats, Floats]:
    """The Gaussian fit of points: log-density and score at them."""
    offsets, C = points - points.mean(axis=0), np.cov(points.T, ddof=0).reshape(points.shape[1], -1)
    score = -np.linalg.solve(C, offsets.T).T
    return (offsets * score).sum(axis=1) / 2 - np.linalg.slogdet(2 * np.pi * C)[1] / 2, score


def score(points: Floats) -> Floats:
    """Score of a correlated Gaussian."""
    return (MEAN - points) @ PRECISION


def divergence(points: Floats) -> float:
    """KL of the Gaussian fit of points to the Gaussian above."""
    S, e = np.cov(points.T, ddof=0) @ PRECISION, points.mean(axis=0) - MEAN
    return float(np.trace(S) + e @ PRECISION @ e - 2 - np.linalg.slogdet(S)[1]) / 2


@pytest.mark.parametrize("width", [0.01, 1.0, 30.0])
def test_particles_come_to_a_gaussian_from_anywhere(width: float, rng: np.random.Generator) -> None:
    X = width * rng.normal(size=(60, 2))
    found = sample_posterior(score, X, 200, 1e-6, gaussian)
    assert found.converged
    assert found.gradients < 120
    np.testing.assert_allclose(found.points.mean(axis=0), MEAN, atol=5e-3)
    np.testing.assert_allclose(np.cov(found.points.T, ddof=0), COVARIANCE, atol=5e-3)


def test_the_fall_of_kl_is_the_true_one(rng: np.random.Generator) -> None:
    X = rng.normal(size=(60, 2)) * 1.5 + MEAN + 1
    seen: list[Posterior] = []
    sample_posterior(score, X, 60, 1e-6, gaussian, seen.append)
    for at in seen:
        assert at.kl == pytest.approx(divergence(at.points) - divergence(X), abs=0.05 * divergence(X))
    e = X.mean(axis=0) - MEAN  # the mismatch of two Gaussians is known
    C = np.cov(X.T, ddof=0)
    Q = PRECISION - np.linalg.inv(C)
    expected = np.trace(Q @ C @ Q @ C) + e @ PRECISION @ C @ PRECISION @ e
    assert seen[0].mismatch == pytest.approx(expected / 2, rel=1e-4)


@given(st.integers(0, 50))
@settings(max_examples=5, deadline=None)
def test_affine_maps_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, A, b = rng.normal(size=(40, 2)), rng.normal(size=(2, 2)) + 2 * np.eye(2), 100 * rng.normal(size=2)
    inverse = np.linalg.inv(A)
    one = sample_posterior(score, X, 5, 0, gaussian)
    other = sample_posterior(lambda y: score((y - b) @ inverse) @ inverse.T, X @ A + b, 5, 0, gaussian)
    np.testing.assert_allclose((other.points - b) @ inverse, one.points, atol=1e-3)
    assert other.kl == pytest.approx(one.kl, rel=1e-3)


def test_what_is_said_on_the_way(rng: np.random.Generator) -> None:
    calls: list[int] = []
    seen: list[Posterior] = []

    def counted(points: Floats) -> Floats:
        calls.append(len(points))
        return score(points)

    X = rng.normal(size=(30, 2))
    found = sample_posterior(counted, X, 7, 0, gaussian, seen.append)
    assert calls == [30] * 8
    assert [at.gradients for at in seen] == list(range(1, 9))
    assert found is seen[-1]
    assert not found.converged
    np.testing.assert_array_equal(seen[0].points, X)
    resting = sample_posterior(score, found.points, 7, 1e9, gaussian)
    assert resting.converged
    np.testing.assert_array_equal(resting.points, found.points)


def test_the_released_model_bends_particles_along_a_banana(rng: np.random.Generator) -> None:
    def banana(x: Floats) -> Floats:
        rest = 2 * (x[:, 1] - x[:, 0] ** 2 / 2)
        return np.stack([x[:, 0] * (rest - 1), -rest], axis=1)

    density = own_density(discoformer.load(device="cpu", threads=1))
    found = sample_posterior(banana, rng.normal(size=(150, 2)), 15, density=density)
    np.testing.assert_allclose(found.points.mean(axis=0), [0, 0.5], atol=0.3)
    assert np.polyfit(*found.points.T, 2)[0] == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((2, 2))}, "X must have more rows than columns"),
        ({"tolerance": np.nan}, "tolerance must be 0 or more, got nan"),
        ({"steps": 0}, "steps must be a whole number, 1 or more, got 0"),
        ({"score": lambda x: x.sum(axis=1)}, r"score must give finite numbers of shape \(20, 2\)"),
        ({"score": lambda x: np.where(x > 0, np.nan, x)}, "that are not finite"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str, rng: np.random.Generator) -> None:
    given: dict[str, Any] = {"score": score, "X": rng.normal(size=(20, 2)), "density": gaussian}
    with pytest.raises(InputError, match=message):
        sample_posterior(**given | change)
