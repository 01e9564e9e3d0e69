"""Mixtures of round Gaussians of one bandwidth, in bounded memory: what kernel densities are.

Shapes: N kernels, M queries, D dimensions. Float64.
"""

import math

import numpy as np
import numpy.typing as npt

from discoformer.base.arrays import slices
from discoformer.io.inputs import Floats

_CHUNK = 2**20  # distances held at a time


def log_sums(
    queries: Floats, centers: Floats, weights: Floats, h: float, own: npt.NDArray[np.int64] | None = None
) -> Floats:
    """Log-density (M,) of the mixture, nats.

    Args:
        queries: (M, D).
        centers: (N, D) of the kernels.
        weights: (N,) of sum 1, each positive.
        h: Bandwidth.
        own: For each query a kernel (M,) that is left out, its weight included in the sum.
    """
    log_weights = np.log(weights)
    found = np.empty(len(queries))
    for part in slices(len(queries), max(1, _CHUNK // len(centers))):
        logits = log_weights - _squared_distances(queries[part], centers) / (2 * h**2)
        if own is not None:
            logits[np.arange(len(logits)), own[part]] = -math.inf
        greatest = logits.max(axis=1)
        found[part] = greatest + np.log(np.exp(logits - greatest[:, None]).sum(axis=1))
    return found - 0.5 * queries.shape[1] * math.log(2 * math.pi * h**2)


def _squared_distances(queries: Floats, points: Floats) -> Floats:
    square: Floats = np.square(queries).sum(axis=1)[:, None] + np.square(points).sum(axis=1)
    return np.maximum(square - 2 * queries @ points.T, 0)
