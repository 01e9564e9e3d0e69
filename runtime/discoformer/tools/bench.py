"""Speed and error beside what one would use instead, in one run: ``discoformer bench``.

Contexts and queries are draws of one mixture of five Gaussians, whose density is known. Everything is timed
on the same arrays, in turns, the best of a few; what counts are ratios within a run. Beside this package
stand, where they are installed,

- scikit-learn's ``KernelDensity`` and SciPy's ``gaussian_kde``, with Scott's bandwidth in whitened
  coordinates: the same density (at D = 50 scikit-learn's sum over its tree is off by tens of nats);
- the same network in PyTorch, eager, from the ``weights.safetensors`` of the model, fed the same context.

Speed is also given as GFLOP/s of the matrix products in the attention of the query pass, beside a plain
matrix product on the same machine.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.analysis.torch_network import EagerGraphs
from discoformer.errors import require
from discoformer.io.inputs import Floats
from discoformer.model import Model
from discoformer.onnx.weights import FILE

_MODES = 5


@dataclass(frozen=True)
class Timing:
    """One estimator on one context and as many queries."""

    estimator: str
    dim: int  # D
    n: int  # N context points, and as many queries
    threads: int  # that it makes use of
    fit_s: float  # seconds to read the context
    query_s: float  # seconds to answer all queries
    density_error: float  # mean squared error of the log-density, nats^2
    score_error: float | None  # relative squared error of the score, None where it has none
    gflops: float | None = None  # of the matrix products of attention in the query pass
    matmul_gflops: float | None = None  # of a plain matrix product

    @property
    def per_query_us(self) -> float:
        """Microseconds for each query."""
        return 1e6 * self.query_s / self.n


@dataclass(frozen=True)
class _Mixture:
    """Five Gaussians in D dimensions."""

    means: Floats  # (5, D)
    factors: Floats  # (5, D, D) lower triangular, of the covariances

    @staticmethod
    def drawn(dim: int, seed: int) -> "_Mixture":
        rng = np.random.default_rng((seed, dim))
        factors = np.tril(rng.normal(size=(_MODES, dim, dim)) / dim**0.5, -1)
        return _Mixture(3 * rng.normal(size=(_MODES, dim)), factors + np.eye(dim) * rng.uniform(0.4, 1, dim))

    def sample(self, n: int, seed: int) -> Floats:
        rng = np.random.default_rng((seed, n))
        modes = rng.integers(_MODES, size=n)
        z = rng.normal(size=(n, self.means.shape[1]))
        return self.means[modes] + np.einsum("nij,nj->ni", self.factors[modes], z)

    def log_density_and_score(self, points: Floats) -> tuple[Floats, Floats]:
        dim = points.shape[1]
        logs, scores = [], []
        for mean, factor in zip(self.means, self.factors, strict=True):
            z = np.linalg.solve(factor, (points - mean).T).T
            logs.append(
                -0.5 * np.square(z).sum(1) - np.log(np.diag(factor)).sum() - dim / 2 * math.log(2 * math.pi)
            )
            scores.append(-np.linalg.solve(factor.T, z.T).T)
        joint = np.array(logs) - math.log(_MODES)
        log_density = np.logaddexp.reduce(joint, 0)
        share = np.exp(joint - log_density)
        return log_density, np.einsum("kn,knd->nd", share, np.array(scores))


@dataclass(frozen=True)
class _Contender:
    """An estimator: reads a context, then answers queries by log-density and, if it can, score."""

    name: str
    threads: int
    fit: Callable[[Floats], Any]
    answer: Callable[[Any, Floats], tuple[Floats, Floats | None]]


def measure(
    model: Model, dims: Sequence[int], sizes: Sequence[int], repeats: int = 3, seed: int = 0
) -> Iterator[Timing]:
    """Times every estimator at N = M for every size and dimension.

    Args:
        model: The model.
        dims: Dimensions D.
        sizes: Numbers of context points and of queries.
        repeats: Of which the quickest counts.
        seed: Of the draws.

    Returns:
        The timings, as they are taken.
    """
    contenders = list(_contenders(model))
    rate = _matmul_rate()
    for dim in dims:
        mixture = _Mixture.drawn(dim, seed)
        for n in sizes:
            x, y = mixture.sample(n, seed + 1), mixture.sample(n, seed + 2)
            truth = mixture.log_density_and_score(y)
            best: dict[str, tuple[float, float]] = {}
            answers = {}
            for _ in range(repeats):
                for contender in contenders:
                    start = time.perf_counter()
                    fitted = contender.fit(x)
                    middle = time.perf_counter()
                    answers[contender.name] = contender.answer(fitted, y)
                    took = middle - start, time.perf_counter() - middle
                    so_far = best.get(contender.name, took)
                    best[contender.name] = min(took[0], so_far[0]), min(took[1], so_far[1])
            for contender in contenders:
                name = contender.name
                yield _timing(contender, dim, n, best[name], answers[name], truth, model, rate)


def _timing(
    contender: _Contender,
    dim: int,
    n: int,
    took: tuple[float, float],
    answer: tuple[Floats, Floats | None],
    truth: tuple[Floats, Floats],
    model: Model,
    rate: float,
) -> Timing:
    log_density, score = answer
    ours = contender.name == "discoformer"
    return Timing(
        contender.name,
        dim,
        n,
        contender.threads,
        *took,
        density_error=float(np.square(log_density - truth[0]).mean()),
        score_error=None
        if score is None
        else float(np.square(score - truth[1]).sum() / np.square(truth[1]).sum()),
        gflops=_attention_flops(model, dim, n) / took[1] / 1e9 if ours else None,
        matmul_gflops=rate if ours else None,
    )


def _attention_flops(model: Model, dim: int, n: int) -> float:
    """Operations in the matrix products of attention, for n queries to a context of n points."""
    config = model.metadata.config
    scalars, vectors = config["head_scalars"], config["head_channels"] * dim
    read = min(n, model.metadata.landmarks)
    return float(2 * config["blocks"] * config["heads"] * n * read * (2 * (scalars + vectors) + 3))


def _matmul_rate() -> float:
    """GFLOP/s of a product of float32 matrices that fit a cache."""
    a = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    took = []
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        took.append(time.perf_counter() - start)
    return 2 * 1024**3 / min(took) / 1e9


def _contenders(model: Model) -> Iterator[_Contender]:
    threads = model.graphs.threads or os.cpu_count() or 1
    yield _Contender("discoformer", threads, model.estimate, lambda p, y: p.log_density_and_score(y))
    if find_spec("sklearn"):
        yield _Contender("scikit-learn KernelDensity", 1, _fit_sklearn, _answer_sklearn)
    if find_spec("scipy"):
        kde = require("scipy.stats").gaussian_kde
        yield _Contender(
            "SciPy gaussian_kde.logpdf", 1, lambda x: kde(x.T), lambda p, y: (p.logpdf(y.T), None)
        )
        yield _Contender(
            "SciPy gaussian_kde.pdf", 1, lambda x: kde(x.T), lambda p, y: (_log(p.pdf(y.T)), None)
        )
    if find_spec("discoformer_training") and find_spec("torch") and (model.folder / FILE).is_file():
        eager = Model(EagerGraphs(model.graphs, threads))
        yield _Contender("PyTorch eager", threads, eager.estimate, lambda p, y: p.log_density_and_score(y))


def _log(density: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(density)


def _fit_sklearn(x: Floats) -> tuple[Any, Floats, float]:
    """KernelDensity in whitened coordinates, with Scott's bandwidth: what gaussian_kde does."""
    n, dim = x.shape
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(x.T).reshape(dim, dim))).T
    kde = require("sklearn.neighbors").KernelDensity(bandwidth=n ** (-1 / (dim + 4)))
    return kde.fit(x @ whiten), whiten, float(np.linalg.slogdet(whiten)[1])


