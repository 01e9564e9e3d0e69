"""DuckDB: a function of SQL."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import discoformer
from discoformer.scorer import Scorer
from tests.engines.conftest import engine, opened_here, plain, same
from tests.engines.counted import CountedScorer, notes

duckdb = engine("duckdb")
from discoformer.engines.duckdb import register  # noqa: E402


@pytest.fixture
def connection() -> Any:
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


def test_answers(connection: Any, parquet: Path, fast: Path, table: pa.Table) -> None:
    scorer = Scorer(str(fast))
    register(connection, scorer)
    query = f"SELECT *, discoformer_log_density(a, b) AS log_density FROM '{parquet}'"
    found = connection.sql(query).to_arrow_table()
    same(found.cast(plain(scorer, table).schema), plain(scorer, table))


def test_equal_batches_to_the_bit(connection: Any, table: pa.Table, saved: Path) -> None:
    few, scorer = table.slice(0, 2000), Scorer(str(saved), outputs=("density",))
    register(connection, scorer, "f")
    found = connection.sql("SELECT *, f(a, b) AS density FROM few").to_arrow_table()
    same(found.cast(plain(scorer, few).schema), plain(scorer, few), close=0)


def test_groups(connection: Any, parquet: Path, groups: Path, table: pa.Table) -> None:
    scorer = Scorer(str(groups))
    register(connection, scorer)
    query = f"SELECT *, discoformer_log_density(sensor::VARCHAR, a, b) AS log_density FROM '{parquet}'"
    with pytest.warns(match="unknown groups"):
        found = connection.sql(query).to_arrow_table()
    same(found.cast(plain(scorer, table).schema), plain(scorer, table))


def test_the_file_is_opened_once_and_nulls_are_null(
    connection: Any, parquet: Path, unopened: Path, folder: Path
) -> None:
    before = opened_here()
    register(connection, CountedScorer(str(unopened), folder=str(folder)))
    for _ in range(2):
        query = f"SELECT sum(discoformer_log_density(a, b)) FROM '{parquet}'"
        assert np.isfinite(connection.sql(query).fetchall()[0][0])
        assert opened_here() == before + 1
    assert [note["started"] for note in notes(folder).values()] == [0]
    assert connection.sql("SELECT discoformer_log_density(NULL, 1.0)").fetchall() == [(None,)]


def test_several_outputs_are_refused(connection: Any, fast: Path) -> None:
    for outputs in (("score",), ("log_density", "density")):
        with pytest.raises(discoformer.InputError, match="outputs must be"):
            register(connection, Scorer(str(fast), outputs=outputs))
