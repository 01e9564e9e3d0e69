"""The gain of adaptation to a data set: errors after every step, and the step at which it stops.

The data are of several families, and mixtures of Gaussians. The model adapts to each draw of the benchmark
separately. Errors are on fresh queries, relative to those without adaptation: mean over draws with its
standard error. *Best* selects the step of each draw by the truth. The table also has, before adaptation and
pooled over draws, the relative score error (percent) and the squared error of the log-density (nats^2), and
the same for a kernel density whose bandwidth is selected by the truth. Long contexts have a quarter of the
draws.

    python -m benchmarks.accuracy.adaptation models/base --draws 32 --out docs/adaptation
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.report import load_model, mean_and_error, out_option, seed_option, write
from discoformer.analysis.adaptation_descent import course_of
from discoformer.analysis.torch_network import network_of
from discoformer_training.evaluation.baselines import kde_best
from discoformer_training.evaluation.cells import Cell, Draw, draw
from discoformer_training.evaluation.metrics import ErrorSums, Values, pooled_ratio, sum_errors
from discoformer_training.nn.readout import read

CELLS = [
    *(Cell("student3", 2, n) for n in (128, 256, 512)),
    *(Cell("laplace", dim, n) for dim in (2, 5) for n in (512, 1024, 4096)),
    *(Cell(family, 2, 512) for family in ("gamma", "gumbel", "beta", "plateau", "ring")),
    *(Cell("gmm", dim, 512) for dim in (2, 5)),
]
MIXTURES = "gmm"
STEPS = 256
KEPT = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)  # steps whose errors are stored
LONG = 4096  # cells of this N or more have a quarter of the draws


@dataclass(frozen=True)
class Result:
    """One draw."""

    family: str
    dim: int  # D
    n: int  # N
    draw: int
    chosen: int  # the selected step
    score: list[float]  # sum of the squared score errors at each step
    log_density: list[float]  # sum of the squared log-density errors, nats^2, at each step
    power: float  # sum of the squared true scores
    queries: int
    kde_score: float
    kde_log_density: float
    seconds: float  # of CPU time, for the adaptation


def measure(model: discoformer.Model, cell: Cell, index: int, seed: int) -> Result:
    """Adapt to one draw."""
    at = draw(cell, index, seed=seed)
    estimate = model.estimate(at.context)
    start = time.process_time()
    course = course_of(estimate, STEPS, seed)
    seconds = time.process_time() - start
    errors = _errors(estimate, course.path, at)
    kde = sum_errors(kde_best(at.context, at.queries, at.truth), at.truth)
    return Result(
        family=cell.family,
        dim=cell.dim,
        n=cell.context_size,
        draw=index,
        chosen=course.chosen,
        score=[error.score_error for error in errors],
        log_density=[error.log_density_error for error in errors],
        power=kde.score_power,
        queries=cell.queries,
        kde_score=kde.score_error,
        kde_log_density=kde.log_density_error,
        seconds=seconds,
    )


def _errors(estimate: discoformer.Estimate, path: Floats, at: Draw) -> list[ErrorSums]:
    """Return the errors at each step. The heads are affine in the map that changes."""
    z = estimate.frame.to_frame(at.queries)
    found = read(network_of(estimate.graphs), estimate.encoded.arrays, z)
    channels = found.vectors.shape[-1]
    errors = []
    for change in path:
        theta, eta = np.split(change, [found.scalars.shape[1] * channels])
        log_density = found.log_density + z.shape[1] ** 0.5 * found.scalars @ eta
        mixed = found.scalars @ theta.reshape(-1, channels)
        score = found.score + (found.vectors * mixed[:, None]).sum(-1)
        frame = estimate.frame
        values = Values(frame.log_density_to_data(log_density), frame.score_to_data(score))
        errors.append(sum_errors(values, at.truth))
    return errors


def ratios(results: Sequence[Result], field: str) -> Floats:
    """Return errors relative to those at step 0, (draws, steps + 1)."""
    errors = np.array([getattr(result, field) for result in results])
    return errors / errors[:, :1]


def at_chosen(results: Sequence[Result], field: str) -> Floats:
    """Return the ratios (draws,) at the selected steps."""
    return ratios(results, field)[np.arange(len(results)), [result.chosen for result in results]]


def by_cell(results: Sequence[Result]) -> dict[tuple[str, int, int], list[Result]]:
    """Return the results of each cell, in order."""
    cells: dict[tuple[str, int, int], list[Result]] = {}
    for result in results:
        cells.setdefault((result.family, result.dim, result.n), []).append(result)
    return cells


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table: a line per cell, and means over mixtures and the other families."""
    lines = [
        "| family, D, N | draws | before | best KDE | score, pooled | score | log-density | best: score "
        "| adapted | steps | worst draw | s |",
        "|---" * 12 + "|",
    ]
    for key, found in by_cell(results).items():
        steps = np.array([result.chosen for result in found])
        score, density = (at_chosen(found, field) for field in ("score", "log_density"))
        best = ratios(found, "score").min(1)
        lines.append(
            f"| {', '.join(map(str, key))} | {len(found)} | {_before(found)} | {_kde(found)} "
            f"| {_pooled_ratio(found)} | {mean_and_error(score)} | {mean_and_error(density)} "
            f"| {mean_and_error(best)} | {np.mean(steps > 0):.0%} | {np.median(steps):.0f} "
            f"| {score.max():.2f} | {np.median([result.seconds for result in found]):.1f} |"
        )
    others = [found for key, found in by_cell(results).items() if key[0] != MIXTURES]
    mixtures = [found for key, found in by_cell(results).items() if key[0] == MIXTURES]
    means = (("others, mean", others), ("mixtures, mean", mixtures))
    lines += [_mean_line(name, cells) for name, cells in means if cells]
    return "\n".join(lines)


