"""The fifteen normal mixtures of Marron and Wand, in one dimension, compared with rules for the bandwidth.

The densities are those of *Annals of Statistics* 20, 1992. ISJ is the improved Sheather-Jones bandwidth (see
``common.sheather_jones``). Errors are pooled over draws, as in ``discoformer-train benchmark``: the score
error is relative (the zero predictor has 100 %), and the log-density MSE is in nats^2, both at fresh points
of the density.

Results are kept in NAME_marron_wand.json as they come: a second run skips what is there.

    python -m benchmarks.accuracy.marron_wand models/base --out docs/marron_wand
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.estimators import UNKNOWN, kernel_by_leave_one_out
from benchmarks.common.kept import Kept, again_option
from benchmarks.common.report import load_model, markdown, out_option, seed_option, write
from benchmarks.common.sheather_jones import improved_sheather_jones
from discoformer_training.evaluation.baselines import KernelDensity, gmm_bic
from discoformer_training.evaluation.metrics import ErrorSums, Values, pooled_ratio, sum_errors

SIZES = (512, 4096)  # N
QUERIES = 2048  # M
OURS = ("best", "fast")


class Mixture(NamedTuple):
    """A normal mixture in one dimension."""

    weights: Floats  # (K,)
    means: Floats  # (K,)
    spreads: Floats  # (K,) standard deviations

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw points (count, 1)."""
        which = rng.choice(len(self.weights), count, p=self.weights)
        return rng.normal(self.means[which], self.spreads[which])[:, None]

    def truth(self, points: Floats) -> Values:
        """Return the log-density (M,) and the score (M, 1) at points (M, 1)."""
        terms = np.log(self.weights) + norm.logpdf(points, self.means, self.spreads)  # (M, K)
        log_density = logsumexp(terms, axis=1)
        slopes = (self.means - points) / self.spreads**2
        return Values(log_density, (np.exp(terms - log_density[:, None]) * slopes).sum(axis=1)[:, None])


def _mixture(*parts: tuple[float, float, float]) -> Mixture:
    """Return the mixture of parts (weight, mean, standard deviation)."""
    return Mixture(*np.array(parts, dtype=float).T)


DENSITIES = {
    "Gaussian": _mixture((1, 0, 1)),
    "skewed": _mixture((1 / 5, 0, 1), (1 / 5, 1 / 2, 2 / 3), (3 / 5, 13 / 12, 5 / 9)),
    "strongly skewed": _mixture(*((1 / 8, 3 * ((2 / 3) ** k - 1), (2 / 3) ** k) for k in range(8))),
    "kurtotic": _mixture((2 / 3, 0, 1), (1 / 3, 0, 1 / 10)),
    "outlier": _mixture((1 / 10, 0, 1), (9 / 10, 0, 1 / 10)),
    "bimodal": _mixture((1 / 2, -1, 2 / 3), (1 / 2, 1, 2 / 3)),
    "separated bimodal": _mixture((1 / 2, -3 / 2, 1 / 2), (1 / 2, 3 / 2, 1 / 2)),
    "skewed bimodal": _mixture((3 / 4, 0, 1), (1 / 4, 3 / 2, 1 / 3)),
    "trimodal": _mixture((9 / 20, -6 / 5, 3 / 5), (9 / 20, 6 / 5, 3 / 5), (1 / 10, 0, 1 / 4)),
    "claw": _mixture((1 / 2, 0, 1), *((1 / 10, k / 2 - 1, 1 / 10) for k in range(5))),
    "double claw": _mixture(
        *((49 / 100, side, 2 / 3) for side in (-1, 1)),
        *((1 / 350, (k - 3) / 2, 1 / 100) for k in range(7)),
    ),
    "asymmetric claw": _mixture(
        (1 / 2, 0, 1), *((2.0 ** (1 - k) / 31, k + 1 / 2, 2.0**-k / 10) for k in range(-2, 3))
    ),
    "asymmetric double claw": _mixture(
        *((46 / 100, side, 2 / 3) for side in (-1, 1)),
        *((1 / 300, -k / 2, 1 / 100) for k in range(1, 4)),
        *((7 / 300, k / 2, 7 / 100) for k in range(1, 4)),
    ),
    "smooth comb": _mixture(*((2 ** (5 - k) / 63, (65 - 96 / 2**k) / 21, 32 / 63 / 2**k) for k in range(6))),
    "discrete comb": _mixture(
        *((2 / 7, (12 * k - 15) / 7, 2 / 7) for k in range(3)),
        *((1 / 21, 2 * k / 7, 1 / 21) for k in range(8, 11)),
    ),
}


@dataclass(frozen=True)
class Result:
    """One method on one draw; the sums are those of ``ErrorSums``."""

    density: str
    size: int  # N
    draw: int
    method: str
    score_error: float
    score_power: float
    log_density_error: float
    seconds: float  # of CPU time, to read and to answer

    @property
    def sums(self) -> ErrorSums:
        """The error sums over the queries."""
        return ErrorSums(self.score_error, self.score_power, self.log_density_error)


def isj(context: Floats, queries: Floats) -> Values:
    """Gaussian KDE with the improved Sheather-Jones bandwidth."""
    return KernelDensity(context, queries, np.eye(1))(improved_sheather_jones(context[:, 0]))


def leave_one_out_kde(context: Floats, queries: Floats) -> Values:
    """Gaussian KDE with the bandwidth of the greatest leave-one-out likelihood."""
    axes, bandwidth = kernel_by_leave_one_out(context)
    return KernelDensity(context, queries, axes)(bandwidth)


