"""The inputs of the network at points: vectors, rotation invariants, and the base.

Shapes: B batch, N context points, n points, D dimensions, K components. Frame coordinates.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from discoformer.base.base import Base, evaluate_base
from discoformer.base.mixture import ABSENT, Components

VECTORS = 4  # per point
INVARIANTS = 2 * 7 + 5  # per point


class Points(NamedTuple):
    """The features of n points."""

    vectors: (
        Tensor  # (B, n, D, VECTORS) y, W y, P y, and grad log c times the standard deviation of a component
    )
    invariants: Tensor  # (B, n, INVARIANTS) see `point_features`
    log_density: Tensor  # (B, n) log c, of the base
    score: Tensor  # (B, n, D) grad log c

    def part(self, start: int, stop: int | None) -> "Points":
        """Select the points from start to stop."""
        return Points(*(field[:, start:stop] for field in self))


def point_features(points: Tensor, precision_root: Tensor, base: Base[Tensor]) -> Points:
    """Compute the features of points.

    The vectors express each point in two metrics, W and P = W^2. The invariants stay moderate in size and
    keep their resolution in high dimension, where |y|^2 / D concentrates with a spread of 1 / sqrt(D): each
    square enters as a logarithm log(1 + square), and as sqrt(D) times the difference of that from log 2.

    Args:
        points: (B, n, D).
        precision_root: W (B, D, D), the symmetric root of the inverse total covariance.
        base: of the context.
    """
    dim = points.shape[-1]
    white = points @ precision_root  # W y
    dual = white @ precision_root  # P y
    log_density, score, share, square, product_share = evaluate_base(base, points)
    standard = score * component_std(base.components)[:, None, None]

    pairs = (
        (points, points),
        (points, white),
        (white, white),
        (white, dual),
        (dual, dual),
        (standard, standard),
    )
    squares = [mean(a * b) for a, b in pairs] + [(share * square).sum(1)[..., None] / dim]
    logs = torch.log1p(torch.cat(squares, -1))
    invariants = [
        logs,
        soft_clip(dim**0.5 * (logs - math.log(2)), 8),
        soft_clip(mean(points * standard), 10),
        soft_clip(log_density[..., None] / dim, 10),
        -(share * share.clamp(min=1e-12).log()).sum(1)[..., None],
        (share * base.components.freedom.log()[..., None]).sum(1)[..., None],
        product_share[..., None],
    ]
    return Points(
        vectors=torch.stack([points, white, dual, standard], -1),
        invariants=torch.cat(invariants, -1),
        log_density=log_density,
        score=score,
    )


def component_std(components: Components[Tensor]) -> Tensor:
    """Return the typical standard deviation (B,) within a component, from the mean precision."""
    weight = components.freedom * (components.log_scale > 0.5 * ABSENT)
    precision = components.precision_factors.square().sum(-1).mean(-1)  # (B, K)
    return ((weight * precision).sum(1) / weight.sum(1)).rsqrt()


def squared_radius(points: Points) -> Tensor:
    """Return r^2 = |y|^2 / D, shape (B, n)."""
    return points.vectors[..., 0].square().mean(-1)


def mean(x: Tensor) -> Tensor:
    """Return the mean over the last axis, which is kept."""
    return x.mean(-1, keepdim=True)


def soft_clip(x: Tensor, bound: float) -> Tensor:
    """Clip x smoothly to (-bound, bound); the identity near 0."""
    return x / (1 + (x / bound).square()).sqrt()
