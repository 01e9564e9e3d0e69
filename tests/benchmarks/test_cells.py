"""Cells of rounded values, the average of densities over them, and the estimators that are judged by it."""

from functools import partial

import numpy as np
import pytest
import pyvinecopulib as pv
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from benchmarks.common import cell_estimators, cells, estimators
from benchmarks.common.cells import Cells, Gaussians

STEPS = st.sampled_from([0.001, 0.05, 0.1, 0.25, 1.0, 25.0])
PEERS = {name: function for name, function in cell_estimators.ESTIMATORS.items() if name != "flow"}


def mixture(dim: int, spread: float, seed: int = 0) -> Gaussians:
    rng = np.random.default_rng(seed)
    roots = np.tril(rng.normal(size=(2, dim, dim)), -1) * 0.5 + np.eye(dim)
    return Gaussians(np.log([0.4, 0.6]), rng.normal(size=(2, dim)), spread * roots)


def density_of(mixture: Gaussians, points: np.ndarray) -> np.ndarray:
    parts = [
        weight + multivariate_normal(mean, root @ root.T).logpdf(points)
        for weight, mean, root in zip(*mixture, strict=True)
    ]
    return logsumexp(parts, axis=0)


@settings(deadline=None, max_examples=50)
@given(STEPS, st.integers(-40, 40), st.integers(0, 2**32 - 1))
def test_cells_of_rounded_values_are_one_step_wide(step: float, start: int, seed: int) -> None:
    whole = start + np.r_[0, 0, 1, np.random.default_rng(seed).integers(0, 50, 60)]
    found = cells.cells_of(step * whole[:, None].astype(float))
    np.testing.assert_allclose(found.high - found.low, step, rtol=1e-9)
    np.testing.assert_allclose((found.high + found.low)[:, 0] / 2, step * whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_continuous_values_have_no_cells(dtype: type) -> None:
    points = np.random.default_rng(0).normal(size=(3000, 2)).astype(dtype).astype(float)
    points[:100] = points[100:200]  # some rows twice
    found = cells.cells_of(points)
    assert not found.is_rounded.any()
    np.testing.assert_array_equal(found.low, points)


def test_cells_of_tied_values_without_a_step_end_halfway() -> None:
    column = np.sqrt(np.repeat([2.0, 3.0, 7.0], 5))
    low, high = (side[:, 0] for side in cells.cells_of(column[:, None]))
    np.testing.assert_array_equal(high[:5], low[5:10])
    np.testing.assert_array_equal(high[5:10], low[10:])
    np.testing.assert_allclose(high[:5] + low[:5], 2 * np.sqrt(2))


def test_smoothed_rows_lie_in_their_cells_and_differ() -> None:
    found = cells.cells_of(np.random.default_rng(0).integers(0, 9, (500, 2)).astype(float))
    moved = cells.smoothed(found, 0)
    assert ((found.low <= moved) & (moved <= found.high)).all()
    assert len(np.unique(moved)) == moved.size
    np.testing.assert_array_equal(moved, cells.smoothed(found, 0))


@pytest.mark.parametrize("spread", [1.0, 0.02])
def test_the_average_of_a_mixture_is_the_probability_of_the_cell(spread: float) -> None:
    mixed, shifts = mixture(3, spread), np.random.default_rng(2).uniform(-0.25, 0.25, (20, 3))
    rows = mixed.means.repeat(10, axis=0) + shifts
    around = Cells(rows - 0.2, rows + 0.2)
    exact = np.zeros(len(rows))
    for weight, mean, root in zip(*mixed, strict=True):
        normal = multivariate_normal(mean, root @ root.T, maxpts=10**6, abseps=1e-10)
        boxes = [normal.cdf(high, lower_limit=low) for low, high in zip(*around, strict=True)]
        exact += np.exp(weight) * np.array(boxes)
    found = np.exp(cells.average_of(mixed, around)) * 0.4**3
    np.testing.assert_allclose(found, exact, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_the_averages_of_a_mixture_over_a_lattice_sum_to_one(spread: float) -> None:
    axis = np.arange(-60, 61) / 4
    rows = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    found = cells.average_of(mixture(2, spread), Cells(rows - 1 / 8, rows + 1 / 8))
    assert np.exp(found).sum() / 16 == pytest.approx(1, abs=2e-3)


def test_with_cells_of_no_width_the_average_is_the_density() -> None:
    mixed, rows = mixture(4, 1.0), np.random.default_rng(1).normal(size=(20, 4))
    none = Cells(rows, rows)
    np.testing.assert_allclose(cells.average_of(mixed, none), density_of(mixed, rows))
    np.testing.assert_allclose(cells.average(partial(density_of, mixed), none), density_of(mixed, rows))


def test_both_averages_agree_on_smooth_densities_and_mixed_columns() -> None:
    mixed, rows = mixture(3, 1.0), np.random.default_rng(1).normal(size=(40, 3))
    half = np.array([0.05, 0.0, 0.1])
    some = Cells(rows - half, rows + half)
    np.testing.assert_allclose(
        cells.average(partial(density_of, mixed), some), cells.average_of(mixed, some), atol=0.02
    )


@pytest.mark.parametrize("name", PEERS)
def test_what_the_estimators_give_to_all_cells_of_a_lattice_sums_to_one(name: str) -> None:
    rng = np.random.default_rng(3)
    train = np.round(rng.normal(size=(300, 2)) @ [[1.5, 1.0], [0.0, 0.5]] * 2) / 2
    axis = np.arange(-40, 41) / 2
    rows = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    found = PEERS[name](train, Cells(rows - 1 / 4, rows + 1 / 4), 0)
    assert np.exp(found).sum() / 4 == pytest.approx(1, abs=0.02)
    held_out = np.round(rng.normal(size=(300, 2)) @ [[1.5, 1.0], [0.0, 0.5]] * 2) / 2
    truth = multivariate_normal(np.zeros(2), np.array([[2.25, 1.5], [1.5, 1.25]])).logpdf(held_out).mean()
    likelihood = PEERS[name](train, Cells(held_out - 1 / 4, held_out + 1 / 4), 0).mean()
    assert likelihood == pytest.approx(truth, abs=0.35)


@pytest.mark.parametrize("name", PEERS)
def test_the_estimators_are_densities_in_the_units_of_the_data(name: str) -> None:
    train, rows = np.split(np.random.default_rng(4).normal(size=(150, 3)), [100])
    shift, scale = np.array([5.0, 0.0, -1e3]), np.array([1e-3, 1.0, 1e4])
    found = PEERS[name](train * scale + shift, Cells(rows * scale + shift, rows * scale + shift), 0)
    expected = PEERS[name](train, Cells(rows, rows), 0) - np.log(scale).sum()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_without_cells_the_estimators_are_those_of_the_other_benchmarks() -> None:
    train, rows = np.split(np.random.default_rng(5).normal(size=(150, 2)) ** 3, [100])
    none = Cells(rows, rows)
    np.testing.assert_allclose(cell_estimators.kde(train, none, 0), estimators.kde(train, rows, 0))
    np.testing.assert_allclose(cell_estimators.em_bic(train, none, 0), estimators.gmm_bic(train, rows, 0))


def test_the_margin_of_a_vine_is_the_slope_of_its_ranks() -> None:
    margin = cell_estimators.fit_margin(np.random.default_rng(6).exponential(size=400))
    x = np.linspace(0.2, 4, 50)
    slope = (margin.cdf(x + 1e-4) - margin.cdf(x - 1e-4)) / 2e-4
    np.testing.assert_allclose(margin.density(x), slope, atol=2e-3)
    assert (margin.density(np.array([-50.0, 1e6])) > 0).all()


def test_a_vine_follows_a_dependence_that_no_gaussian_has() -> None:
    u = pv.Bicop(pv.families.clayton, parameters=np.array([[4.0]])).sample(600, seeds=[1])
    points = -np.log(u)
    train, rows = np.split(points, [400])
    found = {name: f(train, Cells(rows, rows), 0).mean() for name, f in PEERS.items()}
    assert found["vine, all families"] > max(found["EM, BIC"], found["KDE"])
