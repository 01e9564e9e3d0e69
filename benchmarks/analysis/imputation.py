"""Imputation of missing entries, compared with other imputers.

Half of the rows of a toy set, or three quarters of a real set, are complete training rows. In the other rows
each entry is missing with probability 0.3, at least one entry per row and never all. Columns are standardised
by the training rows. Two figures, lower is better:

    RMSE = sqrt(mean over missing entries of (mean - truth)^2)
    energy score = mean over rows of  E|Y - y| - E|Y - Y'| / 2      Y, Y' from 20 draws, y the truth

The expected energy score is least if the draws have the true distribution, dependence included. Imputers
without draws get some: from the neighbours of a row for KNN (hot deck), from the column for the mean. The
standard error is over seeds: of the split, the noise of ``data_sets``, the missing entries and the draws.

    python -m benchmarks.analysis.imputation --model models/base --out docs/imputation
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.metrics.pairwise import nan_euclidean_distances

import discoformer
from benchmarks.common.data_sets import Floats, load, principal
from benchmarks.common.report import load_model, markdown, mean_and_error, model_option, out_option, write
from benchmarks.common.toys import TOYS, toy
from discoformer.base.conditional_mixtures import draw_given, given_mixture, mean_given, split

DRAWS = 20
MISSING = 0.3
NEIGHBOURS = 5
TOY_ROWS = 1000
REAL = {  # number of principal components
    "iris": None,
    "wine": None,
    "diabetes": None,
    "breast_cancer": 10,
    "digits": 10,
}
PLANE = ("moons", "circles", "banana", "blobs")
TASKS = (*PLANE, *REAL)

Imputer = Callable[[Floats, Floats, int], tuple[Floats, Floats]]
"""A function from complete rows, incomplete rows (M, D) and a seed to mean (M, D) and draws (DRAWS, M, D)."""


@dataclass(frozen=True)
class Result:
    """One imputer on one split."""

    task: str
    dim: int  # D
    train: int  # training rows
    seed: int
    imputer: str
    rmse: float
    energy: float
    seconds: float  # of CPU time, for mean and draws


def ours(model: discoformer.Model) -> Imputer:
    """Return an imputer by the conditional mean and draws of the model."""

    def impute(train: Floats, rows: Floats, seed: int) -> tuple[Floats, Floats]:
        p = model.estimate(train)
        return p.impute(rows, seed=seed), p.impute(rows, draws=DRAWS, seed=seed)

    return impute


def components_alone(model: discoformer.Model) -> Imputer:
    """Return an imputer by the components of the mixture, in closed form."""

    def impute(train: Floats, rows: Floats, seed: int) -> tuple[Floats, Floats]:
        p, rng = model.estimate(train), np.random.default_rng(seed)
        mean, draws = rows.copy(), np.repeat(rows[None], DRAWS, axis=0)
        for i, row in enumerate(rows):
            free, given = np.flatnonzero(np.isnan(row)), np.flatnonzero(~np.isnan(row))
            at = given_mixture(split(p.components, p.frame, list(free), list(given)), row[None, given])
            mean[i, free], draws[:, i, free] = mean_given(at)[0], draw_given(at, DRAWS, rng)[0]
        return mean, draws

    return impute


def gaussian(train: Floats, rows: Floats, seed: int) -> tuple[Floats, Floats]:
    """Impute by one Gaussian with the mean and the covariance of the training rows."""
    rng, center, cov = np.random.default_rng(seed), train.mean(axis=0), np.cov(train.T)
    mean, draws = rows.copy(), np.repeat(rows[None], DRAWS, axis=0)
    for i, row in enumerate(rows):
        u, g = np.flatnonzero(np.isnan(row)), np.flatnonzero(~np.isnan(row))
        slope = np.linalg.solve(cov[np.ix_(g, g)], cov[np.ix_(g, u)]).T
        mean[i, u] = center[u] + slope @ (row[g] - center[g])
        left = cov[np.ix_(u, u)] - slope @ cov[np.ix_(g, u)]
        draws[:, i, u] = rng.multivariate_normal(mean[i, u], left, DRAWS)
    return mean, draws


def iterative(train: Floats, rows: Floats, seed: int) -> tuple[Floats, Floats]:
    """Impute by IterativeImputer of scikit-learn, a chain of Bayesian ridge regressions."""
    mean = IterativeImputer(random_state=seed).fit(train).transform(rows)
    chain = IterativeImputer(random_state=seed, sample_posterior=True).fit(train)
    return mean, np.stack([chain.transform(rows) for _ in range(DRAWS)])


def neighbours(train: Floats, rows: Floats, seed: int) -> tuple[Floats, Floats]:
    """Impute by KNNImputer of scikit-learn; draws are entries of one of the same neighbours."""
    rng = np.random.default_rng(seed)
    donors = nan_euclidean_distances(rows, train).argsort(axis=1)[:, :NEIGHBOURS]
    picked = train[donors[np.arange(len(rows)), rng.integers(NEIGHBOURS, size=(DRAWS, len(rows)))]]
    return KNNImputer(n_neighbors=NEIGHBOURS).fit(train).transform(rows), np.where(
        np.isnan(rows), picked, rows
    )


def column_mean(train: Floats, rows: Floats, seed: int) -> tuple[Floats, Floats]:
    """Impute by the mean of the column; draws are independent values of the column."""
    rng, missing = np.random.default_rng(seed), np.isnan(rows)
    picked = train[rng.integers(len(train), size=(DRAWS, *rows.shape)), np.arange(rows.shape[1])]
    return np.where(missing, train.mean(axis=0), rows), np.where(missing, picked, rows)


def imputers(model: discoformer.Model) -> dict[str, Imputer]:
    """Return all imputers by name, the model first."""
    return {
        "DiScoFormer": ours(model),
        "its components alone": components_alone(model),
        "one Gaussian": gaussian,
        "IterativeImputer": iterative,
        "KNNImputer": neighbours,
        "column mean": column_mean,
    }


def task_rows(task: str, seed: int) -> tuple[Floats, Floats]:
    """Return training rows and other rows, standardised."""
    if task in TOYS:
        points, share = toy(task, TOY_ROWS, seed).points, 0.5
    else:
        points, share = principal(task, load(task, seed).points, REAL[task]), 0.75
    order = np.random.default_rng([seed, 1]).permutation(len(points))
    train, test = np.split(points[order], [round(share * len(points))])
    center, spread = train.mean(axis=0), train.std(axis=0)
    return (train - center) / spread, (test - center) / spread


def with_holes(rows: Floats, seed: int) -> Floats:
    """Delete entries at random: at least one per row, but not all."""
    rng = np.random.default_rng([seed, 2])
    missing = rng.random(rows.shape) < MISSING
    missing[np.arange(len(rows)), rng.integers(rows.shape[1], size=len(rows))] = True
    full = np.flatnonzero(missing.all(axis=1))
    missing[full, rng.integers(rows.shape[1], size=len(full))] = False
    return np.where(missing, np.nan, rows)


def energy_score(draws: Floats, truth: Floats) -> float:
    """Return the mean energy score of draws (S, M, D) for rows (M, D)."""
    scores = [
        np.linalg.norm(found - true, axis=1).mean() - cdist(found, found).sum() / (2 * DRAWS * (DRAWS - 1))
        for found, true in zip(draws.transpose(1, 0, 2), truth, strict=True)
    ]
    return float(np.mean(scores))


def measure(functions: dict[str, Imputer], tasks: Sequence[str], seeds: int) -> Iterator[Result]:
    """Yield results, task by task."""
    for task in tasks:
        for seed in range(seeds):
            train, test = task_rows(task, seed)
            rows = with_holes(test, seed)
            missing = np.isnan(rows)
            for name, impute in functions.items():
                start = time.process_time()
                mean, draws = impute(train, rows, seed)
                seconds = time.process_time() - start
                rmse = float(np.sqrt(np.mean((mean - test)[missing] ** 2)))
                energy = energy_score(draws, test)
                yield Result(task, train.shape[1], len(train), seed, name, rmse, energy, seconds)


def table(results: Sequence[Result], figure: str) -> str:
    """Return a Markdown table with a line per task: mean ± standard error over seeds; the best is in bold."""
    names = list(dict.fromkeys(r.imputer for r in results))
    rows = []
    for task in dict.fromkeys(r.task for r in results):
        here = [r for r in results if r.task == task]
        values = np.array([[getattr(r, figure) for r in here if r.imputer == name] for name in names])
        cells, best = [mean_and_error(row) for row in values], values.mean(axis=1).argmin()
        cells[best] = f"**{cells[best]}**"
        rows.append([f"{task}, {here[0].dim}, {here[0].train}", *cells])
    seconds = [np.median([r.seconds for r in results if r.imputer == name]) for name in names]
    rows.append(["CPU seconds, median", *(f"{value:.2g}" for value in seconds)])
    return markdown(["task, D, N", *names], rows)


def report(model: discoformer.Model, results: Sequence[Result]) -> str:
    """Return the report in Markdown."""
    about, seeds = model.metadata, 1 + max(r.seed for r in results)
    return f"""\
# Missing entries

The model `{about.name}` {about.version} and other imputers. They read N complete rows of D columns, and
impute other rows, whose entries are missing with probability {MISSING}. Mean of {seeds} seeds (0 to
{seeds - 1}) ± its standard error, in standard deviations of the columns. Lower is better, the best is bold.

`python -m benchmarks.analysis.imputation --model models/{about.name} --seeds {seeds} --out docs/imputation`

Root mean squared error of a single best guess:

{table(results, "rmse")}

Energy score of {DRAWS} draws, which also measures spread and dependence:

{table(results, "energy")}
"""


@click.command()
@model_option
@out_option
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), default=TASKS)
@click.option("--seeds", type=click.IntRange(2), default=5, show_default=True)
def main(name: str, out: Path | None, tasks: Sequence[str], seeds: int) -> None:
    """Compare a model with other imputers, print the report, and write it with all results to --out."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    model = load_model(name)
    functions, results = imputers(model), []
    for result in measure(functions, tasks, seeds):
        results.append(result)
        click.echo(f"{result}", err=True)
    text = report(model, results)
    click.echo(text)
    if out is not None:
        write(out, model.metadata.name, model, 0, text, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
