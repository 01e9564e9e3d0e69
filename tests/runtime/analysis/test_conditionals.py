"""Conditionals: compared with the closed form for a Gaussian, and with the kernels for a kernel estimate."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, multivariate_t

import discoformer
from discoformer.analysis.conditionals import DRAWN
from discoformer.base.conditional_mixtures import (
    draw_given,
    given_mixture,
    log_density_given,
    mean_given,
    split,
)
from discoformer.base.frame import fit_frame
from discoformer.base.mixture import Components, evaluate
from discoformer.errors import InputError
from discoformer.io.inputs import Floats

UNITS = np.array([1e5, 1.0, 1e-3])


def correlated(rng: np.random.Generator, n: int = 400) -> Floats:
    return (rng.normal(size=(n, 3)) @ [[1, 0.6, -0.4], [0, 0.8, 0.5], [0, 0, 0.7]] + [1, -2, 3]) * UNITS


def gaussian_given(x: Floats, free: list[int], given: list[int], values: Floats) -> tuple[Floats, Floats]:
    """Conditional mean and covariance of the free columns, by the Gaussian fit."""
    mean, cov = x.mean(axis=0), np.cov(x.T, bias=True)
    slope = np.linalg.solve(cov[np.ix_(given, given)], cov[np.ix_(given, free)]).T
    return mean[free] + slope @ (values - mean[given]), cov[np.ix_(free, free)] - slope @ cov[
        np.ix_(given, free)
    ]


def test_a_marginal_is_the_estimate_of_those_columns(
    kde: discoformer.Model, rng: np.random.Generator
) -> None:
    x = correlated(rng)
    p = kde.estimate(x).marginal([2, 0])
    expected = kde.estimate(x[:, [2, 0]])
    np.testing.assert_allclose(p.log_density(x[:9, [2, 0]]), expected.log_density(x[:9, [2, 0]]), atol=2e-3)
    assert p.diagnostics.effective_size == pytest.approx(400)


def test_features_by_name(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    frame = pd.DataFrame(correlated(rng), columns=["a", "b", "c"])
    p = gaussian.estimate(frame)
    assert p.marginal("c").columns == ("c",)
    assert p.marginal(["c", 0]).columns == ("c", "a")
    given = p.conditional({"b": -2.0, 0: 1e5})
    assert given.columns == ("c",)
    assert repr(given) == "Conditional(c | a=100000, b=-2)"
    assert list(given.score(frame).columns) == ["c"]  # of more columns, the free one
    assert given.density(frame[["c"]]).name == "density"
    with pytest.raises(InputError, match="must have the columns 'c', but lacks 'c'"):
        given.log_density(frame[["a"]])


@pytest.mark.parametrize(("free", "given"), [([0], [1, 2]), ([0, 2], [1]), ([1, 2], [0])])
def test_conditionals_of_the_gaussian_stand_in(
    gaussian: discoformer.Model, rng: np.random.Generator, free: list[int], given: list[int]
) -> None:
    x = correlated(rng)
    values = x[0, given]
    mean, cov = gaussian_given(x, free, given, values)
    c = gaussian.estimate(x).conditional(dict(zip(given, values, strict=True)))
    y = x[1:50, free]
    units = UNITS[free]
    truth = multivariate_normal(mean / units, cov / np.outer(units, units)).logpdf(y / units)
    found = c.normalization
    assert found.standard_error < 0.02
    log_density, score = c.log_density_and_score(y)
    np.testing.assert_allclose(log_density, truth - np.log(units).sum(), atol=4 * found.standard_error + 1e-3)
    np.testing.assert_allclose(c.density(y), np.exp(log_density), rtol=1e-12)
    np.testing.assert_allclose(
        score * UNITS[free], -np.linalg.solve(cov, (y - mean).T).T * UNITS[free], rtol=1e-3, atol=1e-3
    )
    spread = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(c.mean() / spread, mean / spread, atol=0.02)
    drawn = c.sample(4000, seed=3)
    np.testing.assert_allclose(drawn.mean(axis=0) / spread, mean / spread, atol=0.08)
    np.testing.assert_allclose(
        np.cov(drawn.T) / np.outer(spread, spread), cov / np.outer(spread, spread), atol=0.12
    )
    np.testing.assert_array_equal(drawn, c.sample(4000, seed=3))
    np.testing.assert_array_equal(drawn[:DRAWN], c.sample(DRAWN, seed=3))  # in parts, in bounded memory


def test_a_conditional_of_the_kernel_stand_in_integrates_to_one(
    kde: discoformer.Model, rng: np.random.Generator
) -> None:
    x = np.c_[np.r_[rng.normal(-3, 1, 150), rng.normal(3, 1, 150)], rng.normal(size=300)]
    c = kde.estimate(x).conditional({1: 0.3})
    line = np.linspace(-12, 12, 2401)[:, None]
    density = c.density(line)
    assert density.sum() * 0.01 == pytest.approx(1, abs=4 * c.normalization.standard_error)
    assert c.mean()[0] == pytest.approx(density @ line[:, 0] * 0.01, abs=0.1)
    slope = np.gradient(c.log_density(line), 0.01)
    np.testing.assert_allclose(c.score(line)[5:-5, 0], slope[5:-5], atol=0.1)


@settings(max_examples=25, deadline=None)
@over(st.integers(1, 5), st.integers(0, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_joint_is_given_times_conditional(free: int, given: int, components: int, seed: int) -> None:
    rng, dim = np.random.default_rng(seed), free + given
    frame = fit_frame(rng.normal(size=(9 * dim + 9, dim)) * 10.0 ** rng.integers(-1, 2, dim))
    factors = np.tril(rng.normal(size=(components, dim, dim)), -1) / dim + np.eye(dim)
    freedom = rng.uniform(3, 40, components)
    means = rng.normal(size=(components, dim))
    weights = rng.dirichlet(np.ones(components))
    peaks = [
        multivariate_t(m, np.linalg.inv(f.T @ f), df).logpdf(m)
        for m, f, df in zip(means, factors, freedom, strict=True)
    ]
    mixture = Components(*(a[None] for a in (np.log(weights) + np.ravel(peaks), means, factors, freedom)))
    order = rng.permutation(dim)
    u, g = order[:free], order[free:]
    z = rng.normal(size=(6, dim))
    x = frame.to_data(z)
    joint = evaluate(mixture, z[None]).log_density[0] + frame.log_abs_det
    parts = split(mixture, frame, list(u), list(g))
    at = given_mixture(parts, x[:, g])
    conditional = log_density_given(at, x[:, None, u])[:, 0]
    covs = [np.linalg.inv(f.T @ f) for f in factors @ frame.linear.T]
    marginal = np.zeros(6)
    if given:
        centers = frame.to_data(means)
        marginal = np.log(sum(
            w * multivariate_t(m[g], c[np.ix_(g, g)], df).pdf(x[:, g])
            for w, m, c, df in zip(weights, centers, covs, freedom, strict=True)
        ))  # fmt: skip
    np.testing.assert_allclose(conditional + marginal, joint, rtol=1e-7, atol=1e-7)
    assert np.isfinite(draw_given(at, 3, rng)).all()


def test_draws_have_the_mean(rng: np.random.Generator) -> None:
    x = correlated(rng)
    components = discoformer.load("base", device="cpu", threads=1).estimate(x)
    at = given_mixture(split(components.components, components.frame, [0, 2], [1]), x[:3, [1]])
    drawn = draw_given(at, 20_000, rng)
    np.testing.assert_allclose(drawn.mean(axis=1), mean_given(at), rtol=0.02)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "given must name one feature or more"),
        ({"a": 1.0}, "given must be positions from 0 to 2, got 'a'"),
        ({3: 1.0}, "got 3"),
        ({0: np.nan}, "given must hold finite numbers, got nan for 0: leave it out"),
        ({0: 1e200}, "^given is more than 1e.13 spreads of X away"),
        ({0: 1.0, 1: 1.0, 2: 1.0}, "must leave one feature free"),
        ([0], "given must map features to values, got list"),
    ],
)
def test_bad_conditions(
    gaussian: discoformer.Model, rng: np.random.Generator, given: dict[str | int, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        gaussian.estimate(correlated(rng)).conditional(given)


def test_bad_features_and_queries(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    p = gaussian.estimate(correlated(rng))
    for features in ([], [0, 0], [True], -1):
        with pytest.raises(InputError, match=r"^features must"):
            p.marginal(features)
    with pytest.raises(InputError, match="Y must have 2 columns, the free features"):
        p.conditional({0: 1.0}).score([[1.0]])
    with pytest.raises(InputError, match="count must be a whole number, 1 or more"):
        p.conditional({0: 1.0}).sample(0)
