"""What the network first sees of a context and of points: vectors, rotation invariants, and the base there.

Shapes: B batch, N context points, n points, D dimensions, K components. Frame coordinates.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from discoformer.base.base import Base, evaluate_base
from discoformer.base.mixture import ABSENT, Components

VECTORS = 4  # that a point has
INVARIANTS = 2 * 7 + 5


class Points(NamedTuple):
    """n points as the network first sees them."""

    vectors: Tensor  # (B, n, D, 4) y, W y, P y, and grad log c times the spread of a component
    invariants: Tensor  # (B, n, INVARIANTS) see `seen`
    log_density: Tensor  # (B, n) log c, of the base
    score: Tensor  # (B, n, D) grad log c

    def part(self, start: int, stop: int | None) -> "Points":
        """Take the points from start to stop."""
        return Points(*(field[:, start:stop] for field in self))


def seen(points: Tensor, precision_root: Tensor, base: Base) -> Points:
    """What the network first sees of points (B, n, D): two metrics, and what the base says of them.

    The invariants are tame, and resolved at every D: in high dimension |y|^2 / D concentrates with spread
    1 / sqrt(D), so squares are given as a logarithm and as its distance from that of 1, magnified by sqrt(D).
    """
    dim = points.shape[-1]
    white = points @ precision_root  # W y
    dual = white @ precision_root  # P y
    log_density, score, share, square, product_share = evaluate_base(base, points)
    standard = score * spread(base.components)[:, None, None]

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
        compressed(dim**0.5 * (logs - math.log(2)), 8),
        compressed(mean(points * standard), 10),
        compressed(log_density[..., None] / dim, 10),
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


def spread(components: Components) -> Tensor:
    """Standard deviation (B,) within components, by their average precision."""
    weight = components.freedom * (components.log_scale > 0.5 * ABSENT)
    precision = components.precision_factors.square().sum(-1).mean(-1)  # (B, K)
    return ((weight * precision).sum(1) / weight.sum(1)).rsqrt()


def squared_radius(points: Points) -> Tensor:
    """r^2 = |y|^2 / D, (B, n)."""
    return points.vectors[..., 0].square().mean(-1)


def mean(x: Tensor) -> Tensor:
    """Mean over the last axis, which is kept."""
    return x.mean(-1, keepdim=True)


def compressed(x: Tensor, bound: float) -> Tensor:
    """Smoothly keep x within -bound and bound, the identity near 0."""
    return x / (1 + (x / bound).square()).sqrt()
