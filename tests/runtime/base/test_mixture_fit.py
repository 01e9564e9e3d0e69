"""The components: a density, found alike whatever the order, rotation and weighting of the context."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, gammaln, logsumexp
from scipy.stats import multivariate_normal, multivariate_t

from discoformer.base import arrays
from discoformer.base import mixture_fit as module
from discoformer.base.mixture import Components, evaluate
from discoformer.base.mixture_fit import fit_components
from discoformer.io.inputs import Floats

FEW = settings(deadline=None, max_examples=15, derandomize=True)


def fit(z: Floats, weights: Floats | None = None, size: float | None = None) -> Components:
    """Components of one context (N, D), without the axis of data sets."""
    weights = np.ones(len(z)) if weights is None else weights
    weights = weights / weights.sum()
    size = 1 / np.sum(weights**2) if size is None else size
    return Components(
        *(field[0] for field in fit_components(z[None], weights[None], np.array([size])).components)
    )


def log_density(found: Components, y: Floats) -> Floats:
    """At points (M, D)."""
    answer: Floats = evaluate(Components(*(field[None] for field in found)), y[None]).log_density[0]
    return answer


def clusters(rng: np.random.Generator, n: int, dim: int, count: int, apart: float = 8.0) -> Floats:
    """Points of unit Gaussians whose centres are ``apart`` times a normal draw from the origin."""
    centers = apart * rng.normal(size=(count, dim))
    return centers[rng.integers(count, size=n)] + rng.normal(size=(n, dim))


@pytest.mark.parametrize(
    ("n", "dim", "count"), [(60, 1, 2), (200, 2, 3), (400, 5, 4), (12, 8, 1), (5000, 3, 5)]
)
def test_the_mixture_is_one_of_student_t_whose_weights_sum_to_one(
    rng: np.random.Generator, n: int, dim: int, count: int
) -> None:
    found = fit(clusters(rng, n, dim, count))
    y = 5 * rng.normal(size=(20, dim))
    shapes = np.linalg.inv(found.precision_factors.mT @ found.precision_factors)
    each = np.stack(
        [
            np.atleast_1d(multivariate_t(m, c, df).logpdf(y))
            for m, c, df in zip(found.means, shapes, found.freedom, strict=True)
        ],
        1,
    )
    at_center = [
        multivariate_t(m, c, df).logpdf(m)
        for m, c, df in zip(found.means, shapes, found.freedom, strict=True)
    ]
    log_weights = found.log_scale - at_center
    assert np.exp(log_weights).sum() == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(log_density(found, y), logsumexp(each + log_weights, axis=1), atol=1e-8)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_the_score_is_the_gradient_and_shares_sum_to_one(rng: np.random.Generator, dim: int) -> None:
    z, weights = clusters(rng, 100, dim, 3)[None], np.full((1, 100), 0.01)
    components, _ = fit_components(z, weights, np.array([100.0]))
    y, step = 5 * rng.normal(size=(1, 30, dim)), 1e-5
    found = evaluate(components, y)
    np.testing.assert_allclose(found.share.sum(1), 1)
    for j, e in enumerate(step * np.eye(dim)):
        ahead, behind = (evaluate(components, y + sign * e).log_density for sign in (1, -1))
        np.testing.assert_allclose(found.score[..., j], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dim", "count"), [(1, 2), (2, 1), (2, 3), (5, 6), (10, 10), (30, 4), (60, 2)])
def test_elbo_is_greatest_for_the_true_number_of_separate_clusters(
    rng: np.random.Generator, dim: int, count: int
) -> None:
    centers = 10 * np.arange(count)[:, None] * rng.choice([-1.0, 1.0], (1, dim)) + rng.normal(
        size=(count, dim)
    )
    z = centers[np.arange(800) % count] + rng.normal(size=(800, dim))
    z = (z - z.mean(0)) / z.std()
    stages, elbo = module._merging(module._Sample(z[None], np.ones((1, 800))), module.around_far_points)
    best = stages[int(elbo[0].argmax())]
    assert np.count_nonzero(best.counts > 1) == count


def test_fits_are_of_the_data_sets_that_they_name(rng: np.random.Generator) -> None:
    """As many fits as data sets need not be one of each."""
    points, counts = rng.normal(size=(2, 5, 3)), np.ones((2, 5))
    part = module._Sample(points, counts).part(np.array([1, 1]))
    np.testing.assert_array_equal(part.points, points[[1, 1]])
    only = module._Sample(points[:1], counts[:1])
    assert only.part(np.array([0, 0])) is only


def test_many_points_of_one_gaussian_give_its_maximum_likelihood(rng: np.random.Generator) -> None:
    z = rng.normal(size=(20_000, 3)) @ [[1.0, 0.4, 0.0], [0.0, 0.5, 0.2], [0.0, 0.0, 0.8]]
    y = 2 * rng.normal(size=(50, 3))
    expected = multivariate_normal(z.mean(0), np.cov(z.T)).logpdf(y)
    np.testing.assert_allclose(log_density(fit(z), y), expected, rtol=0.01, atol=0.01)


def test_shares_of_stages_sum_to_one_and_favour_the_elbo() -> None:
    elbo = np.array([[-5.0, 0.0, -3.0, -100.0], [-np.inf, -np.inf, 7.0, 7.0]])
    shares = module.shares_of(elbo)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (shares[0].argsort() == [3, 0, 2, 1]).all()
    assert shares[0, 3] == 0
    np.testing.assert_allclose(shares[1], [0, 0, 0.5, 0.5])


@FEW
@given(n=st.integers(2, 60), dim=st.integers(1, 8), seed=st.integers(0, 99))
def test_order_rotation_and_padding_do_not_matter(n: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, y = clusters(rng, n, dim, 3, 2.0), rng.normal(size=(9, dim))
    expected = log_density(fit(z), y)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    np.testing.assert_allclose(log_density(fit(rng.permutation(z)), y), expected, atol=1e-7)
    np.testing.assert_allclose(log_density(fit(z @ turn), y @ turn), expected, atol=1e-7)
    padded, weights = np.r_[z, 50 * rng.normal(size=(7, dim))], np.r_[np.ones(n), np.zeros(7)]
    np.testing.assert_allclose(log_density(fit(padded, weights), y), expected, atol=1e-7)


@FEW
@given(n=st.integers(2, 40), dim=st.integers(1, 5), seed=st.integers(0, 99))
def test_integer_weights_are_repetitions(n: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, y = clusters(rng, n, dim, 2, 3.0), rng.normal(size=(9, dim))
    times = rng.integers(1, 4, n)
    weighted, repeated = fit(z, times.astype(float), n), fit(np.repeat(z, times, axis=0), size=n)
    np.testing.assert_allclose(log_density(weighted, y), log_density(repeated, y), atol=1e-7)


@pytest.mark.parametrize("n", [300, 1100, 2100])
def test_repetitions_are_weights_on_both_sides_of_the_subsets(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    monkeypatch.setattr(module, "SUBSET", 2048)
    z, y = clusters(rng, n, 2, 4), 5 * rng.normal(size=(20, 2))
    times = rng.integers(1, 4, n)
    weighted, repeated = fit(z, times.astype(float), n), fit(np.repeat(z, times, axis=0), size=n)
    np.testing.assert_allclose(log_density(weighted, y), log_density(repeated, y), atol=1e-6)


def test_effective_sizes_of_any_magnitude(rng: np.random.Generator) -> None:
    for size in (1.0, 1.5, 1e12, 1e30):
        found = fit(rng.normal(size=(50, 2)), size=size)
        assert all(np.isfinite(field).all() for field in found)


def test_data_sets_of_a_batch_are_fitted_as_if_alone(rng: np.random.Generator) -> None:
    """Whatever their sizes: the short ones are padded, and those with fewer components as well."""
    sizes, dim = [3, 20, 90, 90], 3
    contexts = [clusters(rng, n, dim, 1 + b, 6.0) for b, n in enumerate(sizes)]
    points, weights = np.zeros((4, 90, dim)), np.zeros((4, 90))
    for b, (z, n) in enumerate(zip(contexts, sizes, strict=True)):
        points[b, :n], weights[b, :n] = z, 1 / n
    together, _ = fit_components(points, weights, np.array(sizes, float))
    y = 4 * rng.normal(size=(30, dim)) * np.geomspace(1, 1e6, 30)[:, None]
    for b, z in enumerate(contexts):
        found = Components(*(field[b] for field in together))
        np.testing.assert_allclose(log_density(found, y), log_density(fit(z), y), atol=1e-7)


def test_ties_go_to_the_first_row_and_rounding_does_not_decide_them() -> None:
    lattice = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1).reshape(-1, 2) / 2 - 1.7
    y = np.linspace(-2, 2, 20)[:, None] * [1.0, 0.7]
    expected = log_density(fit(lattice), y)
    for k in range(1, 6):
        np.testing.assert_allclose(log_density(fit(lattice * (1 + 1e-12 * k)), y), expected, atol=1e-7)


def test_order_does_not_matter_beside_outliers(rng: np.random.Generator) -> None:
    z, y = np.r_[rng.normal(size=(400, 1)), [[-1e6], [1e6]]], rng.normal(size=(20, 1))
    expected = log_density(fit(z), y)
    for _ in range(3):
        np.testing.assert_allclose(log_density(fit(rng.permutation(z)), y), expected, atol=1e-7)


@pytest.mark.parametrize(
    "z",
    [
        np.array([[-1.0], [1.0]]),
        np.repeat([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]], 20, axis=0),
        np.r_[np.random.default_rng(0).normal(size=(100, 2)), [[1e12, 0.0]]],
        np.r_[
            np.random.default_rng(0).normal(size=(50, 3)), 1e7 + np.random.default_rng(1).normal(size=(50, 3))
        ],
        np.random.default_rng(0).normal(size=(10, 40)),
        np.random.default_rng(0).standard_cauchy(size=(500, 2)),
        np.random.default_rng(0).integers(3, size=(300, 4)).astype(float),
    ],
    ids=["two points", "duplicates", "an outlier", "far clusters", "n < d", "Cauchy", "lattice"],
)
def test_awkward_contexts_give_finite_components(z: Floats) -> None:
    for weights in (None, np.geomspace(1e-12, 1, len(z))):
        found = fit(z, weights)
        assert all(np.isfinite(field).all() for field in found)
        assert (found.freedom > 0).all()
        assert np.isfinite(log_density(found, z)).all()


def test_an_outlier_leaves_the_rest_as_it_was(rng: np.random.Generator) -> None:
    z, y = rng.normal(size=(400, 2)), rng.normal(size=(50, 2))
    alone, joined = (log_density(fit(x), y) for x in (z, np.r_[z, [[1e9, 1e9]]]))
    np.testing.assert_allclose(joined, alone, atol=0.05)


def test_long_contexts_settle_their_number_on_a_subset(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, y = clusters(rng, 3000, 2, 4), 5 * rng.normal(size=(40, 2))
    whole = log_density(fit(z), y)
    monkeypatch.setattr(module, "SUBSET", 1000)
    np.testing.assert_allclose(log_density(fit(z), y), whole, atol=0.05)


def test_chunks_do_not_show(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = clusters(rng, 300, 3, 3), rng.normal(size=(9, 3))
    expected = log_density(fit(z), y)
    monkeypatch.setattr(module, "CHUNK", 100)
    np.testing.assert_allclose(log_density(fit(z), y), expected, atol=1e-8)
    monkeypatch.setattr(module._Sample, "monomials", module._Sample._computed)
    np.testing.assert_allclose(log_density(fit(z), y), expected, atol=1e-8)


@FEW
@given(x=st.floats(1e-3, 1e6))
def test_special_functions(x: float) -> None:
    value = np.array([x])
    np.testing.assert_allclose(arrays.log_gamma(value), gammaln(value), rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(arrays.digamma(value), digamma(value), rtol=1e-12, atol=1e-11)
