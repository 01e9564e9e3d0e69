r"""Particle flows: deterministic particles whose own density supplies the score at every step.

A Fokker-Planck equation moves a density ``f`` as a velocity field would that holds its score, so particles
that follow this field carry the density along, without noise (Maoutsa, Reich, Opper 2020)::

    d f / dt = -div(f v)         d x_i / dt = v(x_i, s(x_i))         s = grad log f

Here the score is estimated from the particles themselves, encoded anew at every step. The fields::

    heat equation             v = -k s                            d f / dt = k laplace f
    Fokker-Planck             v = b(x) - K s                      d f / dt = div(K grad f - b f)
    Ornstein-Uhlenbeck        the same, with b = -r (x - m)
    Landau, homogeneous       v_i = -mean_j A(x_i - x_j) (s_i - s_j),    A(z) = C (|z|^2 I - z z^T)

The last one is the Landau equation of a plasma with Maxwellian molecules, ``x`` a velocity. Its sum over
pairs is worked out by moments, in O(N D^2). It keeps momentum and energy; the covariance ``S`` relaxes,
whatever the density, as ``S(t) = (tr S / D) I + exp(-4 D C t) (S(0) - (tr S / D) I)``.

Time steps are by the midpoint rule, of second order: two encodings each. The entropy ``-mean_i log f(x_i)``
comes along, by which one follows how the equation dissipates.

Shapes: N particles, D dimensions. Float64.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from discoformer.deprecation import renamed_arguments
from discoformer.errors import InputError
from discoformer.fit import ignore
from discoformer.io.inputs import Floats, read_matrix, whole_number
from discoformer.model import Model, model_or_default

Velocity: TypeAlias = Callable[[Floats, Floats], Floats]  # of points (N, D) and scores (N, D): (N, D)
Density: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]  # of points: log-density and score at them


class Particles(NamedTuple):
    """Particles at one time, and the density that they see."""

    time: float
    points: Floats  # (N, D)
    log_density: Floats  # (N,) nats, at the points
    score: Floats  # (N, D) there

    @property
    def entropy(self) -> float:
        """Differential entropy, ``-mean log f``, in nats."""
        return -float(self.log_density.mean())


OnStep: TypeAlias = Callable[[Particles], object]


def own_density(model: Model | None = None) -> Density:
    """The density of particles by a model (the default one), at the particles themselves."""
    return lambda points: model_or_default(model).estimate(points).answer(points)


def heat(conductivity: float = 1.0) -> Velocity:
    """The heat equation, ``d f / dt = k laplace f``: covariances grow by ``2 k t I``."""
    return fokker_planck(None, conductivity)


def ornstein_uhlenbeck(rate: float = 1.0, diffusion: Any = 1.0, mean: Any = 0.0) -> Velocity:
    """Drift ``-rate (x - mean)`` and constant diffusion: it tends to a Gaussian of covariance ``K / rate``.

    Args:
        rate: Of the decay, in 1 / time.
        diffusion: As in ``fokker_planck``.
        mean: Where it decays to, a number or (D,).

    Raises:
        InputError: As in ``fokker_planck``.
    """
    return fokker_planck(lambda points: -rate * (points - np.asarray(mean)), diffusion)


def fokker_planck(drift: Callable[[Floats], Floats] | None, diffusion: Any = 1.0) -> Velocity:
    """``d f / dt = div(K grad f - b f)``, the law of ``dX = b(X) dt + sqrt(2 K) dW``.

    Args:
        drift: ``b``, from points (N, D) to (N, D); None for none.
        diffusion: ``K``: a number, or a symmetric matrix (D, D); without negative eigenvalues.

    Raises:
        InputError: The diffusion is none of these.
    """
    matrix = np.asarray(diffusion, dtype=np.float64)
    square = np.atleast_2d(matrix)
    if square.shape[0] != square.shape[1] or matrix.ndim not in (0, 2) or not np.allclose(square, square.T):
        raise InputError(f"diffusion must be a number or a symmetric matrix (D, D), got {diffusion!r}")
    if not np.isfinite(square).all() or np.linalg.eigvalsh(square)[0] < -1e-12 * np.abs(square).max():
        raise InputError(f"diffusion must be finite and have no negative eigenvalue, got {diffusion!r}")

    def velocity(points: Floats, score: Floats) -> Floats:
        spread = -score @ matrix if matrix.ndim else -matrix * score
        return spread if drift is None else spread + drift(points)

    return velocity


def landau(strength: float = 1.0) -> Velocity:
    """The homogeneous Landau equation with Maxwellian molecules; ``strength`` is ``C``, in 1 / time."""

    def velocity(points: Floats, score: Floats) -> Floats:
        v = points - points.mean(axis=0)
        square, work = (np.sum(v * other, axis=1, keepdims=True) for other in (v, score))
        mean, swept, along = score.mean(axis=0), (square * score).mean(axis=0), (v * work).mean(axis=0)
        pressure, drag = v.T @ v / len(v), v.T @ score / len(v)  # means of v_j v_j^T, of v_j s_j^T
        # means over j of |v_i - v_j|^2 (s_i - s_j) and of (v_i - v_j) (v_i - v_j) . (s_i - s_j)
        whole = (square + square.mean()) * score - square * mean + 2 * v @ drag - swept
        radial = v * (work + work.mean() - v @ mean[:, None]) + v @ drag.T + score @ pressure - along
        return -strength * (whole - radial)

    return velocity


@renamed_arguments(callback="on_progress")
def flow(
    X: Any,
    velocity: Velocity,
    duration: float,
    steps: int,
    density: Density | None = None,
    on_progress: OnStep = ignore,
    progress: bool = False,
) -> Particles:
    """Lets particles follow a velocity field that may hold their own score.

    >>> import numpy as np
    >>> from discoformer.particles import flow, heat
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> float(flow(X, heat(), duration=0.5, steps=4).points.var().round())  # 1 + 2 t
    2.0

    Args:
        X: Array-like (N, D), where the particles begin, drawn from the density at time 0.
        velocity: From points (N, D) and their scores (N, D) to velocities (N, D): ``heat()``, say.
        duration: How long, in units of time.
        steps: In how many steps; each takes two encodings.
        density: From points (N, D) to log-density (N,) and score (N, D) at them; by default
            ``own_density()``, the default model. Another model's is ``own_density(model)``.
        on_progress: Called with the particles at the beginning and after each step.
        progress: Show a progress bar on stderr, where that is a terminal.

    Returns:
        The particles at the end.

    Raises:
        InputError: An argument is malformed, or the particles fly apart.
        DegenerateDataError: They have no density.
    """
    points = read_matrix("X", X).values
    if not 0 < duration < np.inf:
        raise InputError(f"duration must be positive and finite, got {duration}")
    h = duration / whole_number("steps", steps, 1)
    see = density or own_density()
    particles = Particles(0.0, points, *see(points))
    on_progress(particles)
    with _bar(steps, progress) as ticks:
        for done in ticks:
            middle = _step(
                particles.points, h / 2 * velocity(particles.points, particles.score), particles.time
            )
            points = _step(particles.points, h * velocity(middle, see(middle)[1]), particles.time)
            particles = Particles(duration * (done + 1) / steps, points, *see(points))
            on_progress(particles)
    return particles


def _step(points: Floats, by: Floats, time: float) -> Floats:
    moved = points + by
    if not np.isfinite(moved).all():
        raise InputError(f"the particles fly apart after time {time:.4g}: take more steps")
    return moved


def _bar(steps: int, progress: bool) -> Any:
    import click

    hidden = not progress or not sys.stderr.isatty()
    return click.progressbar(range(steps), label="particles", show_pos=True, file=sys.stderr, hidden=hidden)
