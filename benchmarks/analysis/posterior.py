"""Bayesian sampling by particles with an estimate of their own density, compared with SVGD and MALA.

All methods start from the same draws, of the prior or of a wide Gaussian. The reference is the moments of
400,000 exact draws, or of 1,000 long chains of MALA in the axes of the Laplace approximation for the logistic
regression. Columns:

    gradients   number of evaluations of grad log pi at all particles
    mean        error of the mean, root mean square over directions, in posterior standard deviations
    spread      error of the covariance (Frobenius norm in whitened coordinates, over sqrt(D))
    mismatch    relative Fisher information at the end, per dimension

The last line of a problem has the errors of the same number of independent draws. Deterministic particles may
have smaller errors. SVGD (Liu, Wang 2016) has a Gaussian kernel by the median rule, and AdaGrad with the best
of three rates by the error of the spread, which uses the truth. MALA runs one chain per particle. Each chain
has its own step size, adapted in the first half of the run.

    python -m benchmarks.analysis.posterior --out docs/posterior
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.report import (
    load_model,
    markdown,
    mean_and_error,
    model_option,
    read,
    seed_option,
    write,
)
from discoformer.analysis.sampling import ACCEPTED, langevin
from discoformer.particles import own_density
from discoformer.posterior import sample_posterior

RATES = (0.03, 0.1, 0.3)  # of AdaGrad
OURS, SVGD, MALA, DRAWS = "model", "SVGD", "MALA", "independent draws"


class Problem(NamedTuple):
    """A posterior, a start of the particles, and reference draws."""

    target: Callable[[Floats], tuple[Floats, Floats]]  # unnormalised log-density and its gradient
    begin: Callable[[int, np.random.Generator], Floats]
    reference: Callable[[int, np.random.Generator], Floats]
    particles: int
    long: int = 400_000  # number of reference draws


def correlated(dim: int = 10, condition: float = 100.0) -> Problem:
    """Return a rotated Gaussian with variances from 1 to `condition`, away from the start."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0]
    widths, center = np.sqrt(np.geomspace(1, condition, dim)), np.full(dim, 2.0)

    def target(x: Floats) -> tuple[Floats, Floats]:
        white = (x - center) @ turn / widths
        return -np.square(white).sum(axis=1) / 2, -(white / widths) @ turn.T

    def draw(n: int, rng: np.random.Generator) -> Floats:
        return center + (rng.normal(size=(n, dim)) * widths) @ turn.T

    return Problem(target, lambda n, rng: 3 * rng.normal(size=(n, dim)), draw, 200)


def banana() -> Problem:
    """Return a banana: ``x1`` is normal of variance 2, and ``x2 - x1^2 / 2`` of standard deviation 0.5."""

    def target(x: Floats) -> tuple[Floats, Floats]:
        rest = x[:, 1] - x[:, 0] ** 2 / 2
        log_density = -(x[:, 0] ** 2) / 4 - 2 * rest**2
        return log_density, np.stack([4 * rest * x[:, 0] - x[:, 0] / 2, -4 * rest], axis=1)

    def draw(n: int, rng: np.random.Generator) -> Floats:
        x = rng.normal(size=(n, 2)) * [np.sqrt(2), 0.5]
        return np.stack([x[:, 0], x[:, 0] ** 2 / 2 + x[:, 1]], axis=1)

    return Problem(target, lambda n, rng: 2 * rng.normal(size=(n, 2)), draw, 300)


def logistic() -> Problem:
    """Return a logistic regression on standardised breast_cancer, with a standard normal prior."""
    data = load_breast_cancer()
    X = np.c_[StandardScaler().fit_transform(data.data), np.ones(len(data.data))]
    signed = X * (2 * data.target - 1)[:, None]

    def target(x: Floats) -> tuple[Floats, Floats]:
        margins = x @ signed.T
        log_density = -np.logaddexp(0, -margins).sum(axis=1) - np.square(x).sum(axis=1) / 2
        return log_density, expit(-margins) @ signed - x

    return Problem(
        target, lambda n, rng: rng.normal(size=(n, X.shape[1])), partial(_long_run, target, signed), 200, 1000
    )


