"""Kernel densities: mixtures of isotropic Gaussians of one bandwidth, evaluated in bounded memory.

Shapes: N kernels, M queries, D dimensions. Float64.
"""

import math

import numpy as np
import numpy.typing as npt

from discoformer.base.arrays import slices
from discoformer.io.inputs import Floats

_CHUNK = 2**20  # most distances in memory at a time


def log_sums(
    queries: Floats, centers: Floats, weights: Floats, h: float, own: npt.NDArray[np.int64] | None = None
) -> Floats:
    """Return the log-density (M,) of the mixture, in nats.

    Args:
        queries: Points (M, D).
        centers: Centres (N, D) of the kernels.
        weights: Weights (N,), positive, with sum 1.
        h: Bandwidth.
        own: Index (M,) of the kernel that each query leaves out. The other weights are not rescaled.
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
