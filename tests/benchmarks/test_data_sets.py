"""Real data sets of the benchmarks, and the estimators that read them."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde, multivariate_normal

from benchmarks.common import data_sets, estimators


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "unit"), [([3, 5, 800], 1), ([0.3, 2, 0.3], 0.1), ([1.0039, 7], 1e-4), ([-0.25, 0.3], 0.01)]
)
def test_the_last_place_of_a_column(values: list[float], unit: float) -> None:
    assert data_sets.last_place(np.array(values)) == pytest.approx(unit)


@pytest.mark.parametrize("name", list(data_sets.LOADERS))
def test_noise_is_what_rounding_takes_away(name: str) -> None:
    raw = np.asarray(data_sets.LOADERS[name]().data, dtype=float)
    raw = raw[:, np.ptp(raw, axis=0) > 0]
    found = data_sets.load(name).points
    assert found.shape == raw.shape
    for column, noisy in zip(raw.T, found.T, strict=True):
        places = round(-np.log10(data_sets.last_place(column)))
        np.testing.assert_allclose(np.round(noisy, places), column, rtol=0, atol=1e-3 * 10.0**-places)
        assert len(np.unique(noisy)) == len(noisy)
    np.testing.assert_array_equal(found, data_sets.load(name).points)


def test_leaving_one_out(rng: np.random.Generator) -> None:
    points, bandwidths = rng.normal(size=30), np.array([0.3, 1.0])
    found = estimators.leave_one_out(points[:, None], bandwidths)
    for bandwidth, mean in zip(bandwidths, found, strict=True):
        each = []
        for i, point in enumerate(points):
            others = np.delete(points, i)
            each.append(gaussian_kde(others, bw_method=bandwidth / others.std(ddof=1)).logpdf(point))
        assert mean == pytest.approx(np.mean(each))


def test_the_kde_chooses_its_coordinates(rng: np.random.Generator) -> None:
    train, test = np.split(rng.normal(size=(400, 2)) @ [[1.0, 0.99], [0.0, 0.1]], 2)
    found = estimators.kde(train, test, 0).mean()
    assert found > gaussian_kde(train.T, bw_method=1.5).logpdf(test.T).mean()
    truth = multivariate_normal(np.zeros(2), np.array([[1.0, 0.99], [0.99, 0.99**2 + 0.01]])).logpdf(test)
    assert found == pytest.approx(truth.mean(), abs=0.3)


def test_the_flow_is_a_density_and_learns(rng: np.random.Generator) -> None:
    train, test = np.split(rng.exponential(size=(600, 2)) * [1.0, 100.0], 2)
    axis = (np.arange(120) + 0.5) / 12 - 1
    grid = np.stack(np.meshgrid(axis, 100 * axis), axis=-1).reshape(-1, 2)
    found = estimators.flow(train, np.concatenate([test, grid]), seed=0)
    assert np.exp(found[len(test) :]).sum() * 100 / 12**2 == pytest.approx(1, abs=0.05)
    assert (
        found[: len(test)].mean()
        > multivariate_normal(train.mean(axis=0), np.cov(train.T)).logpdf(test).mean() + 0.2
    )
