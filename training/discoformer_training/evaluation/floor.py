"""The floor of the benchmark: the error of an estimator that is told the true components to start from.

The floor is EM on the context, started at the true components, with shrunk covariances. With
responsibilities r_k, n_k = sum_i r_k(x_i), the weighted covariance S_k on d_k = n_k - 1 degrees of freedom,
v = sum_k d_k tr S_k / (D sum_k d_k) and c prior points in each component, its maximisation step is

    pi_k = (n_k + c) / (N + c K),    m_k = sum_i r_k(x_i) x_i / n_k
    C_k = (d_k [(1 - a_k) S_k + a_k (tr S_k / D) I] + c v I) / (d_k + c)

where a_k^(2/3) is the amount of the oracle approximating shrinkage (Chen, Wiesel, Eldar and Hero, *IEEE
Transactions on Signal Processing* 58, 2010). The power measured 3 to 8 % better in the score from D = 5,
N = 1024 on.

The floor is not a competitor, since nobody is told the components, and it is not a proven bound. Where
components overlap (D = 1, 2) it depends on the number of steps, since each step forgets more of the start.
For D = 2, N = 1024 the ratio of its score error to the best kernel density is 0.12 after one step, 0.25 with
the steps taken here, 0.36 after 140. A family without components has no floor.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.mixture import GaussianMixture

from discoformer_training.evaluation.baselines import mixture_values
from discoformer_training.evaluation.metrics import FloatArray, Values

STEPS = 50  # greatest number of EM steps; 2 to 9 are usual
TOLERANCE = 0.1  # nats: EM ends when the log-likelihood of the whole context changes less
PRIOR_POINTS = 5.0  # c
SHRINKAGE_POWER = 1.5  # of the amount: the score uses inverse covariances, which need less shrinkage
TINY = np.finfo(np.float64).tiny  # avoids division by zero


@dataclass(frozen=True)
class Components:
    """The components of a Gaussian mixture, in data units."""

    weights: FloatArray  # (K,), positive, of sum 1
    means: FloatArray  # (K, D)
    covariances: FloatArray  # (K, D, D)


Floor = Callable[[FloatArray, FloatArray, Components], Values]
"""A function from context (N, D), queries (M, D) and true components to the estimate at the queries."""


def floor(context: FloatArray, queries: FloatArray, components: Components) -> Values:
    """Fit a mixture to the context by shrunk EM, started at the true components.

    Args:
        context: sample, (N, D).
        queries: points of evaluation, (M, D).
        components: the mixture that the context was drawn from.
    """
    likelihood = -np.inf  # of the whole context, in nats
    for _ in range(STEPS):
        mixture = _mixture(components)
        before, likelihood = likelihood, len(context) * mixture.score(context)
        if abs(likelihood - before) < TOLERANCE:
            break
        components = _shrunk_components(context, mixture.predict_proba(context))
    return mixture_values(_mixture(components), queries)


def _shrunk_components(context: FloatArray, responsibilities: FloatArray) -> Components:
    """Take the maximisation step from responsibilities (N, K)."""
    dim = context.shape[1]
    counts = responsibilities.sum(axis=0) + TINY  # (K,); not 0 for a component without points
    freedom = np.maximum(counts - 1, 1.0)
    means = responsibilities.T @ context / counts[:, None]
    offsets = context - means[:, None]  # (K, N, D)
    scatter = (offsets * responsibilities.T[:, :, None]).transpose(0, 2, 1) @ offsets  # (K, D, D)
    least = 1e-3 * context.var(axis=0).mean()  # for components of one point each
    pooled = max(np.trace(scatter.sum(axis=0)) / (dim * freedom.sum()), least)
    shrunk = _shrink(scatter / freedom[:, None, None], freedom)
    prior = PRIOR_POINTS * pooled * np.eye(dim)
    return Components(
        weights=(counts + PRIOR_POINTS) / (counts + PRIOR_POINTS).sum(),
        means=means,
        covariances=(freedom[:, None, None] * shrunk + prior) / (freedom + PRIOR_POINTS)[:, None, None],
    )


def _shrink(covariances: FloatArray, freedom: FloatArray) -> FloatArray:
    """Shrink covariances (K, D, D) on n degrees of freedom, shape (K,), toward multiples of the identity.

    With ``q = tr S^2 / (tr S)^2``, between 1 / D and 1, the oracle approximating amount is
    ``((1 - 2/D) q + 1) / ((n + 1 - 2/D) (q - 1/D))``, at most 1.
    """
    dim = covariances.shape[-1]
    trace = np.trace(covariances, axis1=1, axis2=2)
    q = np.square(covariances).sum(axis=(1, 2)) / np.maximum(trace**2, TINY)
    spread = np.maximum((freedom + 1 - 2 / dim) * (q - 1 / dim), 1e-12)  # 0 if isotropic: any amount will do
    amount = np.clip(((1 - 2 / dim) * q + 1) / spread, 0, 1)[:, None, None] ** SHRINKAGE_POWER
    return (1 - amount) * covariances + amount * (trace / dim)[:, None, None] * np.eye(dim)


def _mixture(components: Components) -> GaussianMixture:
    """Return the mixture of these components as a fitted estimator."""
    mixture = GaussianMixture(len(components.weights))
    mixture.weights_, mixture.means_ = components.weights, components.means
    mixture.covariances_ = components.covariances
    inverse = np.linalg.inv(np.linalg.cholesky(components.covariances))  # (K, D, D), lower triangular
    mixture.precisions_cholesky_ = inverse.transpose(0, 2, 1)
    mixture.precisions_ = mixture.precisions_cholesky_ @ inverse
    return mixture


FLOORS: dict[str, Floor] = {"floor": floor}
