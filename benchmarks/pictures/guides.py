"""Pictures of the guides. Each function draws one with the released model and a fixed seed."""

import warnings

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.pictures.drawing import COLOURS, SIGNAL, around, arrows, density_map, dots, panels, plane
from discoformer.information import mutual_information
from discoformer.particles import Particles, flow, heat
from discoformer.posterior import sample_posterior


def moons(count: int, seed: int = 0) -> Floats:
    """Draw two half circles with noise."""
    rng = np.random.default_rng(seed)
    angle, upper = rng.uniform(0, np.pi, count), rng.random(count) < 0.5
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    return np.stack([x, y], axis=1) + rng.normal(scale=0.08, size=(count, 2))


def spiral(count: int, seed: int = 0) -> Floats:
    """Draw a spiral with noise."""
    rng = np.random.default_rng(seed)
    angle = 4 * np.pi * np.sqrt(rng.uniform(0.03, 1, count))
    arm = np.stack([np.cos(angle), np.sin(angle)], axis=1) * angle[:, None] / np.pi
    return arm + rng.normal(scale=0.12, size=(count, 2))


def densities() -> Figure:
    """Density and score of two half circles, beside a KDE with Scott's rule."""
    x = moons(400)
    p, kde, box = discoformer.estimate(x), gaussian_kde(x.T), around(x)
    figure, axes = panels(3, height=2.5)
    dots(axes[0], x)
    density_map(axes[1], p.log_density, box)
    arrows(axes[1], p.score, box)
    density_map(axes[2], lambda y: kde.logpdf(y.T), box)
    for axis, title in zip(axes, ("400 points", "density and score", "KDE, Scott's rule"), strict=True):
        plane(axis, title)
        axis.set(xlim=box[0], ylim=box[1])
    return figure


def anomalies() -> Figure:
    """Rows found at a false discovery rate of 10 %, with the estimated density."""
    clean, rng = moons(500), np.random.default_rng(1)
    new = np.concatenate([moons(200, seed=2), rng.uniform((-1.6, -1.2), (2.6, 1.7), (15, 2))])
    found = discoformer.Reference(clean).find(new, fdr=0.1).found
    figure, (axis,) = panels(1, height=3.6, width=5.5)
    box = around(new, 0.05)
    density_map(axis, discoformer.estimate(clean, effort="fast").log_density, box)
    dots(axis, new[~found], s=9)
    dots(axis, new[found], s=36, color=SIGNAL, alpha=1, marker="x", linewidths=1.6)
    plane(axis, f"{found.sum()} of 215 new rows are found")
    return figure


def sampling() -> Figure:
    """A sample, and points drawn from its estimate in three ways."""
    x = spiral(500)
    fast, best = discoformer.estimate(x, effort="fast"), discoformer.estimate(x)
    drawn = {
        "500 points of a spiral": x,
        'effort="fast": exact draws': fast.sample(500),
        "Langevin chains": best.sample(500),
        "diffusion": best.sample(500, method="diffusion"),
    }
    figure, axes = panels(4, height=2.9)
    for axis, (title, points) in zip(axes, drawn.items(), strict=True):
        dots(axis, points)
        plane(axis, title)
        axis.set(xlim=around(x)[0], ylim=around(x)[1])
    return figure


def particles() -> Figure:
    """The heat equation from three clusters, and its entropy beside the truth."""
    rng = np.random.default_rng(0)
    centres = 2.0 * np.array([[0, 1], [0.87, -0.5], [-0.87, -0.5]])
    label = rng.integers(0, 3, 400)
    start = centres[label] + rng.normal(scale=0.3, size=(400, 2))
    path: list[Particles] = []
    flow(start, heat(), duration=1.0, steps=8, on_progress=path.append)
    times, entropies = [run.time for run in path], [run.entropy for run in path]
    figure, axes = panels(3)
    for axis, points, title in zip(axes, (start, path[-1].points), ("t = 0", "t = 1"), strict=False):
        dots(axis, points)
        plane(axis, title)
        axis.set(xlim=(-6, 6), ylim=(-6, 6))
    clock = np.linspace(0, 1, 30)
    exact = [_entropy_of_mixture(centres, 0.09 + 2 * t) for t in clock]
    axes[2].plot(clock, exact, color=COLOURS[3], label="exact")
    axes[2].plot(times, entropies, "o", color=COLOURS[0], label="particles")
    axes[2].set(title="entropy, nats", xlabel="time")
    axes[2].legend(frameon=False)
    return figure