def _mean_line(name: str, cells: Sequence[Sequence[Result]]) -> str:
    pooled = np.mean([pooled_ratio(*_chosen_and_first(found)).value for found in cells])
    score, density = (np.mean([at_chosen(c, f).mean() for c in cells]) for f in ("score", "log_density"))
    best = np.mean([ratios(found, "score").min(1).mean() for found in cells])
    return f"| {name} | | | | {pooled:.3f} | {score:.3f} | {density:.3f} | {best:.3f} | | | | |"


def _pooled_ratio(found: Sequence[Result]) -> str:
    measured = pooled_ratio(*_chosen_and_first(found))
    return f"{measured.value:.3f} ± {measured.error:.3f}"


def _chosen_and_first(found: Sequence[Result]) -> tuple[list[float], list[float]]:
    return [result.score[result.chosen] for result in found], [result.score[0] for result in found]


def _before(found: Sequence[Result]) -> str:
    return _pooled(found, [r.score[0] for r in found], [r.log_density[0] for r in found])


def _kde(found: Sequence[Result]) -> str:
    return _pooled(found, [r.kde_score for r in found], [r.kde_log_density for r in found])


def _pooled(found: Sequence[Result], score: list[float], log_density: list[float]) -> str:
    power, queries = sum(r.power for r in found), sum(r.queries for r in found)
    return f"{100 * sum(score) / power:.3g} % / {sum(log_density) / queries:.3g}"


def report(model: discoformer.Model, results: Sequence[Result], seed: int, command: str) -> str:
    """Return the report in Markdown."""
    about = model.metadata
    return f"""\
Adaptation of the model `{about.name}` {about.version} to one data set at a time, seed {seed} (`{command}`).

- `before` and `best KDE`: relative score error / squared error of the log-density in nats^2, pooled.
- `score` and `log-density`: squared errors on fresh queries after adaptation, relative to those before. Mean
  over draws ± standard error; below 1, adaptation helps.
- `score, pooled`: the ratio of the sums over draws, in which hard draws count more.
- `best: score`: `score` at the best of {STEPS} steps of each draw, selected by the truth.
- `adapted`: share of draws with at least one step. `steps`: their median number over all draws.
- `worst draw`: the greatest `score`. `s`: median CPU time.

The last lines are means over mixtures of Gaussians, and over the other families.

{table(results)}
"""


def draw_picture(path: Path, results: Sequence[Result]) -> None:
    """Plot mean errors over draws by step, and the selected steps, with a panel per cell."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    cells = by_cell(results)
    rows = -(-len(cells) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(12, 2.4 * rows), sharex=True, squeeze=False)
    for ax, (key, found) in zip(axes.flat, cells.items(), strict=False):
        _panel(ax, key, found)
    for ax in axes.flat[len(cells) :]:
        ax.axis("off")
    axes.flat[0].legend(fontsize=7, frameon=False)
    figure.supxlabel("steps")
    figure.supylabel("error relative to that before adaptation")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(ax: Any, key: tuple[str, int, int], found: Sequence[Result]) -> None:
    for field, colour in (("score", "C0"), ("log_density", "C1")):
        ax.plot(ratios(found, field).mean(0), colour, label=field.replace("_", "-"))
        ax.axhline(at_chosen(found, field).mean(), color=colour, ls=":", lw=1)
    for result in found:
        ax.plot(result.chosen, 0.57, "k|", ms=6, alpha=0.5)
    ax.axhline(1, color="0.7", lw=0.8)
    ax.set_xscale("symlog", linthresh=1)
    ax.set_ylim(0.55, 1.25)
    ax.set_title("{}, D = {}, N = {}".format(*key), fontsize=9)


def _rounded(result: Result) -> dict[str, Any]:
    """Return a result for storage, with the errors at some steps only."""
    errors = {name: [round(getattr(result, name)[t], 4) for t in KEPT] for name in ("score", "log_density")}
    chosen = {f"chosen_{name}": round(getattr(result, name)[result.chosen], 4) for name in errors}
    return asdict(result) | errors | chosen


def everything(model: discoformer.Model, draws: int, seed: int) -> Iterator[Result]:
    """Yield results draw by draw, of all cells in turn, so that an interrupted run has some of each."""
    for index in range(draws):
        for cell in CELLS:
            if cell.context_size >= LONG and index % 4:
                continue
            yield measure(model, cell, index, seed)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--draws", type=click.IntRange(1), default=32, show_default=True, help="Draws per cell.")
@seed_option
@out_option
def main(folder: Path, draws: int, seed: int, out: Path | None) -> None:
    """Measure adaptation of the model in FOLDER, and write results to --out as they come."""
    model = load_model(folder.resolve())
    command = f"python -m benchmarks.accuracy.adaptation {folder} --draws {draws} --out docs/adaptation"
    results: list[Result] = []
    for result in everything(model, draws, seed):
        results.append(result)
        click.echo(f"{result.family}, D = {result.dim}, N = {result.n}, draw {result.draw}", err=True)
        if out is not None and result.family == CELLS[-1].family and result.dim == CELLS[-1].dim:
            found = [_rounded(result) for result in results]
            write(out, folder.resolve().name, model, seed, report(model, results, seed, command), found)
            draw_picture(out / f"{folder.resolve().name}.png", results)
    click.echo(report(model, results, seed, command))


if __name__ == "__main__":
    main()
