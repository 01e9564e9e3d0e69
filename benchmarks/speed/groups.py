"""Very many groups: a density for each, and answers by them, from Parquet files in bounded memory.

    python -m benchmarks.speed.groups [--groups 100000] [--out docs/scale]

Groups have 50 to 200 rows in 3-D, in random order, from a Gaussian of random mean and scale. Queries are ten
rows for each group, in random order. That is the slow way: each batch opens all groups that it asks for. Each
step is a program of its own, with one thread. scikit-learn's KDE, by Scott's bandwidth, reads and answers the
same groups in a loop; its time is extrapolated from 2,000 groups.

It needs pyarrow, scikit-learn and psutil.
"""

import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import discoformer
from benchmarks.common.measured import Measured, measured

COLUMNS = ("x", "y", "z")
ASKED = 10  # queries for each group
SEED = 0
MOST_KDE = 2_000  # groups
ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CHUNK = 2**17  # rows that are answered together, each group once


def table_of(keys: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """Draw a row for each key, in random order."""
    keys = rng.permutation(keys)
    of_group = np.random.default_rng(SEED).normal(size=(keys.max() + 1, 2))
    mean, scale = 10 * of_group[keys, :1], np.exp(of_group[keys, 1:])
    points = mean + scale * rng.normal(size=(len(keys), len(COLUMNS)))
    return pa.table({"key": keys, **dict(zip(COLUMNS, points.T, strict=True))})


def prepare(folder: Path, groups: int) -> int:
    """Write samples and queries; return the number of rows of the samples."""
    rng = np.random.default_rng(SEED)
    sizes = rng.integers(50, 201, groups)
    pq.write_table(table_of(np.repeat(np.arange(groups), sizes), rng), folder / "samples.parquet")
    pq.write_table(table_of(np.repeat(np.arange(groups), ASKED), rng), folder / "queries.parquet")
    return int(sizes.sum())


def read(folder: Path) -> None:
    """Estimate all groups."""
    model = discoformer.load("base", "cpu", 1)
    path = folder / "all.groups"
    discoformer.estimate_groups(folder / "samples.parquet", "key", COLUMNS, path=path, model=model)


def answer(folder: Path) -> None:
    """Answer all queries."""
    groups = discoformer.load_groups(folder / "all.groups", discoformer.load("base", "cpu", 1))
    table, total = pq.read_table(folder / "queries.parquet"), 0.0
    for start in range(0, table.num_rows, CHUNK):
        total += float(groups.log_density(table.slice(start, CHUNK)).sum())
    print(json.dumps({"mean": total / table.num_rows}))


def kde(folder: Path) -> None:
    """Read and answer some groups by scikit-learn."""
    from sklearn.neighbors import KernelDensity

    samples, queries = (
        pq.read_table(folder / name, filters=[("key", "<", MOST_KDE)]).to_pandas().groupby("key")
        for name in ("samples.parquet", "queries.parquet")
    )
    for key, rows in samples:
        model = KernelDensity(bandwidth="scott").fit(rows[[*COLUMNS]].to_numpy())
        model.score_samples(queries.get_group(key)[[*COLUMNS]].to_numpy())


STEPS = {step.__name__: step for step in (read, answer, kde)}


def line(name: str, found: Measured, groups: int, scale: float = 1.0) -> str:
    """Return a row of the table."""
    seconds, cpu = scale * found.seconds, scale * found.cpu
    return (
        f"| {name} | {seconds:.1f} | {groups / seconds:,.0f} | {1e3 * cpu / groups:.2f} | {found.peak:.0f} |"
    )


@click.command()
@click.option("--groups", default=100_000, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the table.")
def main(groups: int, out: Path | None) -> None:
    """Measure reading and answering, and print a table."""
    version = discoformer.load().metadata.version
    with tempfile.TemporaryDirectory(prefix="discoformer-groups-bench-") as name:
        folder = Path(name)
        rows = prepare(folder, groups)
        found = {
            step: measured("benchmarks.speed.groups", step, folder, env={**os.environ, **ENV})
            for step in STEPS
        }
        size = (folder / "all.groups").stat().st_size
    few = min(groups, MOST_KDE)
    lines = [
        f"{groups:,} groups with {rows:,} rows in {len(COLUMNS)}-D, {ASKED * groups:,} queries; effort "
        f"`fast`, model `base` {version}, one thread ({platform.machine()}). The file has "
        f"{size / groups / 1024:.1f} KiB for each group.",
        "",
        "| step | seconds | groups a second | CPU ms a group | peak MB |",
        "|---|---|---|---|---|",
        line("estimate all groups", found["read"], groups),
        line(f"answer all queries, in batches of {CHUNK:,}", found["answer"], groups),
        line(f"scikit-learn's KDE, both (from {few:,} groups)", found["kde"], groups, groups / few),
        "",
        f"Written by `python -m benchmarks.speed.groups --groups {groups}`.",
        "",
    ]
    click.echo("\n".join(lines))
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "groups.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in STEPS:
        STEPS[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
