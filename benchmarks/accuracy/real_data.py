"""Held-out log-likelihood on real data, beside the estimators that a user would try.

The data come with scikit-learn (see ``data_sets``): all columns, standardised, and their leading principal
components. Each is split at random into 80 % to read and 20 % to answer for, some times over. Differences
are paired by split; as splits overlap, the variance over them is multiplied by ``1 / splits + test / train``
(Nadeau and Bengio, *Machine Learning* 52, 2003) before its root is taken as the standard error.

The network's density need not integrate to one. The log of its integral is subtracted where it is known, by
100 effective samples or more. On the first splits the network is also adapted to the rows that it reads.

    python -m benchmarks.accuracy.real_data models/gmm --out docs/real_data
"""

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch

import discoformer
from benchmarks.common.data_sets import LOADERS, Floats, load, principal
from benchmarks.common.estimators import Estimator, base, flow, gaussian, gmm_bic, kde
from benchmarks.common.report import write
from discoformer.analysis.adaptation_descent import FEWEST

DIMS = (2, 5, 10, 30)  # principal components, where there are more columns
TRAIN = 0.8  # of the rows
SAMPLES = 2048  # of the integral
ENOUGH = 100.0  # effective samples
OURS = "DiScoFormer"
ADAPTED = "adapted to the data"
FLOW = "flow"
OTHERS: dict[str, Estimator] = {
    "its base alone": base,
    "KDE": kde,
    "EM, BIC": gmm_bic,
    "one Gaussian": gaussian,
    FLOW: flow,
}


@dataclass(frozen=True)
class Result:
    """One estimator on one split."""

    data: str
    dim: int  # D
    train: int  # rows read
    test: int  # rows answered for
    split: int
    estimator: str
    log_likelihood: float  # mean over the test rows, nats
    seconds: float  # of CPU time, to read and to answer, the integral left out
    log_integral: float | None = None  # nats; subtracted from log_likelihood already, if samples are enough
    effective_samples: float | None = None  # of the integral


def measure(
    model: discoformer.Model, names: Sequence[str], dims: Sequence[int], splits: int, few: int, seed: int
) -> Iterator[Result]:
    """Yields results, data set by data set."""
    for name in names:
        points = load(name, seed).points
        for dim in (*(dim for dim in dims if dim < points.shape[1]), None):
            chosen = principal(name, points, dim)
            for split in range(splits):
                rows = np.random.default_rng([seed, split]).permutation(len(chosen))
                train, test = np.split(chosen[rows], [round(TRAIN * len(rows))])
                about = (name, chosen.shape[1], len(train), len(test), split)
                start = time.process_time()
                estimate = model.estimate(train)
                yield _ours(estimate, test, (*about, OURS), start)
                if split < few and len(train) >= FEWEST:
                    start = time.process_time()
                    yield _ours(estimate.adapt(seed=seed + split), test, (*about, ADAPTED), start)
                for estimator, function in OTHERS.items():
                    if estimator != FLOW or split < few:
                        start = time.process_time()
                        found = function(train, test, seed + split)
                        seconds = time.process_time() - start
                        yield Result(*about, estimator, float(found.mean()), seconds)


def _ours(
    estimate: discoformer.Estimate, test: Floats, about: tuple[str, int, int, int, int, str], start: float
) -> Result:
    log_likelihood = float(estimate.log_density(test).mean())
    seconds = time.process_time() - start
    log_integral, _, effective = estimate.normalization(samples=SAMPLES)
    normalised = log_likelihood - log_integral * (effective >= ENOUGH)
    return Result(*about, normalised, seconds, log_integral, effective)


def corrected_error(differences: Floats, result: Result) -> float:
    """Standard error of the mean difference of splits that overlap."""
    if len(differences) < 2:
        return float("nan")
    factor = 1 / len(differences) + result.test / result.train
    return float(np.sqrt(factor * differences.var(ddof=1)))


