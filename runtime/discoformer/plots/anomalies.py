"""A figure of anomalies. It needs the extra ``[plot]``.

Left: the p-values in increasing order, and the line of Benjamini and Hochberg that decides which rows are
anomalies. Right: the rows along the two leading principal directions of the standardised columns, with the
anomalies marked. If there is a single column, its values against the log-density.
"""

from pathlib import Path
from typing import Any

import numpy as np

from discoformer.anomalies import Anomalies
from discoformer.errors import require
from discoformer.io.inputs import Floats
from discoformer.plots.density import principal_plane
from discoformer.plots.pictures import write_picture

_PLAIN, _FOUND = "#31688e", "#d1495b"


def save_anomalies(path: Path, anomalies: Anomalies, rows: Floats, fdr: float) -> None:
    """Draw anomalies and save the figure.

    Args:
        path: File to write. Its suffix determines the format.
        anomalies: The result of ``find``.
        rows: The rows (M, D) that were tested, data units.
        fdr: The false discovery rate.

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
    write_picture(path, figure, 150)


def _draw_p_values(axes: Any, anomalies: Anomalies, fdr: float) -> None:
    order = np.argsort(anomalies.p_values, kind="stable")
    rank = np.arange(1, len(order) + 1)
    colors = np.where(anomalies.found[order], _FOUND, _PLAIN)
    axes.scatter(rank, anomalies.p_values[order], s=14, c=colors)
    axes.plot(rank, fdr * rank / len(rank), color="0.3", linewidth=1, label=f"{fdr:g} rank / {len(rank)}")
    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="p-value")
    axes.set_title(f"{anomalies.found.sum()} of {len(rank)} rows are anomalies", fontsize="medium")
    axes.legend(frameon=False)


def _draw_rows(axes: Any, anomalies: Anomalies, rows: Floats) -> None:
    if rows.shape[1] == 1:
        places, labels = np.c_[rows[:, 0], anomalies.log_density], ("value", "log-density (nats)")
    else:
        places, labels = principal_plane(rows)[0], ("principal direction 1", "principal direction 2")
    for mask, color, size, name in (
        (~anomalies.found, _PLAIN, 10, "other rows"),
        (anomalies.found, _FOUND, 30, "anomalies"),
    ):
        axes.scatter(*places[mask].T, s=size, color=color, alpha=0.8, label=name)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.legend(frameon=False)
