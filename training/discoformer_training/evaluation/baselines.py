"""Classical density estimators that the benchmark measures the network against.

**Kernel density.** In coordinates ``z = x A`` (rows) with context z_j (N, D), query y and bandwidth h,

    log f(y) = log (1/N) sum_j exp(-|y - z_j|^2 / (2 h^2)) - (D/2) log(2 pi h^2) + log abs det A
    s(y) = (sum_j a_j z_j - y) / h^2 A^T,    a = softmax_j(-|y - z_j|^2 / (2 h^2))

Two sets of axes A: *isotropic*, a multiple of the identity that makes the mean variance 1 (a round kernel in
the raw coordinates), and *whitened*, the inverse root of the covariance (a kernel of the shape of the data).
Scott's rule is ``h = N^(-1 / (D + 4))`` in whitened axes, as in ``scipy.stats.gaussian_kde``.

**Gaussian** and **Gaussian mixture** of K components with means m_k, precisions P_k, responsibilities r_k(y):

    s(y) = sum_k r_k(y) P_k (m_k - y)

fitted by maximum likelihood (EM for the mixture), with K chosen by the Bayesian information criterion
(Schwarz 1978).

**Base**: what the network refines, by itself (`discoformer.base.base`).

These are functions of ``(context, queries, truth)``; only the kernel densities called *best* look at the
truth.

**Floor.** What is left of the error if one is told the components, and has to estimate them again from the
context: EM started at the truth, with shrunk covariances. With responsibilities r_k, n_k = sum_i r_k(x_i),
the weighted covariance S_k on d_k = n_k - 1 degrees of freedom, v = sum_k d_k tr S_k / (D sum_k d_k) and c
prior points in each component, its maximisation step is

    pi_k = (n_k + c) / (N + c K),    m_k = sum_i r_k(x_i) x_i / n_k
    C_k = (d_k [(1 - a_k) S_k + a_k (tr S_k / D) I] + c v I) / (d_k + c)

with a_k^(2/3) the amount of the oracle approximating shrinkage (Chen, Wiesel, Eldar and Hero, *IEEE
Transactions on Signal Processing* 58, 2010; the power measured 3 to 8 % better in the score from D = 5,
N = 1024 on).

It is no competitor, for nobody is told the components, and not a proven bound. Where components overlap
(D = 1, 2) it depends on the number of steps, for each forgets more of the start (ratio of the score error to
the best kernel density, D = 2, N = 1024: 0.12 after one, 0.25 here, 0.36 after 140). It is a function of
``(context, queries, components)``; a family without components has no floor.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from discoformer.base.base import evaluate_base, fit_base
from discoformer.base.frame import fit_frame
from discoformer_training.evaluation.metrics import FloatArray, Values, log_density_error, score_error

__all__ = [
    "BASELINES",
    "FLOORS",
    "Baseline",
    "Components",
    "Floor",
    "KernelDensity",
    "floor",
    "gaussian",
    "gmm_bic",
    "isotropic_axes",
    "kde_best",
    "kde_scott",
    "scott_bandwidth",
    "whitened_axes",
]

Baseline = Callable[[FloatArray, FloatArray, Values], Values]
"""From context (N, D), queries (M, D) and the truth at the queries to the estimate at the queries."""


@dataclass(frozen=True)
class Components:
    """The components of a Gaussian mixture, in data units."""

    weights: FloatArray  # (K,), positive, of sum 1
    means: FloatArray  # (K, D)
    covariances: FloatArray  # (K, D, D)


Floor = Callable[[FloatArray, FloatArray, Components], Values]
"""From context (N, D), queries (M, D) and the true components to the estimate at the queries."""

BANDWIDTH_FACTORS = np.geomspace(0.03, 3.0, 16)  # times Scott's bandwidth; the best is inside, then refined
MAX_COMPONENTS = 12  # of the Gaussian mixture
RESTARTS = 5  # of EM, each from its own k-means; measured better than one, and than the other initialisations
PATIENCE = 3  # numbers of components in a row without a better fit after which the search stops
FLOOR_STEPS = 50  # of EM at most; 2 to 9 are usual
FLOOR_TOLERANCE = 0.1  # nats: EM ends when the log-likelihood of the whole context moves less
PRIOR_POINTS = 5.0  # c of the module's head
SHRINKAGE_POWER = 1.5  # of the amount for covariances: their inverses, which make the score, need less
TINY = np.finfo(np.float64).tiny  # keeps quotients finite


def isotropic_axes(context: FloatArray) -> FloatArray:
    """Axes (D, D) that divide all coordinates by one length, such that their mean variance is 1."""
    scale = np.sqrt(context.var(axis=0, ddof=1).mean())
    return np.diag(np.full(context.shape[1], 1 / scale))


def whitened_axes(context: FloatArray) -> FloatArray:
    """Axes (D, D) in which the context has the identity as covariance; needs N > D."""
    covariance = np.atleast_2d(np.cov(context, rowvar=False))
    return np.linalg.inv(np.linalg.cholesky(covariance)).T


def scott_bandwidth(context: FloatArray) -> float:
    """Scott's rule for data of unit covariance, ``N^(-1 / (D + 4))``."""
    n, dim = context.shape
    return float(n ** (-1.0 / (dim + 4)))


