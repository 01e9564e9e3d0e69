"""Anomalies found with control of false discoveries: what is promised, what is found, and why.

**New rows**: a clean sample of N rows is read, and M = 200 others are asked, one in ten of them an anomaly.
Conformal p-values come from the model (cross-conformal, split), or in the same split way from a KDE and an
isolation forest; all then go through Benjamini and Hochberg at a rate of 10 %.

**Against itself**: a sample of which one row in twenty is an anomaly (or none), at 10 %; beside an isolation
forest and the local outlier factor, which have no rate to control and are told the true share.

**Why**: on rows of a correlated mixture in which one column was moved, how often that column is blamed most.

Mixtures: three Gaussians, mapped by a random affine map of condition about 5; an anomaly has one column moved
by 3 to 6 of its spreads, in the last table also of those that the other columns leave open,
``(E s_j^2)^(-1/2)`` with the exact score. breast_cancer: benign rows, malignant ones as anomalies; digits:
ten principal components, zeros against the rest (noise as in ``data_sets``), of both three in ten.

    python -m benchmarks.analysis.anomaly_fdr --out docs/anomalies
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

import discoformer
from benchmarks.accuracy.anomalies import transformed
from benchmarks.common.data_sets import Floats, load
from benchmarks.common.estimators import kde
from benchmarks.common.report import write
from discoformer.anomalies import Reference, benjamini_hochberg, contributions_of, find_anomalies

Flags = NDArray[np.bool_]

FDR = 0.1
ROWS, ASKED = 400, 200
AMONG_ASKED, AMONG_REAL, AMONG_ITSELF = 0.1, 0.3, 0.05  # share of anomalies
BIG = 10_000, 10  # N and D of the time


class Task(NamedTuple):
    """Normal rows to read, rows to ask, and which of these are anomalies."""

    train: Floats
    asked: Floats
    strange: Flags


@dataclass(frozen=True)
class Result:
    """One way to find anomalies, on one draw."""

    setting: str
    data: str
    seed: int
    way: str
    false: float  # share of false ones among those found, 0 if none is found
    power: float  # share of the anomalies found, nan if there are none


class Mixture(NamedTuple):
    """Rows of a mixture of correlated columns."""

    rows: Floats  # (count, D)
    spread: Floats  # (D,) of each column
    open: Floats  # (D,) what the other columns leave open of it


def mixture(dim: int, count: int, rng: np.random.Generator) -> Mixture:
    """Three Gaussians of one covariance, mapped."""
    means = rng.uniform(-3, 3, (3, dim))
    rows = means[rng.integers(3, size=count)] + rng.normal(size=(count, dim))
    logits = -0.5 * np.square(rows[:, None] - means).sum(axis=-1)
    share = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    left, right = (np.linalg.qr(rng.normal(size=(dim, dim)))[0] for _ in range(2))
    linear = (left * np.geomspace(1, 5, dim)) @ right
    score = np.linalg.solve(linear, (share @ means - rows).T).T
    rows = rows @ linear
    return Mixture(rows, rows.std(axis=0), 1 / np.sqrt(np.square(score).mean(axis=0)))


def move(rows: Floats, spread: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Moves one column of each row, in place, and says which (rows,)."""
    columns = rng.integers(rows.shape[1], size=len(rows))
    steps = rng.uniform(3, 6, len(rows)) * rng.choice([-1, 1], len(rows))
    rows[np.arange(len(rows)), columns] += steps * spread[columns]
    return columns


def mixture_task(dim: int, seed: int) -> Task:
    """A mixture, some of whose rows have one column moved."""
    rng = np.random.default_rng([seed, dim])
    rows, spread, _ = mixture(dim, ROWS + ASKED, rng)
    train, asked = np.split(rows, [ROWS])
    strange = np.arange(ASKED) < AMONG_ASKED * ASKED
    planted = asked[strange]
    move(planted, spread, rng)
    asked[strange] = planted
    return Task(train, asked, strange)


