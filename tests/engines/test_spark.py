"""Spark: Arrow batches in Python workers, each of one CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import discoformer
from discoformer.scorer import Scorer
from tests.engines.conftest import BATCH, engine, killing, plain, same
from tests.engines.counted import CountedScorer, notes

engine("pyspark")
from discoformer.engines.spark import answer, answer_by_own_group  # noqa: E402


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2, 4]")  # two CPUs, and a task may fail three times
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH),
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.files.maxPartitionBytes": "200000",
        "spark.log.level": "ERROR",
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def test_answers_workers_and_threads(
    spark: Any, parquet: Path, saved: Path, table: pa.Table, tmp_path: Path
) -> None:
    outputs = ("log_density", "score")
    scorer = CountedScorer(str(saved), outputs=outputs, folder=str(tmp_path))
    found = answer(spark.read.parquet(str(parquet)), scorer).toArrow()
    want = plain(Scorer(str(saved), outputs=outputs), table)
    same(found.cast(want.schema), want)
    done = notes(tmp_path).values()
    assert sum(note["rows"] for note in done) == table.num_rows
    for note in done:
        assert note["opened"] == 1
        assert note["blas"] == 1  # spark.task.cpus
        assert note["started"] == 0  # ONNX Runtime works in the thread of the task


def test_equal_batches_to_the_bit(spark: Any, saved: Path, table: pa.Table) -> None:
    few, scorer = table.slice(0, 2000), Scorer(str(saved), outputs=("log_density", "score"))
    found = answer(spark.createDataFrame(few).coalesce(1), scorer).toArrow()
    same(found.cast(plain(scorer, few).schema), plain(scorer, few), close=0)


def test_groups(spark: Any, parquet: Path, groups: Path, table: pa.Table) -> None:
    scorer = Scorer(str(groups))
    found = answer(spark.read.parquet(str(parquet)), scorer).toArrow()
    same(found.cast(plain(scorer, table).schema), plain(scorer, table))


def test_a_worker_that_is_killed(
    spark: Any, parquet: Path, fast: Path, table: pa.Table, tmp_path: Path
) -> None:
    scorer = CountedScorer(str(fast), folder=str(tmp_path), pause=0.3)
    with killing(tmp_path) as killed:
        found = answer(spark.read.parquet(str(parquet)), scorer).toArrow()
    want = plain(Scorer(str(fast)), table)
    same(found.cast(want.schema), want)
    assert killed
    assert len(notes(tmp_path)) > 1


def test_own_groups_are_estimated_by_the_workers(spark: Any, table: pa.Table) -> None:
    few = table.slice(0, 400)
    found = answer_by_own_group(spark.createDataFrame(few), ["sensor"], ["a", "b"], buckets=3).toArrow()
    assert found.num_rows == few.num_rows
    want = discoformer.estimate_groups(few, "sensor", ["a", "b"]).log_density(few)
    found = found.sort_by("id")
    assert found["unit"].to_pylist() == few["unit"].to_pylist()
    np.testing.assert_allclose(found["log_density"], want, atol=1e-5)
