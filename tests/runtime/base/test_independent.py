"""The product: a density of independent coordinates, whatever the rotation, order and weighting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import t as student

from discoformer.base import independent as module
from discoformer.base.independent import (
    BINS,
    FoundProduct,
    binned,
    evaluate_product,
    fit_product,
    in_quantiles,
)
from discoformer.base.mixture import ABSENT
from discoformer.io.inputs import Floats

FEW = settings(deadline=None, max_examples=8, derandomize=True)


def fit(z: Floats, weights: Floats | None = None, size: float | None = None) -> FoundProduct:
    """Of one context (N, D)."""
    weights = np.ones(len(z)) if weights is None else weights
    weights = weights / weights.sum()
    size = 1 / np.sum(weights**2) if size is None else size
    centered = z - weights @ z
    value, vector = np.linalg.eigh((centered * weights[:, None]).T @ centered)
    root = (vector * value**-0.5) @ vector.T
    return fit_product(z[None], weights[None], np.array([size]), root[None], np.array([-np.log(value).sum()]))


def log_density(found: FoundProduct, y: Floats) -> Floats:
    """At points (M, D)."""
    answer: Floats = evaluate_product(found.product, y[None]).log_density[0]
    return answer


@pytest.mark.parametrize(("n", "dim"), [(40, 1), (100, 3), (2000, 4)])
def test_it_is_a_product_of_mixtures_that_integrate_to_one(
    rng: np.random.Generator, n: int, dim: int
) -> None:
    z = rng.laplace(size=(n, dim)) @ rng.normal(size=(dim, dim))
    found = fit(z).product
    y = 3 * rng.normal(size=(20, dim))
    axes, log_scale, means, factors, freedom = (field[0] for field in found)
    log_det = np.linalg.slogdet(axes)[1]
    factors = np.where(log_scale > ABSENT, factors, 1)
    peaks = student.logpdf(0, freedom, scale=1 / factors)
    log_weights = log_scale - log_det / dim - peaks
    np.testing.assert_allclose(np.exp(log_weights).sum(1), 1, atol=1e-8)
    each = student.logpdf((y @ axes)[..., None], freedom, means, 1 / factors)
    expected = logsumexp(each + log_weights, axis=2).sum(1) + log_det
    np.testing.assert_allclose(log_density(fit(z), y), expected, atol=1e-7)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_the_score_is_the_gradient(rng: np.random.Generator, dim: int) -> None:
    found = fit(rng.gumbel(size=(100, dim))).product
    y, step = 3 * rng.normal(size=(1, 30, dim)), 1e-5
    score = evaluate_product(found, y).score
    for j, e in enumerate(step * np.eye(dim)):
        ahead, behind = (evaluate_product(found, y + sign * e).log_density for sign in (1, -1))
        np.testing.assert_allclose(score[..., j], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


def test_it_finds_the_density_of_independent_coordinates(rng: np.random.Generator) -> None:
    z, y = rng.laplace(size=(4000, 3)), rng.laplace(size=(500, 3))
    linear = rng.normal(size=(3, 3))
    expected = -np.abs(y).sum(1) - 3 * np.log(2) - np.linalg.slogdet(linear)[1]
    assert np.square(log_density(fit(z @ linear), y @ linear) - expected).mean() < 0.05


@FEW
@given(n=st.integers(12, 400), dim=st.integers(1, 3), seed=st.integers(0, 99))
def test_order_rotation_and_padding_do_not_matter(n: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, y = rng.laplace(size=(n, dim)), rng.normal(size=(9, dim))
    expected = log_density(fit(z), y)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    np.testing.assert_allclose(log_density(fit(rng.permutation(z)), y), expected, atol=1e-6)
    np.testing.assert_allclose(log_density(fit(z @ turn), y @ turn), expected, atol=1e-6)
    padded, weights = np.r_[z, 50 * rng.normal(size=(7, dim))], np.r_[np.ones(n), np.zeros(7)]
    np.testing.assert_allclose(log_density(fit(padded, weights), y), expected, atol=1e-6)


@pytest.mark.parametrize("n", [30, 240, 300, 2100])
def test_integer_weights_are_repetitions(rng: np.random.Generator, n: int) -> None:
    """On both sides of the number of bins."""
    z, y = rng.laplace(size=(n, 2)), rng.normal(size=(9, 2))
    times = rng.integers(1, 4, n)
    weighted, repeated = fit(z, times.astype(float), n), fit(np.repeat(z, times, axis=0), size=n)
    np.testing.assert_allclose(weighted.elbo, repeated.elbo, rtol=1e-7)
    np.testing.assert_allclose(log_density(weighted, y), log_density(repeated, y), atol=1e-6)


def test_data_sets_of_a_batch_are_fitted_as_if_alone(rng: np.random.Generator) -> None:
    """Whether they have more points than there are bins, fewer, or too few for a product."""
    sizes = [900, 250, 40, 6]
    contexts = [rng.laplace(size=(n, 2)) for n in sizes]
    points, weights = np.zeros((4, 900, 2)), np.zeros((4, 900))
    for b, (z, n) in enumerate(zip(contexts, sizes, strict=True)):
        points[b, :n], weights[b, :n] = z, 1 / n
    root, log_det = np.tile(np.eye(2), (4, 1, 1)), np.zeros(4)
    together = fit_product(points, weights, np.array(sizes, float), root, log_det)
    y = rng.normal(size=(1, 30, 2))
    for b, (z, n) in enumerate(zip(contexts[:3], sizes, strict=False)):
        alone = fit_product(z[None], np.full((1, n), 1 / n), np.array([float(n)]), root[:1], log_det[:1])
        found = module.IndependentMixture(*(field[b : b + 1] for field in together.product))
        np.testing.assert_allclose(together.elbo[b], alone.elbo[0], rtol=1e-8)
        ours, theirs = evaluate_product(found, y), evaluate_product(alone.product, y)
        np.testing.assert_allclose(ours.log_density, theirs.log_density, atol=1e-7)


@FEW
@given(n=st.integers(1, 2000), seed=st.integers(0, 99))
def test_bins_keep_the_mean_and_the_order(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    u, weights = rng.standard_cauchy(size=(1, 2, n)), np.tile(rng.dirichlet(np.ones(n)), (1, 2, 1))
    means, shares = binned(u, weights)
    assert means.shape == shares.shape == (1, 2, BINS)
    np.testing.assert_allclose(shares.sum(-1), 1)
    scale = np.abs(u).max()
    np.testing.assert_allclose((shares * means).sum(-1), (weights * u).sum(-1), atol=1e-10 * scale)
    assert (np.diff(means) >= -1e-9 * scale).all()


def test_bins_are_fine_at_the_ends(rng: np.random.Generator) -> None:
    u = np.sort(rng.normal(size=3000))
    means, _ = binned(u[None, None], np.full((1, 1, 3000), 1 / 3000))
    np.testing.assert_allclose(means[0, 0, [0, 1, -2, -1]], u[[0, 0, -1, -1]])


@FEW
@given(n=st.integers(1, 60), seed=st.integers(0, 99))
def test_parts_between_quantiles_hold_every_point_once(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, counts = rng.normal(size=(1, n, 1)), n * rng.dirichlet(np.ones(n))[None]
    parts = in_quantiles(points, counts)
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts.sum(1), 1)
    centers = (parts * counts[:, None] @ points)[0, :, 0] / (parts * counts[:, None]).sum(2)[0]
    assert (np.diff(centers) >= -1e-12).all()
