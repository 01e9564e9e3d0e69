"""Particle flows compared with exact solutions, by the score of the model, of KDE and of the blob method.

All methods have the same particles and time steps. Columns, at the end of the flow:

    score       squared error of the score of the particles, relative to that of 0; the truth is the score of
                the exact solution at the same places
    covariance  relative error (Frobenius); the truth follows from the first covariance of the particles
    entropy     error of -mean log f, nats
    energy      relative change of mean |x|^2, for equations that conserve it

KDE and blob (Carrillo, Craig, Patacchini 2019) have a kernel that is round in whitened coordinates, with
Scott's bandwidth. The velocity of the blob method is the gradient of a regularised entropy.

    python -m benchmarks.analysis.particles --out docs/particles
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.special import logsumexp

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
from discoformer.particles import Density, Velocity, flow, heat, landau, ornstein_uhlenbeck, own_density
from discoformer_training.evaluation.baselines import scott_bandwidth, whitened_axes

PARTICLES, STEPS, EXACT = 400, 8, 200_000
OURS = "model"


@dataclass(frozen=True)
class Problem:
    """An equation and its exact solution."""

    velocity: Velocity
    duration: float
    draw: Callable[[float, int, np.random.Generator], Floats]  # from time and number of points
    density: Callable[[float, Floats], tuple[Floats, Floats]]  # from time and points to log-density and score
    covariance: Callable[[Floats], Floats]  # from the covariance at the start to that at the end
    conserves_energy: bool = False


def gaussians(
    velocity: Velocity, duration: float, means: Floats, scale: Callable[[float], float], noise: float
) -> Problem:
    """Return a problem that starts from a mixture of Gaussians with unit covariances.

    A point has the law of ``a x + g sqrt(noise (1 - a^2))`` at a later time, with g standard normal.
    ``scale`` gives ``a`` at a time. For heat it is 1, and the added variance is ``noise t``.
    """
    dim = means.shape[1]

    def moments(t: float) -> tuple[Floats, float]:
        a = scale(t)
        return a * means, a**2 + (noise * (1 - a**2) if a < 1 else noise * t)

    def draw(t: float, n: int, rng: np.random.Generator) -> Floats:
        centers, variance = moments(t)
        return centers[rng.integers(len(centers), size=n)] + np.sqrt(variance) * rng.normal(size=(n, dim))

    def density(t: float, x: Floats) -> tuple[Floats, Floats]:
        centers, variance = moments(t)
        offsets = (centers - x[:, None]) / variance
        logs = -variance * np.square(offsets).sum(axis=2) / 2
        total = logsumexp(logs, axis=1)
        shares = np.exp(logs - total[:, None])
        constant = -dim / 2 * np.log(2 * np.pi * variance) - np.log(len(means))
        return total + constant, np.einsum("nk,nkd->nd", shares, offsets)

    a, added = scale(duration), moments(duration)[1] - scale(duration) ** 2
    return Problem(velocity, duration, draw, density, lambda C: a**2 * C + added * np.eye(dim))


def bkw(dim: int, begin: float, duration: float) -> Problem:
    """Return the solution of Bobylev, Krook and Wu: ``(a + b |v|^2) N(v; 0, K I)``."""
    strength = 1 / (8 * dim)

    def at(t: float) -> tuple[float, float, float]:
        K = 1 - np.exp(-2 * (dim - 1) * strength * (begin + t)) / (2 if dim == 2 else 1)
        return K, ((dim + 2) * K - dim) / (2 * K), (1 - K) / (2 * K**2)

    def draw(t: float, n: int, rng: np.random.Generator) -> Floats:
        K, a, _ = at(t)
        square = K * rng.chisquare(np.where(rng.uniform(size=n) < a, dim, dim + 2))
        v = rng.normal(size=(n, dim))
        return v * np.sqrt(square / np.square(v).sum(axis=1))[:, None]

    def density(t: float, v: Floats) -> tuple[Floats, Floats]:
        K, a, b = at(t)
        square = np.square(v).sum(axis=1)
        log_density = np.log(a + b * square) - square / (2 * K) - dim / 2 * np.log(2 * np.pi * K)
        return log_density, v * (2 * b / (a + b * square) - 1 / K)[:, None]

    decay = np.exp(-4 * dim * strength * duration)

    def covariance(C: Floats) -> Floats:
        rest = np.trace(C) / dim * np.eye(dim)
        return rest + decay * (C - rest)

    return Problem(landau(strength), duration, draw, density, covariance, conserves_energy=True)


MODES = np.array([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
PROBLEMS = {
    "heat, 3 modes, D = 2": gaussians(heat(), 1.0, MODES, lambda t: 1.0, 2.0),
    "Ornstein-Uhlenbeck, 2 modes, D = 5": gaussians(
        ornstein_uhlenbeck(1.0, 0.5), 0.7, np.array([[-1.5] * 5, [1.5] * 5]), lambda t: float(np.exp(-t)), 0.5
    ),
    "Landau, BKW, D = 2": bkw(2, 0.0, 5.0),
    "Landau, BKW, D = 3": bkw(3, 5.5, 3.0),
}


def kernel(blob: bool) -> Density:
    """Return the KDE of particles at the particles, with its score or that of the blob method."""

    def density(points: Floats) -> tuple[Floats, Floats]:
        axes, h = whitened_axes(points), scott_bandwidth(points)
        z = points @ axes
        squares = np.square(z[:, None] - z).sum(axis=2)
        weights = np.exp(-squares / (2 * h**2))
        sums = weights.sum(axis=1)
        ratios = weights / sums[:, None] + (weights / sums if blob else 0)
        score = (ratios @ z - ratios.sum(axis=1, keepdims=True) * z) / h**2
        constant = np.linalg.slogdet(axes)[1] - len(z.T) / 2 * np.log(2 * np.pi * h**2) - np.log(len(z))
        return np.log(sums) + constant, score @ axes.T

    return density


def measure(
    model: discoformer.Model, name: str, index: int, seed: int, progress: bool
) -> list[dict[str, Any]]:
    """Measure all methods from one draw of particles."""
    problem, rng = PROBLEMS[name], np.random.default_rng([seed, list(PROBLEMS).index(name), index])
    X = problem.draw(0.0, PARTICLES, rng)
    exact = problem.draw(problem.duration, EXACT, np.random.default_rng(seed))
    entropy = -problem.density(problem.duration, exact)[0].mean()
    expected, results = problem.covariance(np.cov(X.T, ddof=0)), []
    methods = {OURS: own_density(model), "KDE": kernel(False), "blob": kernel(True)}
    for method, density in methods.items():
        start = time.process_time()
        end = flow(X, problem.velocity, problem.duration, STEPS, density, progress=progress)
        seconds = time.process_time() - start
        score = problem.density(problem.duration, end.points)[1]
        kept = np.square(end.points).sum() / np.square(X).sum() - 1
        results.append(
            {
                "problem": name,
                "draw": index,
                "method": method,
                "score": float(np.square(end.score - score).sum() / np.square(score).sum()),
                "covariance": float(
                    np.linalg.norm(np.cov(end.points.T, ddof=0) - expected) / np.linalg.norm(expected)
                ),
                "entropy": abs(end.entropy - entropy),
                "energy": abs(kept) if problem.conserves_energy else None,
                "seconds": seconds,
            }
        )
    return results


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table with a line per problem and method."""
    rows = []
    for problem, method in dict.fromkeys((r["problem"], r["method"]) for r in results):
        here = [r for r in results if (r["problem"], r["method"]) == (problem, method)]
        cells = [_mean([r[key] for r in here], unit) for key, unit in zip(KEYS, UNITS, strict=True)]
        seconds = np.median([r["seconds"] for r in here])
        rows.append([problem, method, *cells, f"{seconds:.1f}"])
    header = ["problem", "method", "score, %", "covariance, %", "entropy, nats", "energy, %", "CPU s"]
    return markdown(header, rows)


