"""Missing entries: filled in by the Gaussian fit, all other entries unchanged."""

import numpy as np
import pandas as pd
import pytest

import discoformer
from discoformer.errors import InputError
from discoformer.io.inputs import Floats

COVARIANCE = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, 0.0], [0.3, 0.0, 1.0]])


def holed(rng: np.random.Generator, n: int = 60) -> tuple[Floats, Floats, Floats]:
    """A sample, rows, and the rows with entries missing, in one of them all entries."""
    x = rng.multivariate_normal([5, 0, -5], COVARIANCE, 500)
    rows = rng.multivariate_normal([5, 0, -5], COVARIANCE, n)
    missing = np.where(rng.random(rows.shape) < 0.4, np.nan, rows)
    missing[3] = np.nan
    return x, rows, missing


def expected(x: Floats, rows: Floats) -> Floats:
    """The conditional means of the Gaussian fit of x."""
    mean, cov, filled = x.mean(axis=0), np.cov(x.T, bias=True), rows.copy()
    for row in filled:
        free, given = np.flatnonzero(np.isnan(row)), np.flatnonzero(~np.isnan(row))
        slope = np.linalg.solve(cov[np.ix_(given, given)], cov[np.ix_(given, free)]).T
        row[free] = mean[free] + slope @ (row[given] - mean[given])
    return filled


def test_means_are_those_of_the_gaussian(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x, _, rows = holed(rng)
    filled = gaussian.estimate(x).impute(rows, samples=2048)
    np.testing.assert_allclose(filled, expected(x, rows), atol=0.1)
    there = ~np.isnan(rows)
    assert (filled[there] == rows[there]).all()


def test_draws_have_mean_and_spread(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x = holed(rng)[0]
    rows = np.tile([np.nan, 1.5, np.nan], (400, 1))
    drawn = gaussian.estimate(x).impute(rows, draws=8)
    assert drawn.shape == (8, 400, 3)
    assert (drawn[..., 1] == 1.5).all()
    cov = np.cov(x.T, bias=True)
    left = cov[[0, 2]][:, [0, 2]] - np.outer(cov[[0, 2], 1], cov[[0, 2], 1]) / cov[1, 1]
    found = drawn[..., [0, 2]].reshape(-1, 2)
    np.testing.assert_allclose(np.cov(found.T), left, atol=0.08)
    np.testing.assert_allclose(found.mean(axis=0), expected(x, rows[:1])[0, [0, 2]], atol=0.08)


def test_forms_widths_and_seeds(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, _, rows = holed(rng, 20)
    p = kde.estimate(pd.DataFrame(x, columns=["a", "b", "c"]))
    frame = pd.DataFrame(rows, columns=["a", "b", "c"], index=range(7, 27))
    filled = p.impute(frame)
    assert list(filled.index) == list(frame.index)
    assert not filled.isna().any(axis=None)
    np.testing.assert_array_equal(filled, p.impute(frame))
    assert (filled != p.impute(frame, seed=1)).any(axis=None)
    narrow = rows.astype(np.float32)
    there = ~np.isnan(narrow)
    found = p.impute(narrow)
    assert found.dtype == np.float32
    assert (found[there] == narrow[there]).all()


def test_nothing_missing_is_left_as_it_is(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, rows, _ = holed(rng, 5)
    np.testing.assert_array_equal(kde.estimate(x).impute(rows), rows)


def test_bad_input(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, rows, _ = holed(rng, 5)
    p = kde.estimate(x)
    rows[1, 2] = np.inf
    with pytest.raises(InputError, match="Y must be finite, got inf in row 1, column 2"):
        p.impute(rows)
    far = np.array([[np.nan, 0, 0], [1e200, 0, 0], [0, np.nan, 1e30]])
    with pytest.raises(InputError, match=r"^Y is more than 1e.13 spreads of X away in row 2, "):
        p.impute(far)
    assert p.impute(far[:2])[1, 0] == 1e200  # this row has nothing missing
    with pytest.raises(InputError, match="Y must have 3 columns"):
        p.impute([[np.nan]])
    with pytest.raises(InputError, match="draws must be a whole number, 1 or more, got 0"):
        p.impute(x[:2], draws=0)
    with pytest.raises(InputError, match="drop or impute them"):
        kde.estimate([[1.0, np.nan], [2.0, 3.0]])
