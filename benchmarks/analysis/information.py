"""Entropy, divergences, Fisher and mutual information beside nearest neighbours, where the truth is known.

All on the same draws of N rows, mapped by a random affine map. Nearest neighbours (k = 3): the entropy of
Kozachenko and Leonenko, the divergence of Wang, Kulkarni and Verdu, the mutual information of Kraskov,
Stoegbauer and Grassberger (the first of their two), each in whitened coordinates, which are its best. KDE
(Scott's bandwidth, whitened) gives Fisher informations, its scores at rows left out. Gaussian: the closed
form at the sample's mean and covariance.

    python -m benchmarks.analysis.information --out docs/information
"""

import resource
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from scipy.integrate import quad
from scipy.spatial import KDTree
from scipy.special import digamma, gammaln
from scipy.stats import multivariate_t, norm

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.report import write
from discoformer.information import (
    FOLDS,
    Information,
    entropy,
    fisher,
    kl,
    mutual_information,
    relative_fisher,
)
from discoformer_training.evaluation.baselines import whitened_axes

K = 3  # of the nearest neighbours
FREEDOM = 5.0  # of the Student-t distributions
SHAPE = 3.0  # of the gamma distributions
APART, SHIFT, STRETCH, LINK = 2.5, 0.5, 1.3, 0.6  # half the distance of clusters; of g from f; correlation
DIMS = (1, 5, 20)
BIG = 10_000, 10  # N and D of the time and memory


class Case(NamedTuple):
    """Samples, and the truth about the distributions behind them."""

    samples: tuple[Floats, ...]  # one or two of N rows
    truth: float


@dataclass(frozen=True)
class Result:
    """One estimator on one draw."""

    quantity: str
    family: str
    dim: int  # D, in all
    n: int  # N
    draw: int
    estimator: str
    error: float  # of the estimate; of a Fisher information relative to the truth
    standard_error: float  # as it says itself, likewise; 0 where it says none
    seconds: float


def clusters(x: float) -> float:
    """Density of two clusters on a line."""
    return float(0.5 * (norm.pdf(x - APART) + norm.pdf(x + APART)))


def clusters_score(x: float) -> float:
    """Its score."""
    return APART * float(np.tanh(APART * x)) - x


LINE = -APART - 9, APART + 9
CLUSTERS_ENTROPY = quad(lambda x: -clusters(x) * np.log(clusters(x)), *LINE)[0]
CLUSTERS_FISHER = quad(lambda x: clusters(x) * clusters_score(x) ** 2, *LINE)[0]
NORMAL_ENTROPY = 0.5 * np.log(2 * np.pi * np.e)
GAMMA_ENTROPY = SHAPE + gammaln(SHAPE) + (1 - SHAPE) * digamma(SHAPE)


def plain(family: str, n: int, dim: int, rng: np.random.Generator) -> Floats:
    """A sample (n, D) of a family, before the affine map."""
    if family == "Gaussian":
        return rng.normal(size=(n, dim))
    if family == "Student-t":
        return rng.normal(size=(n, dim)) / np.sqrt(rng.chisquare(FREEDOM, (n, 1)) / FREEDOM)
    if family == "gamma":
        return rng.gamma(SHAPE, size=(n, dim))
    x = rng.normal(size=(n, dim))
    x[:, 0] += APART * rng.choice([-1.0, 1.0], n)
    return x


ENTROPIES: dict[str, Callable[[int], float]] = {
    "Gaussian": lambda dim: dim * NORMAL_ENTROPY,
    "clusters": lambda dim: CLUSTERS_ENTROPY + (dim - 1) * NORMAL_ENTROPY,
    "gamma": lambda dim: dim * float(GAMMA_ENTROPY),
    "Student-t": lambda dim: float(multivariate_t(np.zeros(dim), np.eye(dim), FREEDOM).entropy()),
}
FISHERS: dict[str, Callable[[int], float]] = {
    "Gaussian": float,
    "clusters": lambda dim: CLUSTERS_FISHER + dim - 1,
    "Student-t": lambda dim: dim * (FREEDOM + dim) / (FREEDOM + dim + 2),
}


def affine(dim: int, rng: np.random.Generator) -> Floats:
    """A random matrix (D, D) of condition about 5."""
    left, right = (np.linalg.qr(rng.normal(size=(dim, dim)))[0] for _ in range(2))
    return (left * np.geomspace(1, 5, dim)) @ right


def entropy_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """A sample in a random affine frame."""
    A = affine(dim, rng)
    return Case((plain(family, n, dim, rng) @ A,), ENTROPIES[family](dim) + float(np.linalg.slogdet(A)[1]))


