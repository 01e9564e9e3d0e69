"""Typicality: its marginals in closed form, its invariances, and the two ways to be unusual."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import discoformer
from discoformer.analysis.typicality import ColumnDensities, Typicality
from discoformer.errors import DataWarning
from discoformer.io.inputs import Floats

pytestmark = pytest.mark.slow
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def base() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


def draw(seed: int, rows: int = 300) -> Floats:
    """Skewed columns that go together."""
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(size=(rows, 3)) @ rng.normal(size=(3, 3)) / 2)


def typicality(model: discoformer.Model, x: Floats, y: Floats) -> Floats:
    return Typicality(model.estimate(x, effort="fast", allow_singular=True))(y)


def test_the_columns_have_the_marginals_of_the_mixture(base: discoformer.Model) -> None:
    x = draw(0)
    p, y = base.estimate(x, effort="fast"), np.r_[x[:20], 30 * x[:5], -1e3 * x[:2]]
    expected = sum(p.marginal([j], method="mixture").log_density(y[:, [j]]) for j in range(3))
    found = ColumnDensities(p)(y)
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=2e-4)


@given(seed=SEEDS)
@settings(deadline=None, max_examples=20)
def test_order_shifts_scales_and_permutations_do_not_matter(base: discoformer.Model, seed: int) -> None:
    x, rng = draw(seed), np.random.default_rng(seed)
    y = np.r_[x[:30], 3 * x[:10]]
    columns, scale, shift = rng.permutation(3), 10 ** rng.uniform(-6, 6, 3), rng.normal(size=3)
    expected = typicality(base, x, y)
    np.testing.assert_array_equal(typicality(base, rng.permutation(x), y), expected)
    there = lambda rows: ((rows + shift) * scale)[:, columns]  # noqa: E731
    np.testing.assert_allclose(typicality(base, there(x), there(y)), expected, rtol=1e-3, atol=2e-3)


def test_how_values_go_together_and_values_alone_may_be_unusual(base: discoformer.Model) -> None:
    """Each log-density calls one of them ordinary: the whole one sees a mode, the columns see no pairs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 6))
    x[:, 1] += 4 * x[:, 0]
    x[:60] = 0.2 * rng.normal(size=(60, 6)) + [3, 12, 3, 3, 3, 3]  # close together, rare in all columns
    y = np.r_[x, [[1.0, -4, 0, 0, 0, 0]]]
    p = base.estimate(x, effort="fast")
    whole, columns, found = p.log_density(y), ColumnDensities(p)(y), Typicality(p)(y)
    assert np.median(whole[:60]) > np.median(whole[60:])
    assert columns[-1] > np.quantile(columns[60:], 0.5)
    assert found[:60].max() < np.quantile(found[60:], 0.15)
    assert found[-1] < np.quantile(found[60:], 0.01)


def test_off_the_hull_and_far_out(base: discoformer.Model) -> None:
    x = np.c_[draw(1), np.full(300, 7.0)]
    y = np.r_[x[:3], [[*x[0, :3], 8]], [[1e300, 0, 0, 7], [1e30, 0, 0, 7]]]
    with pytest.warns(DataWarning, match="rank 3 of 4"):
        found = typicality(base, x, y)
    np.testing.assert_array_equal(np.isinf(found), [False, False, False, True, False, False])
    assert found[4:].max() < found[:3].min()
    np.testing.assert_allclose(found[:3], typicality(base, x[:, :3], y[:3, :3]), atol=1e-4)
