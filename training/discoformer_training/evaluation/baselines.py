"""Classical density estimators that the benchmark measures the network against.

**Kernel density.** In coordinates ``z = x A`` (rows) with context z_j (N, D), query y and bandwidth h,

    log f(y) = log (1/N) sum_j exp(-|y - z_j|^2 / (2 h^2)) - (D/2) log(2 pi h^2) + log abs det A
    s(y) = (sum_j a_j z_j - y) / h^2 A^T,    a = softmax_j(-|y - z_j|^2 / (2 h^2))

There are two choices of the axes A. *Isotropic* axes are a multiple of the identity such that the mean
variance is 1: the kernel is round in the raw coordinates. *Whitened* axes are the inverse root of the
covariance: the kernel has the shape of the data.
Scott's rule is ``h = N^(-1 / (D + 4))`` in whitened axes, as in ``scipy.stats.gaussian_kde``.

**Gaussian** and **Gaussian mixture** of K components with means m_k, precisions P_k, responsibilities r_k(y):

    s(y) = sum_k r_k(y) P_k (m_k - y)

They are fitted by maximum likelihood (EM for the mixture). K is chosen by the Bayesian information criterion
(Schwarz 1978).

All are functions of ``(context, queries, truth)``. Only the kernel densities called *best* use the truth.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from discoformer_training.evaluation.metrics import FloatArray, Values, log_density_error, score_error

Baseline = Callable[[FloatArray, FloatArray, Values], Values]
"""A function from context (N, D), queries (M, D) and the truth there to the estimate at the queries."""

BANDWIDTH_FACTORS = np.geomspace(
    0.03, 3.0, 16
)  # times Scott's bandwidth; the grid contains the best, which is then refined
MAX_COMPONENTS = 12  # greatest number of components of the Gaussian mixture
RESTARTS = 5  # of EM, each from its own k-means: measured better than one, and than other initialisations
PATIENCE = 3  # the search stops after this many numbers of components in a row without a better fit


def isotropic_axes(context: FloatArray) -> FloatArray:
    """Return axes (D, D) that divide all coordinates by one length, such that the mean variance is 1."""
    scale = np.sqrt(context.var(axis=0, ddof=1).mean())
    return np.diag(np.full(context.shape[1], 1 / scale))


def whitened_axes(context: FloatArray) -> FloatArray:
    """Return axes (D, D) in which the covariance of the context is the identity; needs N > D."""
    covariance = np.atleast_2d(np.cov(context, rowvar=False))
    return np.linalg.inv(np.linalg.cholesky(covariance)).T


def scott_bandwidth(context: FloatArray) -> float:
    """Return the bandwidth by Scott's rule for data of unit covariance, ``N^(-1 / (D + 4))``."""
    n, dim = context.shape
    return float(n ** (-1.0 / (dim + 4)))


class KernelDensity:
    """The Gaussian kernel density of one context at fixed queries, for many bandwidths.

    Args:
        context: sample, (N, D).
        queries: points of evaluation, (M, D).
        axes: A (D, D), the coordinates in which the kernel is round.

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
        self.excess = distances - self.nearest[:, None]  # (M, N), 0 at the nearest point: exp cannot overflow

    def __call__(self, bandwidth: float) -> Values:
        """Return log-density and score at the queries for a bandwidth in units of the axes."""
        (n, dim), square = self.context.shape, bandwidth**2
        kernel = np.exp(self.excess / (-2 * square))  # (M, N)
        mass = kernel.sum(axis=1)  # (M,)
        constant = np.linalg.slogdet(self.axes)[1] - np.log(n) - dim / 2 * np.log(2 * np.pi * square)
        mean_shift = kernel @ self.context / mass[:, None] - self.queries  # (M, D)
        log_density = np.log(mass) - self.nearest / (2 * square) + constant
        return Values(log_density, mean_shift / square @ self.axes.T)


def kde_scott(context: FloatArray, queries: FloatArray, _truth: Values) -> Values:
    """Estimate by a kernel density with full covariance and Scott's rule, like ``gaussian_kde``."""
    return KernelDensity(context, queries, whitened_axes(context))(scott_bandwidth(context))


def kde_best(
    context: FloatArray,
    queries: FloatArray,
    truth: Values,
    *,
    coordinates: Sequence[Callable[[FloatArray], FloatArray]] = (isotropic_axes, whitened_axes),
) -> Values:
    """Estimate by the kernel density whose axes and bandwidth have the least error.

    The choice needs the truth. It is made separately for the log-density and for the score, so no rule for
    the bandwidth can do better on this draw.

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
    """Return the estimate at the bandwidth of least error within one grid step of ``start``."""
    step = BANDWIDTH_FACTORS[1] / BANDWIDTH_FACTORS[0]
    found = minimize_scalar(
        lambda log_h: error(kernel(np.exp(log_h))),
        bounds=(np.log(start / step), np.log(start * step)),
        method="bounded",
        options={"xatol": 0.01},
    )
    return kernel(np.exp(found.x))


def gaussian(context: FloatArray, queries: FloatArray, _truth: Values) -> Values:
    """Estimate by one Gaussian with the mean and the maximum-likelihood covariance of the context."""
    return mixture_values(_fit_mixture(context, components=1), queries)


def gmm_bic(context: FloatArray, queries: FloatArray, _truth: Values) -> Values:
    """Estimate by a Gaussian mixture with full covariances and 1 to 12 components, chosen by BIC."""
    return mixture_values(fit_mixture_by_bic(context), queries)


def fit_mixture_by_bic(context: FloatArray) -> GaussianMixture:
    """Return the Gaussian mixture with full covariances and 1 to 12 components that BIC chooses.

    A fit is skipped if a component holds D points or fewer. Its covariance is singular, so its likelihood is
    unbounded and BIC would choose it (log-density MSE 551 instead of 70 nats^2 at D = 30, N = 256). The
    search stops after three numbers of components in a row without improvement, and at 12 components.
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
    return best


def _fit_mixture(context: FloatArray, components: int) -> GaussianMixture:
    """Return the best of several runs of EM with scikit-learn's defaults and a fixed seed."""
    mixture = GaussianMixture(components, n_init=RESTARTS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(context)


def mixture_values(mixture: GaussianMixture, queries: FloatArray) -> Values:
    """Return log-density and score of a fitted mixture at the queries (M, D)."""
    responsibilities = mixture.predict_proba(queries)  # (M, K)
    score = np.zeros_like(queries)
    for r, mean, precision in zip(responsibilities.T, mixture.means_, mixture.precisions_, strict=True):
        score += r[:, None] * ((mean - queries) @ precision)
    return Values(mixture.score_samples(queries), score)


BASELINES: dict[str, Baseline] = {
    "kde_scott": kde_scott,
    "kde_best": kde_best,
    "kde_best_whitened": partial(kde_best, coordinates=(whitened_axes,)),
    "gaussian": gaussian,
    "gmm_bic": gmm_bic,
}
