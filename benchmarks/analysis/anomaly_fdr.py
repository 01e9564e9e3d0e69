"""Anomalies with control of the false discovery rate: rates, power, and the column responsible.

**New rows**: a clean sample of N rows is the reference. 10 % of M = 200 new rows are anomalies. Conformal
p-values come from the model (cross-conformal or split), or from a KDE and an isolation forest (split). The
procedure of Benjamini and Hochberg then controls the rate at 10 %.

**Against itself**: 5 % of the rows of a sample are anomalies, or none; the rate is 10 %. An isolation forest
and the local outlier factor control no rate, and are told the true share.

**Clean**: all rows come from one distribution, with independent columns except in mixtures, and so do 200 new
rows. Whatever is found is false, so the false discovery rate is the share of samples in which anything is
found. The share of new rows with p-values of at most 5 % should be 5 %. Means over D = 1, 2, 5, 10.

**Why**: in rows of a correlated mixture one column was moved. The figure is how often this column gets the
greatest contribution.

Mixtures are three Gaussians after a random affine map of condition about 5. An anomaly has one column moved
by 3 to 6 standard deviations. In the last table the unit is also the conditional one given the other columns,
``(E s_j^2)^(-1/2)`` with the exact score. In breast_cancer, malignant rows are anomalies. In digits (ten
principal components, noise as in ``data_sets``), all digits but zeros are. In both, 30 % of new rows are
anomalies.

    python -m benchmarks.analysis.anomaly_fdr --out docs/anomalies
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

import discoformer
from benchmarks.common.data_sets import Floats, load
from benchmarks.common.estimators import kde
from benchmarks.common.report import load_model, markdown, mean_and_error, model_option, out_option, write
from discoformer.anomalies import Reference, benjamini_hochberg, contributions_of, find_anomalies

Flags = NDArray[np.bool_]

FDR = 0.1
ROWS, ASKED = 400, 200
AMONG_ASKED, AMONG_REAL, AMONG_ITSELF = 0.1, 0.3, 0.05  # shares of anomalies
BIG = 10_000, 10  # N and D for the time
CLEAN_ROWS, CLEAN_DIMS, LEVEL = (200, 500, 2000), (1, 2, 5, 10), 0.05


class Task(NamedTuple):
    """Normal training rows, new rows, and which new rows are anomalies."""

    train: Floats
    asked: Floats
    strange: Flags


@dataclass(frozen=True)
class Result:
    """One method on one draw."""

    setting: str
    data: str
    seed: int
    way: str
    false: float  # share of false discoveries, 0 if there is no discovery
    power: float  # share of anomalies found, NaN if there are none


class Mixture(NamedTuple):
    """Rows of a mixture with correlated columns."""

    rows: Floats  # (count, D)
    spread: Floats  # (D,) standard deviations
    open: Floats  # (D,) conditional standard deviations given the other columns


def mixture(dim: int, count: int, rng: np.random.Generator) -> Mixture:
    """Draw rows of three Gaussians of one covariance, after an affine map."""
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
    """Move one column of each row in place, and return the columns (rows,)."""
    columns = rng.integers(rows.shape[1], size=len(rows))
    steps = rng.uniform(3, 6, len(rows)) * rng.choice([-1, 1], len(rows))
    rows[np.arange(len(rows)), columns] += steps * spread[columns]
    return columns


def mixture_task(dim: int, seed: int) -> Task:
    """Draw a mixture with one column moved in some of the new rows."""
    rng = np.random.default_rng([seed, dim])
    rows, spread, _ = mixture(dim, ROWS + ASKED, rng)
    train, asked = np.split(rows, [ROWS])
    strange = np.arange(ASKED) < AMONG_ASKED * ASKED
    planted = asked[strange]
    move(planted, spread, rng)
    asked[strange] = planted
    return Task(train, asked, strange)


def real_task(name: str, normal: int, dim: int | None, seed: int) -> Task:
    """Take training rows of one class, and new rows that include other classes."""
    rng = np.random.default_rng(seed)
    points, labels = load(name)
    own, others = (rng.permutation(points[mask]) for mask in (labels == normal, labels != normal))
    train, kept = np.split(own, [round(0.6 * len(own))])
    count = round(len(kept) * AMONG_REAL / (1 - AMONG_REAL))
    asked = np.concatenate([others[:count], kept])
    return Task(*transformed(train, asked, dim), np.arange(len(asked)) < count)


def transformed(train: Floats, test: Floats, dim: int | None) -> tuple[Floats, Floats]:
    """Standardise the columns, or take principal components, as fitted to the training rows."""
    if dim is None:
        center, spread = train.mean(axis=0), train.std(axis=0)
        return (train - center) / spread, (test - center) / spread
    pca = PCA(dim, svd_solver="full").fit(train)
    return pca.transform(train), pca.transform(test)


TASKS: dict[str, Callable[[int], Task]] = {
    "mixture, D = 2": lambda seed: mixture_task(2, seed),
    "mixture, D = 10": lambda seed: mixture_task(10, seed),
    "breast_cancer, D = 30": lambda seed: real_task("breast_cancer", 1, None, seed),
    "digits, D = 10": lambda seed: real_task("digits", 0, 10, seed),
}


def split_conformal(score: Callable[[Floats, Floats], Floats], task: Task, seed: int) -> Flags:
    """Find anomalies by a score of training and new rows, calibrated on the half not trained on."""
    half = np.random.default_rng(seed).permutation(len(task.train)) % 2 == 0
    both = score(task.train[half], np.concatenate([task.train[~half], task.asked]))
    calibration, asked = np.split(both, [np.sum(~half)])
    below = np.searchsorted(np.sort(calibration), asked, side="right")
    return benjamini_hochberg((1 + below) / (1 + len(calibration)), FDR)


def new_rows(model: discoformer.Model, seed: int) -> Iterator[Result]:
    """Yield the results of each method on new rows."""
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
    """Yield the results of each method on a sample with anomalies, or without."""
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


CLEAN: dict[str, Callable[[tuple[int, int], np.random.Generator], Floats]] = {
    "normal": lambda shape, rng: rng.normal(size=shape),
    "lognormal": lambda shape, rng: rng.lognormal(size=shape),
    "Student-t, 3 degrees of freedom": lambda shape, rng: rng.standard_t(3, size=shape),
    "exponential": lambda shape, rng: rng.exponential(size=shape),
    "mixture": lambda shape, rng: mixture(shape[1], shape[0], rng).rows,
}


def clean(model: discoformer.Model, seed: int) -> Iterator[Result]:
    """Yield what is found among rows without anomalies."""
    for data, make in CLEAN.items():
        for count, dim in itertools.product(CLEAN_ROWS, CLEAN_DIMS):
            rng = np.random.default_rng([seed, count, dim])
            rows, asked = np.split(make((count + ASKED, dim), rng), [count])
            about = "clean", f"{data}, N = {count}", seed
            found = find_anomalies(rows, FDR, model=model, seed=seed).found
            yield Result(*about, "against itself", float(found.any()), float("nan"))
            for way in ("cross", "split"):
                p_values = Reference(rows, method=way, model=model, seed=seed).p_values(asked)
                any_found = float(benjamini_hochberg(p_values, FDR).any())
                yield Result(*about, f"new rows, {way}", any_found, float("nan"))
                yield Result(*about, f"{way}, p at most 5 %", float(np.mean(p_values <= LEVEL)), float("nan"))


def shares(found: Flags, strange: Flags) -> tuple[float, float]:
    """Return the share of false discoveries, and the share of anomalies found."""
    return (
        float(np.sum(found & ~strange) / max(1, found.sum())),
        float(np.mean(found[strange])) if strange.any() else float("nan"),
    )


def moved_columns(model: discoformer.Model, seed: int) -> Iterator[Result]:
    """Yield how often the moved column has the greatest contribution, as power."""
    for dim in (2, 5, 10):
        rng = np.random.default_rng([seed, dim, 2])
        drawn = mixture(dim, ROWS + ASKED, rng)
        train, kept = np.split(drawn.rows, [ROWS])
        p = model.estimate(train)
        for unit, by in ((drawn.spread, "deviations"), (drawn.open, "conditional deviations")):
            asked = kept.copy()
            moved = move(asked, unit, rng)
            score, offset = p.score(asked), asked - train.mean(axis=0)
            sizes = {
                "contribution: s_j^2 / E s_j^2": np.abs(contributions_of(p, score)),
                "score times deviation": np.abs(score * drawn.spread),
                "score times offset from the mean": -score * offset,
                "offset over deviation": np.abs(offset / drawn.spread),
            }
            for way, size in sizes.items():
                right = float(np.mean(size.argmax(axis=1) == moved))
                yield Result("why", f"D = {dim}, by {by}", seed, way, float("nan"), right)


SETTINGS = {"new rows": new_rows, "against itself": against_itself, "clean": clean, "why": moved_columns}


def table(results: Sequence[Result], setting: str) -> str:
    """Return a Markdown table with a line per data set: false discovery rate / power, in per cent."""
    here = [r for r in results if r.setting == setting]
    ways = list(dict.fromkeys(r.way for r in here))
    rows = []
    for data in dict.fromkeys(r.data for r in here):
        rows.append([data, *(_entry([r for r in here if (r.data, r.way) == (data, way)]) for way in ways)])
    return markdown([setting, *ways], rows)


def _entry(results: Sequence[Result]) -> str:
    if not results:
        return "-"
    columns = [100 * np.array([getattr(r, name) for r in results]) for name in ("false", "power")]
    figures = [mean_and_error(column, ".1f") for column in columns if not np.isnan(column).any()]
    return " / ".join(figures) or "-"


def cost(model: discoformer.Model, seed: int) -> str:
    """Return a sentence on the time for a large sample."""
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
        f"{asked - read:.0f} s to test {n:,} rows, {time.process_time() - asked:.0f} s for a sample against "
        "itself."
    )


def report(model: discoformer.Model, results: Sequence[Result], said: str) -> str:
    """Return the report in Markdown."""
    about, seeds = model.metadata, 1 + max(r.seed for r in results)
    measured = [setting for setting in SETTINGS if any(r.setting == setting for r in results)]
    chosen = "" if len(measured) == len(SETTINGS) else "".join(f" --setting {name!r}" for name in measured)
    tables = "\n\n".join(table(results, setting) for setting in measured)
    return f"""\
