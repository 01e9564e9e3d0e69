"""The benchmark: estimators and baselines on the same reproducible draws, with pooled errors and ratios.

A *cell* fixes a family of densities, a dimension D, a context size N and a number of queries M. A *draw* of
a cell is one random density with a context (N, D) and fresh queries (M, D) from it, and the exact log-density
and score there; it depends on the seed, the cell and the draw's index alone. Errors are pooled over the draws
as in `metrics`. If the density is a mixture, its components are known, and the *floor* is measured: what
an estimator reaches that is started from them (`discoformer_training.evaluation.baselines`).

Baselines and floors are slow and never change, so their sums per draw are cached in one JSON file, one line
per seed, cell and baseline. A cached draw is used only if sum_i |s_i|^2 of the truth agrees with that of the
draw.

    cache = Path("benchmarks/baselines.json")
    report = run_benchmark({"discoformer": estimator}, default_cells(), cache=cache)

`wide_cells()` are of densities that are no mixtures. `discoformer_training.evaluation.report` renders the
result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from discoformer_training.data.families import FAMILIES as STREAMED
from discoformer_training.data.families import Density, draw_density, draw_students, placed
from discoformer_training.data.mixtures import Mixtures, draw_mixtures
from discoformer_training.evaluation.baselines import BASELINES, FLOORS, Baseline, Components, Floor
from discoformer_training.evaluation.metrics import (
    ErrorSums,
    FloatArray,
    Measurement,
    Values,
    pooled_ratio,
    sum_errors,
)

__all__ = [
    "BaselineCache",
    "BenchmarkError",
    "Cell",
    "Draw",
    "Estimator",
    "Report",
    "Row",
    "default_cells",
    "draw",
    "run_benchmark",
    "wide_cells",
]

Estimator = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""From context (N, D) and queries (M, D) to log-density (M,) and score (M, D)."""

Method = Callable[["Draw"], Values | None]
"""What is measured, in one form: the estimate at the queries of a draw, None where there is none."""

PROTOCOL = 1  # of draws and baselines; raise it when either changes, and compute the cache anew
REFERENCES = ("kde_best", "gmm_bic")  # the baselines that ratios are formed with
LONG = 16384  # N from which on a quarter of the draws is made
AFFINE_CONDITION = 30.0  # of the invertible map that half of the Student-t distributions get
TRUTH_TOLERANCE = 1e-6  # relative, between a cached sum of |s|^2 and the one of the draw at hand


class BenchmarkError(ValueError):
    """A cell that cannot be drawn, or a baseline cache that does not fit the draws."""


@dataclass(frozen=True)
class Cell:
    """One setting of the benchmark."""

    family: str  # name in FAMILIES
    dim: int  # D
    context_size: int  # N, above D so that the covariance can be inverted
    modes: tuple[int, int] = (1, 10)  # least and greatest number of modes, of a mixture
    queries: int = 512  # M

    def __str__(self) -> str:
        modes = "-".join(str(count) for count in sorted(set(self.modes)))
        size = f"{self.family} D={self.dim} N={self.context_size}"
        return f"{size} modes={modes}" if self.family == "gmm" else size

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise BenchmarkError(f"family is {self.family!r}, needed one of {sorted(FAMILIES)}")
        if not 1 <= self.dim < self.context_size:
            raise BenchmarkError(f"dim is {self.dim}, needed 1 <= dim < context_size (={self.context_size})")
        if self.family in STREAMED and self.dim < STREAMED[self.family].least_dim:
            raise BenchmarkError(
                f"dim is {self.dim}, needed at least {STREAMED[self.family].least_dim} for {self.family}"
            )


@dataclass(frozen=True)
class Draw:
    """A context (N, D), fresh queries (M, D) from the same density, and what is true of it."""

    context: FloatArray  # (N, D)
    queries: FloatArray  # (M, D)
    truth: Values  # at the queries
    components: Components | None = None  # of the density, if it is a Gaussian mixture


def _gaussian_mixture(cell: Cell, generator: torch.Generator) -> Density:
    return draw_mixtures(1, cell.dim, modes=cell.modes, generator=generator)


