"""Exact symmetries of the released model: the first hundred cases of the benchmark, of up to 200 rows."""

import pytest

import discoformer
from benchmarks.invariance.symmetry import PROMISED, PROMISED_SCORE, draw_case, errors_of


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")
@pytest.mark.parametrize("first", range(0, 100, 10))
def test_maps_and_orders_change_nothing_but_rounding(model: discoformer.Model, first: int) -> None:
    for index in range(first, first + 10):
        errors = errors_of(model, draw_case(index, most_rows=200))
        assert errors.log_density < PROMISED
        assert errors.score < PROMISED_SCORE