def real_task(name: str, normal: int, dim: int | None, seed: int) -> Task:
    """Rows of one class, and among those asked some of the others."""
    rng = np.random.default_rng(seed)
    points, labels = load(name)
    own, others = (rng.permutation(points[mask]) for mask in (labels == normal, labels != normal))
    train, kept = np.split(own, [round(0.6 * len(own))])
    count = round(len(kept) * AMONG_REAL / (1 - AMONG_REAL))
    asked = np.concatenate([others[:count], kept])
    return Task(*transformed(train, asked, dim), np.arange(len(asked)) < count)


TASKS: dict[str, Callable[[int], Task]] = {
    "mixture, D = 2": lambda seed: mixture_task(2, seed),
    "mixture, D = 10": lambda seed: mixture_task(10, seed),
    "breast_cancer, D = 30": lambda seed: real_task("breast_cancer", 1, None, seed),
    "digits, D = 10": lambda seed: real_task("digits", 0, 10, seed),
}


def split_conformal(score: Callable[[Floats, Floats], Floats], task: Task, seed: int) -> Flags:
    """Anomalies by a score (of rows to read and rows to ask), calibrated on the half not read."""
    half = np.random.default_rng(seed).permutation(len(task.train)) % 2 == 0
    both = score(task.train[half], np.concatenate([task.train[~half], task.asked]))
    calibration, asked = np.split(both, [np.sum(~half)])
    below = np.searchsorted(np.sort(calibration), asked, side="right")
    return benjamini_hochberg((1 + below) / (1 + len(calibration)), FDR)


def new_rows(model: discoformer.Model, seed: int) -> Iterator[Result]:
    """Yields what each way finds among new rows."""
    for data, make in TASKS.items():
        task = make(seed)
        ways: dict[str, Callable[[], Flags]] = {
            way: lambda method=way: (
                Reference(task.train, method=method, model=model, seed=seed).find(task.asked, FDR).found  # noqa: B023
            )
            for way in ("cross", "split")
        }
        ways["KDE, split"] = lambda: split_conformal(lambda x, y: kde(x, y, seed), task, seed)  # noqa: B023
        ways["isolation forest, split"] = lambda: split_conformal(
            lambda x, y: IsolationForest(random_state=seed).fit(x).score_samples(y),
            task,  # noqa: B023
            seed,
        )
        for way, find in ways.items():
            yield Result("new rows", data, seed, way, *shares(find(), task.strange))


def against_itself(model: discoformer.Model, seed: int) -> Iterator[Result]:
    """Yields what each way finds in a sample that holds anomalies, or none."""
    for dim in (2, 10):
        for share in (AMONG_ITSELF, 0.0):
            rng = np.random.default_rng([seed, dim, 1])
            rows, spread, _ = mixture(dim, ROWS, rng)
            strange = np.arange(ROWS) < share * ROWS
            planted = rows[strange]
            move(planted, spread, rng)
            rows[strange] = planted
            data = f"mixture, D = {dim}, {share:.0%} anomalies"
            found = find_anomalies(rows, FDR, model=model, seed=seed).found
            yield Result("against itself", data, seed, "model", *shares(found, strange))
            if share:
                forest = IsolationForest(random_state=seed, contamination=share).fit_predict(rows) < 0
                factor = LocalOutlierFactor(contamination=share).fit_predict(rows) < 0
                yield Result("against itself", data, seed, "isolation forest", *shares(forest, strange))
                yield Result("against itself", data, seed, "LOF", *shares(factor, strange))


def shares(found: Flags, strange: Flags) -> tuple[float, float]:
    """Share of false ones among those found, and of the anomalies that are found."""
    return (
        float(np.sum(found & ~strange) / max(1, found.sum())),
        float(np.mean(found[strange])) if strange.any() else float("nan"),
    )