class KernelDensity:
    """Gaussian kernel density of one context at fixed queries, cheap to evaluate at many bandwidths.

    Args:
        context: sample, (N, D).
        queries: points of evaluation, (M, D).
        axes: A of the module's head, (D, D), in whose coordinates the kernel is round.

    Example:
        >>> import numpy as np
        >>> kde = KernelDensity(np.zeros((1, 1)), np.array([[1.0]]), axes=np.eye(1))
        >>> kde(bandwidth=1.0).score
        array([[-1.]])
    """

    def __init__(self, context: FloatArray, queries: FloatArray, axes: FloatArray) -> None:
        self.axes = axes
        self.context, self.queries = context @ axes, queries @ axes
        distances = cdist(self.queries, self.context, "sqeuclidean")  # (M, N)
        self.nearest = distances.min(axis=1)  # (M,)
        self.excess = distances - self.nearest[:, None]  # (M, N), 0 at the nearest: exp cannot overflow

    def __call__(self, bandwidth: float) -> Values:
        """Log-density and score at the queries for a bandwidth in units of the axes."""
        (n, dim), square = self.context.shape, bandwidth**2
        kernel = np.exp(self.excess / (-2 * square))  # (M, N)
        mass = kernel.sum(axis=1)  # (M,)
        constant = np.linalg.slogdet(self.axes)[1] - np.log(n) - dim / 2 * np.log(2 * np.pi * square)
        mean_shift = kernel @ self.context / mass[:, None] - self.queries  # (M, D)
        log_density = np.log(mass) - self.nearest / (2 * square) + constant
        return Values(log_density, mean_shift / square @ self.axes.T)


def kde_scott(context: FloatArray, queries: FloatArray, _truth: Values) -> Values:
    """Kernel density with the full covariance and Scott's rule, the default of ``gaussian_kde``."""
    return KernelDensity(context, queries, whitened_axes(context))(scott_bandwidth(context))


