"""The inputs of the network at points: vectors, rotation invariants, and the base.

Shapes: B batch, N context points, n points, D dimensions, K components. Frame coordinates.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from discoformer.base.arrays import as_doubles, with_dtype_of
from discoformer.base.base import Base, evaluate_base
from discoformer.base.mixture import Components, log_peak

VECTORS = 4  # per point
INVARIANTS = 2 * 7 + 6  # per point


class Points(NamedTuple):
    """The features of n points."""

    vectors: Tensor  # (B, n, D, VECTORS) y, W y, P y, and grad log b times the mean width of a component
    invariants: Tensor  # (B, n, INVARIANTS) see `point_features`
    log_density: Tensor  # (B, n) log b, of the base
    score: Tensor  # (B, n, D) grad log b

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
    log_weights = log_weights_of(base.components)
    width = mean_width(base.components)[:, None, None]
    standard = score * width

    pairs = (
        (points, points),
        (points, white),
        (white, white),
        (white, dual),
        (dual, dual),
        (standard, standard),
    )
    squares = [mean(a * b) for a, b in pairs] + [(share * square).sum(-1)[..., None] / dim]
    logs = torch.log1p(torch.cat(squares, -1))
    invariants = [
        logs,
        soft_clip(dim**0.5 * (logs - math.log(2)), 8),
        soft_clip(mean(points * standard), 10),
        soft_clip(log_density[..., None] / dim, 10),
        (share * (share.clamp(min=1e-12).log() - log_weights[:, None])).sum(-1)[..., None],
        share @ base.components.freedom.log()[..., None],
        product_share[..., None],
        (local_width(base.components, share)[..., None] / width).log(),
    ]
    return Points(
        vectors=torch.stack([points, white, dual, standard], -1),
        invariants=torch.cat(invariants, -1),
        log_density=log_density,
        score=score,
    )


def log_weights_of(components: Components[Tensor]) -> Tensor:
    """Return the log-weights (B, K) of components."""
    log_scale, _, factors, freedom = map(as_doubles, components)  # log_gamma of a million overflows
    log_weights = torch.log_softmax(log_scale - log_peak(factors, freedom), -1)
    return with_dtype_of(log_weights, components.means)


def mean_width(components: Components[Tensor]) -> Tensor:
    """Return the typical standard deviation (B,) within a component, from the mean precision."""
    weights = log_weights_of(components).exp()
    return (weights * _mean_precision(components)).sum(-1).rsqrt()


def local_width(components: Components[Tensor], share: Tensor) -> Tensor:
    """Return the same (B, n) of the components that points belong to, with shares (B, n, K)."""
    return (share @ _mean_precision(components)[..., None])[..., 0].rsqrt()


def _mean_precision(components: Components[Tensor]) -> Tensor:
    """Return tr(F^T F) / D of every component (B, K)."""
    return components.precision_factors.square().sum((-1, -2)) / components.means.shape[-1]


def squared_radius(points: Points) -> Tensor:
    """Return r^2 = |y|^2 / D, shape (B, n)."""
    return points.vectors[..., 0].square().mean(-1)


def mean(x: Tensor) -> Tensor:
    """Return the mean over the last axis, which is kept."""
    return x.mean(-1, keepdim=True)


def soft_clip(x: Tensor, bound: float) -> Tensor:
    """Clip x smoothly to (-bound, bound); the identity near 0."""
    return x / (1 + (x / bound).square()).sqrt()
