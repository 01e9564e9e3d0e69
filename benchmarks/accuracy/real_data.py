"""Held-out log-likelihood on real data, compared with other estimators.

The data are the sets of scikit-learn (see ``data_sets``): all columns, standardised, and the first principal
components. Each set is split at random into 80 % training and 20 % test rows, several times. Differences are
paired by split. Since splits overlap, the standard error is the root of the variance over splits times
``1 / splits + test / train`` (Nadeau and Bengio, *Machine Learning* 52, 2003).

The density of the network may not integrate to one. The log of its integral is subtracted if it is known from
100 effective samples or more. On the first splits the network is also adapted to the training rows.

    python -m benchmarks.accuracy.real_data models/base --out docs/real_data
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch

import discoformer
from benchmarks.common.data_sets import LOADERS, Floats, load, principal
from benchmarks.common.estimators import Estimator, flow, gaussian, gmm_bic, kde, mixture_of
from benchmarks.common.report import load_model, markdown, out_option, seed_option, write
from discoformer.analysis.adaptation_descent import FEWEST

DIMS = (2, 5, 10, 30)  # numbers of principal components, for data with more columns
TRAIN = 0.8  # share of the rows
SAMPLES = 2048  # for the integral
ENOUGH = 100.0  # effective samples
OURS = "DiScoFormer"
ADAPTED = "adapted to the data"
FLOW = "flow"


@dataclass(frozen=True)
class Result:
    """One estimator on one split."""

    data: str
    dim: int  # D
    train: int  # training rows
    test: int  # test rows
    split: int
    estimator: str
    log_likelihood: float  # mean over the test rows, nats
    seconds: float  # of CPU time, to read and to answer, without the integral
    log_integral: float | None = None  # nats; already subtracted from log_likelihood if it is known
    effective_samples: float | None = None  # for the integral


def others(model: discoformer.Model) -> dict[str, Estimator]:
    """Return the estimators to compare a model with."""
    return {
        "its mixture alone": mixture_of(model),
        "KDE": kde,
        "EM, BIC": gmm_bic,
        "one Gaussian": gaussian,
        FLOW: flow,
    }


def measure(
    model: discoformer.Model, names: Sequence[str], dims: Sequence[int], splits: int, few: int, seed: int
) -> Iterator[Result]:
    """Yield results, data set by data set."""
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
                for estimator, function in others(model).items():
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
    """Return the standard error of the mean difference of overlapping splits."""
    if len(differences) < 2:
        return float("nan")
    factor = 1 / len(differences) + result.test / result.train
    return float(np.sqrt(factor * differences.var(ddof=1)))


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table with a line per data set: estimators as differences from the network."""
    names = [name for name in dict.fromkeys(r.estimator for r in results) if name != OURS]
    header = ["data, D, N", f"**{OURS}**", *names, "flow, s", f"{OURS}, s", "log-integral", "samples"]
    rows = []
    for key in dict.fromkeys((r.data, r.dim, r.train) for r in results):
        here = [r for r in results if (r.data, r.dim, r.train) == key]
        ours = [r for r in here if r.estimator == OURS]
        cells = [f"{key[0]}, {key[1]}, {key[2]}", f"{np.mean([r.log_likelihood for r in ours]):.3f}"]
        cells += [_difference([r for r in here if r.estimator == name], ours) for name in names]
        cells += [_seconds(here, FLOW), _seconds(here, OURS), *_integral(ours)]
        rows.append(cells)
    return markdown(header, rows)


def _difference(theirs: Sequence[Result], ours: Sequence[Result]) -> str:
    """Return the mean difference by split; of the adapted network, where both integrals are known."""
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
    """Return the mean log-integral and the least effective samples, with a note if they are too few."""
    effective = np.array([r.effective_samples for r in ours])
    enough = int((effective >= ENOUGH).sum())
    note = "" if enough == len(ours) else f" (enough {enough} times of {len(ours)})"
    return f"{np.mean([r.log_integral for r in ours]):+.3f}", f"{effective.min():.0f}{note}"


def report(model: discoformer.Model, results: Sequence[Result], few: int, seed: int) -> str:
    """Return the report in Markdown."""
    about, splits = model.metadata, 1 + max(r.split for r in results)
    return f"""\
Held-out mean log-likelihood of the model `{about.name}` {about.version}, in nats per row: mean of {splits}
splits, seed {seed}, with N training rows and a quarter as many test rows. The other columns are differences
from it (negative: worse) ± standard error, corrected for the overlap of splits. The flow was trained, and the
network adapted, on the first {few} splits. The difference of the adapted network uses the splits where both
integrals are known. Times are the median CPU time to read and to answer. The last columns are the mean log of
the integral of the network's density, and its least number of effective samples. The log-integral is
subtracted if this number is {ENOUGH:.0f} or more. Otherwise the figure of the network may be too high.

{table(results)}
"""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@out_option
@click.option("--data", "names", multiple=True, type=click.Choice(list(LOADERS)), default=tuple(LOADERS))
@click.option("--dim", "dims", multiple=True, type=click.IntRange(1), default=DIMS, show_default=True)
@click.option("--splits", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--few-splits",
    "few",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Number of splits with a flow and with adaptation, which are slow.",
)
@seed_option
def main(
    folder: Path,
    out: Path | None,
    names: Sequence[str],
    dims: Sequence[int],
    splits: int,
    few: int,
    seed: int,
) -> None:
    """Measure the model in FOLDER, print the report, and write it with all results to --out."""
    torch.set_num_threads(1)
    model = load_model(folder.resolve())
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