PEERS: dict[str, Callable[[Floats, Floats], Values]] = {
    "ISJ": isj,
    "leave-one-out KDE": leave_one_out_kde,
    "EM, BIC": lambda context, queries: gmm_bic(context, queries, UNKNOWN),
}
METHODS = (*OURS, *PEERS)


def measure(
    model: discoformer.Model, sizes: Sequence[int], draws: int, methods: Sequence[str], seed: int, kept: Kept
) -> Iterator[Result]:
    """Yield the results that are not kept, density by density."""
    for size in sizes:
        for number, (name, density) in enumerate(DENSITIES.items()):
            for index in range(draws):
                rng = np.random.default_rng([seed, size, number, index])
                context, queries = density.draw(size, rng), density.draw(QUERIES, rng)
                truth = density.truth(queries)
                for method in methods:
                    if kept.has(name, size, index, method):
                        continue
                    start = time.process_time()
                    if method in OURS:
                        found = Values(*model.estimate(context, effort=method).log_density_and_score(queries))
                    else:
                        found = PEERS[method](context, queries)
                    seconds = time.process_time() - start
                    yield Result(name, size, index, method, *sum_errors(found, truth), seconds)


def errors(results: Sequence[Result]) -> tuple[float, float]:
    """Return the relative score error in per cent and the log-density MSE, pooled over draws."""
    score, power, log_density = np.array([r.sums for r in results]).T
    return (
        pooled_ratio(100 * score, power).value,
        pooled_ratio(log_density, np.full(len(results), QUERIES)).value,
    )


def tables(results: Sequence[Result]) -> str:
    """Return Markdown tables for each N: errors by density, and their ratios to those of ours."""
    found = []
    for size in dict.fromkeys(r.size for r in results):
        here = [r for r in results if r.size == size]
        methods = [name for name in METHODS if any(r.method == name for r in here)]
        pooled = {
            name: {method: errors(_of(here, name, method)) for method in methods}
            for name in dict.fromkeys(r.density for r in here)
        }
        for which, title in enumerate(("Score error, per cent", "Log-density MSE, nats^2")):
            rows = [
                [name, *(f"{row[method][which]:.3g}" for method in methods)] for name, row in pooled.items()
            ]
            seconds = [f"{np.median([r.seconds for r in here if r.method == name]):.2g}" for name in methods]
            rows.append(["CPU seconds, median", *seconds])
            found.append(f"{title}, N = {size}:\n\n{markdown(['density', *methods], rows)}")
    return "\n\n".join(found)


def _of(results: Sequence[Result], density: str, method: str) -> list[Result]:
    return [r for r in results if (r.density, r.method) == (density, method)]


def ratios(results: Sequence[Result]) -> str:
    """Return a Markdown table of our errors divided by those of others: geometric mean and greatest."""
    rows, names = [], dict.fromkeys(r.density for r in results)
    for size in dict.fromkeys(r.size for r in results):
        here = [r for r in results if r.size == size]
        peers = [name for name in PEERS if any(r.method == name for r in here)]
        for method in [name for name in OURS if peers and any(r.method == name for r in here)]:
            own = np.array([errors(_of(here, name, method)) for name in names])  # (densities, 2)
            others = np.array([[errors(_of(here, name, peer)) for name in names] for peer in peers])
            for peer, theirs in zip(["the best of them", *peers], [others.min(axis=0), *others], strict=True):
                ratio = own / theirs
                mean, most = np.exp(np.log(ratio).mean(axis=0)), ratio.max(axis=0)
                cells = [f"{mean[which]:.3f}, at most {most[which]:.2f}" for which in (0, 1)]
                rows.append([f"{size}, {method}", peer, *cells])
    return markdown(["N, effort", "peer", "score error", "log-density MSE"], rows)


def report(model: discoformer.Model, results: Sequence[Result], seed: int) -> str:
    """Return the report in Markdown."""
    about, draws = model.metadata, 1 + max(r.draw for r in results)
    return f"""\
Errors of the model `{about.name}` {about.version} and of other estimators on the fifteen normal mixtures of
Marron and Wand, pooled over {draws} draws of N points, at {QUERIES} fresh points, seed {seed}.

Errors of the model divided by those of its peers: geometric mean over the densities, and the greatest.

{ratios(results)}

{tables(results)}
"""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@out_option
@click.option("--size", "sizes", multiple=True, type=click.IntRange(2), default=SIZES, show_default=True)
@click.option("--draws", type=click.IntRange(1), default=8, show_default=True)
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), default=METHODS)
@again_option
@seed_option
def main(
    folder: Path,
    out: Path | None,
    sizes: Sequence[int],
    draws: int,
    methods: Sequence[str],
    again: Sequence[str],
    seed: int,
) -> None:
    """Measure the model in FOLDER, print the report, and write it with all results to --out."""
    model, name = load_model(folder.resolve()), f"{folder.resolve().name}_marron_wand"
    path = None if out is None else out / f"{name}.json"
    kept = Kept(path, model, seed, ("density", "size", "draw", "method"), OURS, again)
    for result in measure(model, sizes, draws, methods, seed, kept):
        kept.add(asdict(result))
        if (result.draw, result.method) == (draws - 1, methods[-1]):
            click.echo(f"{result.density}, N = {result.size}", err=True)
    text = report(model, [Result(**result) for result in kept.results], seed)
    click.echo(text)
    if out is not None:
        write(out, name, model, seed, text, kept.results)


if __name__ == "__main__":
    main()
