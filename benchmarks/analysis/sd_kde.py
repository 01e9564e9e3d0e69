"""The score-debiased kernel density beside plain ones and the network, on densities that are known.

Squared error of the log-density (nats^2) and its mean shortfall (nats: what is lost of the log-likelihood, a
divergence where the estimate has integral 1), at fresh points of the same density, over the draws of the
training benchmark. Silverman's rule and the rule of ``discoformer.analysis.sd_kde`` look at no truth, and
neither does
the likelihood; the best KDE has bandwidth and coordinates chosen with the truth in hand.

    python -m benchmarks.analysis.sd_kde --out docs/sd_kde
"""

import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.report import write
from discoformer.analysis.sd_kde import normal_bandwidth, sd_kde
from discoformer_training.evaluation.baselines import KernelDensity, kde_best, kde_scott, whitened_axes
from discoformer_training.evaluation.cells import Cell, Draw, draw

Method = Callable[[discoformer.Estimate, Draw], Floats]

CELLS = [Cell("gmm", dim, n) for n in (256, 1024) for dim in (1, 2, 5, 10, 20)]
CELLS += [Cell("student3", dim, 1024) for dim in (2, 5)]
FAMILIES = {"gmm": "mixtures", "student3": "Student-t, 3 d.o.f."}
BIG = 10_000, 10  # N and D of the time and memory


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
    """KDE in whitened coordinates, by Silverman's rule."""
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
    """Yields the results of a cell."""
    for index in range(draws):
        at = draw(cell, index, seed=seed)
        p = model.estimate(at.context)
        for name, method in METHODS.items():
            excess = method(p, at) - at.truth.log_density
            error, shortfall = float(np.square(excess).mean()), float(-excess.mean())
            yield Result(cell.family, cell.dim, cell.context_size, index, name, error, shortfall)


def table(results: Sequence[Result]) -> str:
    """Markdown: for each cell and method, squared error and its standard error, and the shortfall."""
    lines = [f"| D, N | {' | '.join(METHODS)} |", "|---" * (1 + len(METHODS)) + "|"]
    for family, dim, n in dict.fromkeys((r.family, r.dim, r.n) for r in results):
        name = f"{dim}, {n}" + (f" ({FAMILIES[family]})" if family != "gmm" else "")
        here = [r for r in results if (r.family, r.dim, r.n) == (family, dim, n)]
        cells = [_entry([r for r in here if r.method == method]) for method in METHODS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _entry(results: Sequence[Result]) -> str:
    errors = np.array([r.squared_error for r in results])
    shortfall = np.mean([r.shortfall for r in results])
    spread = errors.std(ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else 0.0
    return f"{errors.mean():.3g} ± {spread:.2g} / {shortfall:.2g}"


def cost(model: discoformer.Model, seed: int) -> str:
    """Seconds and memory of a large context."""
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
    lay, answer = np.diff(seconds)
    return (
        f"N = {n:,}, D = {dim}, CPU time of one thread: {lay:.1f} s to lay the {len(kernels.centers):,} "
        f"kernels (scores and bandwidth), {answer:.1f} s to answer {n:,} queries; {peak:.0f} MiB of arrays "
        "at most."
    )


def report(model: discoformer.Model, results: Sequence[Result], seed: int, text: str) -> str:
    """Markdown: what was measured, and the table."""
    about, draws = model.metadata, 1 + max(r.draw for r in results)
    return f"""\
SD-KDE with scores of the model `{about.name}` {about.version}: squared error of the log-density (nats²), mean
of {draws} draws ± its standard error, / mean shortfall of the log-density (nats), seed {seed}. Random
mixtures of 1 to 10 Gaussians where no other family is named. SD-KDE and the KDEs have integral 1 by
construction; the best KDE is told the truth.

{table(results)}

{text}

`python -m benchmarks.analysis.sd_kde --draws {draws} --seed {seed} --out docs/sd_kde`
"""


@click.command()
@click.option("--model", "name", default="base", show_default=True, help="Name of a model, or its folder.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the .md and .json.")
@click.option("--draws", type=click.IntRange(1), default=8, show_default=True, help="Of each cell.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(name: str, out: Path | None, draws: int, seed: int) -> None:
    """Measures, prints the table, and writes it with all results to --out."""
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    model, results = discoformer.load(name, device="cpu", threads=1), []
    for cell in CELLS:
        click.echo(f"{cell.family} D={cell.dim} N={cell.context_size}, seed {seed}", err=True)
        results += measure(model, cell, draws, seed)
        if out is not None:  # what is measured is kept
            _save(out, model, results, seed, report(model, results, seed, ""))
    text = report(model, results, seed, cost(model, seed))
    click.echo(text)
    if out is not None:
        _save(out, model, results, seed, text)


def _save(out: Path, model: discoformer.Model, results: Sequence[Result], seed: int, text: str) -> None:
    write(out, model.metadata.name, model, seed, text, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
