"""The score-debiased kernel density compared with plain kernel densities and the network.

The figures are the squared error of the log-density (nats^2) and its mean shortfall (nats), at fresh points
over the draws of the benchmark of training. The shortfall is the loss of log-likelihood; it is a divergence
if the estimate has integral 1. Silverman's rule, the rule of ``discoformer.analysis.sd_kde`` and the
likelihood use no truth. The best KDE has bandwidth and coordinates selected by the truth.

    python -m benchmarks.analysis.sd_kde --out docs/sd_kde
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.report import (
    load_model,
    markdown,
    mean_and_error,
    model_option,
    out_option,
    seed_option,
    write,
)
from discoformer.analysis.sd_kde import normal_bandwidth, sd_kde
from discoformer_training.evaluation.baselines import KernelDensity, kde_best, kde_scott, whitened_axes
from discoformer_training.evaluation.cells import Cell, Draw, draw

Method = Callable[[discoformer.Estimate, Draw], Floats]

CELLS = [Cell("gmm", dim, n) for n in (256, 1024) for dim in (1, 2, 5, 10, 20)]
CELLS += [Cell("student3", dim, 1024) for dim in (2, 5)]
FAMILIES = {"gmm": "mixtures", "student3": "Student-t, 3 d.o.f."}
BIG = 10_000, 10  # N and D for time and memory


@dataclass(frozen=True)
class Result:
    """One method on one draw of a cell."""

    family: str
    dim: int  # D
    n: int  # N
    draw: int
    method: str
    squared_error: float  # of the log-density, mean over queries, nats^2
    shortfall: float  # of the log-density, mean over queries, nats


def silverman(p: discoformer.Estimate, at: Draw) -> Floats:
    """Estimate by a KDE in whitened coordinates with Silverman's rule."""
    n, dim = at.context.shape
    h = (4 / ((dim + 2) * n)) ** (1 / (dim + 4))
    return KernelDensity(at.context, at.queries, whitened_axes(at.context))(h).log_density


METHODS: dict[str, Method] = {
    "SD-KDE": lambda p, at: p.log_density(at.queries, method="sd_kde"),
    "SD-KDE, rule alone": lambda p, at: sd_kde(p, normal_bandwidth(*at.context.shape)).log_density(
        at.queries
    ),
    "network": lambda p, at: p.log_density(at.queries),
    "network, integral subtracted": lambda p, at: p.log_density(at.queries) - p.normalization().log_integral,
    "best KDE": lambda p, at: kde_best(at.context, at.queries, at.truth).log_density,
    "KDE, Silverman": silverman,
    "KDE, Scott": lambda p, at: kde_scott(at.context, at.queries, at.truth).log_density,
}


def measure(model: discoformer.Model, cell: Cell, draws: int, seed: int) -> Iterator[Result]:
    """Yield the results of a cell."""
    for index in range(draws):
        at = draw(cell, index, seed=seed)
        p = model.estimate(at.context)
        for name, method in METHODS.items():
            excess = method(p, at) - at.truth.log_density
            error, shortfall = float(np.square(excess).mean()), float(-excess.mean())
            yield Result(cell.family, cell.dim, cell.context_size, index, name, error, shortfall)


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table with a line per cell: squared error ± standard error / shortfall."""
    rows = []
    for family, dim, n in dict.fromkeys((r.family, r.dim, r.n) for r in results):
        name = f"{dim}, {n}" + (f" ({FAMILIES[family]})" if family != "gmm" else "")
        here = [r for r in results if (r.family, r.dim, r.n) == (family, dim, n)]
        rows.append([name, *(_entry([r for r in here if r.method == method]) for method in METHODS)])
    return markdown(["D, N", *METHODS], rows)


def _entry(results: Sequence[Result]) -> str:
    error = mean_and_error([r.squared_error for r in results], ".3g", ".2g")
    return f"{error} / {np.mean([r.shortfall for r in results]):.2g}"


def cost(model: discoformer.Model, seed: int) -> str:
    """Return a sentence on time and memory for a large context."""
    n, dim = BIG
    points = np.random.default_rng(seed).normal(size=(n, dim))
    p = model.estimate(points)
    tracemalloc.start()
    seconds = [time.process_time()]
    kernels = sd_kde(p)
    seconds.append(time.process_time())
    kernels.log_density(points)
    seconds.append(time.process_time())
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    fit, answer = np.diff(seconds)
    return (
        f"N = {n:,}, D = {dim}, CPU time of one thread: {fit:.1f} s to fit {len(kernels.centers):,} "
        f"kernels (scores and bandwidth), {answer:.1f} s to answer {n:,} queries. Peak memory of arrays: "
        f"{peak:.0f} MiB."
    )


def report(model: discoformer.Model, results: Sequence[Result], seed: int, text: str) -> str:
    """Return the report in Markdown."""
    about, draws = model.metadata, 1 + max(r.draw for r in results)
    return f"""\
SD-KDE with scores of the model `{about.name}` {about.version}. Each entry is the squared error of the
log-density (nats²), mean of {draws} draws ± its standard error / mean shortfall of the log-density (nats),
seed {seed}. The densities are random mixtures of 1 to 10 Gaussians unless a family is named. SD-KDE and the
KDEs have integral 1 by construction. The best KDE uses the truth.

{table(results)}

{text}

`python -m benchmarks.analysis.sd_kde --model {about.name} --draws {draws} --seed {seed} --out docs/sd_kde`
"""


@click.command()
@model_option
@out_option
@click.option("--draws", type=click.IntRange(1), default=8, show_default=True, help="Draws per cell.")
@seed_option
def main(name: str, out: Path | None, draws: int, seed: int) -> None:
    """Measure a model, print the report, and write it with all results to --out."""
    model, results = load_model(name), []
    for cell in CELLS:
        click.echo(f"{cell.family} D={cell.dim} N={cell.context_size}, seed {seed}", err=True)
        results += measure(model, cell, draws, seed)
        if out is not None:  # keep partial results
            _save(out, model, results, seed, report(model, results, seed, ""))
    text = report(model, results, seed, cost(model, seed))
    click.echo(text)
    if out is not None:
        _save(out, model, results, seed, text)


def _save(out: Path, model: discoformer.Model, results: Sequence[Result], seed: int, text: str) -> None:
    write(out, model.metadata.name, model, seed, text, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