def blame(model: discoformer.Model, seed: int) -> Iterator[Result]:
    """Yields how often the column that was moved is blamed most, as power."""
    for dim in (2, 5, 10):
        rng = np.random.default_rng([seed, dim, 2])
        drawn = mixture(dim, ROWS + ASKED, rng)
        train, kept = np.split(drawn.rows, [ROWS])
        p = model.estimate(train)
        for unit, by in ((drawn.spread, "spreads"), (drawn.open, "what the others leave open")):
            asked = kept.copy()
            moved = move(asked, unit, rng)
            score, offset = p.score(asked), asked - train.mean(axis=0)
            blames = {
                "push: s_j^2 / E s_j^2": np.abs(contributions_of(p, score)),
                "score times spread": np.abs(score * drawn.spread),
                "score times offset from the mean": -score * offset,
                "offset over spread": np.abs(offset / drawn.spread),
            }
            for way, size in blames.items():
                right = float(np.mean(size.argmax(axis=1) == moved))
                yield Result("why", f"D = {dim}, by {by}", seed, way, float("nan"), right)


SETTINGS = {"new rows": new_rows, "against itself": against_itself, "why": blame}


def table(results: Sequence[Result], setting: str) -> str:
    """Markdown: a line for each data set, false discovery rate and power of each way, in per cent."""
    here = [r for r in results if r.setting == setting]
    ways = list(dict.fromkeys(r.way for r in here))
    lines = [f"| {setting} | {' | '.join(ways)} |", "|---" * (1 + len(ways)) + "|"]
    for data in dict.fromkeys(r.data for r in here):
        cells = [_entry([r for r in here if (r.data, r.way) == (data, way)]) for way in ways]
        lines.append(f"| {data} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _entry(results: Sequence[Result]) -> str:
    columns = [np.array([getattr(r, name) for r in results]) for name in ("false", "power")]
    said = [_mean(column) for column in columns if len(column) and not np.isnan(column).any()]
    return " / ".join(said) or "-"


def _mean(values: Floats) -> str:
    error = 100 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{100 * values.mean():.1f} ± {error:.1f}"


def cost(model: discoformer.Model, seed: int) -> str:
    """Seconds for a large sample."""
    n, dim = BIG
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    start = time.process_time()
    reference = Reference(rows, model=model, seed=seed)
    read = time.process_time()
    reference.find(rows)
    asked = time.process_time()
    find_anomalies(rows, model=model, seed=seed)
    return (
        f"N = {n:,}, D = {dim}, CPU time of one thread: {read - start:.0f} s to read a reference, "
        f"{asked - read:.0f} s to ask it for {n:,} rows, {time.process_time() - asked:.0f} s for a sample "
        "against itself."
    )


def report(model: discoformer.Model, results: Sequence[Result], said: str) -> str:
    """Markdown: what was measured, and the tables."""
    about, seeds = model.metadata, 1 + max(r.seed for r in results)
    tables = "\n\n".join(table(results, setting) for setting in SETTINGS)
    return f"""\
Model `{about.name}` {about.version}; in per cent, mean of {seeds} seeds from 0 on ± its standard error. In
the first two tables: share of false ones among those found (asked for: {FDR:.0%} at most) / share of the
anomalies that are found; where there are none, share of runs that find any. In the last: how often the column
that was moved is blamed most.

{tables}

{said}

`python -m benchmarks.analysis.anomaly_fdr --seeds {seeds} --out docs/anomalies`
"""


@click.command()
@click.option("--model", "name", default="base", show_default=True, help="Name or folder of a model.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the .md and .json.")
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True, help="From 0 on.")
def main(name: str, out: Path | None, seeds: int) -> None:
    """Measures, prints the tables, and writes them with all results to --out."""
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    model = discoformer.load(name, device="cpu", threads=1)
    results: list[Result] = []
    for seed in range(seeds):
        for setting in SETTINGS.values():
            results += setting(model, seed)
        click.echo(f"seed {seed}", err=True)
        if out is not None:  # what is measured is kept
            _save(out, model, results, report(model, results, ""))
    text = report(model, results, cost(model, 0))
    click.echo(text)
    if out is not None:
        _save(out, model, results, text)


def _save(out: Path, model: discoformer.Model, results: Sequence[Result], text: str) -> None:
    write(out, f"{model.metadata.name}_fdr", model, 0, text, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