def _answer_sklearn(fitted: tuple[Any, Floats, float], y: Floats) -> tuple[Floats, None]:
    kde, whiten, log_det = fitted
    return kde.score_samples(y @ whiten) + log_det, None


def to_markdown(timings: Sequence[Timing]) -> str:
    """A table: for each D and N the time for each query, the time to read, and the errors."""
    lines = [
        "| D, N = M | estimator | threads | read, ms | query, µs each | times ours "
        "| log-density MSE, nats² | score error |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for t in timings:
        ours = next(o for o in timings if (o.dim, o.n, o.estimator) == (t.dim, t.n, "discoformer"))
        score = "" if t.score_error is None else f"{100 * t.score_error:.3g} %"
        lines.append(
            f"| {t.dim}, {t.n} | {t.estimator} | {t.threads} | {1e3 * t.fit_s:.3g} | {t.per_query_us:.3g} "
            f"| {t.query_s / ours.query_s:.2f} | {t.density_error:.3g} | {score} |"
        )
    return "\n".join(lines) + "\n"


def to_json(timings: Sequence[Timing]) -> str:
    """All of it."""
    return json.dumps([asdict(timing) for timing in timings], indent=2) + "\n"


def save_picture(path: Path, timings: Sequence[Timing]) -> None:
    """Time for each query against error, a panel for each D, a line for each estimator from N to N.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    figure_class = require("matplotlib.figure").Figure
    dims = list(dict.fromkeys(t.dim for t in timings))
    figure = figure_class(figsize=(4 * len(dims), 3.6), layout="constrained")
    for axes, dim in zip(figure.subplots(1, len(dims), squeeze=False)[0], dims, strict=True):
        for name in dict.fromkeys(t.estimator for t in timings):
            line = [t for t in timings if (t.dim, t.estimator) == (dim, name)]
            line = [t for t in line if math.isfinite(t.density_error)]
            if line:
                axes.plot(
                    [t.per_query_us for t in line], [t.density_error for t in line], marker="o", label=name
                )
                for t in (line[0], line[-1]) if name == "discoformer" else ():
                    axes.annotate(f"N = {t.n}", (t.per_query_us, t.density_error), fontsize=7)
        axes.set(xscale="log", yscale="log", title=f"D = {dim}", xlabel="µs for each query")
    figure.axes[0].set_ylabel("log-density MSE, nats²")
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=150)
