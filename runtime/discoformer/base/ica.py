r"""Independent axes of a context: directions along which it looks like a product of one-dimensional laws.

Of white points ``x`` the axes ``U``, orthogonal, are sought that make the coordinates ``u = x U`` as far from
Gaussian as can be, by an approximation of their negentropy that outliers cannot lead astray (Hyvarinen,
Karhunen and Oja, *Independent Component Analysis*, 2001, equation 5.48)::

    J(U) = sum_d J_d,    J_d = K_1 E[u_d e(u_d)]^2 + K_2 (E[e(u_d)] - 1 / sqrt(2))^2,    e(u) = exp(-u^2 / 2)

It is climbed by a fixed number of smaller and smaller rotations, from axes through points, each point the
farthest from the span of those before it. So the axes turn with the frame, whatever they are, and rounding
errors stay what they are, even where nothing tells one axis from another.

The same code runs on NumPy arrays and, in training and export, on PyTorch tensors.
Shapes: B data sets, N points, D dimensions. Float64.
"""

import math

import numpy as np

from discoformer.base.arrays import ArrayT, cholesky, first_of_greatest, identity_like, inverse_root, library
from discoformer.io.inputs import Floats

STEPS = 60  # rotations
FIRST_TURN, LAST_TURN = 1.0, 0.03  # of an axis, in radians, at most
K_SKEW = 36 / (8 * math.sqrt(3) - 9)
K_PEAK = 24 / (16 * math.sqrt(3) - 27)
GAUSSIAN = math.sqrt(0.5)  # E[e(u)] of a standard normal u


def independent_axes(x: Floats, weights: Floats, size: Floats) -> Floats:
    """The axes of white points.

    Args:
        x: (B, N, D), of mean 0 and unit covariance.
        weights: (B, N), not negative, of sum 1.
        size: (B,) effective sizes.

    Returns:
        Orthogonal matrices (B, D, D), an axis in each column.
    """
    axes = through_farthest(x, weights)
    for step in range(STEPS):
        axes = rotated(axes, uphill(x, weights, size, axes), largest_turn(step))
    return axes


def largest_turn(step: int) -> float:
    """Radians by which an axis may turn in a step."""
    return float(FIRST_TURN * (LAST_TURN / FIRST_TURN) ** (step / (STEPS - 1)))


def through_farthest(x: Floats, weights: Floats) -> Floats:
    """Orthogonal axes (B, D, D), each through the point that is farthest from the span of those before."""
    rest, axes = x * (weights > 0)[..., None], []
    for _ in range(x.shape[-1]):
        axis, rest = through_one_more(rest)
        axes.append(axis)
    return np.concatenate(axes, 1).mT


def through_one_more(rest: ArrayT) -> tuple[ArrayT, ArrayT]:
    """The axis (B, 1, D) through the farthest of points (B, N, D), and what is left of these across it."""
    xp = library(rest)
    squares = (rest * rest).sum(-1)
    point = first_of_greatest(squares)[:, None] @ rest  # (B, 1, D)
    axis = point / xp.sqrt(xp.clip((point * point).sum(-1), 1e-300, None))[..., None]
    return axis, rest - (rest @ axis.mT) @ axis


def uphill(x: ArrayT, weights: ArrayT, size: ArrayT, axes: ArrayT) -> ArrayT:
    """Skew matrices (B, D, D): the angles by which J would have the axes turned toward each other."""
    xp = library(x)
    u = x @ axes
    bell = xp.exp(-0.5 * u * u) * weights[..., None]
    skew, peak = (u * bell).sum(1)[:, None], bell.sum(1)[:, None] - GAUSSIAN  # (B, 1, D)
    slope = K_SKEW * skew * (1 - u * u) * bell - K_PEAK * peak * u * bell
    climb = 2 * u.mT @ slope
    found = K_SKEW * skew * skew + K_PEAK * peak * peak
    return (climb - climb.mT) / (xp.amax(found, -1)[..., None] + 1 / size[:, None, None])


def rotated(axes: ArrayT, turn: ArrayT, largest: ArrayT | float) -> ArrayT:
    """Axes turned by a skew matrix (B, D, D), made so small that none turns by more: a Cayley transform."""
    xp = library(turn)
    greatest = xp.amax(xp.sqrt((turn * turn).sum(-1)), -1)[:, None, None]
    half = turn * (0.5 * largest / (greatest + largest))
    identity = identity_like(turn)
    inverse = inverse_root(cholesky(identity + half @ half.mT))
    step = (identity + half) @ (identity + half) @ (inverse.mT @ inverse)
    return axes @ step
