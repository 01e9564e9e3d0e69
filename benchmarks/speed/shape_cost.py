"""Time and memory of modes, diagnosis, imputation and conditionals, each in its own process.

The context is a sample of five Gaussians in D dimensions, seed 0; one thread. Times are CPU seconds without
reading the context. Memory is the peak of the process, with libraries and context.

    python -m benchmarks.speed.shape_cost --model models/base --out docs/shape_cost.md
"""

import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from sklearn.datasets import make_blobs

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.report import load_model, model_option

HOLED = 1000  # rows with missing entries
MISSING = 0.3


def holes(points: Floats) -> Floats:
    """Return some of the points, with entries missing at random."""
    rows = points[:HOLED]
    return np.where(np.random.default_rng(0).random(rows.shape) < MISSING, np.nan, rows)


TASKS: dict[str, Callable[[discoformer.Estimate, Floats], object]] = {
    "reading the context alone": lambda p, x: None,
    "log-density and score at all points": lambda p, x: p.log_density_and_score(x),
    "marginal of two features, read": lambda p, x: p.marginal([0, 1]),
    "conditional of two features, 1,000 draws": lambda p, x: p.conditional(
        {j: x[0, j] for j in range(2, x.shape[1])}
    ).sample(1000),
    "imputing 1,000 rows": lambda p, x: p.impute(holes(x)),
    "modes, and labels of all points": lambda p, x: p.modes(x),
    "diagnosis": lambda p, x: p.diagnose(),
}


def run(task: str, name: str, n: int, dim: int) -> tuple[float, float]:
    """Return CPU seconds and peak memory in MB."""
    points = make_blobs(n, dim, centers=5, random_state=0)[0]
    p = load_model(name).estimate(points)
    start = time.process_time()
    TASKS[task](p, points)
    seconds = time.process_time() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command()
@model_option
@click.option("--n", type=click.IntRange(100), default=10_000, show_default=True)
@click.option("--dim", type=click.IntRange(3), default=10, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File of the table.")
def main(name: str, n: int, dim: int, out: Path | None) -> None:
    """Print a line per task, and write the table to --out."""
    lines = [f"| N = {n}, D = {dim} | CPU seconds | MB |", "|---|---|---|"]
    click.echo("\n".join(lines))
    spawn = multiprocessing.get_context("spawn")
    for task in TASKS:
        with spawn.Pool(1) as pool:
            seconds, memory = pool.apply(run, (task, name, n, dim))
        lines.append(f"| {task} | {seconds:.1f} | {memory:.0f} |")
        click.echo(lines[-1])
    if out is not None:
        options = f"--model {name} --n {n} --dim {dim} --out {out}"
        about = f"`python -m benchmarks.speed.shape_cost {options}`, one thread."
        out.write_text("\n".join([*lines, "", about]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
