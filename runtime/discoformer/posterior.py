r"""Bayesian sampling: particles moved to a density of which only the score is known.

Let ``pi`` be an unnormalised posterior, given as ``grad log pi``. The density ``f`` of the particles follows
the gradient flow of ``KL(f, pi)`` in the metric of optimal transport (Jordan, Kinderlehrer, Otto 1998). The
covariance ``C`` of the particles is the preconditioner, so that affine maps change nothing::

    d x / dt = C u(x)      u = grad log pi - grad log f      d KL(f, pi) / dt = -J,   J = mean of u . C u

The score of ``f`` is estimated from the particles, which are encoded again at every step. ``J`` is the
relative Fisher information in units of the particles' own spread; it is 0 only if ``f = pi``. The particles
have converged when the mismatch ``J / D`` falls below the tolerance. (For a Gaussian displaced by ``e``
standard deviations in each direction, ``J / D = e^2``.) However the particles move, KL falls by the work
``mean of u . dx``; this does not need ``log pi``.

The steps are those of gradient descent with momentum, with a step size ``h_i`` for each particle. So paths
differ from those of the flow, but the points of rest are the same::

    p_i <- BETA p_i + (1 - BETA) h_i C u_i,  no longer than REACH        x_i <- x_i + p_i

If ``u_i`` has turned against the step, ``h_i`` falls and ``p_i`` is set to 0. If ``u_i`` has hardly changed,
``h_i`` grows.

Shapes: N particles, D dimensions. Float64.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from discoformer.deprecation import renamed_arguments
from discoformer.errors import InputError
from discoformer.fit import ignore
from discoformer.io.inputs import Floats, read_matrix, whole_number
from discoformer.onnx.names import Effort
from discoformer.particles import Density, own_density

Score: TypeAlias = Callable[[Floats], Floats]  # function from points (N, D) to the score (N, D) there

REACH = 1.0  # longest step, in standard deviations of the particles, root mean square over directions
BETA = 0.8  # momentum
FIRST, LONGEST = 0.2, 1.0  # first and greatest step size
SHORTER, LONGER = 0.6, 1.2  # factors by which a step size falls and grows
KEPT = 0.5  # the step size grows if more than this share of u along the step is left


class Posterior(NamedTuple):
    """Particles on their way to the posterior."""

    points: Floats  # (N, D)
    log_density: Floats  # (N,) log-density of the particles, at the points, nats
    mismatch: float  # J / D: relative Fisher information per dimension, in units of the particles' spread
    kl: float  # change of KL(f, pi) since the beginning, nats
    gradients: int  # how often the score of the posterior was called, each time with all points
    converged: bool  # whether the mismatch is within the tolerance


OnStep: TypeAlias = Callable[[Posterior], object]


class _Cloud(NamedTuple):
    """Particles, and the state of their descent."""

    points: Floats  # (N, D)
    log_density: Floats  # (N,)
    pull: Floats  # (N, D) u
    pace: Floats  # (N, D) C u
    mismatch: Floats  # (N,) u . C u / D
    momentum: Floats  # (N, D) the last step, or 0
    size: Floats  # (N,) h


@renamed_arguments(callback="on_progress")
def sample_posterior(
    score: Score,
    X: Any,
    steps: int = 50,
    tolerance: float = 0.02,
    density: Density | None = None,
    on_progress: OnStep = ignore,
    effort: Effort = "best",
) -> Posterior:
    """Move particles to the posterior, given its score.

    >>> import numpy as np
    >>> from discoformer.posterior import sample_posterior
    >>> prior = np.random.default_rng(0).normal(size=(200, 2))
    >>> found = sample_posterior(lambda x: 4 * (np.array([1.0, -1.0]) - x), prior)
    >>> found.converged, found.points.mean(axis=0).round(1), found.points.std(axis=0).round(1)
    (True, array([ 1., -1.]), array([0.5, 0.5]))

    Args:
        score: Function ``grad log pi`` from points (N, D) to (N, D). The posterior need not be normalised.
        X: Array-like (N, D): particles at the beginning, for example draws of the prior. There must be more
            than D of them. With few particles in many dimensions (200 in 31), some drift away in the end, and
            the mismatch does not show it.
        steps: Greatest number of steps; each calls the score once for all points, and takes one encoding.
        tolerance: Mismatch at which to stop. With few particles, the error of their estimated score may keep
            the mismatch above it.
        density: Function from points to log-density and score at them; by default
            ``own_density(effort=effort)``.
        on_progress: Called with the particles at the beginning and after each step.
        effort: As in ``Model.estimate``; not used if ``density`` is given.

    Returns:
        The particles at the end. To draw more points, or to get the log-density anywhere, make an estimate
        from them.

    Raises:
        InputError: X is not a matrix of finite numbers with more rows than columns, ``steps`` is not a whole
            number of 1 or more, ``tolerance`` is negative, there is no such effort, or the score is not
            finite or has another shape than its points.
        DegenerateDataError: A coordinate of the particles is constant, or coordinates are collinear.
    """
    points = read_matrix("X", X).values
    if len(points) <= points.shape[1]:
        raise InputError(
            f"X must have more rows than columns, got shape {points.shape}: start from more points"
        )
    if not tolerance >= 0:
        raise InputError(f"tolerance must be 0 or more, got {tolerance}")
    steps, see = whole_number("steps", steps, 1), density or own_density(effort=effort)
    cloud, kl = _look(score, see, points, np.zeros_like(points), np.full(len(points), FIRST)), 0.0
    for done in range(steps + 1):
        if done:
            cloud, work = _step(score, see, cloud)
            kl -= work
        mismatch = float(cloud.mismatch.mean())
        at = Posterior(cloud.points, cloud.log_density, mismatch, kl, done + 1, mismatch <= tolerance)
        on_progress(at)
        if at.converged:
            break
    return at


def _step(score: Score, see: Density, cloud: _Cloud) -> tuple[_Cloud, float]:
    """Return the particles after a step, and the work done on them, in nats."""
    reach = REACH / np.sqrt(np.maximum(cloud.mismatch, np.finfo(float).tiny))
    size = np.minimum(cloud.size, reach)
    step = BETA * cloud.momentum + (1 - BETA) * size[:, None] * cloud.pace
    moved = _look(score, see, cloud.points + step, step, size)
    before, after = (np.sum(step * pull, axis=1) for pull in (cloud.pull, moved.pull))
    turned, same = after < 0, after > KEPT * np.abs(before)
    return moved._replace(
        momentum=np.where(turned[:, None], 0.0, step),
        size=np.where(turned, SHORTER, np.where(same, LONGER, 1.0)).clip(max=LONGEST / size) * size,
    ), float((before + after).mean() / 2)


def _look(score: Score, see: Density, points: Floats, momentum: Floats, size: Floats) -> _Cloud:
    """Evaluate both scores at points.

    Raises:
        InputError: The score of the posterior is not finite or has another shape than its points.
    """
    target = np.asarray(score(points), dtype=np.float64)
    if target.shape != points.shape or not np.isfinite(target).all():
        raise InputError(
            f"score must give finite numbers of shape {points.shape}, a row for each point, got shape "
            f"{target.shape} with {np.count_nonzero(~np.isfinite(target))} that are not finite"
        )
    log_density, own = see(points)
    pull = target - own
    pace = pull @ np.atleast_2d(np.cov(points.T, ddof=0))
    return _Cloud(points, log_density, pull, pace, (pull * pace).mean(axis=1), momentum, size)
