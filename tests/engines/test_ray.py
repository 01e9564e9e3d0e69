"""Ray Data: a pool of actors, each of one CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from discoformer.scorer import Scorer
from tests.engines.conftest import BATCH, engine, killing, plain, same
from tests.engines.counted import CountedScorer, notes

ray = engine("ray")
from discoformer.engines.ray import answer  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level="error",
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture
def dataset(table: pa.Table) -> Any:
    """The rows in five blocks."""
    return ray.data.from_arrow([table.slice(start, BATCH) for start in range(0, table.num_rows, BATCH)])


def taken(dataset: Any) -> pa.Table:
    return pa.concat_tables(ray.get(dataset.to_arrow_refs()))


def test_answers_workers_and_threads(dataset: Any, saved: Path, table: pa.Table, tmp_path: Path) -> None:
    outputs = ("log_density", "score")
    scorer = CountedScorer(str(saved), outputs=outputs, folder=str(tmp_path))
    found = taken(answer(dataset, scorer, workers=2))
    want = plain(Scorer(str(saved), outputs=outputs), table)
    same(found.cast(want.schema), want)
    done = notes(tmp_path).values()
    assert sum(note["rows"] for note in done) == table.num_rows
    for note in done:
        assert note["opened"] == 1
        assert note["blas"] == 1  # num_cpus of the actor
        assert note["started"] == 0  # ONNX Runtime works in the thread of the actor


def test_a_worker_of_two_cpus_has_two_threads(parquet: Path, saved: Path, tmp_path: Path) -> None:
    scorer = CountedScorer(str(saved), threads=2, folder=str(tmp_path))
    assert answer(ray.data.read_parquet(str(parquet)), scorer).count() == 40_000
    (note,) = notes(tmp_path).values()
    assert note["opened"] == 1
    assert note["started"] > 0  # of ONNX Runtime


def test_equal_batches_to_the_bit(saved: Path, table: pa.Table) -> None:
    few, scorer = table.slice(0, 2000), Scorer(str(saved), outputs=("log_density", "score"))
    found = taken(answer(ray.data.from_arrow(few), scorer))
    same(found.cast(plain(scorer, few).schema), plain(scorer, few), close=0)


def test_groups(parquet: Path, groups: Path, table: pa.Table) -> None:
    scorer = Scorer(str(groups))
    found = taken(answer(ray.data.read_parquet(str(parquet)), scorer, workers=2))
    same(found.cast(plain(scorer, table).schema), plain(scorer, table))


def test_a_worker_that_is_killed(dataset: Any, fast: Path, table: pa.Table, tmp_path: Path) -> None:
    scorer = CountedScorer(str(fast), folder=str(tmp_path), pause=0.5)
    with killing(tmp_path) as killed:
        found = taken(answer(dataset, scorer, workers=2))
    want = plain(Scorer(str(fast)), table)
    same(found.cast(want.schema), want)
    assert killed
    assert len(notes(tmp_path)) > 1
