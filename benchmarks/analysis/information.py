"""Entropy, divergence, Fisher and mutual information, compared with classical estimators.

All estimators get the same draws of N rows. `information_cases` has the distributions, whose truth is known,
and `information_estimators` the other estimators.

    python -m benchmarks.analysis.information --out docs/information
"""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

import discoformer
from benchmarks.analysis.information_cases import (
    ENTROPIES,
    FISHERS,
    Case,
    entropy_case,
    fisher_case,
    information_case,
    kl_case,
    relative_fisher_case,
)
from benchmarks.analysis.information_estimators import (
    gaussian_entropy,
    gaussian_fisher,
    gaussian_information,
    gaussian_kl,
    gaussian_relative_fisher,
    kde_fisher,
    kde_relative_fisher,
    neighbour_entropy,
    neighbour_information,
    neighbour_kl,
)
from benchmarks.common.data_sets import Floats
from benchmarks.common.report import load_model, markdown, model_option, out_option, seed_option, write
from discoformer.information import (
    FOLDS,
    Information,
    entropy,
    fisher,
    kl,
    mutual_information,
    relative_fisher,
)

DIMS = (1, 5, 20)
BIG = 10_000, 10  # N and D for time and memory


@dataclass(frozen=True)
class Result:
    """One estimator on one draw."""

    quantity: str
    family: str
    dim: int  # D, of all columns
    n: int  # N
    draw: int
    estimator: str
    error: float  # estimate minus truth; relative to the truth for Fisher informations
    standard_error: float  # as estimated, in the same unit; 0 if there is no estimate
    seconds: float


class Quantity(NamedTuple):
    """A quantity: its estimate by the model, other estimators, and cases with known truth."""

    ours: Callable[..., Information]
    others: dict[str, Callable[..., float]]
    case: Callable[[str, int, int, np.random.Generator], Case]
    families: Sequence[str]
    dims: Sequence[int] = DIMS


QUANTITIES = {
    "entropy": Quantity(
        entropy,
        {"nearest neighbours": neighbour_entropy, "Gaussian": gaussian_entropy},
        entropy_case,
        list(ENTROPIES),
    ),
    "kl": Quantity(
        kl, {"nearest neighbours": neighbour_kl, "Gaussian": gaussian_kl}, kl_case, ["Gaussian", "clusters"]
    ),
    "mutual_information": Quantity(
        mutual_information,
        {"nearest neighbours": neighbour_information, "Gaussian": gaussian_information},
        information_case,
        ["Gaussian", "Student-t"],
        (2, 10, 20),
    ),
    "fisher": Quantity(
        fisher, {"KDE": kde_fisher, "Gaussian": gaussian_fisher}, fisher_case, list(FISHERS), (1, 5, 20)
    ),
    "relative_fisher": Quantity(
        relative_fisher,
        {"KDE": kde_relative_fisher, "Gaussian": gaussian_relative_fisher},
        relative_fisher_case,
        ["Gaussian", "clusters"],
        (1, 5, 10),
    ),
}


def integral(model: discoformer.Model, x: Floats, seed: int) -> float:
    """Return the mean log-integral of the fold estimates behind the entropy."""
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
    fits = model.estimate_batch([x[fold != k] for k in range(FOLDS)])
    return float(np.mean([p.normalization(512, seed).log_integral for p in fits]))


