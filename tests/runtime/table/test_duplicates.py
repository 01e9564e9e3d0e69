"""Duplicates: copies of unrounded rows are told from the ties of rounded ones."""

from pathlib import Path

import numpy as np
import pytest

from discoformer.base.standardised import present_rows
from discoformer.io.inputs import Floats
from discoformer.io.tables import read_table
from discoformer.table.duplicates import Duplicates, find_duplicates

IRIS = Path(__file__).parents[2] / "data" / "iris_petals.csv"


def found(x: Floats, w: Floats | None = None) -> Duplicates | None:
    return find_duplicates(*present_rows(x, w))


def size_of(x: Floats, w: Floats | None = None) -> float | None:
    duplicates = found(x, w)
    return duplicates and duplicates.size


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "dim"), [(20, 1), (500, 1), (50, 3), (2000, 2)])
def test_copies_count_once(rng: np.random.Generator, n: int, dim: int, dtype: type) -> None:
    x = (rng.normal(size=(n, dim)) * 10.0 ** rng.integers(-9, 9, dim)).astype(dtype).astype(float)
    twenty = found(np.repeat(x, 20, axis=0)[rng.permutation(20 * n)])
    assert twenty is not None
    assert twenty.size == pytest.approx(n)
    assert len(twenty.rows) == 19 * n
    times = np.bincount(rng.integers(0, n, n), minlength=n)  # a bootstrap sample
    assert size_of(np.repeat(x, times, axis=0)) == pytest.approx(times.sum() ** 2 / np.sum(times**2))
    w = rng.uniform(0.5, 1, 2 * n)
    whole = w[:n] + w[n:]
    assert size_of(np.tile(x, (2, 1)), w) == pytest.approx(whole.sum() ** 2 / np.sum(whole**2))


def test_one_column_that_was_not_rounded_is_enough(rng: np.random.Generator) -> None:
    x = np.c_[rng.integers(0, 2, 300), rng.normal(size=300).round(1), rng.normal(size=300)]
    assert size_of(np.repeat(x, 3, axis=0)) == pytest.approx(300)
    ties = found(np.repeat(x[:, :2], 3, axis=0))
    assert ties is not None
    assert ties.size is None


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_few_copies_are_none(rng: np.random.Generator, dtype: type) -> None:
    x = rng.normal(size=(1000, 2)).astype(dtype).astype(float)
    assert found(x) is None
    assert found(np.r_[x, x[:40]]) is None
    assert size_of(np.r_[x, x[:80]]) == pytest.approx(1080**2 / (920 + 80 * 4))
    many = rng.normal(size=(20_000, 1)).astype(dtype).astype(float)  # where float32 has chance ties
    assert found(many) is None


def test_ties_of_rounded_values_are_no_copies(rng: np.random.Generator) -> None:
    minutes = rng.integers(0, 1440, 1000)[:, None] / 1440
    heights = np.r_[rng.normal(68, 3, 900).round(), rng.normal(68, 3, 100).round(2)][:, None]
    for x in (
        read_table(IRIS).values,
        read_table(IRIS).values[:, 1:],
        rng.normal(size=(2000, 1)).round(3),
        rng.normal(size=(500, 2)).round(1).astype(np.float32).astype(float),
        np.log1p(rng.poisson(30, size=(400, 1))),
        np.where(rng.random((500, 1)) < 0.3, 0.0, rng.normal(size=(500, 1))),
        minutes,
        heights,
        np.ones((50, 2)),
    ):
        assert size_of(x) is None
