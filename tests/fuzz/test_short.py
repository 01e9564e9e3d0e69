"""A short run of every part of ``python -m tests.fuzz``, and every kind of change of a graph once."""

import random
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

import discoformer
from discoformer.errors import DiscoformerError, ModelError
from tests.fuzz import graphs, samples
from tests.fuzz.__main__ import PARTS
from tests.fuzz.common import most_memory, start_measuring

COUNTS = {"flips": 100, "graphs": 5, "saved": 200, "csv": 3000, "samples": 100, "http": 300}


@cache
def originals() -> dict[str, onnx.ModelProto]:
    return {name: onnx.load(graphs.MODEL / name) for name in graphs.FILES}


@pytest.mark.parametrize("part", PARTS)
def test_a_short_run_finds_nothing(part: str) -> None:
    report = PARTS[part](1, float("inf"), COUNTS[part])
    assert sum(report.outcomes.values()) == COUNTS[part]
    assert not report.failures


@pytest.mark.filterwarnings("ignore")
def test_an_effective_size_far_above_the_rows_leaves_no_product_to_find() -> None:
    assert samples.check(9812) == "answered"


@pytest.mark.filterwarnings("ignore")  # changed metadata give warnings of their own
@pytest.mark.parametrize("change", graphs.CHANGES, ids=lambda change: change.__name__)
def test_every_change_of_a_graph_is_refused_or_harmless(change: graphs.Change, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    graphs.write(tmp_path, graphs.changed(originals(), [change], random.Random(0)))
    try:
        answers = discoformer.load(tmp_path, "cpu", 1).estimate(x).log_density_and_score(x)
        assert all(np.isfinite(array).all() for array in answers)
    except DiscoformerError:
        pass


@pytest.mark.parametrize(
    "change", [graphs.grow_by_concat, graphs.grow_by_products, graphs.grow_by_shape], ids=lambda c: c.__name__
)
def test_graphs_that_grow_without_bound_stop_at_a_bound(change: graphs.Change, tmp_path: Path) -> None:
    """Their operators are those of the export; the bound follows from the sizes of the inputs."""

    class Greatest(random.Random):
        def choice(self, options: tuple[object, ...]) -> object:  # type: ignore[override]
            return 2**16 if 2**16 in options else options[-1]

    graphs.write(tmp_path, graphs.changed(originals(), [change], Greatest(0)))
    x = np.random.default_rng(0).normal(size=(20, 2))
    model = discoformer.load(tmp_path, "cpu", 1)
    before = start_measuring()
    with pytest.raises(ModelError, match="a graph of the model failed"):
        model.estimate(x).log_density(x)
    assert most_memory() - before < 100