def measure(
    model: discoformer.Model, names: Sequence[str], n: int, draws: int, seed: int
) -> Iterator[Result]:
    """Yield results, quantity by quantity."""
    cells = [
        (name, family, dim)
        for name in names
        for family in QUANTITIES[name].families
        for dim in QUANTITIES[name].dims
    ]
    for name, family, dim in cells:
        quantity = QUANTITIES[name]
        for draw in range(draws):
            case = quantity.case(family, n, dim, np.random.default_rng([seed, draw, dim]))
            unit = abs(case.truth) if "fisher" in name else 1.0

            def result(estimator: str, value: float, error: float = 0.0, seconds: float = 0.0) -> Result:
                off = (value - case.truth) / unit  # noqa: B023
                return Result(name, family, dim, n, draw, estimator, off, error / unit, seconds)  # noqa: B023

            start = time.process_time()
            found = quantity.ours(*case.samples, model=model, seed=seed)
            yield result("value", found.value, found.standard_error, time.process_time() - start)
            yield result("held out alone", found.held_out)
            yield result("in sample alone", found.in_sample)
            if name == "entropy":
                subtracted = found.value + integral(model, case.samples[0], seed)
                yield result("value, integral subtracted", subtracted)
            for estimator, function in quantity.others.items():
                yield result(estimator, function(*case.samples))


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table per quantity: errors, and the standard error that the model estimates."""
    parts = []
    for name in dict.fromkeys(r.quantity for r in results):
        here = [r for r in results if r.quantity == name]
        estimators = list(dict.fromkeys(r.estimator for r in here))
        rows = []
        for family, dim in dict.fromkeys((r.family, r.dim) for r in here):
            cell = [r for r in here if (r.family, r.dim) == (family, dim)]
            entries = [_entry([r for r in cell if r.estimator == estimator]) for estimator in estimators]
            own = [r for r in cell if r.estimator == "value"]
            within = np.mean([abs(r.error) < 2 * r.standard_error for r in own])
            entries += [f"{np.mean([r.standard_error for r in own]):.2g}", f"{within:.0%}"]
            rows.append([f"{family}, {dim}", *entries])
        header = [f"{name}: family, D", *estimators, "own standard error", "within 2 of these"]
        parts.append(markdown(header, rows))
    return "\n\n".join(parts)


def _entry(results: Sequence[Result]) -> str:
    """Return the root mean squared error ± standard error over draws, and the mean error."""
    square = np.square([r.error for r in results])
    root = np.sqrt(square.mean())
    spread = square.std(ddof=1) / np.sqrt(len(square)) / (2 * root) if len(square) > 1 else 0.0
    return f"{root:.2g} ± {spread:.1g} ({np.mean([r.error for r in results]):+.2g})"


def cost(model: discoformer.Model, seed: int) -> str:
    """Return a sentence on time and memory for a large sample."""
    points = np.random.default_rng(seed).normal(size=BIG)
    times = []
    for name in ("entropy", "fisher"):
        start = time.process_time()
        QUANTITIES[name].ours(points, model=model)
        times.append(f"{name} {time.process_time() - start:.0f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return (
        f"CPU time for N = {BIG[0]:,}, D = {BIG[1]}, one thread: {', '.join(times)}. Peak memory: "
        f"{peak:.0f} MiB."
    )


def report(model: discoformer.Model, results: Sequence[Result], seed: int, text: str) -> str:
    """Return the report in Markdown."""
    about, draws, n = model.metadata, 1 + max(r.draw for r in results), results[0].n
    return f"""\
Model `{about.name}` {about.version}, N = {n} rows in D columns, {FOLDS} folds. Each entry is the root mean
squared error over {draws} draws ± its standard error, with the mean error in brackets: in nats, or relative
to the truth for Fisher informations. Seed {seed}. *Value* is the mean of the held-out and the in-sample
figure. The last columns are its mean standard error, and the share of draws within two standard errors.

{table(results)}

{text}

`python -m benchmarks.analysis.information --model {about.name} --n {n} --draws {draws} --seed {seed}
--out docs/information`
"""


@click.command()
@model_option
@out_option
@click.option(
    "--quantity", "names", multiple=True, type=click.Choice(list(QUANTITIES)), default=tuple(QUANTITIES)
)
@click.option("--n", type=click.IntRange(10), default=500, show_default=True, help="Rows of each sample.")
@click.option("--draws", type=click.IntRange(1), default=5, show_default=True)
@seed_option
def main(name: str, out: Path | None, names: Sequence[str], n: int, draws: int, seed: int) -> None:
    """Measure a model, print the report, and write it with all results to --out."""
    model, results = load_model(name), []
    for result in measure(model, names, n, draws, seed):
        results.append(result)
        if result.estimator == "Gaussian":
            click.echo(f"{result.quantity}, {result.family}, D={result.dim}, draw {result.draw}", err=True)
        if out is not None and (result.estimator, result.draw) == ("Gaussian", draws - 1):
            _save(out, model, results, seed, "")  # keep partial results
    text = _save(out, model, results, seed, cost(model, seed))
    click.echo(text)


def _save(out: Path | None, model: discoformer.Model, results: list[Result], seed: int, text: str) -> str:
    text = report(model, results, seed, text)
    if out is not None:
        write(out, model.metadata.name, model, seed, text, [asdict(result) for result in results])
    return text


if __name__ == "__main__":
    main()