def kl_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """f, and the same family wider and moved; by quadrature, but for Gaussians."""
    A = affine(dim, rng)
    x, y = plain(family, n, dim, rng), SHIFT + STRETCH * plain(family, n, dim, rng)
    each = 0.5 * ((1 + SHIFT**2) / STRETCH**2 - 1) + np.log(STRETCH)
    if family == "Gaussian":
        return Case((x @ A, y @ A), dim * float(each))

    def excess(x: float) -> float:
        return clusters(x) * float(np.log(clusters(x) / clusters((x - SHIFT) / STRETCH) * STRETCH))

    return Case((x @ A, y @ A), quad(excess, *LINE, limit=200)[0] + (dim - 1) * float(each))


def fisher_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """A sample in a random rotation: the trace is no affine invariant."""
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return Case((plain(family, n, dim, rng) @ turn,), FISHERS[family](dim))


def relative_fisher_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """f, and the same family wider and moved, in a random rotation."""
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    x, y = plain(family, n, dim, rng), SHIFT + STRETCH * plain(family, n, dim, rng)
    each = (1 - STRETCH**-2) ** 2 + (SHIFT / STRETCH**2) ** 2

    def excess(x: float) -> float:
        return clusters(x) * (clusters_score(x) - clusters_score((x - SHIFT) / STRETCH) / STRETCH) ** 2

    first = each if family == "Gaussian" else quad(excess, *LINE, limit=200)[0]
    return Case((x @ turn, y @ turn), first + (dim - 1) * each)


def information_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """Two halves of the columns, linked pair by pair; Gaussian, or with a common Student-t scale."""
    half = dim // 2
    x, noise = np.split(plain(family, n, 2 * half, rng), 2, axis=1)
    y = LINK * x + np.sqrt(1 - LINK**2) * noise
    truth = -0.5 * half * np.log(1 - LINK**2)
    if family == "Student-t":
        truth += 2 * (ENTROPIES[family](half)) - ENTROPIES[family](2 * half)
    return Case((x @ affine(half, rng), y @ affine(half, rng)), float(truth))


def log_ball(dim: int) -> float:
    """Logarithm of the volume of the unit ball."""
    return 0.5 * dim * float(np.log(np.pi)) - float(gammaln(0.5 * dim + 1))


def neighbour_entropy(x: Floats) -> float:
    """Kozachenko-Leonenko, in whitened coordinates."""
    n, dim = x.shape
    axes = whitened_axes(x)
    radius = KDTree(x @ axes).query(x @ axes, K + 1)[0][:, K]
    found = digamma(n) - digamma(K) + log_ball(dim) + dim * np.log(radius).mean()
    return float(found - np.linalg.slogdet(axes)[1])


def neighbour_kl(x: Floats, y: Floats) -> float:
    """Wang-Kulkarni-Verdu, in the whitened coordinates of both."""
    axes = whitened_axes(np.concatenate([x, y]))
    x, y = x @ axes, y @ axes
    own, other = KDTree(x).query(x, K + 1)[0][:, K], KDTree(y).query(x, K)[0][:, K - 1]
    return float(x.shape[1] * np.log(other / own).mean() + np.log(len(y) / (len(x) - 1)))


def neighbour_information(x: Floats, y: Floats) -> float:
    """Kraskov-Stoegbauer-Grassberger, the first, the maximum of the whitened distances."""
    x, y = x @ whitened_axes(x), y @ whitened_axes(y)
    apart = [np.linalg.norm(z[:, None] - z, axis=-1) for z in (x, y)]
    for distances in apart:
        np.fill_diagonal(distances, np.inf)
    radius = np.partition(np.maximum(*apart), K - 1, axis=1)[:, K - 1 : K]
    counts = [(distances < radius).sum(axis=1) for distances in apart]
    return float(digamma(K) + digamma(len(x)) - sum(digamma(count + 1) for count in counts).mean())


def kde_score(y: Floats, queries: Floats, own: bool) -> Floats:
    """Score at queries of the KDE of y in whitened coordinates; each left out, if they are its own rows."""
    n, dim = y.shape
    axes, h = whitened_axes(y), n ** (-1 / (dim + 4))
    u, v = y @ axes, queries @ axes
    logits = -np.square(v[:, None] - u).sum(axis=-1) / (2 * h**2)
    if own:
        np.fill_diagonal(logits, -np.inf)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights @ u - v) / h**2 @ axes.T


def kde_fisher(x: Floats) -> float:
    """Mean squared score of the KDE, each row left out."""
    return float(np.square(kde_score(x, x, own=True)).sum(axis=1).mean())


