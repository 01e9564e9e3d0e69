"""Answers of a fitted density at queries, which are arrays of one library on one device.

Each query ``y`` is mapped to the frame, and the answers back (see ``base.frame``)::

    z = (y - m) A        log f(y) = T(z) + log |det A|        grad log f(y) = S(z) A^T        (rows)

``T`` and ``S`` are those of the mixture, for ``effort="fast"``. For ``effort="best"`` they are those of the
heads, with tails of the mixture (see ``base.tails``).

A tensor is answered on its device. Its library computes all but the heads, in float64; onnxruntime runs the
heads on the same device, and shares memory with it. Queries never see each other, so they are answered in
chunks, and memory does not grow with their number.

Shapes: M queries, D dimensions.
"""

from dataclasses import dataclass
from functools import partial
from typing import Generic

import numpy as np

from discoformer.base.arrays import (
    ArrayT,
    all_finite,
    as_type,
    in_slices,
    library,
    with_values,
)
from discoformer.base.base import Base
from discoformer.base.frame import AffineMap
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer.base.tails import Answer, answer_base, with_tails
from discoformer.errors import ModelError

FARTHEST = 1e13  # frame coordinates whose squares float32 can hold with ease, in units of any component


@dataclass(frozen=True)
class Answers(Generic[ArrayT]):
    """The answers of one fitted density."""

    frame: AffineMap[ArrayT]
    log_volume: float  # log |det A|, and the log of the share of the sample that was read
    mixture: MixtureAnswers[ArrayT]
    base: Base[ArrayT] | None  # what the heads refine; None for ``effort="fast"``, which has no heads
    radius: float  # within which the heads answer
    heads: Answer[ArrayT]
    chunk: int  # most queries at a time

    def at(self, points: ArrayT, width: str) -> tuple[ArrayT, ArrayT]:
        """Return log-density (M,) in nats and score (M, D) in 1 / data units at points (M, D).

        Points farther out than float32 can hold get the answer at the farthest point on their ray that it
        holds. An entry of the score that is too great for the float width is the greatest value that it
        holds.

        Args:
            points: In data units, float64.
            width: Of the answers, "float32" or "float64".

        Raises:
            ModelError: An answer is not finite, so the model or the saved estimate is none.
        """
        xp, greatest = library(points), float(np.finfo(width).max)

        def answered(part: ArrayT) -> tuple[ArrayT, ArrayT]:
            log_density, score = self.in_frame(self.reach(part))
            if not (all_finite(log_density) and all_finite(score)):
                raise ModelError(
                    "the estimate gives values that are not finite: the model or the saved estimate has "
                    "numbers out of range; estimate again with the released model"
                )
            with np.errstate(over="ignore", under="ignore"):
                score = xp.clip(self.frame.score_to_data(score), -greatest, greatest)
                return as_type(log_density + self.log_volume, width), as_type(score, width)

        return in_slices(answered, self.chunk, points)

    def in_frame(self, z: ArrayT) -> tuple[ArrayT, ArrayT]:
        """Return log-density (M,) and score (M, D) in frame coordinates, at points (M, D) there."""
        if self.base is None:
            return self.mixture.answer(z)
        return with_tails(self.heads, partial(answer_base, self.base, self.mixture), self.radius, z)

    def reach(self, points: ArrayT) -> ArrayT:
        """Map points (M, D) to the frame, and those too far away to the farthest ones on their rays."""
        xp, center = library(points), self.frame.center
        with np.errstate(over="ignore", invalid="ignore"):
            z = self.frame.to_frame(points)
            far = ~(abs(z) < FARTHEST).all(1)
        if far.any():
            size = xp.amax(xp.maximum(abs(points[far]), abs(center)), 1)[:, None]
            ray = (points[far] / size - center / size) @ self.frame.linear
            z = with_values(z, far, ray / xp.amax(abs(ray), 1)[:, None] * FARTHEST)
        return z
