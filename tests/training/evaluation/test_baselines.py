"""Baselines against scipy, finite differences and closed forms; the pooled metrics by hand."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde, multivariate_normal

from discoformer_training.evaluation.baselines import (
    BANDWIDTH_FACTORS,
    BASELINES,
    Baseline,
    KernelDensity,
    gaussian,
    gmm_bic,
    isotropic_axes,
    kde_best,
    kde_scott,
    scott_bandwidth,
    whitened_axes,
)
from discoformer_training.evaluation.cells import Cell, Draw, draw
from discoformer_training.evaluation.floor import Components, floor
from discoformer_training.evaluation.metrics import (
    FloatArray,
    Measurement,
    Values,
    log_density_error,
    pooled_ratio,
    score_error,
    sum_errors,
)

pytestmark = pytest.mark.slow

HONEST = {name: baseline for name, baseline in BASELINES.items() if not name.startswith("kde_best")}


def sample(dim: int, n: int = 200) -> tuple[FloatArray, FloatArray]:
    """A correlated context (n, dim) and eleven queries, two of them far away."""
    random = np.random.default_rng(dim)
    mixing = random.normal(size=(dim, dim)) + 2 * np.eye(dim)
    points = (random.normal(size=(n + 11, dim)) + 2 * random.integers(0, 2, (n + 11, 1))) @ mixing + 5
    points[-2:] *= 6
    return points[:n], points[n:]


def no_truth(queries: FloatArray) -> Values:
    return Values(np.full(len(queries), np.nan), np.full(queries.shape, np.nan))


def finite_difference(baseline: Baseline, context: FloatArray, queries: FloatArray) -> FloatArray:
    """Central differences of the baseline's log-density, (M, D)."""
    columns = []
    for step in 1e-5 * np.eye(queries.shape[1]):
        above, below = (baseline(context, queries + sign * step, no_truth(queries)) for sign in (1, -1))
        columns.append((above.log_density - below.log_density) / 2e-5)
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_kde_scott_is_scipys(dim: int) -> None:
    context, queries = sample(dim)
    expected = gaussian_kde(context.T).logpdf(queries.T)
    np.testing.assert_allclose(
        kde_scott(context, queries, no_truth(queries)).log_density, expected, rtol=1e-9
    )


def test_isotropic_kernel_has_the_bandwidth_in_data_units() -> None:
    context, queries = sample(3)
    scale = np.sqrt(np.trace(np.cov(context.T)) / 3)
    kernels = [multivariate_normal(x, (0.4 * scale) ** 2 * np.eye(3)).pdf(queries) for x in context]
    values = KernelDensity(context, queries, isotropic_axes(context))(0.4)
    np.testing.assert_allclose(values.log_density, np.log(np.mean(kernels, axis=0)), rtol=1e-9)


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("dim", [1, 4])
def test_score_is_the_gradient_of_the_log_density(name: str, dim: int) -> None:
    context, queries = sample(dim)
    score = HONEST[name](context, queries, no_truth(queries)).score
    np.testing.assert_allclose(score, finite_difference(HONEST[name], context, queries), rtol=1e-5, atol=1e-6)


def test_gaussian_is_the_closed_form() -> None:
    context, queries = sample(4)
    mean, covariance = context.mean(axis=0), np.cov(context.T, ddof=0)
    values = gaussian(context, queries, no_truth(queries))
    expected = multivariate_normal(mean, covariance).logpdf(queries)
    np.testing.assert_allclose(values.log_density, expected, rtol=1e-5)
    np.testing.assert_allclose(values.score, (mean - queries) @ np.linalg.inv(covariance), rtol=1e-4)


def test_gmm_finds_two_clear_clusters() -> None:
    at = draw(Cell("gmm", 10, 1000, modes=(2, 2)), 0)
    error = sum_errors(gmm_bic(at.context, at.queries, at.truth), at.truth)
    assert error.score_error < 0.05 * error.score_power


def test_gmm_passes_over_degenerate_fits() -> None:
    at = draw(Cell("gmm", 30, 256), 7)  # unguarded, BIC prefers a fit with 17 times the Gaussian's error
    errors = [sum_errors(fit(at.context, at.queries, at.truth), at.truth) for fit in (gmm_bic, gaussian)]
    assert errors[0].log_density_error <= errors[1].log_density_error


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_few_points_give_finite_answers(name: str) -> None:
    at = draw(Cell("gmm", 2, 8), 0)
    values = BASELINES[name](at.context, at.queries, at.truth)
    assert np.isfinite(values.log_density).all()
    assert np.isfinite(values.score).all()


def at_floor(at: Draw) -> Values:
    assert at.components is not None
    return floor(at.context, at.queries, at.components)


def relative_errors(estimate: Values, truth: Values) -> tuple[float, float]:
    """Squared errors of the score and of the log-density, over those of zero and of the mean."""
    spread = np.square(truth.log_density - truth.log_density.mean()).sum()
    power = np.square(truth.score).sum()
    return score_error(estimate, truth) / power, log_density_error(estimate, truth) / spread


@pytest.mark.parametrize(("dim", "modes"), [(1, (3, 3)), (2, (1, 10)), (10, (4, 4))])
def test_floor_approaches_the_truth_with_the_context(dim: int, modes: tuple[int, int]) -> None:
    small, large = (draw(Cell("gmm", dim, n, modes), 0) for n in (400, 100_000))
    errors = [relative_errors(at_floor(at), at.truth) for at in (small, large)]
    assert max(errors[1]) < 2e-3
    assert all(many < few / 20 for few, many in zip(*errors, strict=True))


