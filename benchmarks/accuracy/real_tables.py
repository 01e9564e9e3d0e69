"""Held-out log-likelihood on tables of R's packages, compared with other estimators.

There are two settings. *As they are*: every method reads the table, and is judged by the average of its
density over the cell of each test row (see ``common.cells``). *Ties smoothed*: each rounded value is moved at
random within its cell first, and every method is judged by its density at the test rows.

Each table is split at random into 80 % training and 20 % test rows, several times. Differences are paired by
split. Since splits overlap, the standard error is the root of the variance over splits times
``1 / splits + test / train`` (Nadeau and Bengio, *Machine Learning* 52, 2003). The density of the network may
not integrate to one. The log of its integral is subtracted if it is known from 100 effective samples or more.
The flow is slow, so it sees few tables. A table that a method cannot read counts as behind.

Results are kept in NAME_tables.json as they come: a second run skips what is there.

    python -m benchmarks.accuracy.real_tables models/base --out docs/real_tables
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch

import discoformer
from benchmarks.common.cell_estimators import ESTIMATORS, FLOW
from benchmarks.common.cells import Cells, average, cells_of, smoothed
from benchmarks.common.data_sets import Floats
from benchmarks.common.kept import Kept, again_option
from benchmarks.common.r_tables import NAMES, load
from benchmarks.common.report import load_model, markdown, out_option, seed_option, write
from discoformer.errors import DiscoformerError
from discoformer.onnx.names import Effort

OURS: dict[str, Effort] = {"best": "best", "fast": "fast"}
METHODS = (*OURS, *ESTIMATORS)
SETTINGS = ("as they are", "ties smoothed")
FLOWN = ("AER/Guns", "DAAG/ais", "datasets/iris", "datasets/quakes", "dslabs/olive", "ggplot2/seals")
CLEAR = 2.0  # standard errors
TRAIN = 0.8  # share of the rows
SAMPLES = 2048  # for the integral
ENOUGH = 100.0  # effective samples


@dataclass(frozen=True)
class Result:
    """One method on one split."""

    table: str
    dim: int  # D
    train: int  # training rows
    test: int  # test rows
    setting: str
    split: int
    method: str
    log_likelihood: float | None  # mean over the test rows, nats, of standardised columns; None if it failed
    seconds: float  # of CPU time, to read and to answer, without the integral
    log_integral: float | None = None  # nats; already subtracted from log_likelihood if it is known
    effective_samples: float | None = None  # for the integral
    failure: str | None = None  # why there is no answer


def measure(
    model: discoformer.Model, names: Sequence[str], splits: int, methods: Sequence[str], seed: int, kept: Kept
) -> Iterator[Result]:
    """Yield the results that are not kept, table by table."""
    for name in names:
        points = load(name)
        cells, unit = cells_of(points), float(np.log(points.std(axis=0)).sum())
        for setting in SETTINGS:
            if setting == SETTINGS[1]:
                points = smoothed(cells, seed)
                cells = Cells(points, points)
            for split in range(splits):
                rows = np.random.default_rng([seed, split]).permutation(len(points))
                train, test = np.split(rows, [round(TRAIN * len(rows))])
                about = (name, points.shape[1], len(train), len(test), setting, split)
                for method in methods:
                    if kept.has(name, setting, split, method) or (method == FLOW and name not in FLOWN):
                        continue
                    if method in OURS:
                        answer = partial(_ours, model, OURS[method])
                    else:
                        answer = partial(_theirs, method, seed + split)
                    yield Result(*about, method, *answer(points[train], cells.take(test), unit))


Answer = tuple[float | None, float, float | None, float | None, str | None]  # the last fields of a result


def _ours(model: discoformer.Model, effort: Effort, train: Floats, cells: Cells, unit: float) -> Answer:
    start = time.process_time()
    try:
        estimate = model.estimate(train, effort=effort)
    except DiscoformerError as error:
        return None, time.process_time() - start, None, None, str(error)
    found = float(average(estimate.log_density, cells).mean()) + unit
    seconds = time.process_time() - start
    log_integral, _, effective = estimate.normalization(samples=SAMPLES)
    return found - log_integral * (effective >= ENOUGH), seconds, log_integral, effective, None


def _theirs(method: str, seed: int, train: Floats, cells: Cells, unit: float) -> Answer:
    start = time.process_time()
    try:
        found = float(ESTIMATORS[method](train, cells, seed).mean()) + unit
    except (ValueError, RuntimeError) as error:
        return None, time.process_time() - start, None, None, str(error)
    seconds = time.process_time() - start
    if np.isnan(found):
        return None, seconds, None, None, "answers are NaN"
    return found, seconds, None, None, None


def corrected_error(differences: Floats, result: Result) -> float:
    """Return the standard error of the mean difference of overlapping splits."""
    if len(differences) < 2:
        return float("nan")
    factor = 1 / len(differences) + result.test / result.train
    return float(np.sqrt(factor * differences.var(ddof=1)))


class Difference:
    """How much a method is ahead of another on one table: mean over splits and its standard error, nats."""

    def __init__(self, theirs: Sequence[Result], ours: Sequence[Result]) -> None:
        by_split = {r.split: r for r in ours}
        pairs = [(one, by_split[one.split]) for one in theirs if one.split in by_split]
        self.ours_failed = any(other.log_likelihood is None for _, other in pairs)
        self.failed = any(one.log_likelihood is None for one, _ in pairs)
        self.mean = self.error = float("nan")
        if pairs and not (self.failed or self.ours_failed):
            differences = np.array([one.log_likelihood - other.log_likelihood for one, other in pairs])
            self.mean = float(differences.mean())
            self.error = corrected_error(differences, pairs[0][0])

    @property
    def sign(self) -> int:
        """1 if the method is clearly ahead, -1 if clearly behind, else 0."""
        if self.failed or self.ours_failed:
            return int(self.ours_failed) - int(self.failed)
        return int(np.sign(self.mean)) * int(abs(self.mean) > CLEAR * self.error)

    def __str__(self) -> str:
        if self.failed:
            return "failed"
        if np.isnan(self.mean):
            return ""
        return f"{self.mean:+.3f}" + ("" if np.isnan(self.error) else f" ± {self.error:.3f}")


def table(results: Sequence[Result], setting: str) -> str:
    """Return a Markdown table with a line per table: methods as differences from the first of ours."""
    here = [r for r in results if r.setting == setting]
    first, *names = _methods(here)
    rows = []
    for name in dict.fromkeys(r.table for r in here):
        of_table = [r for r in here if r.table == name]
        ours = [r for r in of_table if r.method == first]
        about = f"{name.split('/')[1]}, {of_table[0].dim}, {of_table[0].train}"
        rows.append([about, _mean(ours), *_differences(of_table, ours, names), *_integral(ours)])
    return markdown(["table, D, N", f"**{first}**", *names, "log-integral", "samples"], rows)


def _methods(results: Sequence[Result]) -> list[str]:
    """Return the methods that have results, in their order."""
    return [name for name in METHODS if any(r.method == name for r in results)]


def _mean(results: Sequence[Result]) -> str:
    found = [r.log_likelihood for r in results]
    if not found or None in found:
        return "failed" if found else ""
    unknown = any(r.effective_samples is not None and r.effective_samples < ENOUGH for r in results)
    return f"{np.mean(found):.3f}" + "?" * unknown


def _differences(results: Sequence[Result], ours: Sequence[Result], names: Sequence[str]) -> list[str]:
    return [str(Difference([r for r in results if r.method == name], ours)) for name in names]


def _integral(ours: Sequence[Result]) -> tuple[str, str]:
    """Return the mean log-integral and the least effective samples."""
    known = [r for r in ours if r.log_integral is not None]
    if not known:
        return "", ""
    mean = np.mean([r.log_integral for r in known])
    return f"{mean:+.3f}", f"{min(r.effective_samples for r in known):.0f}"


def summary(results: Sequence[Result]) -> str:
    """Return a Markdown table with a line per setting and method: its numbers of tables ahead and behind."""
    first, rows = _methods(results)[0], []
    for setting in dict.fromkeys(r.setting for r in results):
        here = [r for r in results if r.setting == setting]
        for name in _methods(here):
            theirs = [r for r in here if r.method == name]
            signs = {
                key: Difference(
                    [r for r in theirs if r.table == key],
                    [r for r in here if (r.table, r.method) == (key, first)],
                ).sign
                for key in dict.fromkeys(r.table for r in theirs)
            }
            ahead = [key.split("/")[1] for key, sign in signs.items() if sign > 0]
            counts = [str(list(signs.values()).count(sign)) for sign in (-1, 0)]
            counts = ["", "", ""] if name == first else [*counts, " ".join([f"{len(ahead)}", *ahead])]
            seconds = np.median([r.seconds for r in theirs])
            rows.append([setting, name, str(len(signs)), *counts, f"{seconds:.2g}"])
    header = ["setting", "method", "tables", f"behind {first}", "neither", f"ahead of {first}", "CPU seconds"]
    return markdown(header, rows)


def report(model: discoformer.Model, results: Sequence[Result], seed: int) -> str:
    """Return the report in Markdown."""
    about, splits = model.metadata, 1 + max(r.split for r in results)
    failures = {f"- {r.table}, {r.setting}, {r.method}: {r.failure}" for r in results if r.failure}
    tables = "\n\n".join(f"Setting: {name}.\n\n{table(results, name)}" for name in SETTINGS)
    return f"""\