def table(results: Sequence[Result]) -> str:
    """Markdown: a line for each data set; estimators as differences from ours."""
    others = [name for name in (ADAPTED, *OTHERS) if any(r.estimator == name for r in results)]
    lines = [
        f"| data, D, N | **{OURS}** | {' | '.join(others)} | flow, s | {OURS}, s | log-integral | samples |",
        "|---" * (6 + len(others)) + "|",
    ]
    for key in dict.fromkeys((r.data, r.dim, r.train) for r in results):
        here = [r for r in results if (r.data, r.dim, r.train) == key]
        ours = [r for r in here if r.estimator == OURS]
        cells = [f"{key[0]}, {key[1]}, {key[2]}", f"{np.mean([r.log_likelihood for r in ours]):.3f}"]
        cells += [_difference([r for r in here if r.estimator == name], ours) for name in others]
        cells += [_seconds(here, FLOW), _seconds(here, OURS), *_integral(ours)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(theirs: Sequence[Result], ours: Sequence[Result]) -> str:
    """From ours, by split; that of the adapted network where both integrals are known."""
    pairs = [
        (one, other)
        for one, other in zip(theirs, ours, strict=False)
        if one.estimator != ADAPTED or min(one.effective_samples, other.effective_samples) >= ENOUGH
    ]
    if not pairs:
        return ""
    differences = np.array([one.log_likelihood - other.log_likelihood for one, other in pairs])
    error = corrected_error(differences, ours[0])
    return f"{differences.mean():+.3f}" + (f" ± {error:.3f}" if np.isfinite(error) else "")


def _seconds(results: Sequence[Result], estimator: str) -> str:
    seconds = [r.seconds for r in results if r.estimator == estimator]
    return f"{np.median(seconds):.1f}" if seconds else ""


def _integral(ours: Sequence[Result]) -> tuple[str, str]:
    """Mean log-integral, and the fewest effective samples; how often they were enough, if not always."""
    effective = np.array([r.effective_samples for r in ours])
    enough = int((effective >= ENOUGH).sum())
    note = "" if enough == len(ours) else f" (enough {enough} times of {len(ours)})"
    return f"{np.mean([r.log_integral for r in ours]):+.3f}", f"{effective.min():.0f}{note}"


def report(model: discoformer.Model, results: Sequence[Result], few: int, seed: int) -> str:
    """Markdown: what was measured, and the table."""
    about, splits = model.metadata, 1 + max(r.split for r in results)
    return f"""\
Held-out mean log-likelihood of the model `{about.name}` {about.version}, nats per row: mean of {splits}
splits, seed {seed}; N rows are read, a quarter as many are answered for. The other estimators are given by
their difference from it (negative: worse) ± its standard error, corrected for the overlap of splits; the flow
was trained, and the network adapted, on the first {few} splits, and what the latter brings is given where
both integrals are known. Then the median CPU time to read and to answer. Last, of the
network's density, the mean log of its integral, and by how many effective samples it is known, at least. It
is subtracted where these are {ENOUGH:.0f} or more; where they are not, the network's figure may be too high.

{table(results)}
"""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the .md and .json.")
@click.option("--data", "names", multiple=True, type=click.Choice(list(LOADERS)), default=tuple(LOADERS))
@click.option("--dim", "dims", multiple=True, type=click.IntRange(1), default=DIMS, show_default=True)
@click.option("--splits", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--few-splits",
    "few",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Splits with what takes long: a flow, and adaptation.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(
    folder: Path,
    out: Path | None,
    names: Sequence[str],
    dims: Sequence[int],
    splits: int,
    few: int,
    seed: int,
) -> None:
    """Measures the model in FOLDER, prints the table, and writes it with all results to --out."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    model = discoformer.load(folder.resolve(), device="cpu", threads=1)
    results = []
    for result in measure(model, names, dims, splits, few, seed):
        results.append(result)
        if result.estimator == OURS:
            click.echo(f"{result.data}, D = {result.dim}, split {result.split}", err=True)
    text = report(model, results, few, seed)
    click.echo(text)
    if out is not None:
        write(out, folder.resolve().name, model, seed, text, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
