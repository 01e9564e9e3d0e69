"""Parts of pictures: figures, densities in the plane, arrows of the score, and files of few bytes."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from discoformer.io.inputs import Floats

INK, SIGNAL = "#1f2937", "#e4572e"
COLOURS = ("#3f51b5", "#e4572e", "#2a9d8f", "#9aa0a6")
COLOUR_COUNT = 128  # of a picture file
RESOLUTION = 110  # pixels per inch


def panels(count: int, height: float = 3.4, width: float = 10.0) -> tuple[Figure, list[Any]]:
    """Return a figure with panels side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def plane(axis: Any, title: str) -> None:
    """Make a panel a map: no ticks, equal scales."""
    axis.set(title=title, aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def density_map(axis: Any, log_density: Callable[[Floats], Floats], box: Floats, levels: int = 8) -> None:
    """Fill a panel with a density. ``box`` is (2, 2): the least and the greatest x and y."""
    grid = lattice(box, 120)
    values = np.exp(log_density(grid)).reshape(120, 120)
    axis.contourf(*grid.T.reshape(2, 120, 120), values, levels=levels, cmap="Blues")


def arrows(axis: Any, score: Callable[[Floats], Floats], box: Floats, count: int = 14) -> None:
    """Draw the score as arrows, whose length grows with the logarithm of that of the score."""
    points = lattice(box, count)
    found = score(points)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    axis.quiver(*points.T, *(found / length * np.log1p(length)).T, color=SIGNAL, width=0.004)


def dots(axis: Any, points: Floats, **style: Any) -> None:
    """Draw points of the plane."""
    axis.scatter(*points.T, **({"s": 5, "color": INK, "linewidths": 0, "alpha": 0.6} | style))


def lattice(box: Floats, count: int) -> Floats:
    """Return a regular grid (count^2, 2) over a box."""
    axes = [np.linspace(*sides, count) for sides in np.asarray(box)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def around(points: Floats, margin: float = 0.15) -> Floats:
    """Return the box (2, 2) around points, with a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    edge = margin * (high - low)
    return np.stack([low - edge, high + edge], axis=1)


def save(figure: Figure, path: Path) -> None:
    """Write a picture with few colours, so that its file is small."""
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=RESOLUTION, facecolor="white")
    held.seek(0)
    Image.open(held).convert("RGB").quantize(COLOUR_COUNT).save(path, optimize=True)
