"""Dask: partitions in the processes of a local cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from discoformer.scorer import Scorer
from tests.engines.conftest import engine, killing, opened_here, plain, same
from tests.engines.counted import CountedScorer, notes

dd = engine("dask.dataframe")
from discoformer.engines.dask import answer  # noqa: E402


@pytest.fixture
def client() -> Iterator[Any]:
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def frame(parquet: Path) -> Any:
    return dd.read_parquet(parquet, split_row_groups=1)


def arrow(found: Any, want: pa.Table) -> pa.Table:
    return pa.Table.from_pandas(found, preserve_index=False).cast(want.schema.remove_metadata())


def test_answers_workers_and_threads(
    client: Any, parquet: Path, saved: Path, table: pa.Table, tmp_path: Path
) -> None:
    outputs = ("log_density", "score")
    scorer = CountedScorer(str(saved), outputs=outputs, folder=str(tmp_path))
    lazy = answer(frame(parquet), scorer)
    assert lazy.npartitions == 5
    want = plain(Scorer(str(saved), outputs=outputs), table)
    assert list(lazy.columns) == want.column_names
    same(arrow(lazy.compute(), want), want)
    done = notes(tmp_path).values()
    assert sum(note["rows"] for note in done) == table.num_rows
    for note in done:
        assert note["opened"] == 1
        assert note["blas"] == 1  # as the nanny of Dask sets it
        assert note["started"] == 0  # ONNX Runtime works in the thread of the worker


def test_equal_batches_to_the_bit_and_the_index_is_kept(saved: Path, table: pa.Table) -> None:
    few, scorer = table.slice(0, 2000), Scorer(str(saved), outputs=("log_density", "score"))
    pandas = few.to_pandas()
    pandas.index += 17
    found = answer(dd.from_pandas(pandas, npartitions=1), scorer).compute()
    assert found.index.equals(pandas.index)
    same(arrow(found, plain(scorer, few)), plain(scorer, few), close=0)


def test_groups(client: Any, parquet: Path, groups: Path, table: pa.Table) -> None:
    scorer = Scorer(str(groups))
    found = answer(frame(parquet), scorer).compute()
    same(arrow(found, plain(scorer, table)), plain(scorer, table))


def test_a_worker_that_is_killed(
    client: Any, parquet: Path, fast: Path, table: pa.Table, tmp_path: Path
) -> None:
    scorer = CountedScorer(str(fast), folder=str(tmp_path), pause=0.5)
    with killing(tmp_path) as killed:
        found = answer(frame(parquet), scorer).compute()
    want = plain(Scorer(str(fast)), table)
    same(arrow(found, want), want)
    assert killed
    assert len(notes(tmp_path)) > 1


def test_the_threads_of_a_worker_share_what_is_open(parquet: Path, unopened: Path) -> None:
    lazy, before = answer(frame(parquet), Scorer(str(unopened), ("a", "b"))), opened_here()
    for _ in range(2):
        assert len(lazy.compute(scheduler="threads", num_workers=4)) == 40_000
        assert opened_here() == before + 1
