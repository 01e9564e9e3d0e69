"""Pictures of how the model works, of what it is trained on, and of recorded results."""

import json
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch
from scipy.stats import gaussian_kde

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.pictures.drawing import COLOURS, INK, SIGNAL, dots, panels, plane
from benchmarks.pictures.guides import moons, spiral
from discoformer_training.data.families import draw_density

RECORD = Path(__file__).parents[2] / "docs" / "runtimes.json"


def pipeline() -> Figure:
    """The way from a sample to answers."""
    figure = Figure(figsize=(10, 2.6), layout="constrained")
    axis = figure.subplots()
    steps = {
        0: ("sample X", "N rows, D columns,\nany units"),
        1: ("frame", "affine coordinates with\nnearly round clusters"),
        2: ("mixture network", "one forward pass"),
        3: ("mixture", 'effort="fast"\nanswers by a formula'),
        4: ("heads", 'effort="best"\nrefine each query'),
    }
    for i, (name, text) in steps.items():
        kind = {3: COLOURS[2], 4: COLOURS[1]}.get(i, COLOURS[0])
        axis.add_patch(
            FancyBboxPatch((2.3 * i, 0), 1.75, 1, boxstyle="round,pad=0.1", fc=kind, ec="none", alpha=0.15)
        )
        axis.text(2.3 * i + 0.875, 0.78, name, ha="center", va="center", weight="bold", color=INK)
        axis.text(2.3 * i + 0.875, 0.3, text, ha="center", va="center", fontsize=8.5, color=INK)
        if i:
            axis.annotate("", (2.3 * i - 0.12, 0.5), (2.3 * i - 0.43, 0.5), arrowprops={"arrowstyle": "->"})
    for i in (3, 4):
        axis.annotate("", (2.3 * i + 0.875, -0.62), (2.3 * i + 0.875, -0.12), arrowprops={"arrowstyle": "->"})
        axis.text(2.3 * i + 0.875, -0.82, "log-density, score", ha="center", color=INK, fontsize=9)
    axis.set(xlim=(-0.2, 11.2), ylim=(-1, 1.2))
    axis.axis("off")
    return figure


def frame() -> Figure:
    """A sample in its units, whitened, and in the frame."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 500)
    inner = rng.normal(size=(500, 2)) * [1.6, 0.12] + np.array([[0, 0], [1, 1], [2, -1]])[label]
    x = inner @ np.array([[800.0, 0.3], [-300.0, 0.5]])
    away = x - x.mean(axis=0)
    whitened = away @ np.linalg.inv(np.linalg.cholesky(np.cov(away.T))).T
    framed = discoformer.estimate(x).frame.to_frame(x)
    figure, axes = panels(3)
    titles = ("in the units of the data", "whitened", "in the frame")
    for axis, points, title in zip(axes, (x, whitened, framed), titles, strict=True):
        for k in range(3):
            dots(axis, points[label == k], color=COLOURS[k], alpha=0.7)
        axis.set(title=title, xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_aspect("auto" if points is x else "equal")
    return figure


def kernels() -> Figure:
    """One bandwidth for all points, and bandwidths that the network chooses."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 300), rng.normal(4, 0.08, 200)])[:, None]
    grid = np.linspace(-4, 5, 800)[:, None]
    truth = [
        share * np.exp(-(((grid[:, 0] - m) / s) ** 2) / 2) / s / np.sqrt(2 * np.pi)
        for share, m, s in ((0.6, 0, 1), (0.4, 4, 0.08))
    ]
    estimates = {
        "KDE, broad": gaussian_kde(x[:, 0])(grid[:, 0]),
        "KDE, narrow": gaussian_kde(x[:, 0], 0.02)(grid[:, 0]),
        "DiScoFormer": discoformer.estimate(x).density(grid),
    }
    figure, axes = panels(3, height=2.8)
    for axis, (title, values) in zip(axes, estimates.items(), strict=True):
        axis.fill_between(grid[:, 0], sum(truth), color="#d7dbe0")
        axis.plot(grid[:, 0], values, color=COLOURS[0], linewidth=1.2)
        axis.set(title=title, ylim=(0, 2.3), yticks=[])
    return figure


