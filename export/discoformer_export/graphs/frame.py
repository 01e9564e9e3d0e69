"""The frame and the base of raw data, as a module that can be traced: what the runtime does in NumPy.

See `discoformer.base.frame` for what is computed. Only what depends on the data is told otherwise here, for a
graph must fix its steps before it sees them: loops are operators, and a data set that needs fewer rounds than
another of the batch is left as it is. Exact ties between points go to the row that comes first, and rows are
not sorted.

Shapes: B data sets, N points, n landmarks, D dimensions. Float64.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch._higher_order_ops import while_loop

from discoformer.base import frame, local_scatter
from discoformer.base.arrays import cholesky, inverse_factor, inverse_root, log_diagonal, trace
from discoformer.base.base import Base, log_odds_of
from discoformer.base.landmarks import ROUNDING
from discoformer.onnx.names import CONTEXT
from discoformer_export.graphs.independent import fit_product
from discoformer_export.graphs.mixture import fit_components
from discoformer_export.graphs.tracing import (
    evenly_spaced,
    known_later,
    landmarks,
    number_present,
    present_first,
    rows,
)

OUTPUTS = (*CONTEXT, "center", "linear", "log_abs_det")
ROOT_STEPS = 40  # of the iteration for a matrix root, at most
ROOT_RESTING = 1e-13  # its relative change below which it ends


class FrameGraph(nn.Module):
    """Raw data brought to the frame: what the encode graph is given, and the map."""

    landmarks: Tensor

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.register_buffer("landmarks", torch.tensor(landmarks))

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Bring data to the frame.

        Args:
            given: "data" (B, N, D), data units; the values of points that are absent do not matter, but are
                finite; and "data_log_weights" (B, N) up to a constant, zeros for equal weights, -1e30 where a
                point is absent.

        Returns:
            See OUTPUTS. NaN where columns are constant or collinear.
        """
        data, w = given["data"], torch.softmax(given["data_log_weights"], -1)
        size = 1 / w.square().sum(-1)
        absent = (w <= 0)[..., None]
        data = torch.where(absent, rows(data, w.argmax(-1)[:, None]), data)  # their values do not matter
        center, spread, u = frame.standardised(data, w)
        draft, covariance = _best_draft(u, w, size)
        scale = _unit_radius(u @ draft, w)
        precision_root, log_det_precision = _precision_root(covariance * scale[:, None, None].square())
        log_abs_det = log_diagonal(draft) + data.shape[-1] * scale.log() - spread.log().sum(-1)
        linear = draft * scale[:, None, None] / spread[..., None]
        z = (data - center[:, None]) @ linear
        context, counts = landmarks(z, w, size, self.landmarks)
        log_weights = (counts / counts.sum(-1)[:, None]).log().clamp(min=torch.finfo(torch.float32).min)
        base = _fit_base(z, w, size, precision_root, log_det_precision)
        seen = (context, log_weights, precision_root, log_det_precision, size)
        to_encode = (*seen, *base.to_inputs().values())
        return *(value.float() for value in to_encode), center, linear, log_abs_det


def _fit_base(
    z: Tensor, w: Tensor, size: Tensor, precision_root: Tensor, log_det_precision: Tensor
) -> Base[Tensor]:
    """`discoformer.base.base.fit_base`."""
    components, elbo = fit_components(z, w, size)
    product, product_elbo = fit_product(z, w, size, precision_root, log_det_precision)
    return Base(components, product, log_odds_of(product_elbo - elbo, size, z.shape[-1]))


