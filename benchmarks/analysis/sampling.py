"""Quality of samples by exact, langevin, diffusion and ode, compared with KDE and GMM samples.

Each draw of a family gives 512 context points and 2,000 true points. Each method draws 500 points, which are
compared with the true points in coordinates divided by the standard deviation of the truth:

    energy      2 E|x - y| - E|x - x'| - E|y - y'|, unbiased: 0 on average for fresh true points
    sliced      W2 distance along 100 random directions, root mean square
    nearest     median distance to the nearest context point, relative to that of true points; below 1, the
                method repeats the context

"exact" draws from an estimate of effort "fast", the other three from one of effort "best". "context again"
draws from the context with replacement. A run with some families keeps the stored results of the others.

    python -m benchmarks.analysis.sampling --out docs/sampling
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.spatial.distance import cdist
from sklearn.mixture import GaussianMixture

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.estimators import FACTORS, leave_one_out
from benchmarks.common.report import (
    load_model,
    markdown,
    mean_and_error,
    model_option,
    read,
    seed_option,
    write,
)
from discoformer.analysis.sampling import METHODS
from discoformer_training.evaluation.baselines import scott_bandwidth, whitened_axes

Truth = Callable[[int], Floats]  # draws n points

CONTEXT, DRAWN, COMPARED, DIRECTIONS = 512, 500, 2000, 100
FRESH, AGAIN = "fresh truth", "context again"
KDE, GMM = "KDE, likelihood", "GMM, BIC"
FORMS = {"energy": ".1f", "sliced": ".3f", "nearest": ".2f"}
ORDER = (*METHODS, KDE, GMM, AGAIN, FRESH)


def mixture(dim: int, rng: np.random.Generator) -> Truth:
    """Return a sampler of a mixture of 1 to 10 Gaussians, as in training, with a random rotation."""
    k = rng.integers(1, 11)
    means, widths = rng.uniform(-3, 3, (k, dim)), np.sqrt(rng.uniform(0.2, 1, (k, dim)))
    shares, turn = rng.uniform(0.2, 1, k), np.linalg.qr(rng.normal(size=(dim, dim)))[0]

    def draw(n: int) -> Floats:
        which = rng.choice(k, size=n, p=shares / shares.sum())
        return (means[which] + widths[which] * rng.normal(size=(n, dim))) @ turn

    return draw


def spiral(rng: np.random.Generator) -> Truth:
    """Return a sampler of a noisy spiral of one and a half turns in the plane."""

    def draw(n: int) -> Floats:
        angle = 1.5 * np.pi * (1 + 2 * rng.uniform(size=n)) / 1.5
        curve = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return curve + 0.5 * rng.normal(size=(n, 2))

    return draw


def skewed(dim: int, rng: np.random.Generator) -> Truth:
    """Return a sampler of random linear combinations of gamma variables of shape 2."""
    mix = np.eye(dim) + rng.normal(size=(dim, dim)) / 2
    return lambda n: rng.gamma(2.0, size=(n, dim)) @ mix


FAMILIES: dict[str, Callable[[np.random.Generator], Truth]] = {
    "mixture, D = 2": lambda rng: mixture(2, rng),
    "mixture, D = 10": lambda rng: mixture(10, rng),
    "spiral, D = 2": spiral,
    "skewed, D = 5": lambda rng: skewed(5, rng),
}


def kde(context: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Sample a whitened Gaussian KDE, with the bandwidth of greatest leave-one-out likelihood."""
    axes, grid = whitened_axes(context), scott_bandwidth(context) * FACTORS
    bandwidth = grid[leave_one_out(context @ axes, grid).argmax()]
    noise = bandwidth * rng.normal(size=(n, context.shape[1])) @ np.linalg.inv(axes)
    return context[rng.integers(len(context), size=n)] + noise


