"""Rounded columns that are linear combinations of others stay so when rows are spread within their cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import discoformer
from discoformer import DataWarning
from discoformer.anomalies import Reference
from discoformer.information import entropy
from discoformer.io.inputs import Floats
from discoformer.onnx.names import Effort
from discoformer.table.cells import find_cells, spread

SEEDS = st.integers(0, 2**32 - 1)


def spread_of(points: Floats) -> Floats:
    """The copies (n, c, D) of rows of equal weight."""
    w = np.full(len(points), 1 / len(points))
    found = spread(points, w, find_cells(points, w, {}), together=True)[0]
    return found.reshape(len(points), -1, points.shape[1])


def within(found: Floats, points: Floats, step: float) -> None:
    """The copies of rows are in cells as wide as the step, and fill them."""
    off = np.abs(found - points[:, None])
    assert off.max() <= step / 2 + 1e-9
    assert off.max() > 0.4 * step


def test_other_units(rng: np.random.Generator) -> None:
    x = rng.poisson(5, (300, 1)).astype(float)
    found = spread_of(np.c_[x, 3 - 2.5 * x])
    np.testing.assert_allclose(found[..., 1], 3 - 2.5 * found[..., 0], atol=1e-12)
    within(found[..., 0], x[:, 0], 1)


def test_totals(rng: np.random.Generator) -> None:
    x = rng.integers(0, 20, (300, 2)).astype(float)
    found = spread_of(np.c_[x.sum(1), x])
    np.testing.assert_allclose(found[..., 0], found[..., 1] + found[..., 2], atol=1e-12)
    for j in (0, 1):  # the coarser ones move on their own
        within(found[..., 1 + j], x[:, j], 1)


def test_shares_of_categories(rng: np.random.Generator) -> None:
    hot = np.eye(3)[rng.integers(3, size=200)]
    found = spread_of(np.c_[hot, rng.normal(size=200)])
    np.testing.assert_allclose(found[..., :3].sum(-1), 1, atol=1e-12)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_a_continuous_column_moves_with_a_rounded_one(rng: np.random.Generator, order: list[int]) -> None:
    x, noise = rng.poisson(5, 200).astype(float), rng.normal(size=200)
    columns = np.column_stack([x, noise, x + noise])
    found = np.empty((200, 2, 3))
    found[..., order] = spread_of(columns[:, order])
    within(found[..., 0], x, 1)
    np.testing.assert_allclose(found[..., 2], found[..., 0] + found[..., 1], atol=1e-12)


def test_a_constant_column_stays(rng: np.random.Generator) -> None:
    x = rng.poisson(5, 200).astype(float)
    found = spread_of(np.c_[np.full(200, 7.0), x, 2 * x])
    assert (found[..., 0] == 7).all()
    np.testing.assert_allclose(found[..., 2], 2 * found[..., 1], atol=1e-12)


def test_columns_that_are_nearly_dependent_move_on_their_own(rng: np.random.Generator) -> None:
    x = rng.poisson(50, 300).astype(float)
    y = 2 * x
    y[7] += 2
    found = spread_of(np.c_[x, y])
    assert np.linalg.matrix_rank(found.reshape(-1, 2) - found.mean((0, 1))) == 2
    within(found[..., 1], y, 2)


@given(seed=SEEDS)
def test_the_order_of_columns_and_their_units_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 9, (60, 2)).astype(float)
    x = np.c_[x, x.sum(1), rng.integers(-999, 999, 60) / 256, 8 - x[:, 0]]
    columns, scale = rng.permutation(5), 2.0 ** rng.integers(-9, 9, 5)
    moved = spread_of((x * scale)[:, columns])
    moved[..., columns] = moved.copy()
    np.testing.assert_allclose(moved / scale, spread_of(x), atol=1e-9)


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_the_density_is_that_on_the_hull(rng: np.random.Generator, effort: Effort) -> None:
    """It is that of the column alone, over the length of the line for a unit of the column."""
    x = rng.poisson(8, (400, 1)).astype(float)
    model = discoformer.load("base", "cpu", 1)
    alone = model.estimate(x, effort=effort)
    with pytest.warns(DataWarning, match="rank 1 of 2"):
        both = model.estimate(np.c_[x, 2 * x], effort=effort, allow_singular=True)
    queries = np.linspace(0, 16, 33)[:, None]
    np.testing.assert_allclose(
        both.log_density(np.c_[queries, 2 * queries]),
        alone.log_density(queries) - 0.5 * np.log(5),
        atol=1e-4,
    )
    assert (both.density(np.c_[queries, 2 * queries + 1]) == 0).all()


def test_without_allow_singular_each_is_read_on_its_own_with_a_warning(rng: np.random.Generator) -> None:
    x = rng.poisson(8, (400, 1)).astype(float)
    model = discoformer.load("base", "cpu", 1)
    with pytest.warns(DataWarning, match=r"linear combinations of others, .* allow_singular=True"):
        p = model.estimate(np.c_[x, 2 * x], effort="fast")
    assert p.diagnostics.rank == 2
    assert np.isfinite(p.log_density([[8.0, 17.0]])).all()
    with pytest.warns(DataWarning, match="linear combinations of others"):
        entropy(np.c_[x, 2 * x], model=model, effort="fast")


@pytest.mark.filterwarnings("ignore:X ")
def test_entropy_on_the_hull(rng: np.random.Generator) -> None:
    x = rng.poisson(8, (400, 1)).astype(float)
    model = discoformer.load("base", "cpu", 1)
    alone = entropy(x, model=model, effort="fast")
    both = entropy(np.c_[x, 2 * x], model=model, effort="fast", allow_singular=True)
    assert both.value == pytest.approx(alone.value + 0.5 * np.log(5), abs=1e-3)


@pytest.mark.filterwarnings("ignore:X ")
def test_a_row_off_the_hull_is_an_anomaly(rng: np.random.Generator) -> None:
    x = rng.poisson(8, (300, 2)).astype(float)
    reference = Reference(np.c_[x, x.sum(1)], model=discoformer.load("base", "cpu", 1))
    p_values = reference.p_values([[8, 9, 17], [8, 9, 18]])
    assert p_values[0] > 0.1
    assert p_values[1] == pytest.approx(1 / 301)
