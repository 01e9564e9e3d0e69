"""Clustering by modes of the density, compared with other clustering methods.

The figure is the adjusted Rand index of the labels: 1 if they agree with the true labels, 0 for guessing. No
method is told the number of clusters. Where there is one cluster, the figure is 1 if it is found, and 0 else.
Points that HDBSCAN calls noise form one cluster. The standard error is over seeds: of the draw, or of the
noise of ``data_sets`` and the choice of 80 % of the rows.

    python -m benchmarks.analysis.clusters --model models/base --out docs/modes
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.figure import Figure
from sklearn.cluster import HDBSCAN, MeanShift
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

import discoformer
from benchmarks.common.data_sets import DataSet, Floats, load, principal
from benchmarks.common.report import load_model, markdown, mean_and_error, model_option, out_option, write
from benchmarks.common.toys import toy
from discoformer.analysis.modes import modes_of

PLANE = ("blobs", "varied", "anisotropic", "moons", "circles")
REAL = {"iris": None, "wine": None, "digits": 10}  # number of principal components
ONE = {"one normal": "normal", "one uniform": "uniform"}  # how numpy calls the distribution of a column
TASKS = (*PLANE, *REAL, *ONE)
ROWS, ONE_DIM = 500, 10  # rows of a toy set; columns of one cluster
PROMINENCES = (0.25, 0.5, 0.75, 1.0, 1.5)
MOST_COMPONENTS = 15
PICTURE_SEED = 1

Labels = Any  # (N,) integers


@dataclass(frozen=True)
class Result:
    """One method on one set of points."""

    task: str
    dim: int  # D
    rows: int  # N
    seed: int
    method: str
    index: float  # adjusted Rand
    clusters: int
    seconds: float  # of CPU time


def ours(model: discoformer.Model, points: Floats) -> dict[str, Labels]:
    """Return the labels by modes for each prominence, by name."""
    found = modes_of(model.estimate(points), points)
    return {f"modes, {prominence:g} nats": found.merged(prominence).labels for prominence in PROMINENCES}


def mixture(points: Floats) -> Labels:
    """Label by a Gaussian mixture whose number of components BIC selects."""
    fits = [GaussianMixture(k, random_state=0).fit(points) for k in range(1, MOST_COMPONENTS + 1)]
    return min(fits, key=lambda fit: fit.bic(points)).predict(points)


def others() -> dict[str, Callable[[Floats], Labels]]:
    """Return the methods of scikit-learn, for standardised columns."""
    return {
        "MeanShift": lambda points: MeanShift(bin_seeding=True).fit_predict(points),
        "HDBSCAN": lambda points: HDBSCAN(copy=True).fit_predict(points),
        "HDBSCAN, 15 a cluster": lambda points: HDBSCAN(min_cluster_size=15, copy=True).fit_predict(points),
        "EM, BIC": mixture,
    }


def task_points(task: str, seed: int) -> DataSet:
    """Return the points of a task and their labels."""
    if task in PLANE:
        return toy(task, ROWS, seed)
    if task in ONE:
        points = getattr(np.random.default_rng(seed), ONE[task])(size=(ROWS, ONE_DIM))
        return DataSet(points, np.zeros(ROWS, int))
    points, labels = load(task, seed)
    kept = np.random.default_rng(seed).permutation(len(points))[: round(0.8 * len(points))]
    return DataSet(principal(task, points, REAL[task])[kept], labels[kept])


def measure(model: discoformer.Model, tasks: Sequence[str], seeds: int) -> Iterator[Result]:
    """Yield results, task by task."""
    for task in tasks:
        for seed in range(seeds):
            points, labels = task_points(task, seed)
            points = StandardScaler().fit_transform(points) if task != "digits" else points
            start = time.process_time()
            found = ours(model, points)
            seconds = {name: time.process_time() - start for name in found}
            for name, cluster in others().items():
                start = time.process_time()
                found[name] = cluster(points)
                seconds[name] = time.process_time() - start
            for name, guess in found.items():
                index = float(adjusted_rand_score(labels, guess))
                clusters = len(set(guess[guess >= 0].tolist()))
                yield Result(task, points.shape[1], len(points), seed, name, index, clusters, seconds[name])


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table with a line per task: index ± standard error (number of clusters)."""
    names = list(dict.fromkeys(r.method for r in results))
    rows = []
    for task in dict.fromkeys(r.task for r in results):
        here = [r for r in results if r.task == task]
        cells, means = [], []
        for name in names:
            index = np.array([r.index for r in here if r.method == name])
            clusters = np.mean([r.clusters for r in here if r.method == name])
            means.append(index.mean())
            cells.append(f"{mean_and_error(index, '.2f')} ({clusters:.1f})")
        best = int(np.argmax(means))
        cells[best] = f"**{cells[best]}**"
        rows.append([f"{task}, {here[0].dim}, {here[0].rows}", *cells])
    seconds = [np.median([r.seconds for r in results if r.method == name]) for name in names]
    rows.append(["CPU seconds, median", *(f"{value:.2g}" for value in seconds)])
    return markdown(["task, D, N", *names], rows)


def report(model: discoformer.Model, results: Sequence[Result]) -> str:
    """Return the report in Markdown."""
    about, seeds = model.metadata, 1 + max(r.seed for r in results)
    return f"""\
# Clusters

Adjusted Rand index of clusters by modes of the model `{about.name}` {about.version}, for several prominences,
and by other methods: mean of {seeds} seeds (0 to {seeds - 1}) ± its standard error, and the mean number of
clusters in brackets. The best is in bold. No method is told the number of clusters. Where there is one
cluster, the index is 1 if it is found, and 0 else. The default prominence is 1 nat: with less, a flat
density falls apart. The noise of HDBSCAN counts as one cluster.

`python -m benchmarks.analysis.clusters --model models/{about.name} --seeds {seeds} --out docs/modes`

{table(results)}
"""


def save_picture(path: Path, model: discoformer.Model) -> None:
    """Plot the toy sets: points in the colours of their modes, the modes as stars, and the index."""
    figure = Figure(figsize=(3.2 * len(PLANE), 3.4), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(PLANE)), PLANE, strict=True):
        points, labels = task_points(task, PICTURE_SEED)
        found = model.estimate(points).modes(points)
        axes.scatter(*points.T, c=found.labels % 10, s=5, cmap="tab10", vmin=0, vmax=9)
        axes.plot(*found.points.T, "*", color="black", markersize=11, markeredgecolor="white")
        axes.set_title(f"{task}: {adjusted_rand_score(labels, found.labels):.2f}")
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


@click.command()
@model_option
@out_option
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), default=TASKS)
@click.option("--seeds", type=click.IntRange(2), default=5, show_default=True)
def main(name: str, out: Path | None, tasks: Sequence[str], seeds: int) -> None:
    """Compare a model with other methods, print the report, and write it with all results to --out."""
    model = load_model(name)
    results = []
    for result in measure(model, tasks, seeds):
        results.append(result)
        click.echo(f"{result}", err=True)
    text = report(model, results)
    click.echo(text)
    if out is not None:
        write(out, model.metadata.name, model, 0, text, [asdict(result) for result in results])
        save_picture(out / "toys.png", model)


if __name__ == "__main__":
    main()
