"""Figures of an estimate, depending on the number of columns D. They need the extra ``[plot]``.

- D = 1: a histogram, the density, and the score.
- D = 2: the density with contours, the points, and the score as arrows.
- D > 2, or a singular sample: the points along the two leading principal directions of the standardised
  columns, coloured by log-density.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.errors import require
from discoformer.estimates import Estimate
from discoformer.io.inputs import Floats
from discoformer.plots.pictures import write_picture

_ARROWS = 22  # number of score arrows along each axis
_PIXELS = 200  # number of grid points of the density along each axis
_MARGIN = 0.15  # margin around the points, as a share of their range


def save_figure(
    path: Path, estimate: Estimate, points: Floats, columns: Sequence[str], weights: Floats | None = None
) -> None:
    """Draw an estimate and save the figure.

    Args:
        path: File to write. Its suffix determines the format.
        estimate: The estimate to draw.
        points: Its sample (N, D), data units.
        columns: Names of the D columns.
        weights: Row weights (N,) of the sample, or None.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    figure = require("matplotlib.figure").Figure(figsize=(7, 5.5), layout="constrained")
    if points.shape[1] == 1:
        _draw_line(figure, estimate, points, columns[0], weights)
    elif points.shape[1] == 2 and not estimate.is_singular:
        _draw_plane(figure, estimate, points, columns)
    else:
        _draw_projection(figure, estimate, points)
    write_picture(path, figure, 150)


def grid(points: Floats, count: int) -> Floats:
    """Return a regular grid (count^D, D) over the range of the points and a margin, last column fastest."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * (high - low)
    axes = np.linspace(low - margin, high + margin, count, axis=1)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, points.shape[1])


def _draw_line(figure: Any, estimate: Estimate, points: Floats, name: str, weights: Floats | None) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    x = grid(points, 512)
    log_density, score = estimate.log_density_and_score(x)
    bins = 2 * int(np.cbrt(len(points)))
    above.hist(points[:, 0], bins, weights=weights, density=True, color="0.85", label="sample")
    above.plot(x[:, 0], np.exp(log_density), color="#31688e", linewidth=2, label="density")
    above.set_ylabel(f"density (1 / {name})")
    above.legend(frameon=False)
    below.axhline(0, color="0.7", linewidth=0.8)
    below.plot(x[:, 0], score[:, 0], color="#b5367a", linewidth=1.5)
    below.set_ylabel("score")
    below.set_xlabel(name)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)


def _draw_plane(figure: Any, estimate: Estimate, points: Floats, columns: Sequence[str]) -> None:
    axes = figure.subplots()
    pixels = grid(points, _PIXELS)
    density = np.exp(estimate.log_density(pixels)).reshape(_PIXELS, _PIXELS).T
    x, y = np.unique(pixels[:, 0]), np.unique(pixels[:, 1])
    image = axes.pcolormesh(x, y, density, cmap="viridis", shading="gouraud", rasterized=True)
    axes.contour(x, y, density, levels=8, colors="white", linewidths=0.5, alpha=0.45)
    _draw_score(axes, estimate, points)
    axes.scatter(*points.T, s=7, color="white", edgecolors="black", linewidths=0.4, alpha=0.9)
    axes.set(xlabel=columns[0], ylabel=columns[1], xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    figure.colorbar(image, ax=axes, label="density", pad=0.02)


def _draw_score(axes: Any, estimate: Estimate, points: Floats) -> None:
    """Draw arrows along the score, with each axis scaled by the range of its column."""
    places = grid(points, _ARROWS + 2)
    inner = ((places > places.min(axis=0)) & (places < places.max(axis=0))).all(axis=1)
    places = places[inner]
    extent = np.ptp(points, axis=0)
    slope = estimate.score(places) * extent
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    arrow = slope / (length + np.median(length)) * extent / _ARROWS
    axes.quiver(
        *places.T, *arrow.T, angles="xy", scale_units="xy", scale=0.8, color="white", alpha=0.55, width=0.0022
    )


def principal_plane(points: Floats) -> tuple[Floats, Floats]:
    """Project points (N, D) onto the two leading principal directions of the standardised columns.

    Returns:
        The coordinates (N, 2), and the variances along all min(N, D) directions.
    """
    spread = points.std(axis=0)
    standard = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1)
    _, values, directions = np.linalg.svd(standard, full_matrices=False)
    return standard @ directions[:2].T, values**2 / len(points)


def _draw_projection(figure: Any, estimate: Estimate, points: Floats) -> None:
    places, variances = principal_plane(points)
    share = variances / variances.sum()
    log_density = estimate.log_density(points)
    order = np.argsort(log_density)
    axes = figure.subplots()
    image = axes.scatter(*places[order].T, c=log_density[order], s=14, cmap="viridis")
    axes.set_xlabel(f"principal direction 1 ({share[0]:.0%} of the variance)")
    axes.set_ylabel(f"principal direction 2 ({share[1]:.0%})")
    axes.set_title(f"{points.shape[1]} columns, standardised", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(image, ax=axes, label="log-density (nats)", pad=0.02)