def kde_best(
    context: FloatArray,
    queries: FloatArray,
    truth: Values,
    *,
    coordinates: Sequence[Callable[[FloatArray], FloatArray]] = (isotropic_axes, whitened_axes),
) -> Values:
    """Kernel density with the axes and bandwidth of least error, which only the truth can tell.

    Chosen apart for the log-density and for the score: no rule for the bandwidth can do better on this draw.

    Args:
        context: sample, (N, D).
        queries: points of evaluation, (M, D).
        truth: true log-density (M,) and score (M, D) at the queries.
        coordinates: the sets of axes to choose from.
    """
    kernels = [KernelDensity(context, queries, axes(context)) for axes in coordinates]
    grid = scott_bandwidth(context) * BANDWIDTH_FACTORS
    tried = [[kernel(h) for h in grid] for kernel in kernels]

    def best(error: Callable[[Values, Values], float]) -> Values:
        refined = []
        for kernel, estimates in zip(kernels, tried, strict=True):
            start = grid[np.argmin([error(estimate, truth) for estimate in estimates])]
            refined.append(_refine(kernel, start, lambda estimate: error(estimate, truth)))
        return min(refined, key=lambda estimate: error(estimate, truth))

    return Values(best(log_density_error).log_density, best(score_error).score)


def _refine(kernel: KernelDensity, start: float, error: Callable[[Values], float]) -> Values:
    """The estimate at the bandwidth of least error within one step of the grid around ``start``."""
    step = BANDWIDTH_FACTORS[1] / BANDWIDTH_FACTORS[0]
    found = minimize_scalar(
        lambda log_h: error(kernel(np.exp(log_h))),
        bounds=(np.log(start / step), np.log(start * step)),
        method="bounded",
        options={"xatol": 0.01},
    )
    return kernel(np.exp(found.x))


def gaussian(context: FloatArray, queries: FloatArray, _truth: Values) -> Values:
    """One Gaussian with the mean and the maximum-likelihood covariance of the context."""
    return _mixture_values(_fit_mixture(context, components=1), queries)


def gmm_bic(context: FloatArray, queries: FloatArray, _truth: Values) -> Values:
    """Gaussian mixture with full covariances by EM, its number of components (1 to 12) chosen by BIC.

    A fit is passed over if a component holds no more than D points: its covariance is singular and the
    likelihood without bound, so that BIC would choose it (log-density MSE 551 instead of 70 nats^2 at D = 30,
    N = 256). The search stops once three numbers of components in a row have brought nothing better, and at
    12 even where the density has more modes.
    """
    best, best_bic, failures = None, np.inf, 0
    for components in range(1, min(MAX_COMPONENTS, len(context)) + 1):
        mixture = _fit_mixture(context, components)
        bic = mixture.bic(context)
        fewest = len(context) * mixture.weights_.min()  # points of the smallest component
        if bic < best_bic and (components == 1 or fewest > context.shape[1]):
            best, best_bic, failures = mixture, bic, 0
        else:
            failures += 1
        if failures == PATIENCE:
            break
    return _mixture_values(best, queries)


