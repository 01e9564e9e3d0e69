"""The product of points in the frame, as functions that can be traced: what the runtime does in NumPy.

See `discoformer.base.independent` and `discoformer.base.ica`, whose formulas these are. Where no data set of
a batch may
have a product, none is sought: the axes stay upright, and two points stand for those of a coordinate.

Shapes: B data sets, N points, D dimensions. Float64.
"""

import torch
from torch import Tensor
from torch._higher_order_ops import while_loop

from discoformer.base.arrays import choose, identity_like
from discoformer.base.ica import STEPS, largest_turn, rotated, through_one_more, uphill
from discoformer.base.independent import (
    BINS,
    MOST,
    SUBSET,
    FoundProduct,
    between,
    counted,
    edges_like,
    enough,
    in_parts,
    moment_below,
    parts_allowed,
    product_of,
)
from discoformer_export.graphs.mixture import fit_components
from discoformer_export.graphs.tracing import first_at_least, known_later, landmarks


def fit_product(
    z: Tensor, w: Tensor, size: Tensor, precision_root: Tensor, log_det_precision: Tensor
) -> FoundProduct[Tensor]:
    """`discoformer.base.independent.fit_product`."""
    dim = z.shape[-1]
    own = size >= enough(dim)
    sought = own.any() & (torch.full((), dim) > 1)
    few, counts = landmarks(z, w, size, SUBSET)
    few_size = counts.sum(-1)
    turned = _independent_axes(few @ precision_root, counts / few_size[:, None], few_size, sought)
    axes = precision_root @ choose(own, turned, identity_like(turned))
    u, shares = (x.flatten(0, 1) for x in _few_of((z @ axes).mT, w, size, sought))
    sizes = torch.where(sought, counted(size), 2.0)[:, None].expand(-1, dim).flatten()
    found = fit_components(u[..., None], shares, sizes, _in_quantiles)
    return product_of(found, axes, size, log_det_precision)


def _independent_axes(x: Tensor, weights: Tensor, size: Tensor, sought: Tensor) -> Tensor:
    """`discoformer.base.ica.independent_axes`; where they are not sought, upright axes."""
    turns = torch.tensor([largest_turn(step) for step in range(STEPS)], dtype=x.dtype)

    def ongoing(done: Tensor, axes: Tensor) -> Tensor:
        return sought & (done < STEPS)

    def turn(done: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
        return done + 1, rotated(axes, uphill(x, weights, size, axes), turns.gather(0, done[None]))

    start = torch.zeros((), dtype=torch.int64)
    return while_loop(ongoing, turn, (start, _through_farthest(x, weights, sought)))[1]


def _through_farthest(x: Tensor, weights: Tensor, sought: Tensor) -> Tensor:
    """`discoformer.base.ica.through_farthest`; where they are not sought, upright axes."""
    dim = x.shape[-1]

    def ongoing(done: Tensor, rest: Tensor, axes: Tensor) -> Tensor:
        return sought & (done < dim)

    def one_more(done: Tensor, rest: Tensor, axes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        axis, left = through_one_more(rest)
        return done + 1, left, torch.where(torch.arange(dim) == done, axis.mT, axes)

    start = torch.zeros((), dtype=torch.int64)
    upright = identity_like(x).expand(x.shape[0], -1, -1).clone()
    return while_loop(ongoing, one_more, (start, x * (weights > 0)[..., None], upright))[2]


def _few_of(u: Tensor, w: Tensor, size: Tensor, sought: Tensor) -> tuple[Tensor, Tensor]:
    """What coordinates u (B, D, N) are fitted to, and weights, (B, D, n): points, or the bins of many."""
    many = size > BINS
    n = torch.full((), u.shape[-1])
    most = torch.where(many.all(), BINS, torch.where(many.any(), n.clamp(min=BINS), n))
    column = torch.arange(known_later(torch.where(sought, most, 2)))

    def widened(x: Tensor) -> Tensor:
        """Zeros after the end of x (B, D, n), as many columns as are taken."""
        taken = x.index_select(-1, column.clamp(max=x.shape[-1] - 1))
        return torch.where(column < x.shape[-1], taken, 0.0)

    pairs = zip(_binned(u, w), (u, w[:, None].expand_as(u)), strict=True)
    found, shares = (choose(many, widened(bins), widened(points)) for bins, points in pairs)
    return torch.where(sought, found, column), torch.where(sought, shares, 0.5)


def _in_quantiles(points: Tensor, counts: Tensor) -> Tensor:
    """`discoformer.base.independent.in_quantiles`, MOST parts."""
    size = counts.sum(-1)
    order = _ascending(points[..., 0])
    held = in_parts((counts / size[:, None]).gather(1, order), parts_allowed(size), MOST)
    return held.gather(2, _ascending(order)[:, None].expand_as(held))


def _ascending(x: Tensor) -> Tensor:
    """The order of x (B, N)."""
    return x.topk(x.shape[1], largest=False).indices


def _binned(u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """`discoformer.base.independent.binned`."""
    edges = edges_like(u)
    order = _ascending(u.flatten(0, 1))
    values, w = (x.flatten(0, 1).gather(1, order) for x in (u, w[:, None].expand_as(u)))
    mass, moment = w.cumsum(-1), (w * values).cumsum(-1)
    last = first_at_least(edges, mass)
    below = moment_below(edges, *(x.gather(1, last) for x in (mass, moment, values)))
    return between(edges, below.unflatten(0, u.shape[:2]))
