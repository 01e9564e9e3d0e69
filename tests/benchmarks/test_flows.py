"""The flow of the benchmark: its score is the slope of its log-density, in the units of the data."""

import numpy as np
import pytest

from benchmarks.common import estimators


@pytest.mark.slow
def test_the_score_of_a_flow_is_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimators, "FLOW_STEPS", 20)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 2)) @ [[3.0, 1.0], [0.0, 2.0]]
    queries, step = rows[:20], np.array([0.02, 0.0])
    found = estimators.fitted_flow(rows, queries, seed=0)
    ahead, behind = (estimators.flow(rows, queries + sign * step, seed=0) for sign in (1, -1))
    slope = (ahead - behind) / (2 * step[0])
    errors = np.abs(found.score[:, 0] - slope)
    assert np.quantile(errors, 0.7) < 0.01 * np.abs(slope).max()  # a spline has kinks: a few may be close
    np.testing.assert_array_equal(estimators.flow(rows, queries, seed=0), found.log_density)
