"""The frame and the components of raw data, as a module that can be traced: what the runtime does in NumPy.

See `discoformer.frame` and `discoformer.components` for what is computed; the formulas of the components are
theirs. Only what depends on the data is told otherwise here, for a graph must fix its steps before it sees
them: loops are operators, components that are gone keep their place with nothing in it, and a data set that
needs fewer rounds than another of the batch is left as it is. Exact ties between points go to the row that
comes first, and rows are not sorted.

Shapes: B data sets, N points, n landmarks, D dimensions, K components, S stages of merging. Float64.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._higher_order_ops import while_loop

from discoformer import frame
from discoformer.arrays import cholesky, choose, inverse_root, log_diagonal, trace, with_axes_of
from discoformer.bayes import (
    ABSENT,
    Components,
    Moments,
    arrangements,
    component_evidence,
    entropy_of,
    likeliest_hardness,
    number_of,
    predictive,
    prior_of,
    responsibility_form,
)
from discoformer.components import (
    FARTHEST,
    FIRST_STEPS,
    KEPT,
    LAST_STEPS,
    MERGED_STEPS,
    MOST,
    MOST_POINTS,
    NEGLIGIBLE,
    RESTING,
    SEEDS_AMONG,
    SUBSET,
    around_spread_points,
    best_union,
    most_components,
    pairs_of,
    shares_of,
    united,
)
from discoformer_export.graphs import CONTEXT

OUTPUTS = (*CONTEXT, "center", "linear", "log_abs_det")
ROOT_STEPS = 40  # of the iteration for a matrix root, at most
ROOT_RESTING = 1e-13  # its relative change below which it ends


class FrameGraph(nn.Module):
    """Raw data brought to the frame: what the encode graph is given, and the map."""

    landmarks: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        first, second = pairs_of(MOST, torch.zeros(()))
        self.register_buffer("landmarks", torch.tensor(landmarks))
        self.register_buffer("first", first)  # constants inside a loop cannot be traced
        self.register_buffer("second", second)

    def forward(self, data: Tensor, data_log_weights: Tensor) -> tuple[Tensor, ...]:
        """Bring data (B, N, D) to the frame.

        Args:
            data: data units; the values of points that are absent do not matter, but are finite.
            data_log_weights: (B, N) up to a constant, zeros for equal weights, -1e30 where a point is absent.

        Returns:
            See OUTPUTS. NaN where columns are constant or collinear.
        """
        w = torch.softmax(data_log_weights, -1)
        size = 1 / w.square().sum(-1)
        center, spread = _center_and_spread(data, w)
        u = (data - center[:, None]) / spread[:, None]
        draft, covariance = _best_draft(u, w, size)
        scale = _unit_radius(u @ draft, w)
        precision_root, log_det_precision = _precision_root(covariance * scale[:, None, None].square())
        log_abs_det = log_diagonal(draft) + data.shape[-1] * scale.log() - spread.log().sum(-1)
        linear = draft * scale[:, None, None] / spread[..., None]
        z = (data - center[:, None]) @ linear
        context, counts = _landmarks(z, w, size, self.landmarks)
        log_weights = (counts / counts.sum(-1)[:, None]).log().clamp(min=torch.finfo(torch.float32).min)
        components = _fit_components(z, w, size, (self.first, self.second))
        to_encode = (context, log_weights, precision_root, log_det_precision, size, *components)
        return *(value.float() for value in to_encode), center, linear, log_abs_det


def _center_and_spread(data: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean (B, D) and standard deviation (B, D), whatever the columns' offset and scale."""
    present = (w > 0)[..., None]
    low = data.masked_fill(~present, torch.inf).amin(1)
    high = data.masked_fill(~present, -torch.inf).amax(1)
    anchor = 0.5 * low + 0.5 * high
    weight = w[:, None]
    center = anchor + (weight @ (data - anchor[:, None]))[:, 0]
    offset = (data - center[:, None]) * present
    reach = offset.abs().amax(1)
    return center, reach * (weight @ (offset / reach[:, None]).square())[:, 0].sqrt()


