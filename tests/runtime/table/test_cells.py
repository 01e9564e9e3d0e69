"""Steps and atoms are found in what is rounded, and in nothing else; rows are spread evenly and alike."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discoformer.errors import InputError
from discoformer.io.inputs import Floats
from discoformer.table.cells import Cells, find_cells, read_rounding, spread

IRIS = Path(__file__).parents[2] / "data" / "iris_petals.csv"
SEEDS = st.integers(0, 2**32 - 1)


def cells_of(points: Floats, steps: dict[int, float] | None = None, apart: bool = True) -> Cells:
    return find_cells(points, np.full(len(points), 1 / len(points)), steps or {}, apart)


def spread_of(points: Floats, weights: Floats | None = None) -> Floats:
    """Points and weights of the spread rows, sorted."""
    w = np.full(len(points), 1 / len(points)) if weights is None else weights / weights.sum()
    rows = np.column_stack(spread(points, w, find_cells(points, w, {})))
    return rows[np.lexsort(rows.T[::-1])]


def iris() -> Floats:
    return np.loadtxt(IRIS, delimiter=",", skiprows=1)


# Steps


@pytest.mark.parametrize("width", [np.float32, np.float64])
def test_iris_is_rounded_to_a_tenth_and_has_no_atoms(width: type) -> None:
    found = cells_of(iris().astype(width).astype(float))
    np.testing.assert_allclose(found.steps, 0.1, rtol=1e-6)
    assert found.atoms == ((), ())


@given(
    seed=SEEDS,
    rows=st.integers(30, 3000),
    step=st.sampled_from([1e-9, 0.1, 0.25, 1, 5, 15, 1 / 96, 1e7]),
    cells=st.floats(0.5, 20),
    offset=st.floats(-1e4, 1e4),
)
def test_the_step_of_rounded_values_is_found(
    seed: int, rows: int, step: float, cells: float, offset: float
) -> None:
    values = np.random.default_rng(seed).normal(scale=cells, size=rows).round()
    multiples = np.diff(np.unique(values))
    if not len(multiples) or 1 - len(np.unique(values)) / rows < 0.1:
        return
    (found,) = cells_of(step * (values + offset)[:, None]).steps
    assert found == pytest.approx(step * np.gcd.reduce(multiples.astype(int)), rel=1e-6)


@given(
    seed=SEEDS,
    rows=st.integers(2, 5000),
    kind=st.sampled_from(["normal", "exponential", "standard_cauchy", "uniform", "lognormal"]),
    offset=st.sampled_from([0, 1, 1e3, 1e5, 1e6]),
    terms=st.integers(1, 3),
)
def test_continuous_data_are_never_rounded(
    seed: int, rows: int, kind: str, offset: float, terms: int
) -> None:
    """Nor float32, nor sums of float32 values near a large offset, which share a step of their precision."""
    rng = np.random.default_rng(seed)
    draw = getattr(rng, kind)
    exact = draw(size=rows)
    sums = sum((offset + draw(size=rows)).astype(np.float32).astype(float) for _ in range(terms))
    found = cells_of(np.column_stack([exact, exact.astype(np.float32), offset + exact, sums]))
    assert found.empty


@given(
    values=st.sets(st.integers(-40, 40), min_size=2, max_size=19),
    step=st.sampled_from([1, 0.1, 5, 1 / 60]),
)
def test_the_step_of_a_few_values_is_their_greatest_common_one(values: set[int], step: float) -> None:
    multiples = np.array(sorted(values))
    (found,) = cells_of(step * np.repeat(multiples, 4)[:, None]).steps
    assert found == pytest.approx(step * np.gcd.reduce(np.diff(multiples)), rel=1e-5)


def test_a_few_values_may_be_off_the_step() -> None:
    x = np.random.default_rng(0).normal(90, 4, size=200)
    halves = (2 * x).round() / 2
    halves[:3] = 93.7, 88.25, 91.123
    assert cells_of(halves[:, None]).steps == (0.5,)
    halves[:100] = x[:100]
    assert cells_of(halves[:, None]).steps == (0,)


def test_clock_times_are_rounded() -> None:
    minutes = 15.0 * np.random.default_rng(0).integers(0, 96, 500)
    days = 45_000 + minutes / 1440  # as spreadsheets count them
    seconds = 1.7e9 + 60 * minutes
    found = cells_of(np.column_stack([minutes, days, seconds]))
    np.testing.assert_allclose(found.steps, [15, 15 / 1440, 900], rtol=1e-6)


def test_a_column_of_few_values_is_rounded() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(2, size=200) * 3.0, rng.poisson(2, 200), rng.normal(size=200)])
    found = cells_of(x)
    assert found.steps == (3, 1, 0)
    assert found.few_valued == (0, 1)
    assert found.atoms == ((), (), ())


def test_values_that_differ_by_rounding_errors_are_one() -> None:
    x = np.r_[np.arange(20) * 0.1, np.cumsum(np.full(20, 0.1)), np.arange(20) / 10][:, None]
    assert len(np.unique(x)) > 25
    assert cells_of(x).steps == (0.1,)


def test_repeated_rows_without_a_step_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    assert cells_of(np.repeat(rng.normal(size=(2, 1)), 3, axis=0)).empty
    assert cells_of(np.zeros((1, 2)), {0: 1.0}).empty
    assert cells_of(rng.normal(size=(5, 1)), {0: 1.0}).steps == (1,)
    assert cells_of(rng.normal(size=(50, 1))[rng.integers(50, size=400)]).empty
    assert cells_of(np.full((9, 1), 3.0)).empty


# Atoms


def test_zeros_of_rain_are_an_atom() -> None:
    rng = np.random.default_rng(0)
    rain = np.where(rng.random(1000) < 0.6, 0, rng.exponential(5, 1000))
    dry = float(np.mean(rain == 0))
    for values, step in ((rain, 0.0), (rain.round(1), pytest.approx(0.1))):
        found = cells_of(values[:, None])
        assert found.steps == (step,)
        ((atom,),) = found.atoms
        assert atom == (0, pytest.approx(np.mean(values == 0)))
        assert found.atom_widths == (0,)
        assert found.left_out == pytest.approx(atom[1])
    both = cells_of(np.column_stack([rain, rng.normal(size=1000)]))
    assert both.atoms[0][0] == (0, pytest.approx(dry))
    assert 0 < both.atom_widths[0] < 0.1 * np.std(rain)
    assert both.left_out == 0


def test_limits_at_which_values_are_clipped_are_atoms() -> None:
    x = np.clip(np.random.default_rng(0).normal(size=2000), -1, 1.5)
    for values in (x, x.round(2)):
        (atoms,) = cells_of(values[:, None]).atoms
        assert [value for value, _ in atoms] == [-1, 1.5]


@given(seed=SEEDS, rows=st.integers(40, 2000), mean=st.floats(0.05, 9))
def test_counts_are_cells_and_not_atoms(seed: int, rows: int, mean: float) -> None:
    assert cells_of(np.random.default_rng(seed).poisson(mean, (rows, 1)).astype(float)).atoms == ((),)


@given(seed=SEEDS, rows=st.integers(20, 2000))
def test_a_bootstrap_sample_has_no_atoms(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    assert cells_of(rng.normal(size=(rows, 1))[rng.integers(rows, size=rows)]).atoms == ((),)


def test_shares_of_atoms_are_of_the_weight() -> None:
    rng = np.random.default_rng(0)
    x = np.r_[np.zeros(50), rng.normal(size=100)][:, None]
    w = np.r_[np.full(50, 2.0), np.ones(100)]
    ((atom,),) = find_cells(x, w / w.sum(), {}).atoms
    assert atom == (0, pytest.approx(0.5))


# What is given


def test_steps_that_are_given() -> None:
    assert read_rounding("auto", 2, None) == read_rounding({}, 2, None) == {}
    assert read_rounding(None, 2, None) == {0: 0, 1: 0}
    assert read_rounding({"b": 1, 0: 0}, 2, ("a", "b")) == {1: 1, 0: 0}
    x = np.c_[iris(), np.random.default_rng(0).normal(size=150)]
    assert cells_of(x, {0: 0.0, 2: 0.5}).steps == (0, pytest.approx(0.1), 0.5)
    rain = np.maximum(0, x[:, 2:])
    assert cells_of(rain, {0: 0.0}).empty
    assert cells_of(rain, {0: 0.5}).atoms == cells_of(rain).atoms != ((),)


@pytest.mark.parametrize(
    ("rounding", "message"),
    [
        ("yes", "rounding must be 'auto', None, or a dict .* got 'yes'"),
        (0.1, "rounding must be 'auto', None, or a dict .* got 0.1"),
        ({"a": -1}, "finite step of 0 or more .* got -1 for 'a'"),
        ({"a": np.nan}, "finite step of 0 or more .* got nan for 'a'"),
        ({"a": np.inf}, "finite step of 0 or more .* got inf for 'a'"),
        ({"a": True}, "finite step of 0 or more .* got True for 'a'"),
        ({"a": "1"}, "finite step of 0 or more .* got '1' for 'a'"),
        ({"c": 1}, "rounding must be positions from 0 to 1, or names among a, b, got 'c'"),
        ({2: 1}, "rounding must be positions from 0 to 1, or names among a, b, got 2"),
        ({"a": 1, 0: 1}, "rounding must name each feature once, got 'a' more than once"),
    ],
)
def test_what_is_wrong_with_rounding_is_named(rounding: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rounding(rounding, 2, ("a", "b"))


# Spread


def test_continuous_rows_are_not_touched() -> None:
    x, w = np.random.default_rng(0).normal(size=(100, 3)), np.full(100, 0.01)
    points, weights = spread(x, w, find_cells(x, w, {}))
    assert points is x
    assert weights is w


def test_each_row_is_spread_evenly_within_its_cell() -> None:
    x = iris()
    found = cells_of(x)
    w = np.full(150, 1 / 150)
    points, weights = spread(x, w, found)
    places = (points.reshape(150, found.copies, 2) - x[:, None]) / 0.1  # of each copy, in its cell
    assert (np.abs(places) < 0.5).all()
    assert weights.sum() == pytest.approx(1)
    strata = np.floor((places + 0.5) * found.copies)
    np.testing.assert_array_equal(np.sort(strata, axis=1)[..., 0], np.tile(range(found.copies), (150, 1)))
    for j in range(2):
        for value in np.unique(x[:, j]):  # all the places of a cell are evenly spaced
            at = np.sort(places[x[:, j] == value, :, j].ravel())
            np.testing.assert_allclose(at, (np.arange(len(at)) + 0.5) / len(at) - 0.5, atol=1e-9)


def test_rows_share_their_cell_by_weight() -> None:
    x = np.repeat(np.arange(5.0), 40)[:, None]
    w = np.random.default_rng(0).random(200)
    w /= w.sum()
    found = find_cells(x, w, {})
    points, weights = spread(x, w, found)
    assert found.copies == 2
    for value in range(5):
        cell = np.abs(points[:, 0] - value) < 0.5
        order = np.argsort(points[cell, 0])
        place, held = points[cell, 0][order] - value + 0.5, np.cumsum(weights[cell][order])
        np.testing.assert_allclose(place, (held - weights[cell][order] / 2) / held[-1], atol=0.02)


def test_the_columns_of_a_cell_are_spread_independently() -> None:
    x = np.tile([[0.0, 0, 0], [1, 2, 4]], (500, 1))
    places = spread_of(x)[:, :3] - np.round(spread_of(x)[:, :3])
    assert np.abs(np.corrcoef(places.T) - np.eye(3)).max() < 0.12
    assert np.linalg.matrix_rank(x - x.mean(0)) == 1  # which is not left of it


@given(seed=SEEDS, rows=st.integers(12, 300), power=st.integers(-20, 20), shift=st.integers(-1000, 1000))
def test_it_is_symmetric(seed: int, rows: int, power: int, shift: int) -> None:
    """Under permutations of rows and columns, shifts and scales; here those that floats hold exactly."""
    rng = np.random.default_rng(seed)
    rain = rng.exponential(size=rows)
    rain[: 3 * rows // 10] = 0  # not half of them: then a step as fine as float32 counts, which shifts change
    x = np.column_stack(
        [
            np.round(np.column_stack([rng.normal(size=rows), rain]) * 2**20) / 2**20,
            rng.integers(0, 2, rows),
            rng.integers(0, 5, rows) / 4,
            rng.poisson(3, rows),
        ]
    )
    w = rng.integers(1, 4, rows).astype(float)
    columns, order = rng.permutation(5), rng.permutation(rows)
    scale = 2.0 ** rng.permutation([power, -power, 0, 3, -1])
    moved = spread_of(((x + shift) * scale)[order][:, columns], w[order])
    moved[:, columns] = moved[:, :5]
    moved[:, :5] = moved[:, :5] / scale - shift
    expected = spread_of(x, w)
    moved, expected = (rows[np.lexsort(rows.round(6).T[::-1])] for rows in (moved, expected))
    np.testing.assert_allclose(moved, expected, rtol=1e-9, atol=1e-9)


def test_cells_of_some_columns() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=100), rng.integers(0, 3, 100), np.maximum(0, rng.normal(size=100))])
    found = cells_of(x)
    some = found.of([2, 1])
    assert some.steps == (0, 1)
    assert some.atoms == (found.atoms[2], ())
    assert some.atom_widths == (found.atom_widths[2], 0)
    assert some.few_valued == (1,)
    assert some.copies == found.copies > 1
    assert found.of([0]).empty
    assert found.of([0]).copies == 1