Held-out mean log-likelihood of the model `{about.name}` {about.version} on {len({r.table for r in results})}
tables of R's packages, in nats per row of standardised columns: mean of {splits} splits, seed {seed}, with N
training rows and a quarter as many test rows. The other columns are differences from it (negative: worse) ±
standard error, corrected for the overlap of splits. The last columns are the mean log of the integral of the
network's density, and its least number of effective samples. The log-integral is subtracted if this number is
{ENOUGH:.0f} or more. Otherwise the figure has a question mark: it may be too high. The head of
`benchmarks/accuracy/real_tables.py` says how rounded values are judged.

Ahead or behind by more than {CLEAR:.0f} standard errors, and the median CPU time to read and to answer:

{summary(results)}

{tables}

{"Failures:" if failures else "There were no failures."}
{chr(10).join(sorted(failures))}
"""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@out_option
@click.option("--table", "names", multiple=True, type=click.Choice(NAMES), default=NAMES)
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), default=METHODS)
@click.option("--splits", type=click.IntRange(1), default=5, show_default=True)
@again_option
@seed_option
def main(
    folder: Path,
    out: Path | None,
    names: Sequence[str],
    methods: Sequence[str],
    splits: int,
    again: Sequence[str],
    seed: int,
) -> None:
    """Measure the model in FOLDER, print the report, and write it with all results to --out."""
    torch.set_num_threads(1)
    model, name = load_model(folder.resolve()), f"{folder.resolve().name}_tables"
    path = None if out is None else out / f"{name}.json"
    kept = Kept(path, model, seed, ("table", "setting", "split", "method"), OURS, again)
    for result in measure(model, names, splits, methods, seed, kept):
        kept.add(asdict(result))
        if result.method == methods[-1]:
            click.echo(f"{result.table}, {result.setting}, split {result.split}", err=True)
    text = report(model, [Result(**result) for result in kept.results], seed)
    click.echo(text)
    if out is not None:
        write(out, name, model, seed, text, kept.results)


if __name__ == "__main__":
    main()
