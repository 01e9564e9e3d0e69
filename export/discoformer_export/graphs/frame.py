"""The frame of raw data, without loops: `discoformer.base.frame` as a graph.

The rounds of local scatter are the same, on the same points, in other coordinates: v = u R, the standardised
points u times the inverse root R of their correlation. The map of a round is known by its metric G, the
square of the distance between two points is (v_i - v_j)^T G (v_i - v_j). With S the local scatter in v,

    S <- S D / tr(G S),    G^-1 <- S + GUARD tr(S) / D I,

where S is shrunk toward the former G^-1 if there are few points. G = I are the whitened data, and G = R^-2
the standardised ones. The frame is z = u R G^(1/2), up to a rotation the frame of the runtime. Its total
covariance is G.

All data sets of a batch have the same number of rounds and starts. Exact ties between points go to the row
that comes first. Shapes: B data sets, N points, P of them used by the rounds, C centres of neighbourhoods,
S starts, D dimensions. Float64.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from discoformer.base import frame, local_scatter, standardised
from discoformer.base.arrays import choose, identity_like, trace, with_axes_of
from discoformer_export.graphs.indexing import ascending, few_of, known_later, number_present, take
from discoformer_export.graphs.newton_schulz import inverse, inverse_root, log_det

METRIC_CONDITION = 1e7  # greatest condition number of a metric: GUARD makes it 1e4 D at most
TINY = 1e-30  # less than every positive squared distance of standardised points
FAR = 1e30  # squared distance of absent points


class Frames(NamedTuple):
    """Frames of B data sets: z = (x - center) linear."""

    center: Tensor  # (B, D)
    linear: Tensor  # (B, D, D)
    inverse: Tensor  # (B, D, D) of linear
    log_abs_det: Tensor  # (B,) log |det linear|
    precision_root: Tensor  # (B, D, D)
    log_det_precision: Tensor  # (B,)
    z: Tensor  # (B, N, D) the points in the frame
    order: Tensor  # (B, N) their indices, in the order of |z|


class _Sample(NamedTuple):
    """The points of the rounds, and the centres of neighbourhoods among them."""

    points: Tensor  # (B, 1, P, D) v
    weights: Tensor  # (B, 1, P)
    centres: Tensor  # (B, C) indices
    centre_points: Tensor  # (B, 1, C, D)
    centre_weights: Tensor  # (B, 1, C)
    fraction: Tensor  # (B,) weight that a neighbourhood holds
    most: int  # number of points that hold it, at most
    shrinkage: Tensor  # (B,)


def most_used(dim: int) -> tuple[int, int]:
    """Return `discoformer.base.local_scatter.most_used` for a number of dimensions that is not known yet."""
    return torch.sym_max(1024, 16 * dim), torch.sym_max(256, 8 * dim)


def fit_frames(data: Tensor, w: Tensor, size: Tensor) -> Frames:
    """Find the frames of data (B, N, D) of weights (B, N) and effective sizes (B,).

    Absent points have weight 0. Data without a density give NaN.
    """
    dim = data.shape[-1]
    center, spread, u = standardised.standardised(data, w)
    shrinkage = local_scatter.shrinkage_of(size, dim)
    correlation = local_scatter.shrunk(standardised.correlation_of(u, w), shrinkage)
    whitener = inverse_root(correlation)
    dual, log_dual, log_correlation = _best_dual(_sample_of(u @ whitener, w, size), correlation, whitener)
    root = inverse_root(dual, METRIC_CONDITION)  # G^(1/2)
    linear = whitener @ root
    z = u @ linear
    squares, order = ascending(z.square().mean(-1))
    rank = (take(w, order).cumsum(-1) < 0.5 - local_scatter.SHARE_ROUNDING).sum(-1, keepdim=True)
    scale = frame.inverse_radius(take(squares, rank)[:, 0], (w * z.square().mean(-1)).sum(-1))
    log_scale = dim * scale.log()
    by_set = with_axes_of(scale, linear)
    return Frames(
        center=center,
        linear=by_set * linear / spread[..., None],
        inverse=dual @ root @ correlation @ whitener * spread[:, None] / by_set,
        log_abs_det=log_scale - 0.5 * (log_correlation + log_dual) - spread.log().sum(-1),
        precision_root=dual @ root / by_set,
        log_det_precision=log_dual - 2 * log_scale,
        z=by_set * z,
        order=order,
    )


def _fewer_and_count(w: Tensor, size: Tensor, most: int) -> tuple[Tensor, int]:
    """Return which data sets (B,) are represented by few points, and the greatest number of points taken."""
    present = number_present(w)
    fewer = (size > most) | (present > 4 * most)  # as `discoformer.base.landmarks.too_many` has it
    return fewer, known_later(torch.where(fewer, most, present).max())


def _sample_of(v: Tensor, w: Tensor, size: Tensor) -> _Sample:
    """Do the same as `discoformer.base.local_scatter.sample_of`."""
    dim = v.shape[-1]
    points, centres = most_used(dim)
    radius = v.square().sum(-1)
    fewer, count = _fewer_and_count(w, size, points)
    index, weights = few_of(ascending(radius)[1], w, fewer, points, count)
    v, radius = take(v, index), take(radius, index)
    size = torch.where(fewer, size.clamp(max=points), size)
    fewer, count = _fewer_and_count(weights, size, centres)
    chosen, of_chosen = few_of(ascending(radius)[1], weights, fewer, centres, count)
    fraction = local_scatter.neighbourhood_fraction(size) * (1 - local_scatter.SHARE_ROUNDING)
    lightest, _ = ascending(torch.where(weights > 0, weights, 1.0))
    needed = (lightest.cumsum(-1) < fraction[:, None]).sum(-1) + 1
    return _Sample(
        points=v[:, None],
        weights=weights[:, None],
        centres=chosen,
        centre_points=take(v, chosen)[:, None],
        centre_weights=of_chosen[:, None],
        fraction=fraction,
        most=known_later(needed.max().clamp(max=weights.shape[1])),
        shrinkage=local_scatter.shrinkage_of(size, dim),
    )


def _best_dual(sample: _Sample, correlation: Tensor, whitener: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Run the rounds, from the start that the runtime takes.

    Returns:
        G^-1 (B, D, D), and the log-determinants (B,) of G^-1 and of the correlation.
    """
    dim = correlation.shape[-1]
    short = sample.shrinkage > 0
    several = torch.full((), dim) > frame.TWO_STARTS_ABOVE
    starts = torch.arange(known_later(1 + (short | several).any().long()))  # one where one suffices
    identity = identity_like(correlation).expand_as(correlation)
    metric = torch.stack([identity, correlation], 1).index_select(1, starts)
    dual = torch.stack([identity, whitener @ whitener], 1).index_select(1, starts)
    for _ in range(frame.STANDARDISED_ROUNDS):
        metric, dual = _tightened(sample, metric, dual)
    first, other = (_Start(metric[:, i, None], dual[:, i, None]) for i in (0, -1))
    for _ in range(frame.WHITENED_ROUNDS - frame.STANDARDISED_ROUNDS):
        first = _tightened(sample, *first)
    log_dets = log_det(torch.stack([first.dual[:, 0], other.dual[:, 0], correlation], 1))
    log_first, log_other, log_correlation = log_dets.unbind(1)
    gain = _log_volume(sample, first.metric, log_first) - _log_volume(sample, other.metric, log_other)
    take_other = short | (several & (gain > frame.MARGIN))
    dual = choose(take_other, other.dual, first.dual)[:, 0]
    return dual, torch.where(take_other, log_other, log_first), log_correlation


