r"""Bayesian sampling: particles brought to a density of which only the score is known, up to no constant.

Of an unnormalised posterior ``pi`` given as ``grad log pi``, the density ``f`` of the particles follows the
gradient flow of ``KL(f, pi)`` in the metric of optimal transport, preconditioned by the covariance ``C`` of
the particles, so that affine maps change nothing (Garbuno-Inigo, Nuesken, Reich 2020)::

    d x / dt = C u(x)      u = grad log pi - grad log f      d KL(f, pi) / dt = -J,   J = mean of u . C u

The score of ``f`` is estimated from the particles, encoded anew at every step. ``J``, the relative Fisher
information in units of the particles' own spread, is 0 where ``f = pi`` alone: where ``J / D`` comes below the
tolerance, the particles rest. (A Gaussian displaced by ``e`` standard deviations in each direction has
``J / D = e^2``.) Its integral over time is by how much KL has come down, for which ``log pi`` is not needed.

A step moves no particle cloud by more than ``REACH`` of its spread, is taken back and halved where ``u`` has turned
around along it, and grows where ``u`` has hardly changed.

Shapes: N particles, D dimensions. Float64.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from discoformer.errors import InputError
from discoformer.inputs import Floats, read_matrix, whole_number
from discoformer.particles import Density, own_density

Score: TypeAlias = Callable[[Floats], Floats]  # from points (N, D) to the score there (N, D)

REACH = 0.5  # standard deviations, root mean square over directions, that a step takes the particles at most
FIRST, LONGEST = 0.2, 1.0  # step sizes, to begin with and at most
HALVED, GROWN = 0.5, 1.3  # factors of the step size
LITTLE = 0.6  # share of u that is left along a step after which the next one may be longer


class Posterior(NamedTuple):
    """Particles on their way to the posterior."""

    points: Floats  # (N, D)
    log_density: Floats  # (N,) their own, at the points, nats
    mismatch: (
        float  # J / D: relative Fisher information for each dimension, in units of the particles' spread
    )
    kl: float  # KL(f, pi) less what it was at the beginning, nats
    step: float  # size of the next one
    gradients: int  # of log pi, taken so far, each at all points
    converged: bool  # whether mismatch is below the tolerance


Callback: TypeAlias = Callable[[Posterior], object]


def say_nothing(posterior: Posterior) -> None:
    """Leaves progress unsaid."""


class _Cloud(NamedTuple):
    """Particles, and what moves them."""

    points: Floats  # (N, D)
    log_density: Floats  # (N,)
    pull: Floats  # (N, D) u
    covariance: Floats  # (D, D)

    @property
    def mismatch(self) -> float:
        return _mean_product(self.pull @ self.covariance, self.pull) / self.points.shape[1]


def sample_posterior(
    score: Score,
    X: Any,
    steps: int = 50,
    tolerance: float = 0.01,
    density: Density | None = None,
    callback: Callback = say_nothing,
) -> Posterior:
    """Brings particles to the posterior, given its score.

    >>> import numpy as np
    >>> from discoformer.posterior import sample_posterior
    >>> prior = np.random.default_rng(0).normal(size=(200, 2))
    >>> found = sample_posterior(lambda x: 4 * (np.array([1.0, -1.0]) - x), prior)
    >>> found.converged, found.points.mean(axis=0).round(1), found.points.std(axis=0).round(1)
    (True, array([ 1., -1.]), array([0.5, 0.5]))

    Args:
        score: ``grad log pi``, from points (N, D) to (N, D), of a posterior that need not be normalised.
        X: Array-like (N, D), where the particles begin: draws of the prior, say. More than D of them; 4 D or
            more are better.
        steps: At most so many; each takes the score at all points once, and one encoding.
        tolerance: Of the mismatch, at which the particles rest.
        density: From points to log-density and score at them; by default ``own_density()``, the default model.
        callback: Called at the beginning and after each step.

    Returns:
        The particles at the end. To draw more points, or for the log-density anywhere, estimate from them.

    Raises:
        InputError: An argument is malformed, or the score is not finite or of another shape.
        DegenerateDataError: The particles have no density.
    """
    points = read_matrix("X", X).values
    if len(points) <= points.shape[1]:
        raise InputError(
            f"X must have more rows than columns, got shape {points.shape}: begin with more points"
        )
    if not tolerance >= 0:
        raise InputError(f"tolerance must be 0 or more, got {tolerance}")
    see = density or own_density()
    cloud = _look(score, see, points)
    at = Posterior(points, cloud.log_density, cloud.mismatch, 0.0, FIRST, 1, cloud.mismatch <= tolerance)
    callback(at)
    for _ in range(whole_number("steps", steps, 1)):
        if at.converged:
            break
        cloud, at = _step(score, see, cloud, at, tolerance)
        callback(at)
    return at


def _step(
    score: Score, see: Density, cloud: _Cloud, at: Posterior, tolerance: float
) -> tuple[_Cloud, Posterior]:
    """One step, or none where it would go too far; the size of the next one follows."""
    size = min(at.step, REACH / math.sqrt(cloud.mismatch))
    velocity = cloud.pull @ cloud.covariance
    moved = _look(score, see, cloud.points + size * velocity)
    before, after = (_mean_product(velocity, pull) for pull in (cloud.pull, moved.pull))
    if not after > 0:
        return cloud, at._replace(step=HALVED * size, gradients=at.gradients + 1)
    return moved, Posterior(
        points=moved.points,
        log_density=moved.log_density,
        mismatch=moved.mismatch,
        kl=at.kl - size * (before + after) / 2,
        step=min(LONGEST, size * GROWN) if after > LITTLE * before else size,
        gradients=at.gradients + 1,
        converged=moved.mismatch <= tolerance,
    )


def _look(score: Score, see: Density, points: Floats) -> _Cloud:
    target = np.asarray(score(points), dtype=np.float64)
    if target.shape != points.shape or not np.isfinite(target).all():
        raise InputError(
            f"score must give finite numbers of shape {points.shape}, one row for each point, got shape "
            f"{target.shape} with {np.count_nonzero(~np.isfinite(target))} that are not finite"
        )
    log_density, own = see(points)
    return _Cloud(points, log_density, target - own, np.atleast_2d(np.cov(points.T, ddof=0)))


def _mean_product(one: Floats, other: Floats) -> float:
    return float((one * other).sum(axis=1).mean())