def _best_draft(u: Tensor, w: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """The linear map (B, D, D) before its scale, upper triangular, and the total covariance in it."""
    dim = u.shape[-1]
    shrinkage = _shrinkage(size, dim)
    correlation = _shrink((u * w[..., None]).mT @ u, shrinkage)
    whitener = _inverse_factor(correlation)
    u, w, taken = _subset(u, w, (u @ whitener).square().sum(-1))
    size = torch.where(taken, size.clamp(max=frame.SUBSET), size)
    identity = torch.eye(dim, dtype=u.dtype).expand_as(correlation)
    short = _shrinkage(size, dim) > 0
    several = torch.full_like(size, dim) > frame.TWO_SEEDS_ABOVE
    first = _tighten(u, w, size, whitener, identity, frame.ROUNDS["whitened"] * (~short).any())
    rounds = frame.ROUNDS["standardised"] * (short | several).any()
    second = _tighten(u, w, size, identity, correlation, rounds)
    tighter = _tighter(u, w, size, first[0], second[0], (several & ~short).any())
    take_second = (short | (several & tighter))[:, None, None]
    return torch.where(take_second, second[0], first[0]), torch.where(take_second, second[1], first[1])


def _tighten(
    u: Tensor, w: Tensor, size: Tensor, linear: Tensor, covariance: Tensor, rounds: Tensor
) -> tuple[Tensor, Tensor]:
    """Rounds of local scatter from a seed, given by its map and its total covariance."""
    dim = u.shape[-1]
    shrinkage = _shrinkage(size, dim)

    def ongoing(done: Tensor, linear: Tensor, covariance: Tensor) -> Tensor:
        return done < rounds

    def tighten(done: Tensor, linear: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = u @ linear
        distances = _squared_distances(z)
        pairs = 1 - distances / _squared_radii(distances, w, size)[..., None]
        pairs = torch.where((pairs > frame.EDGE) & (distances > 0), pairs, 0.0) * w[..., None] * w[:, None]
        degree = (pairs.sum(-1) + pairs.sum(-2))[..., None]
        scatter = z.mT @ (degree * z - pairs @ z - pairs.mT @ z)
        total = trace(scatter)
        flat = (total <= frame.TINY)[:, None, None]
        scatter = torch.where(flat, covariance, scatter)
        scatter = _shrink(scatter * (dim / trace(scatter))[:, None, None], shrinkage)
        inverse = inverse_root(cholesky(covariance))
        share = trace(inverse @ scatter @ inverse.mT) / dim
        step = _inverse_factor(scatter + frame.GUARD * share[:, None, None] * covariance)
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
        mean_log = (w * radii.clamp(min=1e-12).log()).sum(-1)
        return u.shape[-1] * mean_log / 2 - log_diagonal(linear)

    def ongoing(done: Tensor, gain: Tensor) -> Tensor:
        return asked & (done < 1)

    def compare(done: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        return done + 1, log_volume(first) - log_volume(second)

    start = torch.zeros((), dtype=torch.int64)
    _, gain = while_loop(ongoing, compare, (start, torch.zeros_like(size)))
    return gain > frame.SEED_MARGIN


def _subset(points: Tensor, w: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The points that the rounds use, their weights, and whether they are fewer than all."""
    n = points.shape[1]
    taken = torch.full((), n) > frame.SUBSET
    count = _known_later(torch.full((), n).clamp(max=frame.SUBSET))
    index = _evenly_spaced(radius, w, count)
    index = torch.where(taken, index, torch.arange(count))
    weights = torch.where(taken, torch.full((), 1 / frame.SUBSET, dtype=w.dtype), w.gather(1, index))
    return _rows(points, index), weights, taken


def _landmarks(points: Tensor, w: Tensor, size: Tensor, most: Tensor | int) -> tuple[Tensor, Tensor]:
    """`discoformer.landmarks.take_landmarks`."""
    n = points.shape[1]
    taken = (size.max() > most) | (torch.full((), n) > 4 * most)
    count = _known_later(torch.where(taken, most, n))
    index = _evenly_spaced((points * points).sum(-1), w, count)
    index = torch.where(taken, index, torch.arange(count).clamp(max=n - 1))
    counts = torch.where(
        taken, torch.minimum(size, most + 0 * size)[:, None] / most, w.gather(1, index) * size[:, None]
    )
    return _rows(points, index), counts


def _evenly_spaced(radius: Tensor, w: Tensor, count: int) -> Tensor:
    """So many indices (B, count), evenly spaced in the weighted ranks of the radius (B, N)."""
    order = radius.topk(radius.shape[1], largest=False).indices
    above = w.gather(1, order).cumsum(-1) * count + 0.5 + 1e-12 * count
    above = above.floor().long().clamp(0, count)  # how many picks come before the end of each point
    passed = torch.zeros(above.shape[0], count + 1, dtype=torch.int64)
    passed = passed.scatter_add(1, above, torch.ones_like(above)).cumsum(-1)[:, :-1]
    return order.gather(1, passed.clamp(max=radius.shape[1] - 1))


def _squared_distances(z: Tensor) -> Tensor:
    """Squared distances (B, n, n), with 0 where the points coincide up to rounding."""
    squares = z.square().sum(-1)
    sums = squares[..., None] + squares[:, None]
    distances = sums - 2 * (z @ z.mT)
    return torch.where(distances <= 1e-14 * sums, 0.0, distances)


def _squared_radii(distances: Tensor, w: Tensor, size: Tensor) -> Tensor:
    """For each row the smallest distance that holds the weight fraction of a neighbourhood, (B, n)."""
    n = distances.shape[-1]
    fraction = (((size / 50).clamp(min=10) + 1) / size).clamp(max=1)
    equal = w.max() == w.min()
    needed = (fraction.max() * n).floor().long() + 1
    count = _known_later(torch.where(equal, needed.clamp(max=n), n))
    torch._check(count <= n)
    nearest, index = distances.topk(count, largest=False)
    held = _rows(w[:, None].expand(-1, n, -1).flatten(0, 1), index.flatten(0, 1)).unflatten(0, (-1, n))
    missing = (held.cumsum(-1) < (fraction - frame.ROUNDING)[:, None, None]).sum(-1, keepdim=True)
    return nearest.gather(-1, missing.clamp(max=count - 1))[..., 0].clamp(min=frame.TINY)


def _unit_radius(z: Tensor, w: Tensor) -> Tensor:
    """The factor (B,) that makes the weighted median of |z|^2 / D 1 (the mean, where the median vanishes)."""
    squares = z.square().mean(-1)
    ordered, order = squares.topk(squares.shape[1], largest=False)
    rank = (w.gather(1, order).cumsum(-1) < 0.5 - frame.ROUNDING).sum(-1, keepdim=True)
    median = ordered.gather(1, rank)[:, 0]
    average = (w * squares).sum(-1)
    return torch.where(median > 1e-12 * average, median, average).rsqrt()


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


def _inverse_factor(matrix: Tensor) -> Tensor:
    """L^-T for matrix = L L^T, upper triangular."""
    return inverse_root(cholesky(matrix)).mT


def _shrinkage(size: Tensor, dim: int) -> Tensor:
    return (1 - frame.ROUNDING - (size / (4 * dim)).square()).clamp(min=0).square()


def _shrink(matrix: Tensor, shrinkage: Tensor) -> Tensor:
    amount = shrinkage[:, None, None]
    return (1 - amount) * matrix + amount * torch.eye(matrix.shape[-1], dtype=matrix.dtype)


def _for_each(x: Tensor, times: int) -> Tensor:
    """Each row of x (B, ...) so many times, (B times, ...)."""
    return x[:, None].expand(-1, times, *x.shape[1:]).flatten(0, 1)


def _known_later(count: Tensor) -> int:
    """A size that depends on the data; 1 at least, where these have no density and all is NaN."""
    size: Any = count.clamp(min=1).item()
    torch._check(size >= 1)
    return size


def _rows(array: Tensor, index: Tensor) -> Tensor:
    """Rows of array (B, N, ...) by index (B, n)."""
    for _ in range(array.ndim - 2):
        index = index[..., None]
    return array.gather(1, index.expand(-1, -1, *array.shape[2:]))


def _fit_components(z: Tensor, w: Tensor, size: Tensor, pairs: tuple[Tensor, Tensor]) -> Components:
    """`discoformer.components.fit_components`."""
    dim = z.shape[-1]
    size = size.clamp(1, MOST_POINTS)
    radius = z.square().mean(-1).sqrt()
    z = z * (FARTHEST / radius.clamp(min=FARTHEST))[..., None]
    most = torch.sym_min(SUBSET, KEPT // ((dim + 1) * (dim + 2) // 2))
    few, few_counts = _landmarks(z, w, size, most)
    stages, evidence = _merging(few, few_counts, pairs)
    share = shares_of(evidence)
    kept = _known_later((share > 0).sum(-1).max())
    share, order = share.topk(kept)  # (B, S)
    # Every stage that is kept is a data set of its own: (B S, ...).
    moments = Moments(*(_rows(moment, order).flatten(0, 1) for moment in stages))
    hardness = likeliest_hardness(moments)
    grow = _for_each(size / few_counts.sum(-1), kept)
    grown = Moments(*(with_axes_of(grow, moment) * moment for moment in moments))
    points, counts = (_for_each(x, kept) for x in (z, w * size[:, None]))
    _, grown = _climb(points, counts, grown, hardness, LAST_STEPS)
    found = predictive(grown, prior_of(grown, hardness))
    share = share.flatten()[:, None]
    log_scale = torch.where(share > 0, found.log_scale + torch.where(share > 0, share, 1.0).log(), ABSENT)
    fields = (field.unflatten(0, (-1, kept)).flatten(1, 2) for field in found._replace(log_scale=log_scale))
    return _compact(Components(*fields))


def _merging(points: Tensor, counts: Tensor, pairs: tuple[Tensor, Tensor]) -> tuple[Moments, Tensor]:
    """Moments (B, S, K, ...) at each stage of merging, and the evidence (B, S) of the stages."""
    size = counts.sum(-1)
    few, few_counts = _landmarks(points, counts / size[:, None], size, SEEDS_AMONG)
    allowed = most_components(size, points.shape[-1])
    r = around_spread_points(points, few, few_counts, allowed, MOST)
    moments = _moments(points, counts, r)
    r, moments = _climb(points, counts, moments, likeliest_hardness(moments), FIRST_STEPS)
    begun = number_of(moments)

    def ongoing(done: Tensor, *state: Tensor) -> Tensor:
        return done < MOST

    def stage(done: Tensor, r: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        moments, stages = Moments(*state[:3]), state[3:]
        most = MOST - done  # components at this stage
        hardness = likeliest_hardness(moments)
        prior = prior_of(moments, hardness)
        alone = component_evidence(moments, prior) + entropy_of(r, counts)
        evidence = torch.where(begun >= most, alone.sum(-1) + arrangements(moments), -torch.inf)
        kept, gone = best_union(moments, prior, r, counts, alone, pairs, -1e300)
        merging = (number_of(moments) >= most)[:, None]  # else one is absent, and goes
        kept, gone = kept * merging, gone * merging
        merged = [united(x, kept, gone) * with_axes_of(1 - gone, x) for x in (r, *moments)]
        climbing = _Climbing.begin(points, Moments(*merged[1:]))
        for _ in range(MERGED_STEPS):
            climbing = climbing.step(points, counts, hardness)
        after = zip((climbing.r, *climbing.moments), (r, *moments), strict=True)
        found = zip(stages, (*moments, evidence), strict=True)
        return (
            done + 1,
            *(choose(begun >= most, new, old) for new, old in after),
            *(torch.where(with_axes_of(torch.arange(MOST) == done, all_), one, all_) for all_, one in found),
        )

    stages = (x.expand(MOST, *x.shape).clone() for x in (*moments, begun))
    start = (torch.zeros((), dtype=torch.int64), r, *moments, *stages)
    _, _, _, _, _, *stages, evidence = while_loop(ongoing, stage, start)
    return Moments(*(moment.transpose(0, 1) for moment in stages)), evidence.mT


class _Climbing(NamedTuple):
    """Variational EM under way."""

    done: Tensor  # () steps
    r: Tensor  # (B, K, N) responsibilities
    before: Tensor  # (B, K) counts before the last step
    counts: Tensor  # moments after it
    sums: Tensor
    squares: Tensor

    @staticmethod
    def begin(points: Tensor, moments: Moments) -> "_Climbing":
        r = torch.zeros_like(moments.counts[..., None] * points[:, None, :, 0])
        done = torch.zeros((), dtype=torch.int64)
        return _Climbing(done, r, torch.zeros_like(moments.counts), *(x.clone() for x in moments))

    @property
    def moments(self) -> Moments:
        return Moments(self.counts, self.sums, self.squares)

    def moving(self) -> Tensor:
        """The data sets (B,) whose counts do not rest yet."""
        change = (self.counts - self.before).abs().amax(-1)
        return (self.done < 1) | (change > RESTING * self.counts.sum(-1))

    def step(self, points: Tensor, counts: Tensor, hardness: Tensor) -> "_Climbing":
        """A step for the data sets that move."""
        moving = self.moving()
        r, moments = _step(points, counts, self.moments, hardness)
        chosen = (choose(moving, new, old) for new, old in zip(moments, self.moments, strict=True))
        return _Climbing(self.done + 1, choose(moving, r, self.r), self.counts.clone(), *chosen)


def _climb(
    points: Tensor, counts: Tensor, moments: Moments, hardness: Tensor, steps: int
) -> tuple[Tensor, Moments]:
    """Steps of variational EM until the counts of every data set rest, but so many at most."""

    def ongoing(*state: Tensor) -> Tensor:
        climbing = _Climbing(*state)
        return (climbing.done < steps) & climbing.moving().any()

    def step(*state: Tensor) -> tuple[Tensor, ...]:
        return tuple(_Climbing(*state).step(points, counts, hardness))

    climbing = _Climbing(*while_loop(ongoing, step, tuple(_Climbing.begin(points, moments))))
    return climbing.r, climbing.moments


def _step(points: Tensor, counts: Tensor, moments: Moments, hardness: Tensor) -> tuple[Tensor, Moments]:
    """A step of variational EM, from moments to responsibilities (B, K, N) and their moments."""
    form = responsibility_form(moments, hardness)
    z = torch.cat([torch.ones_like(points[..., :1]), points], -1)[:, None]  # (B, 1, N, D + 1)
    logits = ((z @ form) * z).sum(-1)
    logits = torch.where((moments.counts > 0)[..., None], logits, -torch.inf)
    logits = logits - logits.amax(1, keepdim=True)
    r = torch.where(logits > NEGLIGIBLE, logits.exp(), 0.0)
    r = r / r.sum(1, keepdim=True)
    return r, _moments(points, counts, r)


def _moments(points: Tensor, counts: Tensor, r: Tensor) -> Moments:
    """Moments of points (B, N, D) that count (B, N), of responsibilities (B, K, N)."""
    z = torch.cat([torch.ones_like(points[..., :1]), points], -1)[:, None]
    totals = (z * (r * counts[:, None])[..., None]).mT @ z  # (B, K, D + 1, D + 1)
    return Moments(totals[..., 0, 0], totals[..., 0, 1:], totals[..., 1:, 1:])


def _compact(components: Components) -> Components:
    """The same with those left out that are absent from every data set."""
    present = (components.log_scale > ABSENT).to(components.freedom.dtype)
    count = _known_later(present.sum(-1).max().long())
    order = present.topk(count).indices
    return Components(*(_rows(field, order) for field in components))
