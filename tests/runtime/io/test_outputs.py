"""Answers are returned in the data frame library of the queries."""

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import discoformer
from discoformer.io.outputs import like

LOG_DENSITY = np.array([-1.0, -2.0, -3.0])
SCORE = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize("width", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [["a", "b"], [0, 1], pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])])
@pytest.mark.parametrize("index", [[0, 1, 2], ["x", "y", "z"], [7, 7, 7]])
def test_pandas(index: list[Any], columns: Any, width: Any) -> None:
    queries = pd.DataFrame(np.ones((3, 2)), index=index, columns=columns)
    log_density, score = (
        like(queries, name, values.astype(width))
        for name, values in (("log_density", LOG_DENSITY), ("score", SCORE))
    )
    pd.testing.assert_series_equal(log_density, pd.Series(LOG_DENSITY, index, width, "log_density"))
    pd.testing.assert_frame_equal(score, pd.DataFrame(SCORE, index, columns, width))


@pytest.mark.parametrize("width", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_polars(rows: int, width: Any) -> None:
    polars = pytest.importorskip("polars")
    queries = polars.DataFrame({"b": [1.0] * rows, "a": [2.0] * rows})
    log_density = like(queries, "log_density", LOG_DENSITY[:rows].astype(width))
    score = like(queries, "score", SCORE[:rows].astype(width))
    assert isinstance(log_density, polars.Series)
    assert log_density.name == "log_density"
    assert isinstance(score, polars.DataFrame)
    assert score.columns == ["b", "a"]
    np.testing.assert_array_equal(log_density.to_numpy(), LOG_DENSITY[:rows])
    np.testing.assert_array_equal(score.to_numpy(), SCORE[:rows])
    assert log_density.to_numpy().dtype == score.to_numpy().dtype == width


@pytest.mark.parametrize(
    "queries", [np.ones((3, 2)), [[1.0, 2.0]] * 3, pa.table({"a": [1.0] * 3, "b": [2.0] * 3}), None]
)
def test_everything_else(queries: Any) -> None:
    assert like(queries, "log_density", LOG_DENSITY) is LOG_DENSITY
    assert like(queries, "score", SCORE) is SCORE


def test_a_subclass_is_a_data_frame() -> None:
    class Frame(pd.DataFrame):  # type: ignore[misc]
        pass

    assert like(Frame(SCORE), "density", LOG_DENSITY).name == "density"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_estimates_answer_in_kind(
    gaussian: discoformer.Model, rng: np.random.Generator, library: str
) -> None:
    data = rng.normal(size=(50, 2))
    frame = pytest.importorskip(library).DataFrame(dict(zip("ab", data.T, strict=True)))
    p, q = gaussian.estimate(data), gaussian.estimate(frame)
    log_density, score = q.log_density_and_score(frame)
    for answer, name, wanted in (
        (q.log_density(frame), "log_density", p.log_density(data)),
        (log_density, "log_density", p.log_density(data)),
        (q.density(frame), "density", p.density(data)),
    ):
        assert answer.name == name
        np.testing.assert_array_equal(answer.to_numpy(), wanted)
    for answer in (q.score(frame), score):
        assert list(answer.columns) == ["a", "b"]
        np.testing.assert_array_equal(answer.to_numpy(), p.score(data))


def test_no_library_is_imported() -> None:
    code = (
        "import sys, numpy\n"
        "from discoformer.io.outputs import like\n"
        "like(numpy.ones((1, 1)), 'density', numpy.ones(1))\n"
        "sys.modules['pandas'] = None\n"
        "like(numpy.ones((1, 1)), 'density', numpy.ones(1))\n"
        "print(*{'pandas', 'polars'} & {name for name in sys.modules if sys.modules[name]})"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout == "\n"
