"""The score-debiased kernel density: integrates to 1, has the right bias, follows affine maps and weights."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

import discoformer
from discoformer.analysis import kernels
from discoformer.analysis.sd_kde import FACTORS, normal_bandwidth, sd_kde
from discoformer.errors import InputError
from discoformer.io.inputs import Floats


@pytest.mark.parametrize(("n", "dim"), [(1000, 1), (10**5, 3), (10**7, 10)])
def test_the_rule_minimises_the_integrated_squared_error_of_a_normal(n: int, dim: int) -> None:
    """Compare with the exact error, of n kernels of bandwidth h at centres of spread 1 - h^2 / 2."""

    def exact(h: float) -> float:
        shrunk = (1 - h**2 / 2) ** 2
        kernel, square = h ** (-dim) / n, (1 - 1 / n) * (shrunk + h**2) ** (-dim / 2)
        cross = 2 * ((shrunk + h**2 + 1) / 2) ** (-dim / 2)
        return float(kernel + square - cross + 1)  # times (4 pi)^(-D/2)

    grid = np.geomspace(0.05, 1.3, 2000)
    best = min(exact(h) for h in grid)
    assert best <= exact(normal_bandwidth(n, dim)) < 1.05 * best


def test_it_is_the_formula_of_the_paper(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x, y = rng.normal(3, 2, (200, 1)), rng.normal(3, 3, (50, 1))
    p = gaussian.estimate(x)
    h = 0.5 * x.std()  # in the units of J^(-1/2), the spread of a Gaussian fit
    moved = x + h**2 / 2 * p.score(x)
    expected = norm(moved[:, 0], h).pdf(y).mean(axis=1)
    np.testing.assert_allclose(np.exp(sd_kde(p, 0.5).log_density(y)), expected, rtol=1e-5)


def test_the_likeliest_bandwidth_is_taken(
    gaussian: discoformer.Model, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = gaussian.estimate(rng.normal(size=(60, 2)))
    tried = {}
    for factor in FACTORS:
        kernels = sd_kde(p, factor * normal_bandwidth(60, 2))
        u = p.z @ kernels.axes
        square = np.square(u[:, None] - kernels.centers).sum(axis=-1)
        terms = np.exp(-square / (2 * kernels.bandwidth**2)) / (2 * np.pi * kernels.bandwidth**2)
        np.fill_diagonal(terms, 0)
        tried[kernels.bandwidth] = np.log(terms.sum(axis=1) / 59).mean()
    assert sd_kde(p).bandwidth == pytest.approx(max(tried, key=tried.__getitem__))


def test_the_integral_is_one_in_a_line(kde: discoformer.Model, rng: np.random.Generator) -> None:
    p = kde.estimate(np.r_[rng.normal(-6, 1, 40), rng.exponential(size=60)][:, None], rng.uniform(size=100))
    integral, _ = quad(lambda y: p.density([[y]], method="sd_kde")[0], -30, 30, limit=500)
    assert integral == pytest.approx(1, abs=1e-6)


def test_the_integral_is_one_by_importance_sampling(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(150, 4)) @ rng.normal(size=(4, 4))
    proposal = multivariate_normal(x.mean(axis=0), 1.5 * np.cov(x.T))
    y = proposal.rvs(20000, random_state=1)
    ratio = np.exp(kde.estimate(x).log_density(y, method="sd_kde") - proposal.logpdf(y))
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(y)) < 0.1


def test_the_bias_falls_by_the_step_along_the_score(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    """For a standard normal and h = 1/2, the variance is 1 + h^4 / 4 instead of 1 + h^2."""
    x = rng.normal(size=(4000, 1))
    found = sd_kde(gaussian.estimate(x), 0.5)
    second = found.weights @ np.square(found.centers[:, 0]) + found.bandwidth**2
    h = found.bandwidth
    assert found.weights @ np.square((found.frame.to_frame(x) @ found.axes)[:, 0]) == pytest.approx(1)
    assert second == pytest.approx(1 + h**4 / 4)


@pytest.mark.parametrize("model", ["gaussian", "kde"])
def test_affine_maps_and_order(model: str, rng: np.random.Generator, request: pytest.FixtureRequest) -> None:
    estimate = request.getfixturevalue(model).estimate
    x, y = rng.standard_t(6, size=(80, 3)), rng.normal(size=(20, 3))
    A = (rng.normal(size=(3, 3)) + 2 * np.eye(3)) * [1e-4, 1, 1e4]
    before = estimate(x).log_density(y, method="sd_kde")
    after = estimate(x[::-1] @ A + 5).log_density(y @ A + 5, method="sd_kde")
    np.testing.assert_allclose(after, before - np.linalg.slogdet(A)[1], atol=1e-3)


def test_whole_weights_repeat_rows(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, r = rng.normal(size=(40, 2)), rng.integers(0, 4, 40)
    size = float(r.sum() ** 2 / np.square(r).sum())
    weighted, repeated = kde.estimate(x, r, size), kde.estimate(np.repeat(x, r, axis=0), None, size)
    y = rng.normal(size=(10, 2))
    np.testing.assert_allclose(
        sd_kde(weighted, 0.7).log_density(y), sd_kde(repeated, 0.7).log_density(y), atol=1e-4
    )


@settings(max_examples=15, deadline=None)
@given(n=st.integers(3, 40), dim=st.integers(1, 6), m=st.integers(1, 9))
def test_blocks_change_nothing(gaussian: discoformer.Model, n: int, dim: int, m: int) -> None:
    rng = np.random.default_rng([n, dim, m])
    found = sd_kde(gaussian.estimate(rng.normal(size=(n, dim))))
    y = rng.normal(size=(m, dim)) * 10
    whole = found.log_density(y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_CHUNK", 2 * n)
        np.testing.assert_allclose(found.log_density(y), whole, rtol=1e-12)
    assert np.isfinite(whole).all()


def test_it_has_the_form_of_the_queries(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    p = gaussian.estimate(rng.normal(size=(50, 2)))
    y = np.zeros((3, 2), np.float32)
    assert p.log_density(y, method="sd_kde").dtype == np.float32
    np.testing.assert_allclose(p.density(y, method="sd_kde"), np.exp(p.log_density(y, method="sd_kde")))
    with pytest.raises(InputError, match=r"^Y must have 2 columns"):
        p.density(np.zeros((3, 1)), method="sd_kde")


@pytest.mark.parametrize("bandwidth", [0, -1.0, np.inf, np.nan])
def test_bandwidths_are_checked(
    gaussian: discoformer.Model, rng: np.random.Generator, bandwidth: Any
) -> None:
    p = gaussian.estimate(rng.normal(size=(20, 1)))
    with pytest.raises(InputError, match=r"^bandwidth must be positive"):
        sd_kde(p, bandwidth)
    with pytest.raises(InputError, match=r"^method must be 'network', 'normalized' or 'sd_kde', got 'kde'"):
        p.density([[0.0]], method="kde")  # type: ignore[arg-type]


def test_better_than_kernels_alone() -> None:
    """The released model: closer to a normal mixture than KDE with the best of many bandwidths."""
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=(n, 3)) + 2.5 * rng.integers(-1, 2, (n, 1)) for n in (300, 500))
    truth = np.log(
        sum(np.exp(-0.5 * np.square(y - 2.5 * shift).sum(axis=1)) for shift in (-1, 0, 1)) / 3
    ) - 1.5 * np.log(2 * np.pi)
    found = discoformer.estimate(x).log_density(y, method="sd_kde")
    assert np.square(found - truth).mean() < min(
        np.square(_kernel_log_density(x, y, h) - truth).mean() for h in np.geomspace(0.2, 1.5, 15)
    )


def _kernel_log_density(x: Floats, y: Floats, h: float) -> Floats:
    square = np.square(y[:, None] - x).sum(axis=-1)
    found: Floats = np.log(np.exp(-square / (2 * h**2)).mean(axis=1)) - 1.5 * np.log(2 * np.pi * h**2)
    return found
