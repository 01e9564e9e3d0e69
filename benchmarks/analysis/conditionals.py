"""Conditional log-densities of Gaussian mixtures, compared with other estimators where the truth is known.

F of D features are free. The others are given at 32 fresh points, and the conditional density of the free
features is evaluated at the same points. The figure is the mean squared error of ``log f(u | g)`` in nats^2,
over all points and draws. The standard error is over draws. The network is normalised by importance sampling
from 512 points (as in ``Conditional``), or by subtracting the log-density of the re-estimated ``marginal``.
KDE (Scott's bandwidth, standardised columns), one Gaussian and EM (components by BIC) have conditionals in
closed form.

    python -m benchmarks.analysis.conditionals --model models/base --out docs/conditionals
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.report import load_model, markdown, mean_and_error, model_option, out_option, write
from discoformer.analysis.conditionals import Conditioner
from discoformer_training.data.mixtures import draw_mixtures

CELLS = ((2, 1, 256), (2, 1, 1024), (5, 2, 256), (5, 2, 1024))  # D, F, N
QUERIES = 32
SAMPLES = 512
MOST_COMPONENTS = 12

LogDensity = Callable[[Floats, Sequence[int]], Floats]
"""A function from points (n, D) and a list of features to the log-density (n,) of these features."""


@dataclass(frozen=True)
class Result:
    """One estimator on one draw."""

    dim: int  # D
    free: int  # F
    n: int  # N
    seed: int
    estimator: str
    error: float  # mean squared, nats^2


def of_mixture(weights: Floats, means: Floats, covariances: Floats) -> LogDensity:
    """Return the log-density of a Gaussian mixture, whose marginals are Gaussian mixtures."""

    def log_density(points: Floats, features: Sequence[int]) -> Floats:
        parts = [
            np.log(w)
            + np.atleast_1d(
                multivariate_normal(m[features], c[np.ix_(features, features)]).logpdf(points[:, features])
            )
            for w, m, c in zip(weights, means, covariances, strict=True)
            if w > 0
        ]
        found: Floats = np.logaddexp.reduce(parts, axis=0)
        return found

    return log_density


def kde(context: Floats) -> LogDensity:
    """Fit a KDE, as a mixture of one Gaussian around each point."""
    n, dim = context.shape
    covariance = np.diag(context.var(axis=0)) * n ** (-2 / (dim + 4))
    return of_mixture(np.full(n, 1 / n), context, np.broadcast_to(covariance, (n, dim, dim)))


def em(context: Floats) -> LogDensity:
    """Fit a Gaussian mixture whose number of components BIC selects."""
    fits = [GaussianMixture(k, random_state=0).fit(context) for k in range(1, MOST_COMPONENTS + 1)]
    best = min(fits, key=lambda fit: fit.bic(context))
    return of_mixture(best.weights_, best.means_, best.covariances_)


def given(log_density: LogDensity, points: Floats, free: int) -> Floats:
    """Return the log-density (n,) of the first features given the others."""
    every = list(range(points.shape[1]))
    return log_density(points, every) - log_density(points, every[free:])


def answers(
    model: discoformer.Model, context: Floats, points: Floats, free: int
) -> Iterator[tuple[str, Floats]]:
    """Yield names of estimators and their conditional log-densities (n,)."""
    p, every = model.estimate(context), tuple(range(points.shape[1]))
    joint = p.log_density(points)
    weighted = Conditioner(p, every[:free], every[free:]).weigh(
        points[:, free:], SAMPLES, np.random.default_rng(0)
    )
    log_weights = weighted.log_weights
    yield "DiScoFormer", joint - (np.logaddexp.reduce(log_weights, axis=1) - np.log(SAMPLES))
    yield "joint minus marginal", joint - p.marginal(every[free:]).log_density(points[:, free:])
    yield "KDE, Scott", given(kde(context), points, free)
    one = of_mixture(np.ones(1), context.mean(axis=0)[None], np.cov(context.T)[None])
    yield "one Gaussian", given(one, points, free)
    yield "EM, BIC", given(em(context), points, free)


def measure(model: discoformer.Model, draws: int) -> Iterator[Result]:
    """Yield results, cell by cell."""
    for dim, free, n in CELLS:
        for seed in range(draws):
            generator = torch.Generator().manual_seed(seed)
            drawn = draw_mixtures(1, dim, modes=(1, 10), generator=generator)
            points = drawn.sample(n + QUERIES, generator=generator)[0].numpy()
            context, queries = points[:n], points[n:]
            linear, variances = drawn.linear[0].numpy(), drawn.variances[0].numpy()
            truth = of_mixture(
                drawn.log_weights[0].exp().numpy(),
                drawn.means[0].numpy() @ linear,
                np.stack([linear.T @ np.diag(v) @ linear for v in variances]),
            )
            joint = drawn.log_density_and_score(torch.as_tensor(queries)[None])[0][0].numpy()
            if not np.allclose(truth(queries, range(dim)), joint):
                raise RuntimeError("the closed form of the mixture disagrees with its log-density")
            right = given(truth, queries, free)
            for name, found in answers(model, context, queries, free):
                yield Result(dim, free, n, seed, name, float(np.mean((found - right) ** 2)))


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table with a line per cell; the best is in bold."""
    names = list(dict.fromkeys(r.estimator for r in results))
    rows = []
    for cell in dict.fromkeys((r.dim, r.free, r.n) for r in results):
        errors = [
            np.array([r.error for r in results if (r.dim, r.free, r.n) == cell and r.estimator == name])
            for name in names
        ]
        cells = [mean_and_error(e, ".3g", ".2g") for e in errors]
        best = int(np.argmin([e.mean() for e in errors]))
        cells[best] = f"**{cells[best]}**"
        rows.append([", ".join(map(str, cell)), *cells])
    return markdown(["D, free, N", *names], rows)


def report(model: discoformer.Model, results: Sequence[Result]) -> str:
    """Return the report in Markdown."""
    about, draws = model.metadata, 1 + max(r.seed for r in results)
    return f"""\
# Conditionals

Mean squared error, in nats², of the log-density of the free features given the others, for the model
`{about.name}` {about.version} and other estimators. The data are rotated mixtures of 1 to 10 Gaussians:
{draws} draws (seeds 0 to {draws - 1}) with {QUERIES} fresh points each, ± standard error over the draws. The
best is in bold.

`python -m benchmarks.analysis.conditionals --model models/{about.name} --draws {draws} --out
docs/conditionals`

{table(results)}
"""


@click.command()
@model_option
@out_option
@click.option("--draws", type=click.IntRange(2), default=10, show_default=True)
def main(name: str, out: Path | None, draws: int) -> None:
    """Compare a model with other estimators, print the report, and write it with all results to --out."""
    model = load_model(name)
    results = []
    for result in measure(model, draws):
        results.append(result)
        click.echo(f"{result}", err=True)
    text = report(model, results)
    click.echo(text)
    if out is not None:
        write(out, model.metadata.name, model, 0, text, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
