"""A picture of the anomalies found. Needs the extra ``[plot]``.

Left, the p-values in order beside the line of Benjamini and Hochberg, below which rows are found. Right, the
rows along the two leading principal directions of the standardised columns (one column: against its
log-density), with those found marked.
"""

from pathlib import Path
from typing import Any

import numpy as np

from discoformer.anomalies import Anomalies
from discoformer.errors import require
from discoformer.io.files import atomic
from discoformer.io.inputs import Floats

_PLAIN, _FOUND = "#31688e", "#d1495b"


def save_anomalies(path: Path, anomalies: Anomalies, rows: Floats, fdr: float) -> None:
    """Draws anomalies and saves the picture; the suffix of the path says in which format.

    Args:
        path: File to write.
        anomalies: What was found.
        rows: Among these (M, D), data units.
        fdr: With this false discovery rate.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    figure = require("matplotlib.figure").Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_p_values(left, anomalies, fdr)
    _draw_rows(right, anomalies, rows)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic(path) as part:
        figure.savefig(part, dpi=150)


def _draw_p_values(axes: Any, anomalies: Anomalies, fdr: float) -> None:
    order = np.argsort(anomalies.p_values, kind="stable")
    rank = np.arange(1, len(order) + 1)
    colors = np.where(anomalies.found[order], _FOUND, _PLAIN)
    axes.scatter(rank, anomalies.p_values[order], s=14, c=colors)
    axes.plot(rank, fdr * rank / len(rank), color="0.3", linewidth=1, label=f"{fdr:g} rank / {len(rank)}")
    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="p-value")
    axes.set_title(f"{anomalies.found.sum()} of {len(rank)} rows found", fontsize="medium")
    axes.legend(frameon=False)


def _draw_rows(axes: Any, anomalies: Anomalies, rows: Floats) -> None:
    spread = rows.std(axis=0)
    standard = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)
    if rows.shape[1] == 1:
        places, labels = np.c_[rows[:, 0], anomalies.log_density], ("value", "log-density (nats)")
    else:
        directions = np.linalg.svd(standard, full_matrices=False)[2][:2]
        places = standard @ directions.T
        labels = ("principal direction 1", "principal direction 2")
    for mask, color, size, name in (
        (~anomalies.found, _PLAIN, 10, "rows"),
        (anomalies.found, _FOUND, 30, "found"),
    ):
        axes.scatter(*places[mask].T, s=size, color=color, alpha=0.8, label=name)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.legend(frameon=False)
