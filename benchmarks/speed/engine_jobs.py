"""One way to answer the rows of Parquet files; ``benchmarks.speed.engines`` runs and measures it.

    python -m benchmarks.speed.engine_jobs WAY FOLDER WORKERS

Prints JSON: the sum of the log-densities, and the seconds that it took after a first run on few rows, in
which workers start and open the estimate.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from discoformer.scorer import Scorer

BATCH = 8192
COLUMNS = tuple("abcde")
Job = Callable[[Path], float]  # from Parquet files to the sum of the log-densities


def in_batches(path: Path, answer: Callable[[np.ndarray], np.ndarray]) -> float:
    """Add up the answers to the rows of a folder, in this process."""
    total = 0.0
    for file in sorted(path.iterdir()):
        for batch in pq.ParquetFile(file).iter_batches(BATCH):
            total += float(answer(np.column_stack([column.to_numpy() for column in batch.columns])).sum())
    return total


def plain(folder: Path, workers: int) -> Job:
    """The call of the estimate, and nothing else."""
    from discoformer import load, load_estimate

    p = load_estimate(folder / "estimate", load("base", "cpu", 1))
    return lambda path: in_batches(path, p.log_density)


def kde(folder: Path, workers: int) -> Job:
    """scikit-learn's KernelDensity, by Scott's bandwidth."""
    from sklearn.neighbors import KernelDensity

    model = KernelDensity(bandwidth="scott").fit(np.load(folder / "sample.npy"))
    return lambda path: in_batches(path, model.score_samples)


def scorer(folder: Path) -> Scorer:
    """Return the scorer of all engines."""
    return Scorer(str(folder / "estimate"), COLUMNS)


def polars(folder: Path, workers: int) -> Job:
    """Polars, streamed."""
    import polars as pl

    from discoformer.engines.polars import answer

    pl.Config.set_streaming_chunk_size(BATCH)

    def job(path: Path) -> float:
        lazy = answer(pl.scan_parquet(path / "*.parquet"), scorer(folder))
        return float(lazy.select(pl.col("log_density").sum()).collect(engine="streaming").item())

    return job


def duckdb(folder: Path, workers: int) -> Job:
    """DuckDB, whose functions get 2,048 rows at a time."""
    import duckdb

    from discoformer.engines.duckdb import register

    connection = duckdb.connect(config={"threads": workers})
    register(connection, scorer(folder))
    query = f"SELECT sum(discoformer_log_density({', '.join(COLUMNS)})) FROM "
    return lambda path: float(connection.execute(f"{query} '{path}/*.parquet'").fetchall()[0][0])


def dask(folder: Path, workers: int) -> Job:
    """Dask, in processes of one thread, without Dask's limit on free memory, which halves the speed."""
    import dask
    import dask.dataframe as dd
    from dask.distributed import Client

    from discoformer.engines.dask import answer

    dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None})
    client = Client(n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None)

    def job(path: Path) -> float:
        frame = dd.read_parquet(path, split_row_groups=True)
        return float(client.compute(answer(frame, scorer(folder)).log_density.sum()).result())

    return job


def ray(folder: Path, workers: int) -> Job:
    """Ray Data, with an actor for each worker, and a CPU for reading."""
    import ray

    from discoformer.engines.ray import answer

    ray.init(num_cpus=workers + 1, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False

    def job(path: Path) -> float:
        found = answer(ray.data.read_parquet(str(path)), scorer(folder), workers, BATCH)
        return float(found.sum("log_density"))

    return job


def spark(folder: Path, workers: int) -> Job:
    """Spark, on as many CPUs as workers."""
    from pyspark.sql import SparkSession

    from discoformer.engines.spark import answer

    builder = SparkSession.builder.master(f"local[{workers}]")
    for name, value in {
        "ui.enabled": False,
        "driver.host": "127.0.0.1",
        "driver.bindAddress": "127.0.0.1",
        "log.level": "ERROR",
        "sql.execution.arrow.maxRecordsPerBatch": BATCH,
    }.items():
        builder = builder.config(f"spark.{name}", value)
    session = builder.getOrCreate()

    def job(path: Path) -> float:
        found = answer(session.read.parquet(str(path)), scorer(folder))
        return float(found.agg({"log_density": "sum"}).first()[0])

    return job


WAYS = {job.__name__: job for job in (plain, ray, spark, dask, polars, duckdb, kde)}


def main() -> None:
    """Run the way that is named on the command line."""
    way, folder, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    job = WAYS[way](folder, workers)
    job(folder / "few")
    start = time.perf_counter()
    total = job(folder / ("some" if way == "kde" else "all"))
    print(json.dumps({"sum": total, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
