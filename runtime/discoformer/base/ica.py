r"""Independent component analysis: axes along which the coordinates of a context are nearly independent.

Given white points ``x``, the orthogonal axes ``U`` should make the coordinates ``u = x U`` as far from
Gaussian as possible. The objective is an approximation of their negentropy that is robust to outliers
(Hyvarinen, Karhunen and Oja, *Independent Component Analysis*, 2001, equation 5.48)::

    J(U) = sum_d J_d,    J_d = K_1 E[u_d e(u_d)]^2 + K_2 (E[e(u_d)] - 1 / sqrt(2))^2,    e(u) = exp(-u^2 / 2)

Gradient ascent takes a fixed number of rotations of decreasing size. The first axes go through points: each
point is the one farthest from the span of those before it. So a rotation of the frame rotates the axes. And
rounding errors do not grow, even if several axes are equally good, as for Gaussian points.

The functions take NumPy arrays and PyTorch tensors. Shapes: B data sets, N points, D dimensions. Float64.
"""

import math

from discoformer.base.arrays import ArrayT, cholesky, first_of_greatest, identity_like, inverse_root, library

STEPS = 60  # number of rotations
FIRST_TURN, LAST_TURN = 1.0, 0.03  # greatest turn of an axis in the first and the last step, radians
K_SKEW = 36 / (8 * math.sqrt(3) - 9)
K_PEAK = 24 / (16 * math.sqrt(3) - 27)
GAUSSIAN = math.sqrt(0.5)  # E[e(u)] of a standard normal u


def independent_axes(x: ArrayT, weights: ArrayT, size: ArrayT) -> ArrayT:
    """Find the independent axes of white points.

    Args:
        x: (B, N, D), with mean 0 and unit covariance.
        weights: (B, N), not negative, of sum 1.
        size: (B,) effective sizes.

    Returns:
        Orthogonal matrices (B, D, D) with an axis in each column.
    """
    axes = through_farthest(x, weights)
    for step in range(STEPS):
        axes = rotated(axes, uphill(x, weights, size, axes), largest_turn(step))
    return axes


def largest_turn(step: int) -> float:
    """Return the greatest turn of an axis in a step, in radians."""
    return float(FIRST_TURN * (LAST_TURN / FIRST_TURN) ** (step / (STEPS - 1)))


def through_farthest(x: ArrayT, weights: ArrayT) -> ArrayT:
    """Return orthogonal axes (B, D, D), each through the point farthest from the span of those before."""
    rest, axes = x * (weights > 0)[..., None], []
    for _ in range(x.shape[-1]):
        axis, rest = through_one_more(rest)
        axes.append(axis)
    return library(x).concatenate(axes, 1).mT


def through_one_more(rest: ArrayT) -> tuple[ArrayT, ArrayT]:
    """Return the axis (B, 1, D) through the farthest of points (B, N, D), and their rest across it."""
    xp = library(rest)
    squares = (rest * rest).sum(-1)
    point = first_of_greatest(squares)[:, None] @ rest  # (B, 1, D)
    axis = point / xp.sqrt(xp.clip((point * point).sum(-1), 1e-300, None))[..., None]
    return axis, rest - (rest @ axis.mT) @ axis


def uphill(x: ArrayT, weights: ArrayT, size: ArrayT, axes: ArrayT) -> ArrayT:
    """Return the ascent direction of J: skew matrices (B, D, D) of angles between the axes."""
    xp = library(x)
    u = x @ axes
    bell = xp.exp(-0.5 * u * u) * weights[..., None]
    skew, peak = (u * bell).sum(1)[:, None], bell.sum(1)[:, None] - GAUSSIAN  # (B, 1, D)
    slope = K_SKEW * skew * (1 - u * u) * bell - K_PEAK * peak * u * bell
    climb = 2 * u.mT @ slope
    found = K_SKEW * skew * skew + K_PEAK * peak * peak
    return (climb - climb.mT) / (xp.amax(found, -1)[..., None] + 1 / size[:, None, None])


def rotated(axes: ArrayT, turn: ArrayT, largest: ArrayT | float) -> ArrayT:
    """Rotate axes by the Cayley transform of a skew matrix (B, D, D), scaled to a greatest turn."""
    xp = library(turn)
    greatest = xp.amax(xp.sqrt((turn * turn).sum(-1)), -1)[:, None, None]
    half = turn * (0.5 * largest / (greatest + largest))
    identity = identity_like(turn)
    inverse = inverse_root(cholesky(identity + half @ half.mT))
    step = (identity + half) @ (identity + half) @ (inverse.mT @ inverse)
    return axes @ step