def _student3(cell: Cell, generator: torch.Generator) -> Density:
    students = draw_students(1, cell.dim, generator, freedom=(3.0, 3.0))
    return placed(students, 1, cell.dim, AFFINE_CONDITION, generator)


def _streamed(cell: Cell, generator: torch.Generator) -> Density:
    return draw_density(cell.family, 1, cell.dim, generator=generator)


FAMILIES: dict[str, Callable[[Cell, torch.Generator], Density]] = {
    "gmm": _gaussian_mixture,
    "student3": _student3,  # of exactly 3 degrees of freedom
    **dict.fromkeys(STREAMED, _streamed),
}


def default_cells() -> list[Cell]:
    """Mixtures of 1 to 10 modes for D from 1 to 30, of 2 at D = 100, of 11 to 19, and long contexts."""
    cells = [Cell("gmm", dim, n) for n in (256, 1024, 4096) for dim in (1, 2, 5, 10, 30)]
    many = [Cell("gmm", dim, 2048, modes=(11, 19)) for dim in (2, 10)]
    high = [Cell("gmm", 100, n, modes=(2, 2)) for n in (2048, LONG)]
    return [*cells, high[0], *many, Cell("gmm", 2, LONG), Cell("gmm", 10, LONG), high[1]]


def wide_cells() -> list[Cell]:
    """Laplace, Student-t and Gumbel distributions in several dimensions, and curves in the plane."""
    dims = {"laplace": (2, 10), "student3": (2, 5, 20), "gumbel": (3, 10)}
    curves = [Cell(family, 2, 1024) for family in ("banana", "ring", "spirals")]
    return [*(Cell(family, dim, 1024) for family in dims for dim in dims[family]), *curves]


def small_cells() -> list[Cell]:
    """Samples of 8 to 24 points: mixtures, and heavy and one-sided tails."""
    mixtures = [Cell("gmm", 2, 8), *(Cell("gmm", dim, 16) for dim in (2, 5, 10))]
    return [*mixtures, Cell("laplace", 1, 16), Cell("student3", 3, 16), Cell("gumbel", 3, 24)]


TABLES = {"default": default_cells, "wide": wide_cells, "small": small_cells}


def draw(cell: Cell, index: int, *, seed: int = 0) -> Draw:
    """Draw number ``index`` of a cell, the same on every call.

    Args:
        cell: the setting.
        index: number of the draw, from 0.
        seed: seed of the whole benchmark, not negative.
    """
    family = int.from_bytes(cell.family.encode(), "little")
    key = [seed, family, cell.dim, cell.context_size, *cell.modes, cell.queries, index]
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    density = FAMILIES[cell.family](cell, generator)
    points = density.sample(cell.context_size + cell.queries, generator=generator)
    queries = points[:, cell.context_size :]
    log_density, score = density.log_density_and_score(queries)
    return Draw(
        points[0, : cell.context_size].numpy(),
        queries[0].numpy(),
        Values(log_density[0].numpy(), score[0].numpy()),
        _components(density),
    )


def _components(density: Density) -> Components | None:
    """The components in data units, None if the density is no mixture."""
    if not isinstance(density, Mixtures):
        return None
    linear, weights = density.linear[0], density.log_weights[0].exp()
    variances = density.variances[0, weights > 0, :, None]  # (K, D, 1)
    return Components(
        weights[weights > 0].numpy(),
        (density.means[0, weights > 0] @ linear).numpy(),
        (linear.mT @ (variances * linear)).numpy(),
    )


