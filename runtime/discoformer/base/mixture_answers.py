r"""Fast answers of a mixture of many components, by matrix products.

Component k has the inverse scale matrix ``P_k = F_k^T F_k`` and the log-scale ``l_k``. With
``h_k = (f_k + D) / 2``::

    q_k = z^T P_k z - 2 (P_k m_k)^T z + m_k^T P_k m_k
    log c(z) = log sum_k exp(l_k - h_k log(1 + q_k / f_k))
    grad log c(z) = sum_k a_k P_k m_k - (sum_k a_k P_k) z,    a_k = r_k 2 h_k / (f_k + q_k)

with ``r_k`` the membership of component k. So all ``q_k`` are one product of ``[z_a z_b, z, 1]`` with a
matrix that is prepared once, and the score is one more. The products are in float64, since ``q_k`` is a small
difference of large numbers for a narrow component far from the origin. The logarithms are in float32.

Arrays are those of NumPy, PyTorch, CuPy or JAX. Shapes: K components, M queries, D dimensions.
"""

from typing import Any, Generic

import numpy as np

from discoformer.base.arrays import (
    ArrayT,
    as_doubles,
    as_type,
    contiguous,
    in_slices,
    library,
    moved_to,
    place_in_upper,
    slices,
    upper,
)
from discoformer.base.mixture import Components
from discoformer.io.inputs import Floats

_BLOCK = 2**17  # pairs of a query and a component in memory at a time


class MixtureAnswers(Generic[ArrayT]):
    """Log-density and score of the mixture of one data set, in frame coordinates.

    Args:
        components: (1, K), float64.
    """

    def __init__(self, components: Components[ArrayT]) -> None:
        log_scale, means, factors, freedom = (field[0] for field in components)
        xp, dim = library(means), means.shape[1]
        self._upper = a, b = [moved_to(index, means) for index in upper(dim)]
        self._place = moved_to(place_in_upper(dim), means)
        precision = factors.mT @ factors
        pull = (precision @ means[..., None])[..., 0]  # P m, (K, D)
        packed = precision[:, a, b]
        offset = (pull * means).sum(-1)[:, None]
        square = xp.concatenate([xp.where(a == b, 1, 2) * packed, -2 * pull, offset], 1)
        self._square = contiguous(square.mT)
        self._slope = xp.concatenate([packed, pull], 1)
        self._log_scale: ArrayT = as_type(log_scale, "float32")
        self._freedom: ArrayT = as_type(freedom, "float32")
        self._power: ArrayT = as_type(0.5 * (freedom + dim), "float32")

    def answer(self, z: ArrayT) -> tuple[ArrayT, ArrayT]:
        """Return log-density (M,) in nats and score (M, D) at points (M, D)."""
        return in_slices(lambda part: self._answer(part)[:2], self._most, z)

    def answer_with_metric(self: "MixtureAnswers[Floats]", z: Floats) -> tuple[Floats, Floats, Floats]:
        """Return log-density (M,), score (M, D) and ``sum_k a_k P_k`` (M, D, D) at points (M, D)."""
        log_density, score, metric = np.empty(len(z)), np.empty(z.shape), np.empty((*z.shape, z.shape[1]))
        for part in slices(len(z), self._most):
            log_density[part], score[part], metric[part] = self._answer(z[part])
        return log_density, score, metric

    @property
    def _most(self) -> int:
        """Most queries at a time."""
        return max(16, _BLOCK // len(self._freedom))

    def _answer(self, z: ArrayT) -> tuple[ArrayT, ArrayT, ArrayT]:
        xp, (a, b) = library(z), self._upper
        given = xp.concatenate([z[:, a] * z[:, b], z, xp.ones_like(z[:, :1])], 1)
        ratio: Any = as_type(xp.clip(given @ self._square, 0, None), "float32")  # q, and then 1 + q / f
        ratio /= self._freedom
        joint = xp.log1p(ratio)
        joint *= -self._power
        joint += self._log_scale
        greatest = xp.amax(joint, 1)[:, None]
        joint -= greatest
        share = xp.exp(joint)
        total = share.sum(1, keepdims=True, dtype=xp.float64)
        ratio += 1
        share /= ratio
        share *= 2 * self._power / self._freedom
        slope = as_doubles(share) @ self._slope / total
        precision = slope[:, self._place]  # (M, D, D)
        score = slope[:, len(a) :] - (precision @ z[..., None])[..., 0]
        return (greatest + xp.log(total))[:, 0], score, precision
