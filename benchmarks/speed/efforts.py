"""CPU seconds of reading, answering and drawing with each effort, beside scikit-learn's estimators.

Data are mixtures of the published protocol, seed 0. One thread; least of several runs after one to warm up.
scikit-learn's KDE and mixture are fitted to whitened data and give log-densities alone, no score.

    OMP_NUM_THREADS=1 python -m benchmarks.speed.efforts
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import click
import numpy as np
import numpy.typing as npt
import torch
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

import discoformer
from benchmarks.common.report import load_model, markdown, model_option
from discoformer_training.data.mixtures import draw_mixtures

Floats = npt.NDArray[np.float64]
READ = [(200, 2), (1024, 10), (8192, 10), (2048, 50)]  # rows, columns
GROUPS = 2000  # of 50 to 200 rows in 3 columns
ASKED = (8192, 10)
RUNS = 3
FRESH = """
import time
begin = time.perf_counter()
import numpy as np
import discoformer
X = np.random.default_rng(0).normal(size=(100, 2))
discoformer.estimate(X, effort="{effort}").log_density_and_score(X)
print(time.perf_counter() - begin)
"""

Row = tuple[str, float | None, float | None, float | None, float | None]


def data(rows: int, dim: int) -> Floats:
    """Draw a sample (rows, dim)."""
    generator = torch.Generator().manual_seed(0)
    sample: Floats = draw_mixtures(1, dim, generator=generator).sample(rows, generator=generator)[0].numpy()
    return sample


def seconds(work: Callable[[], object], runs: int = RUNS) -> float:
    """Return the least CPU seconds of several runs, after one to warm up."""
    work()
    taken = []
    for _ in range(runs):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return min(taken)


def kernels(X: Floats) -> KernelDensity:
    """Fit scikit-learn's KDE."""
    return KernelDensity(bandwidth="scott").fit(X)


def components(X: Floats) -> GaussianMixture:
    """Fit scikit-learn's mixture of 8 Gaussians."""
    return GaussianMixture(8, random_state=0).fit(X)


def reading(model: discoformer.Model) -> Iterator[Row]:
    """Time the reading of samples."""
    for rows, dim in READ:
        X = data(rows, dim)
        yield (
            f"read {rows:,} points, D = {dim}",
            seconds(lambda X=X: model.estimate(X, effort="fast")),
            seconds(lambda X=X: model.estimate(X), 1),
            seconds(lambda X=X: kernels(X)),
            seconds(lambda X=X: components(X)),
        )
    rng = np.random.default_rng(0)
    X = data(200 * GROUPS, 3)
    sizes = rng.integers(50, 201, GROUPS)
    groups = [X[200 * k : 200 * k + size] for k, size in enumerate(sizes)]
    few = groups[: GROUPS // 10]
    yield (
        f"a group of 50 to 200 rows, D = 3, in a batch of {GROUPS:,}",
        seconds(lambda: model.estimate_batch(groups, effort="fast"), 1) / len(groups),
        seconds(lambda: model.estimate_batch(few), 1) / len(few),
        seconds(lambda: [kernels(group) for group in few]) / len(few),
        seconds(lambda: [components(group) for group in few], 1) / len(few),
    )


def asking(model: discoformer.Model) -> Iterator[Row]:
    """Time answers and draws."""
    rows, dim = ASKED
    X = data(2 * rows, dim)
    X, Y = X[:rows], X[rows:]
    fast, best = model.estimate(X, effort="fast"), model.estimate(X)
    kde, mixture = kernels(X), components(X)
    some = Y[:512]
    yield (
        f"log-density and score of a query, N = {rows:,}, D = {dim}",
        seconds(lambda: fast.log_density_and_score(Y)) / rows,
        seconds(lambda: best.log_density_and_score(some), 1) / len(some),
        seconds(lambda: kde.score_samples(some), 1) / len(some),
        seconds(lambda: mixture.score_samples(Y)) / rows,
    )
    yield (
        f"draw a point, N = {rows:,}, D = {dim}",
        seconds(lambda: fast.sample(rows)) / rows,
        seconds(lambda: best.sample(256), 1) / 256,
        seconds(lambda: kde.sample(rows)) / rows,
        seconds(lambda: mixture.sample(rows)) / rows,
    )
    yield (
        f"read {rows:,} points and answer {rows:,} queries, D = {dim}",
        seconds(lambda: model.estimate(X, effort="fast").log_density_and_score(Y)),
        None,
        seconds(lambda: kernels(X).score_samples(Y), 1),
        seconds(lambda: components(X).score_samples(Y), 1),
    )


def starting() -> Row:
    """Time a fresh process: wall seconds, median of five."""
    taken = []
    for effort in ("fast", "best"):
        command = [sys.executable, "-c", FRESH.replace("{effort}", effort)]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(6)]
        taken.append(float(np.median([float(run) for run in runs[1:]])))
    return ("first estimate of a fresh process, 100 points, D = 2, wall", *taken, None, None)


def shown(value: float | None) -> str:
    """Return seconds as text, in a unit that fits."""
    if value is None:
        return ""
    scale, unit = next(
        pair for pair in ((1, "s"), (1e3, "ms"), (1e6, "us")) if value * pair[0] >= 1 or pair[1] == "us"
    )
    return f"{value * scale:.3g} {unit}"


@click.command()
@model_option
def main(name: str) -> None:
    """Print the table."""
    model = load_model(name)
    rows: Sequence[Row] = [*reading(model), *asking(model), starting()]
    header = ("", "fast", "best", "KDE", "GaussianMixture(8)")
    print(markdown(header, [(row[0], *map(shown, row[1:])) for row in rows]))


if __name__ == "__main__":
    main()
