r"""Analyses of a singular estimate (see ``base.hull``), in coordinates in which it is not singular.

The frame coordinates ``z`` (r,) of a point of the hull are such: ``x = m + z J``. For conditionals they are
turned, so that the first r - q of them say nothing about the given features ``x_g``::

    z = v Q^T,  v = (v_u, v_g)      x_g = m_g + v_g Q_g^T J_g      x_u = m_u + v Q^T J_u

So ``v_g`` (q,) follows from the given values, and the density of the free features given the others is that
of ``v_u`` given ``v_g``. Its volume is that of the set of ``x_u`` that the given values leave possible.

Shapes: M rows of given values, D = F + G features, F free and G given, r dimensions of the hull.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from discoformer.base.frame import Frame
from discoformer.base.hull import HullFrame
from discoformer.fit import Context
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import AnyFloats, Floats

D = TypeVar("D", bound=FittedDensity)


def in_frame(fitted: D, turn: Floats | None = None) -> D:
    """Return the same density as an estimate of its frame coordinates.

    Args:
        fitted: The density.
        turn: Rotation Q (r, r) of the coordinates; none by default.
    """
    frame, rank = fitted.frame, fitted.frame.rank
    turn = np.eye(rank) if turn is None else turn
    same = {item.name: getattr(frame, item.name) for item in fields(Frame)}
    data, spread = (
        Context(frame.to_frame(held.points) @ turn, held.weights) for held in (fitted.data, fitted.spread)
    )
    return type(fitted)(
        fitted.model,
        Frame(**same | {"center": np.zeros(rank), "linear": turn.T, "log_abs_det": 0.0}),
        fitted.encoded,
        replace(fitted.diagnostics, dim=rank, effective_size=fitted.size),
        None,
        data,
        fitted.reading,
        spread,
    )


class FreeAndGiven:
    """Coordinates for the conditionals of a density: the features themselves, unless it is singular.

    Attributes:
        fitted: The density in these coordinates.
        free: Positions of the free coordinates.
        given: Positions of the given coordinates.
        given_volume: Log-volume of the given features per unit volume of the given coordinates, nats.
        excess: Log-volume of all features per unit of those of the free and of the given ones, nats.
    """

    given_volume, excess = 0.0, 0.0

    def __init__(self, fitted: FittedDensity, free: Sequence[int], given: Sequence[int]) -> None:
        self.fitted, self.free, self.given = fitted, free, given

    def to_given(self, values: Floats) -> Floats:
        """Return the given coordinates for rows of given values (M, G)."""
        return values

    def to_free(self, points: Floats, given: Floats) -> Floats:
        """Return the free features (..., M, F) at free coordinates, for rows of given coordinates (M, q)."""
        return points

    def score(self, score: AnyFloats) -> AnyFloats:
        """Return the score (M, F) of the conditional, from that of the joint density (M, D)."""
        return score[:, self.free]


class OnHull(FreeAndGiven):
    """Coordinates for the conditionals of a singular density; see the head of this module."""

    def __init__(self, fitted: FittedDensity, free: Sequence[int], given: Sequence[int]) -> None:
        frame = fitted.frame
        assert isinstance(frame, HullFrame)
        u, g = list(free), list(given)
        axes, size, right = frame.axes_of(g)
        q, left = len(size), frame.rank - len(size)
        turn = np.roll(axes, -q, axis=1)
        super().__init__(in_frame(fitted, turn), range(left), range(left, frame.rank))
        self._frame, self._turn = frame, turn[:, :left]
        self._centers = frame.center[u], frame.center[g]
        self._inverse = turn.T @ frame.inverse[:, u]  # (r, F)
        self._to_given = (right / size[:, None]).T / frame.unit[g, None]  # (G, q)
        self._gradient, free_volume = frame.along(self._turn.T, u)
        self.given_volume = frame.along(turn[:, left:].T, g)[1]
        self.excess = frame.log_abs_det + self.given_volume + free_volume

    def to_given(self, values: Floats) -> Floats:
        """Return the given coordinates (M, q) for rows of given values (M, G), or the nearest possible."""
        return (values - self._centers[1]) @ self._to_given

    def to_free(self, points: Floats, given: Floats) -> Floats:
        """Return the free features (..., M, F) at free coordinates, for rows of given coordinates (M, q)."""
        free = len(self.free)
        return self._centers[0] + points @ self._inverse[:free] + given @ self._inverse[free:]

    def score(self, score: AnyFloats) -> AnyFloats:
        """Return the score (M, F) of the conditional, from that of the joint density (M, D)."""
        return self._frame.score_to_frame(score.astype(float)) @ self._turn @ self._gradient


def free_and_given(fitted: FittedDensity, free: Sequence[int], given: Sequence[int]) -> FreeAndGiven:
    """Return the coordinates for the conditionals of a density."""
    return (OnHull if fitted.is_singular else FreeAndGiven)(fitted, free, given)
