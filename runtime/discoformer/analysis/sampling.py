r"""Sampling from an estimated density: exactly, by Langevin chains, or by diffusion. None needs training.

*Exact*: an estimate of ``effort="fast"`` is a mixture of Student-t distributions. Points are drawn from it.

All methods work in the frame (see ``base.frame``), where neighbourhoods are round; this is the
preconditioning. ``p`` is the density there, ``S`` its score, ``g`` a standard normal draw.

*Langevin*: one chain for each point wanted, all at once. Chains begin at draws of a proposal ``q``, the
broadened components of the estimate (see ``normalization``). A step has two parts: a jump to a new draw of
``q``, which takes chains from mode to mode, and a move along the score. Both are accepted or rejected by the
log-density, so ``p`` is invariant, whatever ``q`` and the step size ``h`` (Roberts, Tweedie 1996)::

    jump   z' ~ q                             with probability min(1, p(z') q(z) / (p(z) q(z')))
    move   z' = z + h / 2 S(z) + sqrt(h) g    with probability min(1, p(z') k(z | z') / (p(z) k(z' | z)))

``k(z' | z)`` is the normal density of the move. In the first half of the steps, ``h`` is adapted so that the
share ``ACCEPTED`` of the moves is accepted; then it stays fixed.

*Diffusion*: the sample ``z_i`` is noised to ``z_i + s g`` at levels ``s`` that fall geometrically, and
encoded once at each level. The score ``S_s`` of this is the score of ``p`` smoothed by a normal distribution
of width ``s``, and ``d = z + s^2 S_s(z)`` is the mean of ``z`` before the noise. Points begin at draws of a
normal distribution with the moments of the first level. They follow the reversed diffusion (Song et al. 2021)
from ``s`` to the next level ``t``, and at last to 0, by the multistep rule of Lu et al. (2022)::

    d'  =  d + (d - d of the level before) / 2
    "diffusion"   z <- r^2 z + (1 - r^2) d' + t sqrt(1 - r^2) g      r = t / s     the stochastic equation
    "ode"         z <- r z + (1 - r) d'                                            the probability flow

Shapes: n points, D dimensions. Float64.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from discoformer.base.mixture import Components, draw, mixture_log_density
from discoformer.deprecation import renamed_arguments
from discoformer.errors import InputError
from discoformer.fit import ignore
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, read_seed, whole_number
from discoformer.onnx.names import Effort

Method: TypeAlias = Literal["langevin", "diffusion", "ode", "exact"]
Target: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]  # function from points to log-density and score
OnStep: TypeAlias = Callable[[int, int], None]  # called with the number of steps done, and of all steps

METHODS: tuple[Method, ...] = get_args(Method)
STEPS = 16  # default number of steps of the chains, or of noise levels
ACCEPTED = 0.574  # share of accepted moves that is best in high dimension (Roberts, Rosenthal 1998)
FIRST = 1.6  # first step size; suits a standard normal distribution in one dimension
GAIN = 2.0  # change of the log of the step size per excess of the share accepted
# First and last noise level, in standard deviations of the sample along its widest direction in the frame.
WIDEST, NARROWEST = 2.0, 0.02


class Sampling(NamedTuple):
    """Points drawn, and how the chains went."""

    points: Floats  # (n, D)
    acceptance: float  # share of the moves accepted once the step was fixed; 1 for methods without moves
    jumps: float  # share of the jumps accepted; 0 for methods without jumps
    step: float  # h, in squared units of the coordinates; 0 for methods without steps


class State(NamedTuple):
    """The points of the chains, and the answers there."""

    points: Floats  # (n, D)
    log_density: Floats  # (n,)
    score: Floats  # (n, D)


def default_method(effort: Effort) -> Method:
    """Return the method that densities of an effort are drawn from by default."""
    return "exact" if effort == "fast" else "langevin"


@renamed_arguments(estimate="fitted", callback="on_progress")
def sample(
    fitted: FittedDensity,
    n: int,
    method: Method | None = None,
    seed: int = 0,
    steps: int = STEPS,
    on_progress: OnStep = ignore,
) -> Sampling:
    """Draw points from a fitted density; ``Estimate.sample`` returns only the points.

    Args:
        fitted: The density to draw from.
        n: Number of points.
        method: ``"langevin"``, ``"diffusion"``, ``"ode"`` or ``"exact"``; see the head of this module. By
            default ``"exact"`` for a density of ``effort="fast"``, and ``"langevin"`` for others.
        seed: The same seed draws the same points.
        steps: Number of steps of the chains, or of noise levels. Time grows with it.
        on_progress: Called after each step with the number of steps done, and of all steps.

    Returns:
        Points (n, D) in data units, and the shares accepted. ``step`` is in the frame.

    Raises:
        InputError: There is no such method, the density has no exact draws, or a number is not whole or is
            too low.
    """
    method = default_method(fitted.effort) if method is None else method
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}")
    n = whole_number("n", n, 1)
    rng = np.random.default_rng(read_seed(seed))
    steps = whole_number("steps", steps, 1)
    if method == "exact":
        fitted.require_effort("fast", "method='exact', which draws from a mixture,")
        found = Sampling(draw(fitted.components, n, rng), 1.0, 0.0, 0.0)
    elif method == "langevin":
        exact = fitted.effort == "fast"  # then chains begin at draws of the density, and need no jumps
        start = draw(fitted.components if exact else fitted.proposal, n, rng)
        proposal = None if exact else fitted.proposal
        found = langevin(fitted.answer_in_frame, start, steps, rng, proposal, on_progress)
    else:
        found = Sampling(_reverse(fitted, n, method, rng, steps, on_progress), 1.0, 0.0, 0.0)
    return found._replace(points=fitted.frame.to_data(found.points))


@renamed_arguments(callback="on_progress")
def langevin(
    target: Target,
    start: Floats,
    steps: int,
    rng: np.random.Generator,
    proposal: Components[Floats] | None = None,
    on_progress: OnStep = ignore,
    step: float | None = None,
) -> Sampling:
    """Run Langevin chains with Metropolis correction, all with the same step size.

    Args:
        target: Function from points (n, D) to the log-density (n,) to draw from, up to a constant, and its
            gradient (n, D). It is called once at the start, and once for each move and jump of all chains.
        start: Points (n, D) where the chains begin.
        steps: Number of steps. In the first half of them, the step size is adapted.
        rng: Generator of the noise.
        proposal: Mixture, of one data set, to propose jumps from. Without it there are no jumps.
        on_progress: Called after each step with the number of steps done, and of all steps.
        step: First step size; by default one that suits a standard normal distribution.

    Returns:
        Points of the chains at the end, and the shares accepted.
    """
    step = FIRST / math.cbrt(start.shape[1]) if step is None else step
    state = _state(target, start)
    moves, jumps = [], []
    for done in range(steps):
        if proposal is not None:
            state, accepted = _jump(target, state, proposal, rng)
            jumps.append(accepted)
        state, accepted = _move(target, state, step, rng)
        moves.append(accepted)
        if done < steps // 2:
            step *= math.exp(GAIN * (accepted - ACCEPTED))
        on_progress(done + 1, steps)
    return Sampling(state.points, float(np.mean(moves[steps // 2 :])), float(np.mean(jumps or [0.0])), step)


def _jump(
    target: Target, state: State, proposal: Components[Floats], rng: np.random.Generator
) -> tuple[State, float]:
    """Propose a jump of each chain to a draw of the proposal; return the new state and the share accepted."""
    new = _state(target, draw(proposal, len(state.points), rng))
    excess = [at.log_density - mixture_log_density(proposal, at.points) for at in (new, state)]
    return _choose(state, new, excess[0] - excess[1], rng)


def _move(target: Target, state: State, step: float, rng: np.random.Generator) -> tuple[State, float]:
    """Propose a move of each chain along the score; return the new state and the share accepted."""
    noise = rng.normal(size=state.points.shape)
    new = _state(target, state.points + step / 2 * state.score + math.sqrt(step) * noise)
    back = (state.points - new.points - step / 2 * new.score) / math.sqrt(step)
    log_kernels = np.square(noise).sum(axis=1) / 2 - np.square(back).sum(axis=1) / 2
    return _choose(state, new, new.log_density - state.log_density + log_kernels, rng)


def _state(target: Target, points: Floats) -> State:
    return State(points, *target(points))


def _choose(old: State, new: State, log_ratio: Floats, rng: np.random.Generator) -> tuple[State, float]:
    """Accept each new point with probability ``min(1, exp(log_ratio))``; return also the share accepted."""
    accepted = np.log(rng.uniform(size=len(log_ratio))) < log_ratio
    fields = (
        np.where(accepted.reshape(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(old, new, strict=True)
    )
    return State(*fields), float(accepted.mean())


def _reverse(
    fitted: FittedDensity, n: int, method: Method, rng: np.random.Generator, levels: int, on_progress: OnStep
) -> Floats:
    """Return points (n, D) in the frame, by the reversed diffusion from noise."""
    points, weights = fitted.z, fitted.spread.weights
    mean, covariance = weights @ points, np.atleast_2d(np.cov(points.T, aweights=weights, ddof=0))
    noise = math.sqrt(np.linalg.eigvalsh(covariance)[-1]) * np.geomspace(WIDEST, NARROWEST, levels)
    spread = np.linalg.cholesky(covariance + noise[0] ** 2 * np.eye(len(mean)))
    z = mean + rng.normal(size=(n, len(mean))) @ spread.T
    before = None
    for done, (s, t) in enumerate(pairwise([*noise, 0.0])):
        noised = fitted.refit(points + s * rng.normal(size=points.shape), weights, fitted.size)
        clean = z + s**2 * noised.answer(z)[1]
        ahead = clean if before is None or t == 0 else clean + (clean - before) / 2
        before = clean
        r = t / s if method == "ode" else (t / s) ** 2
        z = r * z + (1 - r) * ahead
        if method == "diffusion":
            z += t * math.sqrt(1 - r) * rng.normal(size=z.shape)
        on_progress(done + 1, levels)
    return z
