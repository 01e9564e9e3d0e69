"""Reports of the benchmark as text, Markdown and JSON.

The full table has one line per cell and estimator, with ratios to two baselines. Its last lines are the
geometric means of the ratios over all cells. The summary, for README and model cards, has one line per cell,
with the score error and the log-density error of the main estimators. A cell may have no floor.
"""

import io
import json
import math
from dataclasses import fields, is_dataclass
from itertools import groupby
from statistics import geometric_mean
from typing import Any

from rich.console import Console
from rich.table import Table

from discoformer_training.evaluation.benchmark import REFERENCES, Report, Row
from discoformer_training.evaluation.cells import LONG, Cell
from discoformer_training.evaluation.floor import FLOORS
from discoformer_training.evaluation.metrics import Measurement, six_digits

HEADER = (
    "cell",
    "estimator",
    "score error, %",
    *(f"/ {name}" for name in REFERENCES),
    "log-density MSE, nats²",
    *(f"/ {name}" for name in REFERENCES),
)


TITLES = {
    "discoformer": "**DiScoFormer**",
    "fast": "`fast`",
    "kde_best": "best KDE",
    "kde_scott": "KDE, Scott",
    "gaussian": "one Gaussian",
    "gmm_bic": "EM, BIC",
    "floor": "floor",
}
"""The columns of the summary by estimator; estimators without a row are left out."""


def render_markdown(report: Report) -> str:
    """Return the report as a Markdown table. A column ``/ name`` holds ratios to the errors of a baseline."""
    lines = [HEADER, ("---",) * len(HEADER), *map(_line, report.rows), *_means(report)]
    return "\n".join([_caption(report), "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def render_summary(report: Report) -> str:
    """Return the summary as a Markdown table: score error in % / log-density MSE in nats², per cell."""
    measured = {row.name for row in report.rows}
    names = [name for name in TITLES if name in measured]
    lines = [("D, N", *(TITLES[name] for name in names)), ("---",) * (1 + len(names))]
    for cell, rows in groupby(report.rows, key=lambda row: row.cell):
        found = {row.name: row for row in rows}
        lines.append((_size(cell), *(_pair(found[name]) if name in found else "" for name in names)))
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines])


def render_text(report: Report) -> str:
    """Return the report as a table for the terminal."""
    table = Table(*HEADER, title=_caption(report))
    for _, rows in groupby(report.rows, key=lambda row: row.cell):
        for row in rows:
            table.add_row(*_line(row))
        table.add_section()
    for line in _means(report):
        table.add_row(*line)
    console = Console(file=io.StringIO(), width=160)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def render_json(report: Report) -> str:
    """Return the report as JSON: each figure is ``{"value": .., "error": ..}``, null if it is not finite.

    Figures have six significant digits.
    """
    return json.dumps(_plain(report), separators=(",", ":"), allow_nan=False) + "\n"


def _caption(report: Report) -> str:
    caption = (
        f"seed {report.seed}, {report.draws} draws per cell (a quarter from N = {LONG} on), "
        "value ± jackknife standard error"
    )
    has_floor = any(row.name in FLOORS for row in report.rows)
    return caption + ("; floor: EM started from the true components" if has_floor else "")


def _line(row: Row) -> list[str]:
    """Return the strings of one row, in the order of HEADER."""
    score, log_density = (
        [_figures(ratios[name]) if name in ratios else "" for name in REFERENCES]
        for ratios in (row.score_ratios, row.log_density_ratios)
    )
    return [
        str(row.cell),
        row.name,
        _figures(row.score_percent),
        *score,
        _figures(row.log_density_mse),
        *log_density,
    ]


def _means(report: Report) -> list[list[str]]:
    """Return a line per estimator that all cells have: the geometric means of its ratios over the cells."""
    n_cells = len({row.cell for row in report.rows})
    lines = []
    for name in dict.fromkeys(row.name for row in report.rows):
        rows = [row for row in report.rows if row.name == name]
        if 1 < len(rows) == n_cells:
            score = _geometric_means([row.score_ratios for row in rows])
            log_density = _geometric_means([row.log_density_ratios for row in rows])
            lines.append([f"{n_cells} cells, geometric mean", name, "", *score, "", *log_density])
    return lines


def _geometric_means(ratios: list[dict[str, Measurement]]) -> list[str]:
    """Return the geometric mean of the ratios to each of REFERENCES, or "" if a cell has no ratio."""
    return [
        f"{geometric_mean([cell[name].value for cell in ratios]):.3g}"
        if all(name in cell for cell in ratios)
        else ""
        for name in REFERENCES
    ]


def _size(cell: Cell) -> str:
    """Return D and N of a cell, with the family and the modes if they are not the defaults."""
    least, most = cell.modes
    modes = f" ({least})" if least == most else f" ({least}-{most})"
    family = "" if cell.family == "gmm" else f"{cell.family} "
    return f"{family}{cell.dim}, {cell.context_size}" + (
        "" if cell.modes == Cell.modes else f"{modes[:-1]} modes)"
    )


def _pair(row: Row) -> str:
    pair = f"{row.score_percent.value:.3g} % / {row.log_density_mse.value:.3g}"
    return f"**{pair}**" if TITLES[row.name].startswith("**") else pair


def _figures(measurement: Measurement) -> str:
    """Format a figure with three significant digits, and its error with one: ``1230 ± 40``."""
    value, error = measurement.value, round(measurement.error, 12)  # drops rounding errors of a ratio of 1
    return f"{float(f'{value:.3g}'):g} ± {float(f'{error:.1g}'):g}"


def _plain(value: Any) -> Any:
    """Convert to dicts and lists of rounded numbers, with None for NaN and infinities, which JSON lacks."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Measurement):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return six_digits(value) if math.isfinite(value) else None
    return value