class BaselineCache:
    """The baselines' error sums per draw, kept in a JSON file if a path is given.

    Args:
        path: the file; it need not exist yet. None keeps everything in memory.

    Raises:
        BenchmarkError: the file was written under another protocol.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._entries: dict[str, list[ErrorSums]] = {}
        if path is not None and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        stored = json.loads(path.read_text())
        if stored["protocol"] != PROTOCOL:
            raise BenchmarkError(
                f"cache {path} has protocol {stored['protocol']}, needed {PROTOCOL}: "
                "delete it to compute it anew"
            )
        for entry in stored["entries"]:
            columns = [entry.pop(name) for name in ErrorSums._fields]
            self._entries[json.dumps(entry)] = [ErrorSums(*sums) for sums in zip(*columns, strict=True)]

    def draws(self, seed: int, cell: Cell, baseline: str) -> list[ErrorSums]:
        """The sums of draws 0, 1, ... known so far: the list itself, to be extended."""
        key = json.dumps({"seed": seed, **asdict(cell), "baseline": baseline})
        return self._entries.setdefault(key, [])

    def save(self) -> None:
        """Write the file in one step, so that an interruption leaves the old one or the new one."""
        if self.path is None:
            return
        lines = [
            json.dumps(json.loads(key) | dict(zip(ErrorSums._fields, zip(*sums, strict=True), strict=True)))
            for key, sums in self._entries.items()
            if sums
        ]
        text = f'{{"protocol": {PROTOCOL}, "entries": [\n' + ",\n".join(lines) + "\n]}\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_text(text)
        partial.replace(self.path)


@dataclass(frozen=True)
class Row:
    """The figures of one estimator or baseline in one cell."""

    cell: Cell
    draws: int
    name: str
    score_percent: Measurement  # relative score error; the zero predictor is at 100
    score_mse: Measurement  # per coordinate, 1 / data units^2
    log_density_mse: Measurement  # nats^2
    score_ratios: dict[str, Measurement]  # to each of REFERENCES
    log_density_ratios: dict[str, Measurement]  # likewise


@dataclass(frozen=True)
class Report:
    """All rows of a run, with what is needed to repeat it."""

    seed: int
    draws: int  # of cells that are not long
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
    """Evaluate estimators and baselines on the same draws; progress goes to the standard error stream.

    Args:
        estimators: what to measure, by name.
        cells: the settings, for example `default_cells()`.
        draws: number of draws per cell, at least 1; a quarter of them from N = LONG on.
        seed: seed of all draws.
        baselines: what to measure beside them, by name.
        floors: likewise, where the draws have components; other cells get no row.
        cache: JSON file of the results of baselines and floors, read if it exists and brought up to date
            after each cell.
        keep: called after each cell with the report so far.

    Raises:
        BenchmarkError: the cache does not fit the draws.
        ValueError: draws is below 1, or an estimator returned a wrong shape.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}, needed at least 1")
    if taken := estimators.keys() & (baselines.keys() | floors.keys()):
        raise ValueError(f"estimators are named {sorted(taken)} like baselines, needed other names")
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
    """All that is measured; each is shown no more of a draw than its arguments."""

    def blind(estimator: Estimator) -> Method:
        return lambda at: Values(*estimator(at.context, at.queries))

    def told(baseline: Baseline) -> Method:
        return lambda at: baseline(at.context, at.queries, at.truth)

    def started(floor: Floor) -> Method:
        return lambda at: None if at.components is None else floor(at.context, at.queries, at.components)

    return (
        {name: blind(estimator) for name, estimator in estimators.items()}
        | {name: told(baseline) for name, baseline in baselines.items()}
        | {name: started(floor) for name, floor in floors.items()}
    )


def _evaluate(
    at: Draw, index: int, methods: Mapping[str, Method], results: Mapping[str, list[ErrorSums]]
) -> None:
    """Append the sums of draw ``index`` to the results that lack it; check the others against its truth."""
    power = float(np.square(at.truth.score).sum())
    for name, sums in results.items():
        if index >= len(sums):
            if (estimate := methods[name](at)) is not None:
                sums.append(sum_errors(estimate, at.truth))
        elif not math.isclose(sums[index].score_power, power, rel_tol=TRUTH_TOLERANCE):
            raise BenchmarkError(
                f"cached draw {index} of {name} has sum |score|^2 = {sums[index].score_power:.9g}, this draw "
                f"has {power:.9g}: the cache is of other draws; delete it to compute it anew"
            )


def _rows(cell: Cell, draws: int, results: Mapping[str, Sequence[ErrorSums]]) -> list[Row]:
    """Pool the sums per draw of all methods of a cell."""
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