def kde_relative_fisher(x: Floats, y: Floats) -> float:
    """Mean squared difference of the scores of two KDEs."""
    change = kde_score(x, x, own=True) - kde_score(y, x, own=False)
    return float(np.square(change).sum(axis=1).mean())


def moments(x: Floats) -> tuple[Floats, Floats]:
    """Mean and covariance."""
    return x.mean(axis=0), np.cov(x.T).reshape(x.shape[1], -1)


def gaussian_entropy(x: Floats) -> float:
    """Of the Gaussian with the sample's covariance."""
    return x.shape[1] * float(NORMAL_ENTROPY) + 0.5 * float(np.linalg.slogdet(moments(x)[1])[1])


def gaussian_kl(x: Floats, y: Floats) -> float:
    """Between the Gaussians with the samples' moments."""
    (m, C), (mean, covariance) = moments(x), moments(y)
    P = np.linalg.inv(covariance)
    logs = np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(C)[1]
    return 0.5 * float(np.trace(P @ C) - len(m) + (m - mean) @ P @ (m - mean) + logs)


def gaussian_fisher(x: Floats) -> float:
    """Of the Gaussian with the sample's covariance."""
    return float(np.trace(np.linalg.inv(moments(x)[1])))


def gaussian_relative_fisher(x: Floats, y: Floats) -> float:
    """Between the Gaussians with the samples' moments."""
    (m, C), (mean, covariance) = moments(x), moments(y)
    P = np.linalg.inv(covariance)
    slope = P - np.linalg.inv(C)
    return float(np.trace(slope @ C @ slope.T) + np.square(P @ (m - mean)).sum())


def gaussian_information(x: Floats, y: Floats) -> float:
    """Of the Gaussian with the samples' covariance."""
    return gaussian_entropy(x) + gaussian_entropy(y) - gaussian_entropy(np.hstack([x, y]))


class Quantity(NamedTuple):
    """What is estimated: ours, the others, and the cases where the truth is known."""

    ours: Callable[..., Information]
    others: dict[str, Callable[..., float]]
    case: Callable[[str, int, int, np.random.Generator], Case]
    families: Sequence[str]
    dims: Sequence[int] = DIMS


QUANTITIES = {
    "entropy": Quantity(
        entropy,
        {"nearest neighbours": neighbour_entropy, "Gaussian": gaussian_entropy},
        entropy_case,
        list(ENTROPIES),
    ),
    "kl": Quantity(
        kl, {"nearest neighbours": neighbour_kl, "Gaussian": gaussian_kl}, kl_case, ["Gaussian", "clusters"]
    ),
    "mutual_information": Quantity(
        mutual_information,
        {"nearest neighbours": neighbour_information, "Gaussian": gaussian_information},
        information_case,
        ["Gaussian", "Student-t"],
        (2, 10, 20),
    ),
    "fisher": Quantity(
        fisher, {"KDE": kde_fisher, "Gaussian": gaussian_fisher}, fisher_case, list(FISHERS), (1, 5, 20)
    ),
    "relative_fisher": Quantity(
        relative_fisher,
        {"KDE": kde_relative_fisher, "Gaussian": gaussian_relative_fisher},
        relative_fisher_case,
        ["Gaussian", "clusters"],
        (1, 5, 10),
    ),
}


def integral(model: discoformer.Model, x: Floats, seed: int) -> float:
    """Mean log-integral of the estimates that the entropy is read from, in expectation over deals."""
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
    fits = model.estimate_batch([x[fold != k] for k in range(FOLDS)])
    return float(np.mean([p.normalization(512, seed).log_integral for p in fits]))


def measure(
    model: discoformer.Model, names: Sequence[str], n: int, draws: int, seed: int
) -> Iterator[Result]:
    """Yields results, quantity by quantity."""
    cells = [
        (name, family, dim)
        for name in names
        for family in QUANTITIES[name].families
        for dim in QUANTITIES[name].dims
    ]
    for name, family, dim in cells:
        quantity = QUANTITIES[name]
        for draw in range(draws):
            case = quantity.case(family, n, dim, np.random.default_rng([seed, draw, dim]))
            unit = abs(case.truth) if "fisher" in name else 1.0

            def result(estimator: str, value: float, error: float = 0.0, seconds: float = 0.0) -> Result:
                off = (value - case.truth) / unit  # noqa: B023
                return Result(name, family, dim, n, draw, estimator, off, error / unit, seconds)  # noqa: B023

            start = time.process_time()
            found = quantity.ours(*case.samples, model=model, seed=seed)
            yield result("value", found.value, found.standard_error, time.process_time() - start)
            yield result("held out alone", found.held_out)
            yield result("in sample alone", found.in_sample)
            if name == "entropy":
                subtracted = found.value + integral(model, case.samples[0], seed)
                yield result("value, integral subtracted", subtracted)
            for estimator, function in quantity.others.items():
                yield result(estimator, function(*case.samples))