def gmm(context: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Sample a Gaussian mixture by EM; BIC selects 1 to 12 components."""
    seed = int(rng.integers(2**31))
    fits = [GaussianMixture(k, random_state=seed).fit(context) for k in range(1, 13)]
    return min(fits, key=lambda fit: fit.bic(context)).sample(n)[0]


def drawn_by(name: str, model: discoformer.Model, context: Floats, truth: Truth, seed: int) -> Floats:
    """Draw 500 points by the named method."""
    rng = np.random.default_rng(seed)
    if name in METHODS:
        p = model.estimate(context, effort="fast" if name == "exact" else "best")
        return p.sample(DRAWN, name, seed)  # type: ignore[arg-type]
    if name == AGAIN:
        return context[rng.integers(len(context), size=DRAWN)]
    return truth(DRAWN) if name == FRESH else (kde if name == KDE else gmm)(context, DRAWN, rng)


def energy(x: Floats, y: Floats) -> float:
    """Return the unbiased energy distance."""
    within = [cdist(a, a).sum() / (len(a) * (len(a) - 1)) for a in (x, y)]
    return float(2 * cdist(x, y).mean() - sum(within))


def sliced(x: Floats, y: Floats, rng: np.random.Generator) -> float:
    """Return the sliced Wasserstein distance of order 2, by quantiles."""
    directions = rng.normal(size=(x.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    levels = (np.arange(len(x)) + 0.5) / len(x)
    a, b = (np.quantile(points @ directions, levels, axis=0) for points in (x, y))
    return float(np.sqrt(np.square(a - b).mean()))


def measure(model: discoformer.Model, family: str, index: int, seed: int) -> list[dict[str, Any]]:
    """Measure all methods on one draw of a family."""
    rng = np.random.default_rng([seed, list(FAMILIES).index(family), index])
    truth = FAMILIES[family](rng)
    context, compared = truth(CONTEXT), truth(COMPARED)
    scale, results = compared.std(axis=0), []
    usual = np.median(cdist(compared, context).min(axis=1))
    for name in ORDER:
        start = time.process_time()
        points = drawn_by(name, model, context, truth, index)
        seconds = time.process_time() - start
        results.append(
            {
                "family": family,
                "draw": index,
                "method": name,
                "energy": energy(points / scale, compared / scale),
                "sliced": sliced(points / scale, compared / scale, np.random.default_rng(index)),
                "nearest": float(np.median(cdist(points, context).min(axis=1)) / usual),
                "seconds": seconds,
            }
        )
    return results


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table with a line per family and method."""
    rows = []
    for family in FAMILIES:
        for name in ORDER:
            here = [r for r in results if (r["family"], r["method"]) == (family, name)]
            if here:
                columns = {key: np.array([r[key] for r in here]) for key in (*FORMS, "seconds")}
                columns["energy"] *= 1e3
                cells = [mean_and_error(columns[key], form) for key, form in FORMS.items()]
                seconds = f"{np.median(columns['seconds']):.1f}"
                rows.append([family, str(len(here)), name, *cells, seconds])
    return markdown(["family", "draws", "method", "energy, 1e-3", "sliced", "nearest", "CPU s"], rows)


def report(model: discoformer.Model, results: Sequence[dict[str, Any]], seed: int) -> str:
    """Return the report in Markdown."""
    about = model.metadata
    return f"""\
500 points drawn by the model `{about.name}` {about.version} and other methods from 512 context points: mean
over draws ± its standard error, seed {seed}, and median CPU time, encoding included. The docstring of the
module explains the columns; `--draws` is in the table.

`python -m benchmarks.analysis.sampling --model {about.name} --out docs/sampling`

{table(results)}
"""


@click.command()
@model_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--family", "families", multiple=True, type=click.Choice(list(FAMILIES)), default=tuple(FAMILIES)
)
@click.option("--draws", type=click.IntRange(2), default=8, show_default=True)
@seed_option
def main(name: str, out: Path, families: Sequence[str], draws: int, seed: int) -> None:
    """Measure a model, and write OUT/sampling.md and .json."""
    model = load_model(name)
    file = out / "sampling.json"
    results = [r for r in (read(file) if file.exists() else []) if r["family"] not in families]
    for family in families:
        for index in range(draws):
            results += measure(model, family, index, seed)
            click.echo(f"{family}, draw {index}", err=True)
            write(out, "sampling", model, seed, report(model, results, seed), results)
    click.echo(report(model, results, seed))


if __name__ == "__main__":
    main()
