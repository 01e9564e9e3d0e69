"""Polars: lazy frames, in memory and streamed."""

from pathlib import Path

import pyarrow as pa
import pytest

from discoformer.scorer import Scorer
from tests.engines.conftest import engine, opened_here, plain, same
from tests.engines.counted import CountedScorer, notes

pl = engine("polars")
from discoformer.engines.polars import answer  # noqa: E402


@pytest.mark.parametrize("how", ["in-memory", "streaming"])
@pytest.mark.parametrize("outputs", [("log_density",), ("score", "density")])
def test_answers(parquet: Path, fast: Path, table: pa.Table, how: str, outputs: tuple) -> None:
    scorer = Scorer(str(fast), outputs=outputs)
    found = answer(pl.scan_parquet(parquet), scorer).collect(engine=how).to_arrow()
    same(found.cast(plain(scorer, table).schema), plain(scorer, table))


def test_equal_batches_to_the_bit(table: pa.Table, saved: Path) -> None:
    few, scorer = table.slice(0, 2000), Scorer(str(saved), outputs=("log_density", "score"))
    found = answer(pl.from_arrow(few).lazy(), scorer).collect().to_arrow()
    same(found.cast(plain(scorer, few).schema), plain(scorer, few), close=0)


def test_groups(parquet: Path, groups: Path, table: pa.Table) -> None:
    scorer = Scorer(str(groups))
    with pytest.warns(match="unknown groups"):
        found = answer(pl.scan_parquet(parquet), scorer).collect(engine="streaming").to_arrow()
    same(found.cast(plain(scorer, table).schema), plain(scorer, table))


def test_the_file_is_opened_once(parquet: Path, unopened: Path, folder: Path) -> None:
    scorer, before = CountedScorer(str(unopened), ("a", "b"), folder=str(folder)), opened_here()
    lazy = answer(pl.scan_parquet(parquet), scorer)
    assert opened_here() == before
    for how in ("streaming", "in-memory"):
        assert lazy.collect(engine=how).height == 40_000
        assert opened_here() == before + 1
    (note,) = notes(folder).values()
    assert note["started"] == 0  # ONNX Runtime has the one thread of the scorer


def test_what_follows_is_planned_with_the_new_columns(parquet: Path, fast: Path) -> None:
    lazy = answer(pl.scan_parquet(parquet), Scorer(str(fast)))
    assert lazy.collect_schema()["log_density"] == pl.Float64
    rare = lazy.filter(pl.col("log_density") < -6).select("id", "log_density").collect()
    assert 0 < rare.height < 40_000
    assert (rare["log_density"] < -6).all()
