"""Many queries through each engine, beside the plain call in one process and scikit-learn's KDE.

    python -m benchmarks.speed.engines [--rows 10000000] [--workers 1] [--out docs/scale]

The sample has 2,000 points in 5-D, drawn from a mixture; the queries are from the same. The estimate has
effort "fast". Each way is a program of its own. The first run, on few rows, starts the workers and is not in
the time. Overhead is the time over that of the plain call, so it means something with one worker.

It needs the extra ``[engines]``, scikit-learn and psutil.
"""

import json
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import discoformer
from benchmarks.common.measured import measured
from benchmarks.speed.engine_jobs import BATCH, COLUMNS, WAYS

POINTS, SEED = 2_000, 0
FEW = 2 * BATCH  # rows of the first run
MOST_KDE = 2**17  # rows that the KDE answers; its time for all is extrapolated
_FILE = 2**20  # rows of a Parquet file
ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CLOSE = 1e-9  # relative difference of sums


def draw(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Draw points (rows, 5) from three Gaussians of different widths."""
    which = rng.integers(0, 3, rows)
    return 3.0 * which[:, None] + rng.normal(size=(rows, len(COLUMNS))) * (1 + 0.5 * which[:, None])


def write(folder: Path, rows: int) -> None:
    """Write points as Parquet files, the same for each number of rows."""
    folder.mkdir()
    for part, start in enumerate(range(0, rows, _FILE)):
        points = draw(np.random.default_rng((SEED, part)), min(_FILE, rows - start))
        table = pa.table(dict(zip(COLUMNS, points.T, strict=True)))
        pq.write_table(table, folder / f"{part:04}.parquet", row_group_size=8 * BATCH)


def prepare(folder: Path, rows: int) -> None:
    """Write the sample, the estimate, and the queries."""
    sample = draw(np.random.default_rng((SEED, 2**31)), POINTS)
    np.save(folder / "sample.npy", sample)
    table = pa.table(dict(zip(COLUMNS, sample.T, strict=True)))
    model = discoformer.load("base", "cpu", 1)
    model.estimate(table, effort="fast").save(folder / "estimate")
    for name, count in {"few": FEW, "some": min(rows, MOST_KDE), "all": rows}.items():
        write(folder / name, count)


def row(way: str, folder: Path, rows: int, workers: int, plain: dict[str, float]) -> str:
    """Run one way, and return its row of the table; ``plain`` holds what the plain call found."""
    try:
        found = measured("benchmarks.speed.engine_jobs", way, folder, workers, env={**os.environ, **ENV})
    except subprocess.CalledProcessError as error:
        return f"| {way} | failed, exit code {error.returncode} | | | | |"
    result, scale = json.loads(found.output.splitlines()[-1]), 1.0
    if way == "kde":
        scale = rows / min(rows, MOST_KDE)
    elif abs(result["sum"] - plain.setdefault("sum", result["sum"])) > CLOSE * abs(result["sum"]):
        raise click.ClickException(f"{way} gives another sum: {result['sum']}, needed {plain['sum']}")
    seconds = scale * result["seconds"]
    over = seconds / plain.setdefault("seconds", seconds) - 1
    note = " (extrapolated)" if scale > 1 else ""
    return (
        f"| {way} | {seconds:.1f}{note} | {rows / seconds:,.0f} | {scale * found.cpu:.1f} | {found.peak:.0f} "
        f"| {over:+.0%} |"
    )


@click.command()
@click.option("--rows", default=10_000_000, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Worker processes of Ray, Spark and Dask.")
@click.option("--way", "ways", multiple=True, type=click.Choice(list(WAYS)), help="By default all.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the table.")
def main(rows: int, workers: int, ways: tuple[str, ...], out: Path | None) -> None:
    """Measure all ways, and print a table."""
    version = discoformer.load().metadata.version
    lines = [
        f"{rows:,} queries in {len(COLUMNS)}-D against {POINTS:,} points; effort `fast`, model "
        f"`base` {version}; {workers} worker(s), batches of {BATCH:,} rows, {os.cpu_count()} CPUs "
        f"({platform.machine()}). CPU seconds and memory are those of all processes, with their start.",
        "",
        "| way | seconds | rows a second | CPU seconds | peak MB | over the plain call |",
        "|---|---|---|---|---|---|",
    ]
    plain: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="discoformer-engines-") as name:
        prepare(Path(name), rows)
        for way in ("plain", *(way for way in ways or WAYS if way != "plain")):
            lines.append(row(way, Path(name), rows, workers, plain))
            click.echo(lines[-1], err=True)
    command = f"python -m benchmarks.speed.engines --rows {rows} --workers {workers}"
    text = "\n".join([*lines, "", f"Written by `{command}`.", ""])
    click.echo(text)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"engines_{workers}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