def _entropy_of_mixture(centres: Floats, variance: float) -> float:
    """The entropy of equal Gaussians of one variance, by many draws."""
    rng = np.random.default_rng(3)
    y = centres[rng.integers(0, len(centres), 20_000)]
    y = y + rng.normal(scale=np.sqrt(variance), size=y.shape)
    squares = ((y[:, None] - centres) ** 2).sum(axis=2)
    density = np.exp(-squares / (2 * variance)).mean(axis=1) / (2 * np.pi * variance)
    return float(-np.log(density).mean())


def posteriors() -> Figure:
    """Particles moved from a wide start to a curved posterior, of which only the score is known."""
    rng = np.random.default_rng(0)

    def score(y: Floats) -> Floats:
        away = y[:, 1] - y[:, 0] ** 2 / 2 + 1
        return np.stack([-y[:, 0] / 2 + 4 * away * y[:, 0], -4 * away], axis=1)

    start = rng.normal(scale=2.0, size=(200, 2))
    found = sample_posterior(score, start)
    figure, axes = panels(2, width=7.5)
    box = np.array([[-5.5, 5.5], [-5.0, 7.5]])
    titles = ("start", f"after {found.gradients} gradients for each particle")
    for axis, points, title in zip(axes, (start, found.points), titles, strict=True):
        density_map(axis, lambda y: -(y[:, 0] ** 2) / 4 - 2 * (y[:, 1] - y[:, 0] ** 2 / 2 + 1) ** 2, box)
        dots(axis, points, s=9)
        plane(axis, title)
        axis.set(xlim=box[0], ylim=box[1])
    return figure


def information() -> Figure:
    """Mutual information of two correlated columns from 500 rows, beside the exact value."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 500, 1))
    correlations = np.array([0.0, 0.3, 0.6, 0.8, 0.9, 0.95])
    found = [
        mutual_information(noise[0], r * noise[0] + np.sqrt(1 - r**2) * noise[1], effort="fast")
        for r in correlations
    ]
    figure, (axis,) = panels(1, width=5.5)
    fine = np.linspace(0, 0.96, 100)
    axis.plot(fine, -np.log(1 - fine**2) / 2, color=COLOURS[3], label="exact")
    values, errors = [i.value for i in found], [2 * i.standard_error for i in found]
    axis.errorbar(
        correlations, values, errors, fmt="o", color=COLOURS[0], capsize=3, label="estimate ± 2 errors"
    )
    axis.set(xlabel="correlation", ylabel="mutual information, nats", title="500 rows")
    axis.legend(frameon=False)
    return figure


def imputation() -> Figure:
    """Missing values of y filled in for given x: by draws of the conditional density, and by regression."""
    x = moons(500)
    holed = moons(150, seed=6)
    holed[:, 1] = np.nan
    drawn = discoformer.estimate(x).impute(holed, draws=1)
    drawn = drawn[0] if drawn.ndim == 3 else drawn
    chained = IterativeImputer(random_state=0, sample_posterior=True).fit(x).transform(holed)
    figure, axes = panels(3, height=2.6)
    for axis, points, title in zip(
        axes, (x, drawn, chained), ("complete rows", "draws of p(y | x)", "IterativeImputer"), strict=True
    ):
        dots(axis, points, color=COLOURS[0] if points is not x else "#1f2937", s=9)
        plane(axis, title)
        axis.set(xlim=around(x)[0], ylim=(-2, 2))
    return figure


def tables() -> Figure:
    """Daily rain, many zeros and values rounded to 0.5 mm, read as cells and atoms, and as it is."""
    rng = np.random.default_rng(0)
    rain = np.where(rng.random(400) < 0.4, 0.0, np.round(2 * rng.gamma(1.5, 3.0, 400)) / 2)[:, None]
    grid = np.linspace(-1, 20, 800)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = {
            "values are cells, 0.5 mm wide (default)": discoformer.estimate(rain),
            "rounding=None": discoformer.estimate(rain, rounding=None),
        }
    figure, axes = panels(2, height=2.8, width=8.5)
    for axis, (title, p) in zip(axes, read.items(), strict=True):
        axis.hist(rain[:, 0], bins=np.arange(-0.25, 20, 0.5), density=True, color="#d7dbe0")
        axis.plot(grid[:, 0], p.density(grid), color=COLOURS[0])
        axis.set(title=title, ylim=(0, 0.5), xlabel="rain, mm")
    return figure