KEYS, UNITS = ("score", "covariance", "entropy", "energy"), (100, 100, 1, 100)


def _mean(found: Sequence[float | None], unit: float) -> str:
    values = [unit * value for value in found if value is not None]
    return mean_and_error(values, ".3g", ".1g") if values else ""


def report(model: discoformer.Model, results: Sequence[dict[str, Any]], seed: int) -> str:
    """Return the report in Markdown."""
    about, draws = model.metadata, 1 + max(r["draw"] for r in results)
    return f"""\
{PARTICLES} particles, {STEPS} midpoint steps, the model `{about.name}` {about.version} compared with KDE and
the blob method: mean of {draws} draws ± its standard error, seed {seed}, and median CPU time of the whole
flow. The docstring of the module explains the columns.

`python -m benchmarks.analysis.particles --model {about.name} --out docs/particles`

{table(results)}
"""


@click.command()
@model_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--problem", "problems", multiple=True, type=click.Choice(list(PROBLEMS)), default=tuple(PROBLEMS)
)
@click.option("--draws", type=click.IntRange(2), default=6, show_default=True)
@seed_option
def main(name: str, out: Path, problems: Sequence[str], draws: int, seed: int) -> None:
    """Measure a model, and write OUT/particles.md and .json. Results of other problems are kept."""
    model = load_model(name)
    file = out / "particles.json"
    results = [r for r in (read(file) if file.exists() else []) if r["problem"] not in problems]
    for problem in problems:
        for index in range(draws):
            results += measure(model, problem, index, seed, progress=True)
            click.echo(f"{problem}, draw {index}", err=True)
            write(out, "particles", model, seed, report(model, results, seed), results)
    click.echo(report(model, results, seed))


if __name__ == "__main__":
    main()