class _Start(NamedTuple):
    """The metrics of S starts, and their inverses, (B, S, D, D)."""

    metric: Tensor
    dual: Tensor


def _tightened(sample: _Sample, metric: Tensor, dual: Tensor) -> _Start:
    """Run a round of local scatter."""
    dim = metric.shape[-1]
    scatter = _local_scatter(sample, metric)
    total = (metric * scatter).sum((-2, -1))[..., None, None]
    flat = total <= TINY  # only duplicates are near each other, so the coordinates are kept
    amount = sample.shrinkage[:, None, None, None]
    scatter = (1 - amount) * scatter * (dim / torch.where(flat, 1.0, total)) + amount * dual
    guard = local_scatter.GUARD * trace(scatter) / dim
    tight = torch.where(flat, dual, scatter + guard[..., None, None] * identity_like(scatter))
    return _Start(torch.where(flat, metric, inverse(tight, METRIC_CONDITION)), tight)


def _local_scatter(sample: _Sample, metric: Tensor) -> Tensor:
    """Return the local scatters (B, S, D, D), the sums of w_i w_j near_ij (v_i - v_j)(v_i - v_j)^T."""
    distances, radii = _neighbourhoods(sample, metric)
    near = 1 - distances / radii[..., None]
    near = torch.where((near > local_scatter.EDGE) & (near < 1), near, 0.0)  # 1: the points coincide
    weighted = sample.weights[..., None] * sample.points
    of_centres = sample.centre_weights[..., None] * sample.centre_points
    sums = near @ torch.cat([weighted, sample.weights[..., None]], -1)
    of_points = (sample.centre_weights[..., None, :] @ near)[..., 0, :, None]
    cross = of_centres.mT @ sums[..., :-1]
    return (
        of_centres.mT @ (sums[..., -1:] * sample.centre_points)
        + weighted.mT @ (of_points * sample.points)
        - cross
        - cross.mT
    )


def _log_volume(sample: _Sample, metric: Tensor, log_dual: Tensor) -> Tensor:
    """Return the mean log-volume (B,) of the neighbourhoods of one start, up to a constant, nats."""
    _, radii = _neighbourhoods(sample, metric)
    weights = sample.centre_weights / sample.centre_weights.sum(-1, keepdim=True)
    mean_log = (weights * radii.clamp(min=local_scatter.LEAST_RADIUS).log()).sum(-1)[:, 0]
    return 0.5 * (metric.shape[-1] * mean_log + log_dual)


def _neighbourhoods(sample: _Sample, metric: Tensor) -> tuple[Tensor, Tensor]:
    """Return squared distances (B, S, C, P), and the squared radii of the neighbourhoods (B, S, C)."""
    moved = sample.centre_points @ metric
    of_points = ((sample.points @ metric) * sample.points).sum(-1)
    of_centres = (moved * sample.centre_points).sum(-1)
    sums = of_centres[..., None] + of_points[..., None, :]
    distances = sums - 2 * (moved @ sample.points.mT)
    distances = torch.where(distances <= local_scatter.COINCIDENT * sums, 0.0, distances)
    absent = (sample.weights <= 0)[..., None, :]
    nearest, index = torch.where(absent, FAR, distances).topk(sample.most, largest=False)
    held = take(sample.weights[:, 0], index).cumsum(-1)
    rank = (held < sample.fraction[:, None, None, None]).sum(-1, keepdim=True)
    place = torch.arange(sample.most)
    radii = torch.where(place == rank.clamp(max=sample.most - 1), nearest, 0.0).sum(-1)
    return distances, radii.clamp(min=TINY)