def _best_draft(u: Tensor, w: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """The linear map (B, D, D) before its scale, upper triangular, and the total covariance in it."""
    dim = u.shape[-1]
    correlation = local_scatter.shrunk(frame.correlation_of(u, w), local_scatter.shrinkage_of(size, dim))
    whitener = inverse_factor(correlation)
    u, w, taken = _subset(u, w, (u @ whitener).square().sum(-1))
    size = torch.where(taken, size.clamp(max=local_scatter.THOROUGH.points), size)
    identity = torch.eye(dim, dtype=u.dtype).expand_as(correlation)
    short = local_scatter.shrinkage_of(size, dim) > 0
    several = torch.full_like(size, dim) > frame.TWO_STARTS_ABOVE
    first = _tighten(u, w, size, whitener, identity, frame.WHITENED_ROUNDS * (~short).any())
    rounds = frame.STANDARDISED_ROUNDS * (short | several).any()
    second = _tighten(u, w, size, identity, correlation, rounds)
    tighter = _tighter(u, w, size, first[0], second[0], (several & ~short).any())
    take_second = (short | (several & tighter))[:, None, None]
    return torch.where(take_second, second[0], first[0]), torch.where(take_second, second[1], first[1])


def _tighten(
    u: Tensor, w: Tensor, size: Tensor, linear: Tensor, covariance: Tensor, rounds: Tensor
) -> tuple[Tensor, Tensor]:
    """Rounds of local scatter from a seed, given by its map and its total covariance."""
    dim = u.shape[-1]
    shrinkage = local_scatter.shrinkage_of(size, dim)

    def ongoing(done: Tensor, linear: Tensor, covariance: Tensor) -> Tensor:
        return done < rounds

    def tighten(done: Tensor, linear: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = u @ linear
        distances = _squared_distances(z)
        radii = _squared_radii(distances, w, size)
        near = 1 - distances / radii[..., None]
        pairs = torch.where(local_scatter.near_pairs(distances, radii), near, 0.0) * w[..., None] * w[:, None]
        degree = (pairs.sum(-1) + pairs.sum(-2))[..., None]
        scatter = z.mT @ (degree * z - pairs @ z - pairs.mT @ z)
        total = trace(scatter)
        flat = (total <= local_scatter.TINY)[:, None, None]
        scatter = torch.where(flat, covariance, scatter)
        scatter = local_scatter.shrunk(scatter * (dim / trace(scatter))[:, None, None], shrinkage)
        inverse = inverse_root(cholesky(covariance))
        step = local_scatter.guarded_step(scatter, trace(inverse @ scatter @ inverse.mT), covariance)
        return (
            done + 1,
            torch.where(flat, linear, linear @ step),
            torch.where(flat, covariance, step.mT @ covariance @ step),
        )

    start = torch.zeros((), dtype=torch.int64)
    _, linear, covariance = while_loop(ongoing, tighten, (start, linear.clone(), covariance.clone()))
    return linear, covariance


def _tighter(u: Tensor, w: Tensor, size: Tensor, first: Tensor, second: Tensor, asked: Tensor) -> Tensor:
    """Whether the second map's neighbourhoods are tighter (B,), where this is asked."""

    def log_volume(linear: Tensor) -> Tensor:
        radii = _squared_radii(_squared_distances(u @ linear), w, size)
        mean_log = (w * radii.clamp(min=local_scatter.LEAST_RADIUS).log()).sum(-1)
        return u.shape[-1] * mean_log / 2 - log_diagonal(linear)

    def ongoing(done: Tensor, gain: Tensor) -> Tensor:
        return asked & (done < 1)

    def compare(done: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        return done + 1, log_volume(first) - log_volume(second)

    start = torch.zeros((), dtype=torch.int64)
    _, gain = while_loop(ongoing, compare, (start, torch.zeros_like(size)))
    return gain > frame.MARGIN


def _subset(points: Tensor, w: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The points that the rounds use, their weights, and whether they are fewer than all (B,)."""
    present = number_present(w)
    taken = present > local_scatter.THOROUGH.points
    place = torch.arange(known_later(present.max().clamp(max=local_scatter.THOROUGH.points)))
    spaced = evenly_spaced(radius, w, place, local_scatter.THOROUGH.points)
    index = torch.where(taken[:, None], spaced, present_first(w).gather(1, place.expand_as(spaced)))
    equal = torch.full((), 1 / local_scatter.THOROUGH.points, dtype=w.dtype)
    return rows(points, index), torch.where(taken[:, None], equal, w.gather(1, index)), taken


def _squared_distances(z: Tensor) -> Tensor:
    """Squared distances (B, n, n), with 0 where the points coincide up to rounding."""
    squares = z.square().sum(-1)
    sums = squares[..., None] + squares[:, None]
    distances = sums - 2 * (z @ z.mT)
    return torch.where(distances <= local_scatter.COINCIDENT * sums, 0.0, distances)


def _squared_radii(distances: Tensor, w: Tensor, size: Tensor) -> Tensor:
    """For each row the smallest distance that holds the weight fraction of a neighbourhood, (B, n)."""
    n = distances.shape[-1]
    fraction = local_scatter.neighbourhood_fraction(size)
    equal = w.max() == w.min()
    needed = (fraction.max() * n).floor().long() + 1
    count = known_later(torch.where(equal, needed.clamp(max=n), n))
    torch._check(count <= n)
    nearest, index = distances.topk(count, largest=False)
    held = rows(w[:, None].expand(-1, n, -1).flatten(0, 1), index.flatten(0, 1)).unflatten(0, (-1, n))
    missing = (held.cumsum(-1) < (fraction - ROUNDING)[:, None, None]).sum(-1, keepdim=True)
    return nearest.gather(-1, missing.clamp(max=count - 1))[..., 0].clamp(min=local_scatter.TINY)


def _unit_radius(z: Tensor, w: Tensor) -> Tensor:
    """The factor (B,) that makes the weighted median of |z|^2 / D 1 (the mean, where the median vanishes)."""
    squares = z.square().mean(-1)
    ordered, order = squares.topk(squares.shape[1], largest=False)
    rank = (w.gather(1, order).cumsum(-1) < 0.5 - ROUNDING).sum(-1, keepdim=True)
    median = ordered.gather(1, rank)[:, 0]
    return frame.inverse_radius(median, (w * squares).sum(-1))


def _precision_root(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric inverse root (B, D, D) of a covariance, and the log-determinant of its inverse.

    By the iteration of Denman and Beavers, of the matrix scaled to determinant 1.
    """
    dim = covariance.shape[-1]
    log_det = 2 * log_diagonal(cholesky(covariance))
    scale = (log_det / dim).exp()[:, None, None]

    def ongoing(done: Tensor, root: Tensor, inverse: Tensor, change: Tensor) -> Tensor:
        return (done < ROOT_STEPS) & (change > ROOT_RESTING)

    def step(
        done: Tensor, root: Tensor, inverse: Tensor, change: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        next_root, next_inverse = (
            0.5 * (root + _inverse(inverse)),
            0.5 * (inverse + _inverse(root)),
        )
        moved = ((next_inverse - inverse).abs().amax((1, 2)) / next_inverse.abs().amax((1, 2))).max()
        return done + 1, next_root, next_inverse, moved

    identity = torch.eye(dim, dtype=covariance.dtype).expand_as(covariance).clone()
    start = (torch.zeros((), dtype=torch.int64), covariance / scale, identity, torch.ones_like(log_det[0]))
    _, _, inverse, _ = while_loop(ongoing, step, start)
    inverse = 0.5 * (inverse + inverse.mT)
    return inverse / scale.sqrt(), -log_det


def _inverse(matrix: Tensor) -> Tensor:
    """Inverses of positive definite matrices."""
    inverse = inverse_root(cholesky(0.5 * (matrix + matrix.mT)))
    return inverse.mT @ inverse
