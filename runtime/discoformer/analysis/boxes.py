r"""Probabilities of boxes under a mixture of Student-t distributions.

A component k has weight ``w_k``, centre ``m_k``, scale matrix ``L L^T`` (L lower triangular) and ``f_k``
degrees of freedom. Its points are ``m_k + L y``, and each entry of y follows Student's t, given those before
it::

    y_j = t_j sqrt((f_k + |y_<j|^2) / (f_k + j - 1)),    t_j with f_k + j - 1 degrees of freedom    j = 1 to G

**One column.** The distribution function is ``P(x < y) = sum_k w_k T((y - m_k) / L; f_k)``.

**More columns.** A column without bounds is left out, which leaves the marginal mixture of the G others. In
each component, the probability of the box is an integral over the unit cube (Genz and Bretz, *Computation of
Multivariate Normal and t Probabilities*, 2009, section 4.1): entry after entry, ``p_j`` is the probability
that column j is within its bounds, and ``y_j`` is drawn within them::

    P_k(box) = E[p_1 p_2 ... p_G]        P(box) = sum_k w_k b_k E[p_1 p_2 ... p_G / b_k]

Here ``b_k`` is the least probability of a single column in component k, so each mean is at most 1. Components
are drawn in proportion to ``w_k b_k``. The points of the cube are a Kronecker sequence (Roberts, 2018),
shifted at random. The standard error is that of the mean of ``SHIFTS`` independent shifts.

**A singular sample.** A constant column is within its bounds or not. If one of the other columns with bounds
is a linear combination of others, the probability is the share of draws that are within them.

Shapes: M queries, D columns, G of them with bounds, K components, n points of the cube.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from discoformer.base.arrays import slices
from discoformer.base.hull import HullFrame
from discoformer.base.mixture import draw, log_peak
from discoformer.errors import require
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats

SHIFTS = 8  # independent shifts that the standard error is taken from
_CHUNK = 2**20  # most pairs of a query and a component at a time
_LEAST = 1e-300  # least argument of the inverse distribution function


class BoxProbability(NamedTuple):
    """The probability of a box."""

    probability: float
    standard_error: float  # 0 where the probability has a closed form


class DataMixture(NamedTuple):
    """The mixture of some columns, in data units."""

    weights: Floats  # (K,) of sum 1
    centers: Floats  # (K, G)
    spreads: Floats  # (K, G, D), whose product with their transpose is the scale matrix
    freedom: Floats  # (K,)

    def of(self, columns: Sequence[int]) -> "DataMixture":
        """Return the marginal of some of the columns, in the order given; its spreads are the roots L."""
        roots = np.linalg.qr(self.spreads[:, columns].mT)[1].mT
        roots = roots * np.sign(np.diagonal(roots, axis1=1, axis2=2))[:, None]
        return self._replace(centers=self.centers[:, columns], spreads=roots)


def mixture_of(fitted: FittedDensity) -> DataMixture:
    """Return the mixture of all columns."""
    log_scale, means, factors, freedom = (field[0] for field in fitted.components)
    log_weights = log_scale - log_peak(factors, freedom)
    return DataMixture(
        np.exp(log_weights - np.logaddexp.reduce(log_weights)),
        fitted.frame.to_data(means),
        fitted.frame.inverse.T @ np.linalg.inv(factors)
        if isinstance(fitted.frame, HullFrame)
        else np.linalg.inv(factors @ fitted.frame.linear.T),
        freedom,
    )


def cdf_at(mixture: DataMixture, points: Floats) -> Floats:
    """Return the distribution function (M,) at points (M, 1), given the mixture of one column."""
    stdtr = require("scipy.special").stdtr
    center, root, found = mixture.centers[:, 0], mixture.spreads[:, 0, 0], np.empty(len(points))
    for part in slices(len(points), max(1, _CHUNK // len(center))):
        found[part] = stdtr(mixture.freedom, (points[part] - center) / root) @ mixture.weights
    return found


def box_probability_of(
    fitted: FittedDensity, low: Floats, high: Floats, samples: int, rng: np.random.Generator
) -> BoxProbability:
    """Return the probability of a box.

    Args:
        fitted: An estimate that is a mixture.
        low: (D,) lower bounds, -inf for none.
        high: (D,) upper bounds, inf for none.
        samples: Number of points of the integral, over all shifts.
        rng: Generator of the shifts.
    """
    bounded, mixture = np.flatnonzero((low > -np.inf) | (high < np.inf)), mixture_of(fitted)
    if isinstance(fitted.frame, HullFrame):
        center, constant = fitted.frame.center, fitted.frame.spread == 0
        if (constant & ((center < low) | (center > high))).any():
            return BoxProbability(0.0, 0.0)
        bounded = bounded[~constant[bounded]]
        if len(fitted.frame.axes_of(bounded.tolist())[1]) < len(bounded):
            return _share_of_draws(fitted, low, high, samples, rng)
    if not bounded.size:
        return BoxProbability(1.0, 0.0)
    alone = np.stack([_alone(mixture.of([j]), low[j], high[j]) for j in bounded.tolist()])  # (G, K)
    columns = bounded[np.argsort(alone @ mixture.weights)].tolist()  # the least probable column first
    least = alone.min(axis=0)
    share = mixture.weights * least
    if len(columns) == 1 or not share.any():
        return BoxProbability(float(share.sum()), 0.0)
    box = _Box(mixture.of(columns), low[columns], high[columns], least, share)
    means = [box.run(samples // SHIFTS, rng) for _ in range(SHIFTS)]
    return BoxProbability(float(np.mean(means)), float(np.std(means, ddof=1)) / math.sqrt(SHIFTS))


def _share_of_draws(
    fitted: FittedDensity, low: Floats, high: Floats, samples: int, rng: np.random.Generator
) -> BoxProbability:
    points = fitted.frame.to_data(draw(fitted.components, samples, rng))
    share = float(((low <= points) & (points <= high)).all(axis=1).mean())
    return BoxProbability(share, math.sqrt(share * (1 - share) / samples))


class _Box(NamedTuple):
    """A box, and the mixture of its columns."""

    mixture: DataMixture
    low: Floats  # (G,)
    high: Floats  # (G,)
    least: Floats  # (K,) b
    share: Floats  # (K,) w b, from which components are drawn

    def run(self, count: int, rng: np.random.Generator) -> float:
        """Return the probability of the box, from so many points with one shift."""
        dim, cumulated = len(self.low), np.cumsum(self.share)
        which = np.searchsorted(cumulated[:-1], cumulated[-1] * (np.arange(count) + rng.uniform()) / count)
        cube = _cube(count, dim, rng)
        center, root, freedom = (field[which] for field in self.mixture[1:])
        y, value = np.zeros((count, dim)), cumulated[-1] / self.least[which]
        for j in range(dim):
            scale = np.sqrt((freedom + np.square(y[:, :j]).sum(axis=1)) / (freedom + j))
            middle, width = center[:, j] + (root[:, j, :j] * y[:, :j]).sum(axis=1), root[:, j, j] * scale
            low, high = (self.low[j] - middle) / width, (self.high[j] - middle) / width
            inside, t = _within(low, high, freedom + j, cube[:, j])
            value *= inside
            y[:, j] = t * scale
        return float(value.mean())


def _alone(mixture: DataMixture, low: float, high: float) -> Floats:
    """Return the probability (K,) of bounds in each component, given the mixture of one column."""
    root, center = mixture.spreads[:, 0, 0], mixture.centers[:, 0]
    return _within((low - center) / root, (high - center) / root, mixture.freedom, np.full(len(root), 0.5))[0]


def _within(low: Floats, high: Floats, freedom: Floats, place: Floats) -> tuple[Floats, Floats]:
    """Return the probability (n,) that Student's t is within bounds, and a point there.

    Args:
        low: (n,) lower bounds.
        high: (n,) upper bounds.
        freedom: (n,) degrees of freedom.
        place: (n,) between 0 and 1, the share of the probability that lies below the point.
    """
    special = require("scipy.special")
    above = low > 0  # there the other tail is accurate
    first, last = np.where(above, -high, low), np.where(above, -low, high)
    below = special.stdtr(freedom, first)
    inside = special.stdtr(freedom, last) - below
    t = special.stdtrit(freedom, np.clip(below + place * inside, _LEAST, 1 - 1e-16))
    return inside, np.where(above, -t, t)


def _cube(count: int, dim: int, rng: np.random.Generator) -> Floats:
    """Return points (n, D) of the unit cube, evenly spread and shifted at random."""
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dim + 1))  # which solves root^(D + 1) = root + 1
    steps = (1 / root) ** np.arange(1, dim + 1)
    place = (np.arange(count)[:, None] * steps + rng.uniform(size=dim)) % 1
    tent: Floats = np.abs(2 * place - 1)  # periodic, which suits the sequence
    return tent
