"""How far score and log-density of an estimate disagree at a point: a sign of doubt that needs no truth.

The score ``S`` must be the gradient of the log-density ``T``; a network that answers both need not have it
so, and where it has not, at least one is wrong. Along random unit directions ``u`` in the frame, of which
``(u . (S - grad T))^2`` has the mean ``|S - grad T|^2 / D``::

    r(z)^2 = mean_u ((T(z + h u) - T(z - h u)) / 2 h - u . S(z))^2

In the frame a score has entries of about 1, so ``r`` is a relative error. The directions are the same for all
points: queries do not see each other here either.

Shapes: M queries, D dimensions, U directions.
"""

from typing import NamedTuple

import numpy as np

from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats

STEP = 0.01  # h; T, which is float32, is steep enough over it


class Consistency(NamedTuple):
    """Where score and slope disagree."""

    residual: Floats  # (M,) r, as a share of a typical entry of the score in the frame
    score: Floats  # (M,) root mean square of the entries of S in the frame


def consistency_of(fitted: FittedDensity, z: Floats, directions: int, seed: int) -> Consistency:
    """Compares score and slope at points (M, D) in the frame, along so many directions."""
    u = np.random.default_rng(seed).normal(size=(directions, z.shape[1]))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    score = fitted.answer_in_frame(z)[1]
    square = np.zeros(len(z))
    for direction in u:
        ahead, behind = (fitted.answer_in_frame(z + sign * STEP * direction)[0] for sign in (1, -1))
        square += np.square((ahead - behind) / (2 * STEP) - score @ direction) / directions
    return Consistency(np.sqrt(square), np.sqrt(np.square(score).mean(axis=1)))
