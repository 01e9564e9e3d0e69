"""The benchmark: estimators and baselines on the same reproducible draws, with pooled errors and ratios.

Errors are pooled over the draws of each cell (see `cells` and `metrics`). If the density is a Gaussian
mixture, the *floor* is measured too: the error of an estimator that starts from the true components (see
`floor`).

Baselines and floors are slow and never change, so their error sums per draw are cached in a file. A cached
draw is used only if its sum_i |s_i|^2 agrees with the draw.

    cache = Path("benchmarks/baselines.json")
    report = run_benchmark({"discoformer": estimator}, default_cells(), cache=cache)

`discoformer_training.evaluation.report` renders the report.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from discoformer.errors import InputError
from discoformer_training.evaluation.baselines import BASELINES, Baseline
from discoformer_training.evaluation.cache import BaselineCache
from discoformer_training.evaluation.cells import LONG, BenchmarkError, Cell, Draw, draw
from discoformer_training.evaluation.floor import FLOORS, Floor
from discoformer_training.evaluation.metrics import (
    ErrorSums,
    FloatArray,
    Measurement,
    Values,
    pooled_ratio,
    sum_errors,
)

Estimator = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""A function from context (N, D) and queries (M, D) to log-density (M,) and score (M, D)."""

Method = Callable[[Draw], Values | None]
"""A function from a draw to the estimate at its queries, or None if the method does not apply."""

REFERENCES = ("kde_best", "gmm_bic")  # the baselines in the denominators of ratios
TRUTH_TOLERANCE = 1e-5  # relative, between the cached sum of |s|^2 and that of the draw


@dataclass(frozen=True)
class Row:
    """The results of one estimator or baseline in one cell."""

    cell: Cell
    draws: int
    name: str
    score_percent: Measurement  # relative score error; 100 for the zero predictor
    score_mse: Measurement  # per coordinate, 1 / data units^2
    log_density_mse: Measurement  # nats^2
    score_ratios: dict[str, Measurement]  # to each of REFERENCES
    log_density_ratios: dict[str, Measurement]  # to each of REFERENCES


@dataclass(frozen=True)
class Report:
    """All rows of a run, with its seed and number of draws."""

    seed: int
    draws: int  # per cell; a quarter of it for N >= LONG
    rows: list[Row]


def run_benchmark(
    estimators: Mapping[str, Estimator],
    cells: Sequence[Cell],
    *,
    draws: int = 32,
    seed: int = 0,
    baselines: Mapping[str, Baseline] = BASELINES,
    floors: Mapping[str, Floor] = FLOORS,
    cache: Path | None = None,
    keep: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Evaluate estimators and baselines on the same draws, with a progress bar on the standard error stream.

    Args:
        estimators: functions to measure, by name.
        cells: the settings, for example `default_cells()`.
        draws: number of draws per cell, at least 1. Cells with N >= LONG have a quarter of it.
        seed: seed of all draws.
        baselines: baselines to compare with, by name.
        floors: floors, by name. Only Gaussian mixtures have a row for them.
        cache: JSON file of the results of baselines and floors. It is read if it exists, and updated after
            each cell.
        keep: function that is called after each cell with the report so far.

    Raises:
        BenchmarkError: the cache does not belong to the draws.
        InputError: draws is below 1, a name is taken, or an estimator returned a wrong shape.
    """
    if draws < 1:
        raise InputError(f"draws is {draws}, needed at least 1")
    if taken := estimators.keys() & (baselines.keys() | floors.keys()):
        raise InputError(f"estimators are named {sorted(taken)}, like baselines: give them other names")
    known = BaselineCache(cache)
    methods = _methods(estimators, baselines, floors)
    rows: list[Row] = []
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for cell in cells:
            results: dict[str, list[ErrorSums]] = {name: [] for name in estimators}
            results |= {name: known.draws(seed, cell, name) for name in (*baselines, *floors)}
            made = max(1, draws // 4) if cell.context_size >= LONG else draws
            for index in progress.track(range(made), description=str(cell)):
                _evaluate(draw(cell, index, seed=seed), index, methods, results)
            known.save()
            rows += _rows(cell, made, {name: sums[:made] for name, sums in results.items() if sums})
            keep(Report(seed, draws, rows))
    return Report(seed, draws, rows)


def _methods(
    estimators: Mapping[str, Estimator], baselines: Mapping[str, Baseline], floors: Mapping[str, Floor]
) -> dict[str, Method]:
    """Return all methods by name. Each gets only the arguments of its function from a draw."""

    def from_estimator(estimator: Estimator) -> Method:
        return lambda at: Values(*estimator(at.context, at.queries))

    def from_baseline(baseline: Baseline) -> Method:
        return lambda at: baseline(at.context, at.queries, at.truth)

    def from_floor(floor: Floor) -> Method:
        return lambda at: None if at.components is None else floor(at.context, at.queries, at.components)

    return (
        {name: from_estimator(estimator) for name, estimator in estimators.items()}
        | {name: from_baseline(baseline) for name, baseline in baselines.items()}
        | {name: from_floor(floor) for name, floor in floors.items()}
    )


def _evaluate(
    at: Draw, index: int, methods: Mapping[str, Method], results: Mapping[str, list[ErrorSums]]
) -> None:
    """Add the sums of draw ``index`` to the results that lack it, and check the other results against it."""
    power = float(np.square(at.truth.score).sum())
    for name, sums in results.items():
        if index >= len(sums):
            if (estimate := methods[name](at)) is not None:
                sums.append(sum_errors(estimate, at.truth).rounded())  # as in the cache
        elif not math.isclose(sums[index].score_power, power, rel_tol=TRUTH_TOLERANCE):
            raise BenchmarkError(
                f"cached draw {index} of {name} has sum |score|^2 = {sums[index].score_power:.9g}, this draw "
                f"has {power:.9g}: the cache belongs to other draws; delete it to compute it again"
            )


def _rows(cell: Cell, draws: int, results: Mapping[str, Sequence[ErrorSums]]) -> list[Row]:
    """Pool the sums over the draws, for all methods of a cell."""
    columns = {name: np.array(sums).T for name, sums in results.items()}  # (3, R) in the order of ErrorSums
    references = {name: columns[name] for name in REFERENCES if name in columns}
    return [
        Row(
            cell,
            draws,
            name,
            score_percent=pooled_ratio(100 * score, power),
            score_mse=pooled_ratio(score, np.full(len(score), cell.queries * cell.dim)),
            log_density_mse=pooled_ratio(log_density, np.full(len(score), cell.queries)),
            score_ratios={key: pooled_ratio(score, other[0]) for key, other in references.items()},
            log_density_ratios={
                key: pooled_ratio(log_density, other[2]) for key, other in references.items()
            },
        )
        for name, (score, power, log_density) in columns.items()
    ]
