"""Measure speed and error against other methods, in one run: ``discoformer bench``.

Samples and queries are drawn from a mixture of five Gaussians, whose density and score are known. All methods
get the same arrays and are measured in turns; the shortest time of several counts. Compare times within a run
only, as ratios. The other methods, as far as they are installed:

- ``KernelDensity`` of scikit-learn and ``gaussian_kde`` of SciPy, with Scott's bandwidth in whitened
  coordinates. Both compute the same density, but at D = 50 scikit-learn's sum over its tree is off by tens of
  nats.
- The same network in eager PyTorch, with the ``weights.safetensors`` of the model.

For DiScoFormer, the speed of the matrix products in the attention of the queries is measured too, in GFLOP/s,
together with that of a plain matrix product on the same machine.

Shapes: N rows of the sample, M = N queries, D dimensions.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np

from discoformer.analysis.torch_network import EagerGraphs
from discoformer.errors import require
from discoformer.io.inputs import Floats
from discoformer.model import Model
from discoformer.onnx.graphs import has_files
from discoformer.onnx.weights import FILE

OURS = "discoformer"  # the name of our estimator
FAST = "discoformer, effort fast"  # and of the one that makes a mixture, if the model has it
_MODES = 5

Answer: TypeAlias = tuple[Floats, Floats | None]  # log-density (M,) and score (M, D), None without a score


@dataclass(frozen=True)
class Timing:
    """Speed and error of one estimator, for one sample and one set of queries."""

    estimator: str
    dim: int  # D
    n: int  # rows of the sample, and number of queries
    threads: int  # number of CPU threads that it uses
    fit_s: float  # seconds to read the sample
    query_s: float  # seconds to answer all queries
    density_error: float  # mean squared error of the log-density, nats^2
    score_error: float | None  # relative squared error of the score; None if it has no score
    gflops: float | None = None  # GFLOP/s of the matrix products in the attention of the queries; ours only
    matmul_gflops: float | None = None  # GFLOP/s of a plain matrix product; ours only

    @property
    def per_query_us(self) -> float:
        """Microseconds per query."""
        return 1e6 * self.query_s / self.n


@dataclass(frozen=True)
class _Mixture:
    """A mixture of five Gaussians of equal weight."""

    means: Floats  # (5, D)
    factors: Floats  # (5, D, D) lower triangular Cholesky factors of the covariances

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
class _Estimator:
    """A method to measure."""

    name: str
    threads: int
    fit: Callable[[Floats], Any]  # reads a sample (N, D)
    answer: Callable[[Any, Floats], Answer]  # takes the result of ``fit`` and queries (M, D)


def measure(
    model: Model, dims: Sequence[int], sizes: Sequence[int], repeats: int = 3, seed: int = 0
) -> Iterator[Timing]:
    """Measure every estimator in every dimension and at every size.

    Args:
        model: The model.
        dims: Dimensions D.
        sizes: Numbers of rows of the sample, and of queries.
        repeats: Number of measurements; the shortest time counts.
        seed: Seed of the samples and queries.

    Yields:
        The timings, as soon as they are known.
    """
    estimators = list(_estimators(model))
    matmul_gflops = _matmul_gflops()
    for dim in dims:
        mixture = _Mixture.drawn(dim, seed)
        for n in sizes:
            x, y = mixture.sample(n, seed + 1), mixture.sample(n, seed + 2)
            truth = mixture.log_density_and_score(y)
            for estimator, seconds, answer in _run_in_turns(estimators, x, y, repeats):
                ours = estimator.name == OURS
                yield Timing(
                    estimator.name,
                    dim,
                    n,
                    estimator.threads,
                    *seconds,
                    *_errors(answer, truth),
                    gflops=_attention_flops(model, dim, n) / seconds[1] / 1e9 if ours else None,
                    matmul_gflops=matmul_gflops if ours else None,
                )


def _run_in_turns(
    estimators: Sequence[_Estimator], x: Floats, y: Floats, repeats: int
) -> Iterator[tuple[_Estimator, tuple[float, float], Answer]]:
    """Yield for each estimator the shortest times to read the sample and to answer, and the answer."""
    best = {estimator.name: (math.inf, math.inf) for estimator in estimators}
    answers = {}
    for _ in range(repeats):
        for estimator in estimators:
            start = time.perf_counter()
            fitted = estimator.fit(x)
            middle = time.perf_counter()
            answers[estimator.name] = estimator.answer(fitted, y)
            end = time.perf_counter()
            fit_s, query_s = best[estimator.name]
            best[estimator.name] = min(middle - start, fit_s), min(end - middle, query_s)
    for estimator in estimators:
        yield estimator, best[estimator.name], answers[estimator.name]


def _errors(answer: Answer, truth: tuple[Floats, Floats]) -> tuple[float, float | None]:
    """Return the mean squared error of the log-density, and the relative squared error of the score."""
    (log_density, score), (true_log_density, true_score) = answer, truth
    density_error = float(np.square(log_density - true_log_density).mean())
    if score is None:
        return density_error, None
    return density_error, float(np.square(score - true_score).sum() / np.square(true_score).sum())


def _attention_flops(model: Model, dim: int, n: int) -> float:
    """Return the number of operations in the matrix products of attention, with n rows and n queries."""
    config = model.metadata.config
    scalars, vectors = config["head_scalars"], config["head_channels"] * dim
    landmarks = min(n, model.metadata.landmarks)
    return float(2 * config["blocks"] * config["heads"] * n * landmarks * (2 * (scalars + vectors) + 3))


def _matmul_gflops() -> float:
    """Return the GFLOP/s of a product of float32 matrices that fit into the cache."""
    a = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * 1024**3 / min(seconds) / 1e9


def _estimators(model: Model) -> Iterator[_Estimator]:
    """Yield the estimators that are installed, ours first."""
    threads = model.graphs.placement.threads or os.cpu_count() or 1
    yield _Estimator(OURS, threads, model.estimate, lambda p, y: p.log_density_and_score(y))
    if has_files(model.folder, "fast"):
        yield _Estimator(
            FAST, threads, partial(model.estimate, effort="fast"), lambda p, y: p.log_density_and_score(y)
        )
    if find_spec("sklearn"):
        yield _Estimator("scikit-learn KernelDensity", 1, _fit_sklearn, _answer_sklearn)
    if find_spec("scipy"):
        kde = require("scipy.stats").gaussian_kde
        yield _Estimator(
            "SciPy gaussian_kde.logpdf", 1, lambda x: kde(x.T), lambda p, y: (p.logpdf(y.T), None)
        )
        yield _Estimator(
            "SciPy gaussian_kde.pdf", 1, lambda x: kde(x.T), lambda p, y: (_log(p.pdf(y.T)), None)
        )
    if find_spec("discoformer_training") and find_spec("torch") and (model.folder / FILE).is_file():
        eager = Model(EagerGraphs(model.graphs, threads))
        yield _Estimator("PyTorch eager", threads, eager.estimate, lambda p, y: p.log_density_and_score(y))


def _log(density: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(density)


def _fit_sklearn(x: Floats) -> tuple[Any, Floats, float]:
    """Fit KernelDensity in whitened coordinates with Scott's bandwidth, as gaussian_kde does."""
    n, dim = x.shape
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(x.T).reshape(dim, dim))).T
    kde = require("sklearn.neighbors").KernelDensity(bandwidth=n ** (-1 / (dim + 4)))
    return kde.fit(x @ whiten), whiten, float(np.linalg.slogdet(whiten)[1])


def _answer_sklearn(fitted: tuple[Any, Floats, float], y: Floats) -> tuple[Floats, None]:
    kde, whiten, log_det = fitted
    return kde.score_samples(y @ whiten) + log_det, None