def mixture() -> Figure:
    """The components of the mixture that one forward pass gives."""
    x = spiral(400)
    p = discoformer.estimate(x, effort="fast")
    weight, mean, covariance = _components(p)
    figure, axes = panels(2, width=7.5)
    dots(axes[0], x)
    for k in np.argsort(-weight)[:150]:
        size, axes_of = np.linalg.eigh(covariance[k])
        angle = np.degrees(np.arctan2(*axes_of[::-1, 1]))
        width, height = 2 * np.sqrt(size[::-1])
        shade = min(1.0, 0.15 + 60 * weight[k])
        axes[1].add_patch(Ellipse(mean[k], width, height, angle=angle, fc="none", ec=COLOURS[0], alpha=shade))
    for axis, title in zip(axes, ("400 points", "150 components of the mixture"), strict=True):
        plane(axis, title)
        axis.set(xlim=(-4.6, 4.6), ylim=(-4.6, 4.6))
    return figure


def _components(p: discoformer.Estimate) -> tuple[Floats, Floats, Floats]:
    """Return weights (K,), means (K, 2) and scales (K, 2, 2) of the mixture, in data units."""
    found = p.components
    factors = found.precision_factors[0]
    log_det = np.log(np.abs(np.diagonal(factors, axis1=1, axis2=2))).sum(axis=1)
    weight = np.exp(found.log_scale[0] - log_det)
    back = np.linalg.inv(p.frame.linear)
    root = np.swapaxes(np.linalg.inv(factors), 1, 2) @ back
    return weight / weight.sum(), p.frame.to_data(found.means[0]), np.swapaxes(root, 1, 2) @ root


def heads() -> Figure:
    """The score of a Laplace density along a line, by several methods."""
    x = np.random.default_rng(0).laplace(size=(1024, 2))
    line = np.stack([np.linspace(-4, 4, 400), np.full(400, 0.5)], axis=1)
    figure, axes = panels(3, height=2.8)
    kde, step = gaussian_kde(x.T), np.array([[1e-4], [0.0]])
    curves = {
        "KDE, Scott's rule": (kde.logpdf(line.T + step) - kde.logpdf(line.T - step)) / 2e-4,
        'effort="fast"': discoformer.estimate(x, effort="fast").score(line)[:, 0],
        'effort="best"': discoformer.estimate(x).score(line)[:, 0],
    }
    for axis, (title, values) in zip(axes, curves.items(), strict=True):
        axis.plot(line[:, 0], -np.sign(line[:, 0]), color="#aab0b8", linewidth=3)
        axis.plot(line[:, 0], values, color=COLOURS[0], linewidth=1.2)
        axis.set(title=title, ylim=(-2, 2), xlabel="x (grey: truth)")
    return figure


def adaptation() -> Figure:
    """The change of the loss with the steps of adaptation, on points to learn from and on held-out points."""
    x = moons(1024)
    found = discoformer.estimate(x).adapt().adaptation
    assert found is not None
    figure, (axis,) = panels(1, height=3.0, width=6.0)
    axis.plot(found.loss, color=COLOURS[0], label="points it learns from")
    steps, error = np.arange(len(found.loss)), np.array(found.held_out_error)
    axis.plot(steps, found.held_out, color=SIGNAL, label="held-out points ± 1 error")
    axis.fill_between(steps, found.held_out - error, found.held_out + error, color=SIGNAL, alpha=0.2)
    axis.axvline(found.steps, color=INK, linestyle=":", label=f"kept: {found.steps} steps")
    axis.set(xlabel="steps", ylabel="change of the loss", xlim=(0, len(found.loss) - 1))
    axis.legend(frameon=False)
    return figure


def stream() -> Figure:
    """Samples of twelve families of the training stream."""
    names = ("laplace", "student", "gamma", "plateau", "clusters", "outliers")
    names += ("ring", "spirals", "curves", "banana", "scales", "structural")
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for i, (axis, name) in enumerate(zip(figure.subplots(2, 6).flat, names, strict=True)):
        generator = torch.Generator().manual_seed(i)
        density = draw_density(name, 1, 2, generator=generator)
        dots(axis, density.sample(400, generator=generator)[0].numpy(), s=3)
        axis.set(title=name.replace("_", " "), xticks=[], yticks=[])
    return figure


def runtimes() -> Figure:
    """The largest error of each runtime against the golden answers."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))["runtimes"].values()
    names = [f"{row['title']} {row['version']}" for row in record]
    worst = [max(row["errors"]["discoformer.onnx"].values()) for row in record]
    figure, (axis,) = panels(1, height=3.0, width=8.0)
    axis.barh(names, worst, color=COLOURS[0])
    axis.invert_yaxis()
    axis.set(xscale="log", xlabel="largest error of discoformer.onnx, over 1 + largest answer")
    return figure