Model `{about.name}` {about.version}. Figures are in per cent: mean of {seeds} seeds from 0 on ± its standard
error. Tables of new rows and of samples against themselves have the false discovery rate (controlled at
{FDR:.0%}) / the share of anomalies found. Without anomalies, the figure is the share of runs with any
discovery. The table "why" has how often the moved column gets the greatest contribution.

{tables}

{said}

`python -m benchmarks.analysis.anomaly_fdr --model {about.name} --seeds {seeds}{chosen} --out docs/anomalies`
"""


@click.command()
@model_option
@out_option
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True, help="Number of seeds.")
@click.option("--setting", "settings", multiple=True, type=click.Choice([*SETTINGS]), default=[*SETTINGS])
def main(name: str, out: Path | None, seeds: int, settings: Sequence[str]) -> None:
    """Measure a model, print the report, and write it with all results to --out."""
    model = load_model(name)
    results: list[Result] = []
    for seed in range(seeds):
        for setting in settings:
            results += SETTINGS[setting](model, seed)
        click.echo(f"seed {seed}", err=True)
        if out is not None:  # keep partial results
            _save(out, model, results, report(model, results, ""))
    text = report(model, results, cost(model, 0))
    click.echo(text)
    if out is not None:
        _save(out, model, results, text)


def _save(out: Path, model: discoformer.Model, results: Sequence[Result], text: str) -> None:
    write(out, f"{model.metadata.name}_fdr", model, 0, text, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