def table(results: Sequence[Result]) -> str:
    """Markdown: for each quantity a table of errors, and of what ours says of itself."""
    parts = []
    for name in dict.fromkeys(r.quantity for r in results):
        here = [r for r in results if r.quantity == name]
        estimators = list(dict.fromkeys(r.estimator for r in here))
        lines = [f"| {name}: family, D | {' | '.join(estimators)} | says, of itself | within 2 of these |"]
        lines.append("|---" * (3 + len(estimators)) + "|")
        for family, dim in dict.fromkeys((r.family, r.dim) for r in here):
            cell = [r for r in here if (r.family, r.dim) == (family, dim)]
            entries = [_entry([r for r in cell if r.estimator == estimator]) for estimator in estimators]
            own = [r for r in cell if r.estimator == "value"]
            within = np.mean([abs(r.error) < 2 * r.standard_error for r in own])
            entries += [f"{np.mean([r.standard_error for r in own]):.2g}", f"{within:.0%}"]
            lines.append(f"| {family}, {dim} | {' | '.join(entries)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _entry(results: Sequence[Result]) -> str:
    """Root mean squared error and its standard error over draws, and the mean error."""
    square = np.square([r.error for r in results])
    root = np.sqrt(square.mean())
    spread = square.std(ddof=1) / np.sqrt(len(square)) / (2 * root) if len(square) > 1 else 0.0
    return f"{root:.2g} ± {spread:.1g} ({np.mean([r.error for r in results]):+.2g})"


def cost(model: discoformer.Model, seed: int) -> str:
    """Seconds and memory of a large sample."""
    points = np.random.default_rng(seed).normal(size=BIG)
    said = []
    for name in ("entropy", "fisher"):
        start = time.process_time()
        QUANTITIES[name].ours(points, model=model)
        said.append(f"{name} {time.process_time() - start:.0f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return (
        f"CPU time for N = {BIG[0]:,}, D = {BIG[1]}, one thread: {', '.join(said)}; the process held "
        f"{peak:.0f} MiB at most."
    )


def report(model: discoformer.Model, results: Sequence[Result], seed: int, said: str) -> str:
    """Markdown: what was measured, and the tables."""
    about, draws, n = model.metadata, 1 + max(r.draw for r in results), results[0].n
    return f"""\
Model `{about.name}` {about.version}, N = {n} rows in D columns, {FOLDS} folds: root mean squared error over
{draws} draws ± its standard error, and the mean error (in brackets); in nats, for Fisher informations
relative to the truth. Seed {seed}. *Value* is the mean of the held-out and the in-sample figure; what it
*says of itself* is its mean standard error.

{table(results)}

{said}

`python -m benchmarks.analysis.information --n {n} --draws {draws} --seed {seed} --out docs/information`
"""


@click.command()
@click.option("--model", "folder", default="base", show_default=True, help="Name or folder of a model.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the .md and .json.")
@click.option(
    "--quantity", "names", multiple=True, type=click.Choice(list(QUANTITIES)), default=tuple(QUANTITIES)
)
@click.option("--n", type=click.IntRange(10), default=500, show_default=True, help="Rows of each sample.")
@click.option("--draws", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(folder: str, out: Path | None, names: Sequence[str], n: int, draws: int, seed: int) -> None:
    """Measures, prints the tables, and writes them with all results to --out."""
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    model, results = discoformer.load(folder, device="cpu", threads=1), []
    for result in measure(model, names, n, draws, seed):
        results.append(result)
        if result.estimator == "Gaussian":
            click.echo(f"{result.quantity}, {result.family}, D={result.dim}, draw {result.draw}", err=True)
        if out is not None and (result.estimator, result.draw) == ("Gaussian", draws - 1):
            _save(out, model, results, seed, "")  # what is measured is kept
    text = _save(out, model, results, seed, cost(model, seed))
    click.echo(text)


def _save(out: Path | None, model: discoformer.Model, results: list[Result], seed: int, said: str) -> str:
    text = report(model, results, seed, said)
    if out is not None:
        write(out, model.metadata.name, model, seed, text, [asdict(result) for result in results])
    return text


if __name__ == "__main__":
    main()
