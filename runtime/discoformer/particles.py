r"""Particle flows: deterministic particles whose velocity depends on the score of their own density.

A Fokker-Planck equation moves a density ``f`` like a velocity field that depends on the score of ``f``.
Particles that follow this field carry the density along, without noise (Maoutsa, Reich, Opper 2020)::

    d f / dt = -div(f v)         d x_i / dt = v(x_i, s(x_i))         s = grad log f

Here the score is estimated from the particles themselves, which are encoded again at every step. The fields::

    heat equation             v = -k s                            d f / dt = k laplace f
    Fokker-Planck             v = b(x) - K s                      d f / dt = div(K grad f - b f)
    Ornstein-Uhlenbeck        the same, with b = -r (x - m)
    Landau, homogeneous       v_i = -mean_j A(x_i - x_j) (s_i - s_j),    A(z) = C (|z|^2 I - z z^T)

The last one is the Landau equation of a plasma with Maxwellian molecules, where ``x`` is a velocity. Its sum
over pairs is computed from moments, in O(N D^2). It conserves momentum and energy. Whatever the density, the
covariance ``S`` relaxes as ``S(t) = (tr S / D) I + exp(-4 D C t) (S(0) - (tr S / D) I)``.

Time steps use the midpoint rule, which is of second order and takes two encodings. The entropy
``-mean_i log f(x_i)`` is part of the result; it shows how the equation dissipates.

Particles are a NumPy array, or a tensor of PyTorch, CuPy or JAX, which stays on its device with
``effort="fast"``. Shapes: N particles, D dimensions. Float64.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from discoformer.base.arrays import ArrayT, all_finite, moved_to
from discoformer.base.tensors import read_tensor
from discoformer.deprecation import renamed_arguments
from discoformer.errors import InputError
from discoformer.fit import ignore
from discoformer.io.inputs import Floats, read_matrix, whole_number
from discoformer.io.tensors import is_tensor
from discoformer.model import Model, model_or_default
from discoformer.onnx.names import Effort, check_effort

Velocity: TypeAlias = Callable[[Floats, Floats], Floats]  # from points and scores (N, D) to velocities
Density: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]  # from points to log-density and score


class Particles(NamedTuple):
    """Particles at one time, and their own density at them."""

    time: float
    points: Floats  # (N, D)
    log_density: Floats  # (N,) nats, at the points
    score: Floats  # (N, D) at the points, 1 / data units

    @property
    def entropy(self) -> float:
        """Differential entropy, ``-mean log f``, in nats."""
        return -float(self.log_density.mean())


OnStep: TypeAlias = Callable[[Particles], object]


def own_density(model: Model | None = None, effort: Effort = "best") -> Density:
    """Return the density of particles, estimated by a model (the default one) at the particles themselves.

    With ``effort="fast"`` tensors are answered by ``Model.log_density_and_score``, and never leave their
    device. Other particles are read by ``Model.estimate``, on the host.

    Args:
        model: The model.
        effort: As in ``Model.estimate``.

    Raises:
        InputError: There is no such effort.
    """
    check_effort(effort)

    def density(points: Any) -> tuple[Any, Any]:
        found = model_or_default(model)
        if effort == "fast" and is_tensor(points):
            return found.log_density_and_score(points, points)
        return found.estimate(points, effort=effort).answer(points)

    return density


def heat(conductivity: float = 1.0) -> Velocity:
    """Return the field of ``d f / dt = k laplace f``, which adds ``2 k t I`` to the covariance."""
    return fokker_planck(None, conductivity)


def ornstein_uhlenbeck(rate: float = 1.0, diffusion: Any = 1.0, mean: Any = 0.0) -> Velocity:
    """Return the field of drift ``-rate (x - mean)`` and constant diffusion ``K``.

    The density tends to a Gaussian of covariance ``K / rate``.

    Args:
        rate: Rate of decay to the mean, in 1 / time.
        diffusion: As in ``fokker_planck``.
        mean: The mean of the limit: a number or an array (D,).

    Raises:
        InputError: As in ``fokker_planck``.
    """
    return fokker_planck(lambda points: -rate * (points - moved_to(np.asarray(mean), points)), diffusion)


def fokker_planck(drift: Callable[[Floats], Floats] | None, diffusion: Any = 1.0) -> Velocity:
    """Return the field of ``d f / dt = div(K grad f - b f)``, the density of ``dX = b(X) dt + sqrt(2 K) dW``.

    Args:
        drift: ``b``, a function from points (N, D) to (N, D); None for no drift.
        diffusion: ``K``, a number of 0 or more, or a symmetric matrix (D, D) without negative eigenvalues.

    Raises:
        InputError: ``diffusion`` is neither.
    """
    matrix = np.asarray(diffusion, dtype=np.float64)
    square = np.atleast_2d(matrix)
    if square.shape[0] != square.shape[1] or matrix.ndim not in (0, 2) or not np.allclose(square, square.T):
        raise InputError(f"diffusion must be a number or a symmetric matrix (D, D), got {diffusion!r}")
    if not np.isfinite(square).all() or np.linalg.eigvalsh(square)[0] < -1e-12 * np.abs(square).max():
        raise InputError(f"diffusion must be finite and have no negative eigenvalue, got {diffusion!r}")

    def velocity(points: Floats, score: Floats) -> Floats:
        spread = -score @ moved_to(matrix, score) if matrix.ndim else -float(matrix) * score
        return spread if drift is None else spread + drift(points)

    return velocity


def landau(strength: float = 1.0) -> Velocity:
    """Return the field of the homogeneous Landau equation with Maxwellian molecules.

    Args:
        strength: ``C``, in 1 / time.
    """

    def velocity(points: Floats, score: Floats) -> Floats:
        v = points - points.mean(0)
        square, work = ((v * other).sum(1)[:, None] for other in (v, score))
        mean, swept, along = score.mean(0), (square * score).mean(0), (v * work).mean(0)
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
    effort: Effort = "best",
) -> Particles:
    """Move particles along a velocity field that may hold their own score.

    >>> import numpy as np
    >>> from discoformer.particles import flow, heat
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> float(flow(X, heat(), duration=0.5, steps=4).points.var().round())  # 1 + 2 t
    2.0

    Args:
        X: Array-like or tensor (N, D): particles at the beginning, drawn from the density at time 0.
        velocity: Function from points (N, D) and their scores (N, D) to velocities (N, D), such as
            ``heat()``.
        duration: Length of the flow, in units of time.
        steps: Number of time steps; each takes two encodings.
        density: Function from points (N, D) to log-density (N,) and score (N, D) at them. By default
            ``own_density(effort=effort)``, which uses the default model; ``own_density(model, effort)`` uses
            another.
        on_progress: Called with the particles at the beginning and after each step.
        progress: Whether to show a progress bar on stderr, if that is a terminal.
        effort: As in ``Model.estimate``; not used if ``density`` is given.

    Returns:
        The particles at the end.

    Raises:
        InputError: X is not a matrix of finite numbers, ``duration`` is not positive and finite, ``steps`` is
            not a whole number of 1 or more, there is no such effort, or the coordinates of particles
            overflow.
        DegenerateDataError: A coordinate of the particles is constant, or coordinates are collinear.
    """
    points = read_tensor("X", X)[0] if is_tensor(X) else read_matrix("X", X).values
    if not 0 < duration < np.inf:
        raise InputError(f"duration must be positive and finite, got {duration}")
    h = duration / whole_number("steps", steps, 1)
    see = density or own_density(effort=effort)
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


def _step(points: ArrayT, by: ArrayT, time: float) -> ArrayT:
    moved = points + by
    if not all_finite(moved):
        raise InputError(f"the particles are no longer finite after time {time:.4g}: take more steps")
    return moved


def _bar(steps: int, progress: bool) -> Any:
    import click

    hidden = not (progress and sys.stderr and sys.stderr.isatty())
    return click.progressbar(range(steps), label="particles", show_pos=True, file=sys.stderr, hidden=hidden)
