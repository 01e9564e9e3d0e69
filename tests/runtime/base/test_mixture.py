"""Mixtures of Student-t distributions: closed forms, gradients, precision, and NumPy beside PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, logsumexp
from scipy.stats import multivariate_t

from discoformer.base.arrays import log_gamma
from discoformer.base.mixture import ABSENT, LEAST_LOG_WEIGHT, Components, components_of, evaluate, log_peak
from discoformer.io.inputs import Floats

FEW = settings(deadline=None, max_examples=15, derandomize=True)
DIMS = pytest.mark.parametrize("dim", [1, 2, 7, 30])


def drawn(rng: np.random.Generator, count: int, dim: int, batch: int = 2) -> Components[Floats]:
    """Mixtures (B, K) of weights that sum to 1."""
    factors = np.tril(0.3 * rng.normal(size=(batch, count, dim, dim)), -1)
    factors += np.exp(0.5 * rng.normal(size=(batch, count, dim)))[..., None] * np.eye(dim)
    freedom = 1 + np.exp(2 * rng.normal(size=(batch, count)))
    log_weights = np.log(rng.dirichlet(np.ones(count), batch))
    means = 2 * rng.normal(size=(batch, count, dim))
    return Components(log_weights + log_peak(factors, freedom), means, factors, freedom)


@DIMS
def test_the_density_is_that_of_scipy(rng: np.random.Generator, dim: int) -> None:
    components, y = drawn(rng, 4, dim), 3 * rng.normal(size=(2, 9, dim))
    found = evaluate(components, y)
    log_weights = components.log_scale - log_peak(components.precision_factors, components.freedom)
    for b in range(2):
        parts = [
            w + np.atleast_1d(multivariate_t(m, np.linalg.inv(F.T @ F), nu).logpdf(y[b]))
            for w, m, F, nu in zip(log_weights[b], *(field[b] for field in components[1:]), strict=True)
        ]
        expected = logsumexp(parts, axis=0)
        np.testing.assert_allclose(found.log_density[b], expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.share[b], np.exp(np.array(parts) - expected).T, atol=1e-9)


@DIMS
def test_the_score_is_the_gradient_and_the_squares_are_those_of_the_formula(
    rng: np.random.Generator, dim: int
) -> None:
    components, y, step = drawn(rng, 4, dim), 3 * rng.normal(size=(2, 9, dim)), 1e-5
    found = evaluate(components, y)
    for j, e in enumerate(step * np.eye(dim)):
        ahead, behind = (evaluate(components, y + sign * e).log_density for sign in (1, -1))
        np.testing.assert_allclose(found.score[..., j], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)
    offset = y[:, :, None] - components.means[:, None]
    white = (components.precision_factors[:, None] @ offset[..., None])[..., 0]
    np.testing.assert_allclose(found.square, np.square(white).sum(-1), rtol=1e-9)


@pytest.mark.parametrize("of", [np.asarray, torch.as_tensor], ids=["NumPy", "PyTorch"])
@pytest.mark.parametrize(("width", "distance"), [(1e-3, 3.0), (1e-2, 30.0), (1e-4, 0.1)])
def test_narrow_components_far_from_the_origin_are_accurate_in_float32(
    rng: np.random.Generator, of, width: float, distance: float
) -> None:
    """There |F (z - m)|^2 is the small difference of numbers a million times as large."""
    narrow = drawn(rng, 3, 2)
    narrow = narrow._replace(
        means=distance * narrow.means, precision_factors=narrow.precision_factors / width
    )
    y = (narrow.means[:, :, None] + width * rng.normal(size=(2, 3, 20, 2))).reshape(2, -1, 2)
    single, points = Components(*(field.astype(np.float32) for field in narrow)), y.astype(np.float32)
    found = evaluate(Components(*map(of, single)), of(points))
    exact = evaluate(Components(*(field.astype(np.float64) for field in single)), points.astype(np.float64))
    assert {field.dtype for field in found} == {of(points).dtype}
    np.testing.assert_allclose(found.square, exact.square, rtol=1e-5)
    np.testing.assert_allclose(found.log_density, exact.log_density, atol=1e-5)
    np.testing.assert_allclose(found.score, exact.score, atol=3e-3 * np.abs(exact.score).max())


@DIMS
def test_pytorch_gives_the_same(rng: np.random.Generator, dim: int) -> None:
    components, y = drawn(rng, 5, dim), 3 * rng.normal(size=(2, 9, dim))
    theirs = evaluate(Components(*map(torch.as_tensor, components)), torch.as_tensor(y))
    for found, expected in zip(theirs, evaluate(components, y), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_absent_components_say_nothing(rng: np.random.Generator) -> None:
    components, y = drawn(rng, 5, 3), rng.normal(size=(2, 9, 3))
    first = Components(*(field[:, :3] for field in components))
    log_scale = np.where(np.arange(5) < 3, components.log_scale, ABSENT)
    found, expected = evaluate(components._replace(log_scale=log_scale), y), evaluate(first, y)
    np.testing.assert_allclose(found.log_density, expected.log_density, rtol=1e-12)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-12)
    assert (found.share[..., 3:] == 0).all()


def test_points_far_out_have_finite_answers(rng: np.random.Generator) -> None:
    for y in (1e6 * rng.normal(size=(2, 9, 3)), np.zeros((2, 1, 3))):
        for dtype in (np.float32, np.float64):
            components = Components(*(field.astype(dtype) for field in drawn(rng, 4, 3)))
            assert all(np.isfinite(field).all() for field in evaluate(components, y.astype(dtype)))


def test_components_come_from_scale_matrices_without_the_absent_ones(rng: np.random.Generator) -> None:
    log_weights, means, freedom = np.log([0.2, 0.5, 0.3]), rng.normal(size=(3, 4)), np.array([3.0, 9.0, 1e6])
    root = rng.normal(size=(3, 4, 9))
    scales, y = root @ root.mT, rng.normal(size=(6, 4))
    parts = [
        w + multivariate_t(m, S, nu).logpdf(y)
        for w, m, S, nu in zip(log_weights, means, scales, freedom, strict=True)
    ]
    found = evaluate(components_of(log_weights, means, scales, freedom), y[None]).log_density[0]
    np.testing.assert_allclose(found, logsumexp(parts, axis=0), rtol=1e-7)
    log_weights[1] = 2 * LEAST_LOG_WEIGHT
    kept = components_of(log_weights, means, scales, freedom)
    np.testing.assert_array_equal(kept.means[0], means[[0, 2]])


@FEW
@given(x=st.floats(1e-3, 1e6))
def test_log_gamma_is_that_of_scipy(x: float) -> None:
    np.testing.assert_allclose(log_gamma(np.array([x])), gammaln(x), rtol=1e-12, atol=1e-11)
