"""The examples run as they stand, and answer what one process answers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import discoformer
from discoformer.scorer import Scorer
from tests.engines.conftest import ROOT, engine, same

EXAMPLES = {path.stem: path for path in (ROOT / "examples" / "engines").glob("*.py")}
ENGINES = {
    "ray_data": "ray",
    "spark_dataframe": "pyspark",
    "dask_dataframe": "dask.dataframe",
    "polars_lazy": "polars",
    "duckdb_sql": "duckdb",
}


def test_every_example_is_tried() -> None:
    assert EXAMPLES.keys() == ENGINES.keys()


@pytest.mark.parametrize("name", ENGINES)
def test_example(name: str, tmp_path: Path) -> None:
    engine(ENGINES[name])
    rng = np.random.default_rng(0)
    table = pa.table({"length": rng.normal(size=3000), "width": rng.normal(size=3000), "id": np.arange(3000)})
    pq.write_table(table, tmp_path / "rows.parquet")
    petals = np.loadtxt(ROOT / "tests" / "data" / "iris_petals.csv", delimiter=",", skiprows=1)
    saved = tmp_path / "petals.estimate"
    discoformer.estimate(pa.table({"length": petals[:, 0], "width": petals[:, 1]})).save(saved)
    out = tmp_path / ("answers.parquet" if name in ("polars_lazy", "duckdb_sql") else "answers")
    command = [sys.executable, str(EXAMPLES[name]), str(saved), str(tmp_path / "rows.parquet"), str(out)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    same(pq.read_table(out).select([*table.column_names, "log_density"]), Scorer(str(saved))(table))