def _fit_mixture(context: FloatArray, components: int) -> GaussianMixture:
    """The best of several runs of EM, otherwise with scikit-learn's defaults; the same on every call."""
    mixture = GaussianMixture(components, n_init=RESTARTS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(context)


def _mixture_values(mixture: GaussianMixture, queries: FloatArray) -> Values:
    """Log-density and score of a fitted mixture at the queries (M, D)."""
    responsibilities = mixture.predict_proba(queries)  # (M, K)
    score = np.zeros_like(queries)
    for r, mean, precision in zip(responsibilities.T, mixture.means_, mixture.precisions_, strict=True):
        score += r[:, None] * ((mean - queries) @ precision)
    return Values(mixture.score_samples(queries), score)


def base_alone(context: FloatArray, queries: FloatArray, _truth: Values) -> Values:
    """The frame of the runtime and the base in it: the estimate without the network."""
    frame = fit_frame(context)
    points = frame.to_frame(context)[None]
    weights = np.full(points.shape[:2], 1 / len(context))
    size, log_det = np.array([frame.effective_size]), np.array([frame.log_det_precision])
    base = fit_base(points, weights, size, frame.precision_root[None], log_det)
    answer = evaluate_base(base, frame.to_frame(queries)[None])
    return Values(
        frame.log_density_to_data(answer.log_density[0]),
        frame.score_to_data(answer.score[0]),
    )


def floor(context: FloatArray, queries: FloatArray, components: Components) -> Values:
    """The floor of the module's head: shrunk EM on the context, started at the true components.

    Args:
        context: sample, (N, D).
        queries: points of evaluation, (M, D).
        components: the mixture that the context was drawn from.
    """
    likelihood = -np.inf  # of the whole context, in nats
    for _ in range(FLOOR_STEPS):
        mixture = _mixture(components)
        before, likelihood = likelihood, len(context) * mixture.score(context)
        if abs(likelihood - before) < FLOOR_TOLERANCE:
            break
        components = _shrunk_components(context, mixture.predict_proba(context))
    return _mixture_values(_mixture(components), queries)


def _shrunk_components(context: FloatArray, responsibilities: FloatArray) -> Components:
    """The maximisation step of the floor, from responsibilities (N, K)."""
    dim = context.shape[1]
    counts = responsibilities.sum(axis=0) + TINY  # (K,); a component without points stays harmless
    freedom = np.maximum(counts - 1, 1.0)
    means = responsibilities.T @ context / counts[:, None]
    offsets = context - means[:, None]  # (K, N, D)
    scatter = (offsets * responsibilities.T[:, :, None]).transpose(0, 2, 1) @ offsets  # (K, D, D)
    least = 1e-3 * context.var(axis=0).mean()  # for components of a point each
    pooled = max(np.trace(scatter.sum(axis=0)) / (dim * freedom.sum()), least)
    shrunk = _shrink(scatter / freedom[:, None, None], freedom)
    prior = PRIOR_POINTS * pooled * np.eye(dim)
    return Components(
        weights=(counts + PRIOR_POINTS) / (counts + PRIOR_POINTS).sum(),
        means=means,
        covariances=(freedom[:, None, None] * shrunk + prior) / (freedom + PRIOR_POINTS)[:, None, None],
    )


def _shrink(covariances: FloatArray, freedom: FloatArray) -> FloatArray:
    """Covariances (K, D, D) on n degrees of freedom, shape (K,), shrunk toward multiples of the identity.

    With ``q = tr S^2 / (tr S)^2``, from 1 / D to 1, the oracle approximating amount is
    ``((1 - 2/D) q + 1) / ((n + 1 - 2/D) (q - 1/D))``, at most 1.
    """
    dim = covariances.shape[-1]
    trace = np.trace(covariances, axis1=1, axis2=2)
    q = np.square(covariances).sum(axis=(1, 2)) / np.maximum(trace**2, TINY)
    spread = np.maximum((freedom + 1 - 2 / dim) * (q - 1 / dim), 1e-12)  # 0 if isotropic: any amount will do
    amount = np.clip(((1 - 2 / dim) * q + 1) / spread, 0, 1)[:, None, None] ** SHRINKAGE_POWER
    return (1 - amount) * covariances + amount * (trace / dim)[:, None, None] * np.eye(dim)


def _mixture(components: Components) -> GaussianMixture:
    """The mixture of these components, as if it had been fitted."""
    mixture = GaussianMixture(len(components.weights))
    mixture.weights_, mixture.means_ = components.weights, components.means
    mixture.covariances_ = components.covariances
    inverse = np.linalg.inv(np.linalg.cholesky(components.covariances))  # (K, D, D), lower triangular
    mixture.precisions_cholesky_ = inverse.transpose(0, 2, 1)
    mixture.precisions_ = mixture.precisions_cholesky_ @ inverse
    return mixture


BASELINES: dict[str, Baseline] = {
    "kde_scott": kde_scott,
    "kde_best": kde_best,
    "kde_best_whitened": partial(kde_best, coordinates=(whitened_axes,)),
    "gaussian": gaussian,
    "gmm_bic": gmm_bic,
    "base": base_alone,
}

FLOORS: dict[str, Floor] = {"floor": floor}