def _long_run(target: Any, signed: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Return the ends of n long chains that start at the Laplace approximation."""
    mode = np.zeros(signed.shape[1])
    for _ in range(50):
        weight = expit(-(mode @ signed.T))
        precision = (signed.T * (weight * (1 - weight))) @ signed + np.eye(len(mode))
        mode += np.linalg.solve(precision, weight @ signed - mode)
    factor = np.linalg.cholesky(np.linalg.inv(precision))
    start = mode + rng.normal(size=(n, len(mode))) @ factor.T
    return _white_run(target, start, 100, rng, factor)


def _white_run(target: Any, start: Floats, steps: int, rng: np.random.Generator, factor: Floats) -> Floats:
    """Run Langevin chains with one step size in the coordinates y, ``x = y factor^T``."""

    def white(y: Floats) -> tuple[Floats, Floats]:
        log_density, score = target(y @ factor.T)
        return log_density, score @ factor

    return langevin(white, np.linalg.solve(factor, start.T).T, steps, rng).points @ factor.T


def mala(target: Any, x: Floats, steps: int, rng: np.random.Generator) -> Floats:
    """Run Langevin chains with Metropolis correction and their own step sizes."""
    h, (log_density, score) = np.full((len(x), 1), 0.1), target(x)
    for done in range(steps):
        noise = rng.normal(size=x.shape)
        y = x + h / 2 * score + np.sqrt(h) * noise
        new_log_density, new_score = target(y)
        back = (x - y - h / 2 * new_score) / np.sqrt(h)
        log_ratio = new_log_density - log_density + (noise**2 - back**2).sum(axis=1) / 2
        accepted = (np.log(rng.uniform(size=len(x))) < log_ratio)[:, None]
        x, score = np.where(accepted, y, x), np.where(accepted, new_score, score)
        log_density = np.where(accepted[:, 0], new_log_density, log_density)
        if done < steps // 2:
            h *= np.exp(np.exp(np.minimum(log_ratio, 0))[:, None] - ACCEPTED)
    return x


def svgd(target: Any, start: Floats, steps: int, rate: float) -> Floats:
    """Run Stein variational gradient descent."""
    x, history = start.copy(), np.zeros_like(start)
    for _ in range(steps):
        squares = squareform(pdist(x, "sqeuclidean"))
        bandwidth = np.median(squares) / np.log(len(x) + 1)
        kernel = np.exp(-squares / bandwidth)
        repulsion = 2 / bandwidth * (kernel.sum(axis=1, keepdims=True) * x - kernel @ x)
        step = (kernel @ target(x)[1] + repulsion) / len(x)
        history = np.where(history == 0, step**2, 0.9 * history + 0.1 * step**2)
        x += rate * step / (1e-6 + np.sqrt(history))
    return x


PROBLEMS = {"Gaussian, D = 10": correlated, "banana, D = 2": banana, "logistic regression, D = 31": logistic}


def errors(points: Floats, mean: Floats, covariance: Floats) -> dict[str, float]:
    """Return the errors of the moments."""
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, (points - mean).T).T
    spread = np.cov(white.T, ddof=0) - np.eye(len(mean))
    return {
        "mean": float(np.sqrt(np.square(white.mean(axis=0)).mean())),
        "spread": float(np.linalg.norm(spread) / np.sqrt(len(mean))),
    }


def measure(
    model: discoformer.Model, name: str, moments: tuple[Floats, Floats], index: int, seed: int, steps: int
) -> list[dict[str, Any]]:
    """Measure all methods from one draw of the start."""
    problem, rng = PROBLEMS[name](), np.random.default_rng([seed, index])
    start = problem.begin(problem.particles, rng)
    results: list[dict[str, Any]] = []

    def record(method: str, gradients: int, points: Floats, since: float, **more: float) -> None:
        found = {"problem": name, "draw": index, "method": method, "gradients": gradients, "mismatch": None}
        found |= errors(points, *moments) | {"seconds": time.process_time() - since}
        results.append(found | more)

    since = time.process_time()
    ours = sample_posterior(lambda x: problem.target(x)[1], start, steps, density=own_density(model))
    record(OURS, ours.gradients, ours.points, since, mismatch=ours.mismatch)
    for effort in (steps, 10 * steps):
        since = time.process_time()
        runs = [svgd(problem.target, start, effort, rate) for rate in RATES]
        seconds = (time.process_time() - since) / len(RATES)
        best = min(runs, key=lambda points: errors(points, *moments)["spread"])
        record(SVGD, effort, best, since, seconds=seconds)
        since = time.process_time()
        rng = np.random.default_rng([seed, index, effort])
        record(MALA, effort + 1, mala(problem.target, start, effort, rng), since)
    since = time.process_time()
    rng = np.random.default_rng([seed, index, 0])
    record(DRAWS, 0, problem.reference(problem.particles, rng), since)
    return results


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table with a line per problem, method and number of steps."""
    rows = []
    keys = dict.fromkeys((r["problem"], r["method"], _effort(r)) for r in results)
    for problem, method, effort in keys:
        here = [r for r in results if (r["problem"], r["method"], _effort(r)) == (problem, method, effort)]
        cells = [_mean([r[key] for r in here]) for key in ("mean", "spread", "mismatch")]
        gradients, seconds = (np.median([r[key] for r in here]) for key in ("gradients", "seconds"))
        rows.append([problem, str(len(here)), method, f"{gradients:.0f}", *cells, f"{seconds:.1f}"])
    header = ["problem", "draws", "method", "gradients", "mean", "spread", "mismatch", "CPU s"]
    return markdown(header, rows)


def _effort(result: dict[str, Any]) -> int:
    return 0 if result["method"] == OURS else int(result["gradients"])


def _mean(found: Sequence[float | None]) -> str:
    values = [value for value in found if value is not None]
    return mean_and_error(values) if values else ""


def report(model: discoformer.Model, results: Sequence[dict[str, Any]], seed: int) -> str:
    """Return the report in Markdown."""
    about = model.metadata
    return f"""\
Particles by the model `{about.name}` {about.version}, compared with SVGD and MALA with the same number of
particles: mean over draws of the start ± its standard error, seed {seed}, and median CPU time. The docstring
of the module explains the columns; `--draws` is in the table.

`python -m benchmarks.analysis.posterior --model {about.name} --out docs/posterior`

{table(results)}

SVGD and MALA need no encoding, so they are much cheaper where gradients are cheap.
"""


@click.command()
@model_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--problem", "problems", multiple=True, type=click.Choice(list(PROBLEMS)), default=tuple(PROBLEMS)
)
@click.option("--draws", type=click.IntRange(2), default=5, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=50, show_default=True)
@seed_option
def main(name: str, out: Path, problems: Sequence[str], draws: int, steps: int, seed: int) -> None:
    """Measure a model, and write OUT/posterior.md and .json. Results of other problems are kept."""
    model = load_model(name)
    file = out / "posterior.json"
    results = [r for r in (read(file) if file.exists() else []) if r["problem"] not in problems]
    for problem in problems:
        made = PROBLEMS[problem]()
        long = made.reference(made.long, np.random.default_rng(seed))
        moments = long.mean(axis=0), np.cov(long.T)
        for index in range(draws):
            results += measure(model, problem, moments, index, seed, steps)
            click.echo(f"{problem}, draw {index}", err=True)
            write(out, "posterior", model, seed, report(model, results, seed), results)
    click.echo(report(model, results, seed))


if __name__ == "__main__":
    main()
