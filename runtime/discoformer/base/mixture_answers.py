r"""Fast answers of a mixture of many components, by matrix products.

Component k has the inverse scale matrix ``P_k = F_k^T F_k`` and the log-scale ``l_k``. With
``h_k = (f_k + D) / 2``::

    q_k = z^T P_k z - 2 (P_k m_k)^T z + m_k^T P_k m_k
    log c(z) = log sum_k exp(l_k - h_k log(1 + q_k / f_k))
    grad log c(z) = sum_k a_k P_k m_k - (sum_k a_k P_k) z,    a_k = r_k 2 h_k / (f_k + q_k)

with ``r_k`` the membership of component k. So all ``q_k`` are one product of ``[z_a z_b, z, 1]`` with a
matrix that is prepared once, and the score is one more. The products are in float64, since ``q_k`` is a small
difference of large numbers for a narrow component far from the origin. The logarithms are in float32.

Shapes: K components, M queries, D dimensions.
"""

from collections.abc import Iterator

import numpy as np

from discoformer.base.arrays import place_in_upper, slices, upper
from discoformer.base.mixture import Components
from discoformer.io.inputs import Floats

_BLOCK = 2**17  # pairs of a query and a component in memory at a time


class MixtureAnswers:
    """Log-density and score of the mixture of one data set, in frame coordinates.

    Args:
        components: (1, K).
    """

    def __init__(self, components: Components[Floats]) -> None:
        log_scale, means, factors, freedom = (field[0] for field in components)
        dim = means.shape[1]
        precision = factors.mT @ factors
        pull = (precision @ means[..., None])[..., 0]  # P m, (K, D)
        a, b = upper(dim)
        packed = precision[:, a, b]
        offset = (pull * means).sum(-1, keepdims=True)
        self._square = np.concatenate([np.where(a == b, 1, 2) * packed, -2 * pull, offset], 1).T.copy()
        self._slope = np.concatenate([packed, pull], 1)
        self._log_scale = log_scale.astype(np.float32)
        self._freedom = freedom.astype(np.float32)
        self._power = (0.5 * (freedom + dim)).astype(np.float32)

    def answer(self, z: Floats) -> tuple[Floats, Floats]:
        """Return log-density (M,) in nats and score (M, D) at points (M, D)."""
        log_density, score = np.empty(len(z)), np.empty(z.shape)
        for part in self._parts(z):
            log_density[part], score[part], _ = self._answer(z[part])
        return log_density, score

    def answer_with_metric(self, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Return log-density (M,), score (M, D) and ``sum_k a_k P_k`` (M, D, D) at points (M, D)."""
        log_density, score, metric = np.empty(len(z)), np.empty(z.shape), np.empty((*z.shape, z.shape[1]))
        for part in self._parts(z):
            log_density[part], score[part], metric[part] = self._answer(z[part])
        return log_density, score, metric

    def _parts(self, z: Floats) -> Iterator[slice]:
        return slices(len(z), max(16, _BLOCK // len(self._freedom)))

    def _answer(self, z: Floats) -> tuple[Floats, Floats, Floats]:
        dim = z.shape[1]
        a, b = upper(dim)
        given = np.concatenate([z[:, a] * z[:, b], z, np.ones((len(z), 1))], 1)
        ratio = np.maximum(given @ self._square, 0).astype(np.float32)  # q, and then 1 + q / f
        ratio /= self._freedom
        joint = np.log1p(ratio)
        joint *= -self._power
        joint += self._log_scale
        greatest = joint.max(1, keepdims=True)
        joint -= greatest
        share = np.exp(joint, out=joint)
        total = share.sum(1, keepdims=True, dtype=np.float64)
        ratio += 1
        share /= ratio
        share *= 2 * self._power / self._freedom
        slope = share.astype(np.float64) @ self._slope / total
        precision = slope[:, place_in_upper(dim)]  # (M, D, D)
        score = slope[:, len(a) :] - (precision @ z[..., None])[..., 0]
        return (greatest + np.log(total))[:, 0], score, precision
