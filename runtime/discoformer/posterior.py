r"""Bayesian sampling: particles brought to a density of which nothing is known but the score.

Of an unnormalised posterior ``pi`` given as ``grad log pi``, the density ``f`` of the particles follows the
gradient flow of ``KL(f, pi)`` in the metric of optimal transport (Jordan, Kinderlehrer, Otto 1998), with the
covariance ``C`` of the particles as preconditioner, so that affine maps change nothing::

    d x / dt = C u(x)      u = grad log pi - grad log f      d KL(f, pi) / dt = -J,   J = mean of u . C u

The score of ``f`` is estimated from the particles, encoded anew at every step. ``J`` is the relative Fisher
information in units of the particles' own spread, and 0 where ``f = pi`` alone. Where ``J / D``, the
mismatch, comes below the tolerance, the particles rest. (A Gaussian displaced by ``e`` standard deviations in
each direction has ``J / D = e^2``.) However particles move, KL falls by the work ``mean of u . dx``, for
which ``log pi`` is not needed.

The steps are those of gradient descent with momentum, with a step size ``h_i`` for each particle (their paths
differ from those of the flow by this, where they come to rest does not)::

    p_i <- BETA p_i + (1 - BETA) h_i C u_i,  no longer than REACH        x_i <- x_i + p_i

Where ``u_i`` has turned against the step, ``h_i`` falls and ``p_i`` is set to 0; where it has hardly changed,
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
from discoformer.particles import Density, own_density

Score: TypeAlias = Callable[[Floats], Floats]  # from points (N, D) to the score there (N, D)

REACH = 1.0  # longest step, in standard deviations of the particles, root mean square over directions
BETA = 0.8  # momentum
FIRST, LONGEST = 0.2, 1.0  # step sizes, to begin with and at most
SHORTER, LONGER = 0.6, 1.2  # factors of a step size
KEPT = 0.5  # share of u left along a step, above which the step size grows


class Posterior(NamedTuple):
    """Particles on their way to the posterior."""

    points: Floats  # (N, D)
    log_density: Floats  # (N,) their own, at the points, nats
    mismatch: (
        float  # J / D: relative Fisher information for each dimension, in units of the particles' spread
    )
    kl: float  # KL(f, pi) less what it was at the beginning, nats
    gradients: int  # how often the score of the posterior was asked for, at all points each time
    converged: bool  # whether the mismatch is within the tolerance


OnStep: TypeAlias = Callable[[Posterior], object]


class _Cloud(NamedTuple):
    """Particles, and what moves them."""

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
        X: Array-like (N, D), where the particles begin: draws of the prior, say. More than D of them; of few
            in many dimensions (200 in 31) some drift away in the end, which the mismatch does not see.
        steps: At most so many; each takes the score at all points once, and one encoding.
        tolerance: Mismatch at which the particles rest. In few particles the error of their estimated score
            may keep it above.
        density: From points to log-density and score at them; by default ``own_density()``.
        on_progress: Called at the beginning and after each step.

    Returns:
        The particles at the end. To draw more points, or for the log-density anywhere, estimate from them.

    Raises:
        InputError: An argument is malformed, or the score is not finite or of another shape.
        DegenerateDataError: The particles have no density.
    """
    points = read_matrix("X", X).values
    if len(points) <= points.shape[1]:
        raise InputError(f"X must have more rows than columns, got {points.shape}: begin with more points")
    if not tolerance >= 0:
        raise InputError(f"tolerance must be 0 or more, got {tolerance}")
    steps, see = whole_number("steps", steps, 1), density or own_density()
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
    """The particles after a step, and the work done on them (nats)."""
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