@pytest.mark.parametrize("dim", [1, 4])
def test_floor_is_a_density_with_its_score(dim: int) -> None:
    at = draw(Cell("gmm", dim, 200), 2)
    assert at.components is not None
    components = at.components

    def estimate(context: FloatArray, queries: FloatArray, _truth: Values) -> Values:
        return floor(context, queries, components)

    numerical = finite_difference(estimate, at.context, at.queries[:9])
    np.testing.assert_allclose(at_floor(at).score[:9], numerical, rtol=1e-5, atol=1e-6)


def test_floor_of_one_component_is_the_shrunk_gaussian() -> None:
    """Wherever it starts from; by hand with the formula of the shrinkage."""
    context, queries = sample(3)
    (n, dim), prior = context.shape, 5
    covariance = np.cov(context.T)
    trace, square = np.trace(covariance), np.trace(covariance @ covariance)
    amount = ((1 - 2 / dim) * square + trace**2) / ((n - 2 / dim) * (square - trace**2 / dim))
    target = trace / dim * np.eye(dim)
    amount **= 1.5
    shrunk = ((n - 1) * ((1 - amount) * covariance + amount * target) + prior * target) / (n - 1 + prior)
    expected = multivariate_normal(context.mean(axis=0), shrunk).logpdf(queries)
    start = Components(np.ones(1), np.zeros((1, dim)), np.eye(dim)[None])
    np.testing.assert_allclose(floor(context, queries, start).log_density, expected, rtol=1e-9)


def test_floor_scales_with_the_data() -> None:
    at = draw(Cell("gmm", 3, 100), 1)
    assert at.components is not None
    true, unit = at.components, 1e-7
    components = Components(true.weights, unit * true.means, unit**2 * true.covariances)
    scaled = floor(unit * at.context, unit * at.queries, components)
    np.testing.assert_allclose(unit * scaled.score, at_floor(at).score, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("dim", "context_size"), [(2, 256), (5, 256), (10, 1024)])
def test_floor_is_below_the_fitted_mixture(dim: int, context_size: int) -> None:
    draws = [draw(Cell("gmm", dim, context_size), index) for index in range(4)]
    for error in (score_error, log_density_error):
        lowest = sum(error(at_floor(at), at.truth) for at in draws)
        assert lowest < sum(error(gmm_bic(at.context, at.queries, at.truth), at.truth) for at in draws)


def test_floor_bears_a_component_without_points() -> None:
    """Or with too few points for a covariance."""
    at = draw(Cell("gmm", 5, 32, modes=(10, 10)), 0)
    far = Components(
        np.full(2, 0.5), np.array([np.zeros(5), np.full(5, 1e3)]), np.stack([np.eye(5), np.eye(5)])
    )
    tiny = draw(Cell("gmm", 2, 8, modes=(10, 10)), 0)
    for values in (at_floor(at), floor(at.context, at.queries, far), at_floor(tiny)):
        assert np.isfinite(values.log_density).all()
        assert np.isfinite(values.score).all()


@pytest.mark.parametrize(("dim", "context_size"), [(1, 512), (2, 64), (5, 512), (30, 256)])
def test_no_bandwidth_beats_kde_best(dim: int, context_size: int) -> None:
    at = draw(Cell("gmm", dim, context_size), 1)
    best = kde_best(at.context, at.queries, at.truth)
    for axes in (isotropic_axes, whitened_axes):
        kernel = KernelDensity(at.context, at.queries, axes(at.context))
        for error in (score_error, log_density_error):
            errors = [
                error(kernel(scott_bandwidth(at.context) * f), at.truth) for f in np.geomspace(0.02, 4, 40)
            ]
            assert error(best, at.truth) <= min(errors) * 1.001


@pytest.mark.parametrize(("dim", "context_size"), [(1, 2048), (5, 512), (30, 256)])
def test_best_bandwidth_is_inside_the_grid(dim: int, context_size: int) -> None:
    at = draw(Cell("gmm", dim, context_size), 0)
    grid = scott_bandwidth(at.context) * BANDWIDTH_FACTORS
    for axes in (isotropic_axes, whitened_axes):
        kernel = KernelDensity(at.context, at.queries, axes(at.context))
        for error in (score_error, log_density_error):
            assert 0 < np.argmin([error(kernel(h), at.truth) for h in grid]) < len(grid) - 1


def test_metrics_by_hand() -> None:
    truth = Values(np.array([0.0, 1.0]), np.array([[3.0, 0.0], [0.0, 4.0]]))
    zero = Values(np.array([0.0, 3.0]), np.zeros((2, 2)))
    assert sum_errors(truth, truth) == (0.0, 25.0, 0.0)
    assert sum_errors(zero, truth) == (25.0, 25.0, 4.0)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    terms = np.random.default_rng(0).normal(3, 1, 20)
    value, error = pooled_ratio(terms, np.ones(20))
    assert value == pytest.approx(terms.mean())
    assert error == pytest.approx(terms.std(ddof=1) / np.sqrt(20))


def test_one_draw_has_no_standard_error() -> None:
    assert str(pooled_ratio([1.0], [2.0])) == str(Measurement(0.5, float("nan")))


def test_wrong_shape_is_named() -> None:
    truth = Values(np.zeros(2), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"log_density has shape \(2, 1\), needed \(2,\)"):
        sum_errors(Values(np.zeros((2, 1)), np.zeros((2, 3))), truth)
