"""Disagreement of score and log-density at a point: a sign of doubt that needs no truth.

The score ``S`` must be the gradient of the log-density ``T``. A network that answers both need not satisfy
this. If they differ, at least one is wrong. They are compared along random unit directions ``u`` in the
frame, where ``(u . (S - grad T))^2`` has the mean ``|S - grad T|^2 / D``::

    r(z)^2 = mean_u ((T(z + h u) - T(z - h u)) / 2 h - u . S(z))^2

In the frame, entries of a score are about 1, so ``r`` is a relative error. All points share the same
directions, so the result at a query does not depend on the other queries.

Shapes: M queries, D dimensions, U directions.
"""

from typing import NamedTuple

import numpy as np

from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats

STEP = 0.01  # h; over a shorter step, the rounding of T to float32 would dominate its change


class Consistency(NamedTuple):
    """How far score and slope disagree at each query."""

    residual: Floats  # (M,) r; a typical entry of the score in the frame is 1
    score: Floats  # (M,) root mean square of the entries of S in the frame


def consistency_of(fitted: FittedDensity, z: Floats, directions: int, seed: int) -> Consistency:
    """Compare score and slope at points (M, D) in the frame, along random directions.

    With ``effort="fast"`` the score is the exact gradient, so they agree.
    """
    if fitted.effort == "fast":
        directions = 0
    u = np.random.default_rng(seed).normal(size=(directions, z.shape[1]))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    score = fitted.answer_in_frame(z)[1]
    square = np.zeros(len(z))
    for direction in u:
        ahead, behind = (fitted.answer_in_frame(z + sign * STEP * direction)[0] for sign in (1, -1))
        square += np.square((ahead - behind) / (2 * STEP) - score @ direction) / directions
    return Consistency(np.sqrt(square), np.sqrt(np.square(score).mean(axis=1)))
