"""Values that look like codes for missing values, and values that do not."""

from pathlib import Path

import numpy as np
import pytest

from discoformer.io.inputs import Floats
from discoformer.io.tables import read_table
from discoformer.table.codes import codes_in

IRIS = Path(__file__).parents[2] / "data" / "iris_petals.csv"


@pytest.mark.parametrize("code", [1e6, -999.0, 9999.0, -1e30])
@pytest.mark.parametrize("rows", [3, 10, 200])
def test_codes_are_found(rng: np.random.Generator, code: float, rows: int) -> None:
    x = np.c_[rng.normal(size=1000), rng.standard_t(3, size=1000), rng.gamma(1, size=1000).round(1)]
    for j in range(3):
        coded = x.copy()
        coded[rng.permutation(1000)[:rows], j] = code
        assert codes_in(coded) == [(j, code)]
        assert codes_in(8 * coded) == [(j, 8 * code)]


def test_several_codes_of_a_column(rng: np.random.Generator) -> None:
    x = rng.integers(0, 9, size=(500, 1)).astype(float)
    x[:20], x[20:30], x[30:33], x[40] = 98, 99, -99, 97
    assert codes_in(x) == [(0, -99), (0, 98), (0, 99)]


def values_that_stay(rng: np.random.Generator) -> dict[str, Floats]:
    counts = np.where(rng.random(2000) < 0.95, 0, rng.geometric(0.05, 2000)).astype(float)
    return {
        "normal": rng.normal(size=1000),
        "one far": np.r_[rng.normal(size=1000), 1e9],
        "twice far": np.r_[rng.normal(size=1000), 1e9, 1e9],
        "heavy tails, rounded": rng.standard_t(2, size=5000).round(),
        "long counts": counts,
        "zeros": np.where(rng.random(1000) < 0.2, 0, rng.gamma(2, size=1000)),
        "clipped": np.minimum(rng.normal(size=1000), 1.5),
        "two values": rng.integers(0, 2, 1000).astype(float),
        "rare one of two": (np.arange(1000) < 5).astype(float),
        "half far": np.where(np.arange(1000) < 500, rng.normal(size=1000), 1e6),
        "constant": np.ones(1000),
        "two clusters": np.r_[rng.normal(size=900), 1e4 + rng.normal(size=100)],
    }


def test_other_values_are_no_codes(rng: np.random.Generator) -> None:
    found = {name: codes_in(column[:, None]) for name, column in values_that_stay(rng).items()}
    assert not {name: codes for name, codes in found.items() if codes}
    assert not codes_in(read_table(IRIS).values)
    assert not codes_in(np.array([[1.0]]))
