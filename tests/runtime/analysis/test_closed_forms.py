"""Closed forms of estimates of effort "fast", compared with SciPy, quadrature and importance sampling."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, multivariate_t
from scipy.stats import t as student

import discoformer
from discoformer.analysis.ascent import climb_of
from discoformer.analysis.conditionals import Conditioner
from discoformer.analysis.normalization import integral_of
from discoformer.analysis.sampling import sample
from discoformer.base.conditional_mixtures import split
from discoformer.base.mixture import evaluate
from discoformer.errors import InputError
from discoformer.io.inputs import Floats

UNITS = np.array([1e4, 1.0, 1e-3])


def blobs(rng: np.random.Generator, n: int, dim: int) -> Floats:
    """Draw points of two correlated clusters."""
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0] * np.linspace(1, 2, dim)
    return rng.normal(size=(n, dim)) @ turn + 5 * rng.integers(2, size=(n, 1))


@pytest.fixture
def p(mixture: discoformer.Model, rng: np.random.Generator) -> discoformer.Estimate:
    x = pd.DataFrame(blobs(rng, 60, 3) * UNITS + [1, 2, 3], columns=["a", "b", "c"])
    return mixture.estimate(x, effort="fast")


@pytest.fixture
def line(mixture: discoformer.Model, rng: np.random.Generator) -> discoformer.Estimate:
    return mixture.estimate(100 * blobs(rng, 50, 1), effort="fast")


@pytest.fixture
def plane(mixture: discoformer.Model, rng: np.random.Generator) -> discoformer.Estimate:
    return mixture.estimate(blobs(rng, 30, 2), effort="fast")


def parts(p: discoformer.Estimate) -> tuple[Floats, Floats, Floats, Floats]:
    """Weights (K,), centres (K, D), scale matrices (K, D, D) and degrees of freedom (K,), in data units."""
    log_weights, means, scales, freedom = (
        p.encoded.arrays[f"mixture_{name}"][0].astype(float)
        for name in ("log_weights", "means", "scales", "freedom")
    )
    back = np.linalg.inv(p.frame.linear)
    return np.exp(log_weights), means @ back + p.frame.center, back.T @ scales @ back, freedom


def test_the_distribution_function_is_the_integral_of_the_density(line: discoformer.Estimate) -> None:
    found = line.cdf([[-300.0], [900.0], [-1e12], [1e12]])
    ends = np.r_[-300, np.sort(line.data.points[:, 0]), 900]
    expected = sum(quad(lambda y: line.density([[y]])[0], a, b)[0] for a, b in pairwise(ends))
    assert found[1] - found[0] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(found[2:], [0, 1], atol=1e-9)


def test_the_distribution_function_of_a_column(p: discoformer.Estimate) -> None:
    marginal = p.marginal("b", method="mixture")
    drawn = p.sample(4000)[:, 1]
    assert kstest(drawn, lambda y: marginal.cdf(y[:, None])).pvalue > 0.01
    assert marginal.cdf(pd.DataFrame({"b": drawn[:3]})).name == "cdf"
    with pytest.raises(InputError, match="cdf needs an estimate of one column, got 3"):
        p.cdf(p.data.points)


def test_a_box_of_one_column_is_exact(p: discoformer.Estimate) -> None:
    below, above = p.marginal("b", method="mixture").cdf([[1.0], [6.0]])
    found = p.box_probability([-np.inf, 1, -np.inf], [np.inf, 6, np.inf])
    assert found.standard_error == 0
    assert found.probability == pytest.approx(above - below, abs=1e-6)  # of one frame and another
    assert p.box_probability() == (1.0, 0.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_tails_keep_their_relative_accuracy(line: discoformer.Estimate, sign: int) -> None:
    weights, centers, scales, freedom = parts(line)
    far = student.sf((1e7 - sign * centers[:, 0]) / np.sqrt(scales[:, 0, 0]), freedom)
    bounds = (1e7, np.inf) if sign == 1 else (-np.inf, -1e7)
    assert line.box_probability(*bounds).probability == pytest.approx(weights @ far, rel=1e-6)


@pytest.mark.parametrize("bounds", [((-1, -1), (4, 6)), ((-np.inf, 0), (3, np.inf)), ((8, 8), (20, 20))])
def test_a_box_is_that_of_scipy(plane: discoformer.Estimate, bounds: tuple[Floats, Floats]) -> None:
    low, high = bounds
    expected = sum(
        weight * multivariate_t(center, scale, df).cdf(high, lower_limit=low)
        for weight, center, scale, df in zip(*parts(plane), strict=True)
    )
    found = plane.box_probability(low, high)
    assert 0 < found.standard_error < 5e-3 * found.probability
    assert found.probability == pytest.approx(expected, abs=5 * found.standard_error + 1e-5)


def test_the_standard_error_of_a_box_is_honest(p: discoformer.Estimate) -> None:
    low, high = np.quantile(p.data.points, (0.3, 0.8), axis=0)
    found = [p.box_probability(low, high, 256, seed) for seed in range(40)]
    spread = np.std([one.probability for one in found])
    assert 0.6 < np.mean([one.standard_error for one in found]) / spread < 1.6
    drawn = p.sample(20000)
    share = ((drawn > low) & (drawn < high)).all(axis=1).mean()
    exact = np.mean([one.probability for one in found])
    assert share == pytest.approx(exact, abs=4 * np.sqrt(exact / 20000))


def test_bounds_that_are_none(p: discoformer.Estimate) -> None:
    for bounds, said in (
        (([0, 0], np.inf), "low must be a number, or 3 numbers"),
        ((0, [np.nan, 1, 1]), "high must not be NaN"),
        ((0, [1, -1, 1]), "got 0.0 and -1.0 in column 1"),
    ):
        with pytest.raises(InputError, match=said):
            p.box_probability(*bounds)
    assert p.box_probability(0, 0).probability == 0


def test_the_entropy_is_that_of_the_density(line: discoformer.Estimate) -> None:
    ends = np.r_[-1e6, -2000, np.sort(line.data.points[:, 0]), 3000, 1e6]

    def share(y: float) -> float:
        log_density = line.log_density([[y]])[0]
        return float(-np.exp(log_density) * log_density)

    expected = sum(quad(share, a, b)[0] for a, b in pairwise(ends))
    found = line.entropy(20000)
    assert found.entropy == pytest.approx(expected, abs=4 * found.standard_error)
    assert 0 < found.standard_error < 0.02
    assert found == line.entropy(20000)


def test_exact_draws_have_the_moments_of_the_mixture(p: discoformer.Estimate) -> None:
    weights, centers, scales, freedom = parts(p)
    mean = weights @ centers
    spread = np.einsum("k,kij->ij", weights * freedom / (freedom - 2), scales) + np.einsum(
        "k,ki,kj->ij", weights, centers - mean, centers - mean
    )
    drawn = p.sample(100_000)
    units = np.sqrt(np.diag(spread))
    np.testing.assert_allclose(drawn.mean(axis=0) / units, mean / units, atol=0.02)
    inner = np.median(np.abs(drawn - np.median(drawn, axis=0)), axis=0) / units
    assert (inner > 0.3).all()
    np.testing.assert_allclose(np.corrcoef(drawn.T), spread / np.outer(units, units), atol=0.05)


def test_sampling_of_both_efforts(mixture: discoformer.Model, p: discoformer.Estimate) -> None:
    np.testing.assert_array_equal(p.sample(5), p.sample(5, "exact"))
    assert sample(p, 5).acceptance == 1
    with pytest.raises(InputError, match=r"method='exact', .* needs effort='fast'"):
        mixture.estimate(p.data.points).sample(5, "exact")
    with pytest.raises(InputError, match="method must be one of"):
        p.sample(5, "gibbs")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["langevin", "diffusion", "ode"])
def test_chains_and_diffusion_draw_from_the_same_density(plane: discoformer.Estimate, method: str) -> None:
    drawn = plane.sample(2000, method, steps=16)  # type: ignore[arg-type]
    exact = plane.sample(20000)
    for level in (0.2, 0.5, 0.8):
        at = np.quantile(exact, level, axis=0)
        np.testing.assert_allclose(
            (drawn < at).mean(axis=0), level, atol=0.05 if method == "langevin" else 0.15
        )


def test_a_marginal_is_the_integral_of_the_joint_density(plane: discoformer.Estimate) -> None:
    marginal = plane.marginal(0, method="mixture")
    assert (marginal.effort, marginal.diagnostics.dim) == ("fast", 1)
    t = np.tan(np.linspace(-np.pi / 2, np.pi / 2, 4002)[1:-1])
    weight = np.pi / 4001 * (1 + t**2)
    for y in (-2.0, 1.0, 7.0):
        joint = plane.density(np.column_stack([np.full_like(t, y), t]))
        assert marginal.density([[y]])[0] == pytest.approx(weight @ joint, rel=1e-4)


def test_a_marginal_of_scipy(p: discoformer.Estimate) -> None:
    marginal, chosen = p.marginal(["c", "a"], method="mixture"), [2, 0]
    y = p.data.points[:9][:, chosen]
    units = UNITS[chosen]
    expected = sum(
        weight
        * multivariate_t(
            center[chosen] / units, scale[np.ix_(chosen, chosen)] / np.outer(units, units), df
        ).pdf(y / units)
        for weight, center, scale, df in zip(*parts(p), strict=True)
    )
    np.testing.assert_allclose(marginal.density(y) * units.prod(), expected, rtol=1e-4)
    assert marginal.columns == ("c", "a")
    np.testing.assert_allclose(marginal.landmarks.points, p.landmarks.points[:, chosen], rtol=1e-4, atol=1e-3)


def test_marginals_of_marginals_and_conditionals(p: discoformer.Estimate) -> None:
    y = p.data.points[:9, [1]]
    twice = p.marginal(["b", "c"], method="mixture").marginal("b", method="mixture")
    np.testing.assert_allclose(
        twice.log_density(y), p.marginal("b", method="mixture").log_density(y), atol=1e-4
    )
    joint, given = p.marginal(["b", "c"], method="mixture"), {"c": 3.001}
    both = np.column_stack([y, np.full(9, 3.001)])
    np.testing.assert_allclose(
        joint.conditional(given).log_density(y),
        joint.log_density(both) - p.marginal("c", method="mixture").log_density([[3.001]]),
        atol=1e-4,
    )


def test_marginals_by_name_and_method(mixture: discoformer.Model, p: discoformer.Estimate) -> None:
    refit = p.marginal("b")
    np.testing.assert_allclose(
        refit.log_density([[2.0]]),
        mixture.estimate(p.data.points[:, [1]], effort="fast").log_density([[2.0]]),
    )
    with pytest.raises(InputError, match="method must be 'refit' or 'mixture', got 'exact'"):
        p.marginal("b", method="exact")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="method='mixture' needs effort='fast'"):
        mixture.estimate(p.data.points).marginal(0, method="mixture")


def importance_sampled(p: discoformer.Estimate, free: tuple[int, ...], given: tuple[int, ...]) -> Conditioner:
    """The conditionals that an estimate of effort "best" with the same answers would have."""
    found = Conditioner(p, free, given)
    found._exact, found._mixture = False, split(p.proposal, p.frame, free, given)
    return found


def test_conditionals_agree_with_importance_sampling(p: discoformer.Estimate) -> None:
    values = p.data.points[:1, [0, 2]]
    exact = p.conditional({"a": values[0, 0], "c": values[0, 1]})
    sampled = importance_sampled(p, (1,), (0, 2))
    weighted = sampled.weigh(values, 20000, np.random.default_rng(0))
    log_given = integral_of(weighted.log_weights[0])
    assert exact.normalization.standard_error == 0
    assert exact.normalization.log_integral == pytest.approx(
        log_given.log_integral, abs=4 * log_given.standard_error + 1e-4
    )
    drawn = exact.sample(20000)[:, 0]
    assert exact.mean()[0] == pytest.approx(weighted.mean()[0, 0], abs=0.02)
    assert drawn.mean() == pytest.approx(exact.mean()[0], abs=4 * drawn.std() / np.sqrt(20000))
    y = np.linspace(drawn.min() - 60, drawn.max() + 60, 20001)
    density = exact.density(y[:, None])
    assert np.trapezoid(density, y) == pytest.approx(1, abs=2e-3)
    cumulated = np.cumsum(density) * (y[1] - y[0])
    assert kstest(drawn, lambda at: np.interp(at, y, cumulated)).pvalue > 0.01


def test_imputed_entries_are_conditional_means_and_draws(p: discoformer.Estimate) -> None:
    rows = p.data.points[:4].copy()
    rows[0, 1] = rows[1, 1] = rows[2, 0] = np.nan
    filled = p.impute(rows)
    for row, gap in ((0, "b"), (1, "b"), (2, "a")):
        given = {name: rows[row, j] for j, name in enumerate("abc") if name != gap}
        assert filled[row, "abc".index(gap)] == pytest.approx(p.conditional(given).mean()[0])
    np.testing.assert_array_equal(filled[3], rows[3])
    many = p.impute(np.repeat(rows[:1], 50, axis=0), draws=40)[..., 1].ravel()
    given = p.conditional({"a": rows[0, 0], "c": rows[0, 2]})
    assert many.mean() == pytest.approx(given.mean()[0], abs=5 * many.std() / np.sqrt(many.size))
    assert len(np.unique(many)) == many.size  # each is a draw of its own


def test_steps_to_modes_are_those_of_the_components(p: discoformer.Estimate) -> None:
    z = p.z + 0.3
    _, _, factors, freedom = p.components
    found = evaluate(p.components, z[None])
    pull = found.share[0] * (freedom + 3) / (freedom + found.square[0])  # (n, K)
    metric = np.tensordot(pull, (factors.mT @ factors)[0], 1)
    step = np.linalg.solve(metric, found.score[0, ..., None])[..., 0]
    np.testing.assert_allclose(climb_of(p)(z).step, step, rtol=1e-4, atol=1e-5)


def test_modes(mixture: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(80, 2)) + np.repeat([[0, 0], [30, 0]], 40, axis=0)
    found = mixture.estimate(x, effort="fast").modes()
    assert len(found.points) == 2
    assert len(set(found.labels[x[np.lexsort(x.T[::-1])][:, 0] > 15])) == 1


def test_closed_forms_need_a_mixture(mixture: discoformer.Model, line: discoformer.Estimate) -> None:
    best = mixture.estimate(line.data.points)
    for name, arguments in (("cdf", ([[0.0]],)), ("box_probability", ()), ("entropy", ())):
        with pytest.raises(
            InputError, match=f"{name} needs effort='fast', but this estimate has effort='best'"
        ):
            getattr(best, name)(*arguments)


def test_a_diagnosis(p: discoformer.Estimate) -> None:
    found = p.diagnose()
    values = {finding.name: finding.value for finding in found.findings}
    assert values["integral"] == "1 ± 0"
    assert values["score against slope"] == "they differ by 0.0% of the score"
    assert found.held_out is not None
