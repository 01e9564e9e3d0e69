"""Each method of the benchmark of sampling draws points of the released model."""

import numpy as np
import pytest

import discoformer
from benchmarks.analysis.sampling import DRAWN, FAMILIES, ORDER, drawn_by


@pytest.mark.parametrize("name", ORDER)
def test_each_method_draws(name: str) -> None:
    truth = FAMILIES["mixture, D = 2"](np.random.default_rng(0))
    points = drawn_by(name, discoformer.load("base", "cpu", 1), truth(64), truth, seed=0)
    assert points.shape == (DRAWN, 2)
    assert np.isfinite(points).all()
