"""Signs of error: how well figures that need no truth predict the error, where the truth is known.

Densities are drawn for each family of ``discoformer_training.data.families`` and each D, with N context
points and 256 fresh queries. The figures are Spearman's rank correlations over the queries between the error
of the score (``|S - s|`` in the frame) or of the log-density (``|T - log f|``, integral not subtracted) and

- the disagreement of score and slope, ``Estimate.consistency``;
- the standard error of the log-density by the jackknife over five folds (for the score: of its entries);
- minus the estimated log-density, as the simplest sign of error;
- the distance from the centre of the frame.

The last figures are correlations over all draws, between signs and errors of whole draws (root mean squares
over their points). The standard error is over draws.

    python -m benchmarks.analysis.diagnosis --model models/base --out docs/diagnosis
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import torch
from scipy.stats import spearmanr

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.report import load_model, markdown, mean_and_error, model_option, out_option, write
from discoformer.analysis.consistency import consistency_of
from discoformer.analysis.held_out import fit_folds, standard_error
from discoformer_training.data.families.registry import FAMILIES, draw_density

DIMS = (2, 5, 10)
QUERIES = 256
SIGNS = ("disagreement", "standard error", "minus log-density", "radius")


@dataclass(frozen=True)
class Result:
    """One draw of a family: rank correlations with the errors, and the errors of the whole draw."""

    family: str
    dim: int  # D
    seed: int
    score_disagreement: float
    score_standard_error: float
    score_log_density: float
    score_radius: float
    density_disagreement: float
    density_standard_error: float
    density_log_density: float
    density_radius: float
    share: float  # disagreement of the draw, relative to its score
    score_spread: float  # standard error of the score, relative to it
    density_spread: float  # standard error of the log-density, nats
    score_error: float  # relative, in the frame
    density_error: float  # root mean square, nats


def measure(model: discoformer.Model, n: int, seeds: int) -> Iterator[Result]:
    """Yield a result per draw."""
    for name, family in FAMILIES.items():
        for dim in DIMS:
            if dim < family.least_dim:
                continue
            for seed in range(seeds):
                yield draw_result(model, name, dim, n, seed)


def draw_result(model: discoformer.Model, name: str, dim: int, n: int, seed: int) -> Result:
    """Draw a density, and correlate signs of error with errors."""
    generator = torch.Generator().manual_seed(1000 * seed + dim)
    density = draw_density(name, 1, dim, affine_condition=5.0, generator=generator)
    points = density.sample(n + QUERIES, generator=generator)
    context, queries = (part.numpy() for part in points[0].split([n, QUERIES]))
    log_density, score = (part[0].numpy() for part in density.log_density_and_score(points[:, n:]))
    p = model.estimate(context)
    z = p.frame.to_frame(queries)
    found_log_density, found_score = p.answer_in_frame(z)
    truth = p.frame.score_to_frame(score)
    consistency = consistency_of(p, z, 4, seed)
    score_error = np.sqrt(np.square(found_score - truth).mean(axis=1))
    density_error = np.abs(p.frame.log_density_to_data(found_log_density) - log_density)
    score_spread, density_spread = spreads(p, queries, seed)
    signs = (-found_log_density, np.linalg.norm(z, axis=1))
    correlations = [
        rank(sign, error)
        for error, spread in ((score_error, score_spread), (density_error, density_spread))
        for sign in (consistency.residual, spread, *signs)
    ]
    own = rms(consistency.score)
    whole = (rms(consistency.residual) / own, rms(score_spread) / own, rms(density_spread))
    return Result(name, dim, seed, *correlations, *whole, rms(score_error) / rms(truth), rms(density_error))


def spreads(p: discoformer.Estimate, queries: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return jackknife standard errors (M,): of the score per entry in the frame, and of the log-density."""
    folds = fit_folds(p, seed)
    score = np.stack([p.frame.score_to_frame(f.fitted.answer(queries)[1]) for f in folds])
    square = (len(folds) - 1) * score.var(axis=0)
    return np.sqrt(square.mean(axis=1)), standard_error(folds, queries)


def rms(values: Floats) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def rank(sign: Floats, error: Floats) -> float:
    """Return Spearman's rank correlation."""
    return float(spearmanr(sign, error).statistic)


def table(results: Sequence[Result], error: str) -> str:
    """Return a Markdown table of mean rank correlations with an error, by D and by family."""
    names = [f"{error}_{sign}" for sign in ("disagreement", "standard_error", "log_density", "radius")]
    rows = []
    groups = {f"D = {dim}": [r for r in results if r.dim == dim] for dim in DIMS}
    groups["all"] = list(results)
    groups |= {name: [r for r in results if r.family == name] for name in _families(results)}
    for label, here in groups.items():
        columns = (_all(here, name) for name in (*names, f"{error}_error"))
        rows.append([label, *(mean_and_error(column, ".2f") for column in columns)])
    return markdown(["", *SIGNS, "the error itself"], rows)


def between(results: Sequence[Result]) -> str:
    """Return a Markdown table of rank correlations of signs with errors over the draws."""
    rows = []
    for error, label in (("score", "score, relative"), ("density", "log-density")):
        errors, spread = (_all(results, f"{error}_{figure}") for figure in ("error", "spread"))
        figures = (rank(_all(results, "share"), errors), rank(spread, errors), np.median(errors / spread))
        rows.append([label, *(f"{figure:.2f}" for figure in figures)])
    return markdown(["error", "disagreement", "standard error", "error over standard error, median"], rows)


def _families(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(r.family for r in results))


def _all(results: Sequence[Result], name: str) -> Floats:
    return np.array([getattr(r, name) for r in results])


def levels(results: Sequence[Result], sign: str, edges: Sequence[float]) -> str:
    """Return a Markdown table of the errors of draws by a sign of error."""
    rows = []
    field = {"disagreement": "share", "standard error, nats": "density_spread"}[sign]
    for low, high in pairwise((*edges, np.inf)):
        here = [r for r in results if low <= getattr(r, field) < high]
        if here:
            error, nats = (np.median(_all(here, f"{name}_error")) for name in ("score", "density"))
            rows.append([f"{low:g} to {high:g}", str(len(here)), f"{error:.2f}", f"{nats:.2f}"])
    return markdown([sign, "draws", "relative score error", "log-density error, nats"], rows)


def report(model: discoformer.Model, results: Sequence[Result], n: int) -> str:
    """Return the report in Markdown."""
    about, seeds = model.metadata, 1 + max(r.seed for r in results)
    return f"""\
# Signs of error

The model `{about.name}` {about.version} on {len(_families(results))} families of densities of
`discoformer_training.data.families`: D = {", ".join(map(str, DIMS))}, N = {n}, {seeds} draws per family and D
(seeds 0 to {seeds - 1}), {QUERIES} fresh points.

`python -m benchmarks.analysis.diagnosis --model models/{about.name} --seeds {seeds} --n {n} --out
docs/diagnosis`

**Between draws**: rank correlation of a sign with the error; both are root mean squares over the points of a
draw.

{between(results)}

{levels(results, "standard error, nats", (0, 0.2, 0.5, 1, 2))}

{levels(results, "disagreement", (0, 0.05, 0.1, 0.25, 0.6))}

The errors in these two tables are medians over the draws.

**Within a draw**: rank correlation of a sign with the error of the score over the points of a draw, mean over
draws ± its standard error.

{table(results, "score")}

The same with the error of the log-density.

{table(results, "density")}
"""


@click.command()
@model_option
@out_option
@click.option("--n", type=click.IntRange(16), default=512, show_default=True, help="Context points.")
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True)
def main(name: str, out: Path | None, n: int, seeds: int) -> None:
    """Measure a model, print the report, and write it with all results to --out."""
    model = load_model(name)
    results = []
    for result in measure(model, n, seeds):
        results.append(result)
        click.echo(f"{result}", err=True)
    text = report(model, results, n)
    click.echo(text)
    if out is not None:
        write(out, model.metadata.name, model, 0, text, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
