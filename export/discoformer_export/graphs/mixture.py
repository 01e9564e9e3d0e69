"""The components of points in the frame, as functions that can be traced: what the runtime does in NumPy.

See `discoformer.base.mixture_fit` for what is computed; the formulas are those of
`discoformer.base.normal_wishart`. A graph must fix its steps before it sees the data. So merged components
keep an empty place, and a data set that needs fewer rounds than another one of the batch is left unchanged.

Shapes: B data sets, N points, D dimensions, K components, S stages of merging. Float64.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch._higher_order_ops import while_loop

from discoformer.base.arrays import choose, with_axes_of
from discoformer.base.mixture import ABSENT, Components
from discoformer.base.mixture_fit import (
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
    Begin,
    Found,
    around_spread_points,
    best_union,
    most_components,
    pairs_of,
    shares_of,
    united,
)
from discoformer.base.normal_wishart import (
    Logits,
    Moments,
    arrangements,
    entropy_of,
    likeliest_prior,
    logits_of,
    number_of,
    predictive,
    prior_of,
)
from discoformer_export.graphs.tracing import for_each, known_later, landmarks, rows


def around_far_points(points: Tensor, counts: Tensor) -> Tensor:
    """`discoformer.base.mixture_fit.around_far_points`, MOST components."""
    size = counts.sum(-1)
    few, few_counts = landmarks(points, counts / size[:, None], size, SEEDS_AMONG)
    allowed = most_components(size, points.shape[-1])
    return around_spread_points(points, few, few_counts, allowed, MOST)


def fit_components(
    z: Tensor, w: Tensor, size: Tensor, begin: Begin[Tensor] = around_far_points
) -> Found[Tensor]:
    """`discoformer.base.mixture_fit.fit_components`."""
    dim = z.shape[-1]
    size = size.clamp(1, MOST_POINTS)
    radius = z.square().mean(-1).sqrt()
    z = z * (FARTHEST / radius.clamp(min=FARTHEST))[..., None]
    subset = torch.sym_min(SUBSET, KEPT // ((dim + 1) * (dim + 2) // 2))
    few, few_counts = landmarks(z, w, size, subset)
    stages, elbo = _merging(few, few_counts, begin)
    grow = size / few_counts.sum(-1)
    share = shares_of(elbo)
    kept = known_later((share > 0).sum(-1).max())
    share, order = share.topk(kept)  # (B, S)
    # Every stage that is kept is a data set of its own: (B S, ...).
    moments = Moments(*(rows(moment, order).flatten(0, 1) for moment in stages))
    prior_strength, _, _ = likeliest_prior(moments)
    scale = for_each(grow, kept)
    grown = Moments(*(with_axes_of(scale, moment) * moment for moment in moments))
    _, grown = _climb(_Sample.of(z, w * size[:, None]), grown, prior_strength, LAST_STEPS)
    found = predictive(grown, prior_of(grown, prior_strength))
    share = share.flatten()[:, None]
    log_scale = torch.where(share > 0, found.log_scale + torch.where(share > 0, share, 1.0).log(), ABSENT)
    fields = (field.unflatten(0, (-1, kept)).flatten(1, 2) for field in found._replace(log_scale=log_scale))
    return Found(_compact(Components(*fields)), grow * elbo.amax(-1))


def _merging(points: Tensor, counts: Tensor, begin: Begin[Tensor]) -> tuple[Moments[Tensor], Tensor]:
    """Moments (B, S, K, ...) at each stage of merging, and the ELBO (B, S) of the stages."""
    r = begin(points, counts)
    most = r.shape[1]
    sample = _Sample.of(points, counts)
    moments = sample.moments_of(r)
    prior_strength, _, _ = likeliest_prior(moments)
    r, moments = _climb(sample, moments, prior_strength, FIRST_STEPS)
    begun = number_of(moments)
    pairs = pairs_of(most, points)

    def ongoing(done: Tensor, *state: Tensor) -> Tensor:
        return done < most

    def stage(done: Tensor, r: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        moments, stages = Moments(*state[:3]), state[3:]
        k = most - done  # components at this stage
        prior_strength, prior, alone = likeliest_prior(moments)
        alone = alone + entropy_of(r, counts)
        elbo = torch.where(begun >= k, alone.sum(-1) + arrangements(moments), -torch.inf)
        kept, gone = best_union(moments, prior, r, counts, alone, pairs, -1e300)
        merging = (number_of(moments) >= k)[:, None]  # else one is absent, and goes
        kept, gone = kept * merging, gone * merging
        merged = [united(x, kept, gone) * with_axes_of(1 - gone, x) for x in (r, *moments)]
        climbing = _Climbing.begin(sample, Moments(*merged[1:]))
        for _ in range(MERGED_STEPS):
            climbing = climbing.step(sample, prior_strength)
        after = zip((climbing.r, *climbing.moments), (r, *moments), strict=True)
        found = zip(stages, (*moments, elbo), strict=True)
        return (
            done + 1,
            *(choose(begun >= k, new, old) for new, old in after),
            *(torch.where(with_axes_of(torch.arange(most) == done, all_), one, all_) for all_, one in found),
        )

    stages = (x.expand(most, *x.shape).clone() for x in (*moments, torch.full_like(begun, -torch.inf)))
    first = most - (moments.counts > 0).sum(-1).max()  # no data set has the stages before
    start = (first, r, *moments, *stages)
    _, _, _, _, _, *stages, elbo = while_loop(ongoing, stage, start)
    return Moments(*(moment.transpose(0, 1) for moment in stages)), elbo.mT


class _Sample(NamedTuple):
    """Points that count (B, N) each, with their monomials."""

    points: Tensor  # (B, N, D)
    counts: Tensor  # (B, N)
    monomials: Tensor  # (B, 1, N, F) 1, the coordinates, and the products of two: F = 1 + D + D^2

    @classmethod
    def of(cls, points: Tensor, counts: Tensor) -> "_Sample":
        """The sample of points (B, N, D)."""
        products = (points[..., None] * points[..., None, :]).flatten(2)
        monomials = torch.cat([torch.ones_like(points[..., :1]), points, products], -1)
        return cls(points, counts, monomials[:, None])

    def by_stage(self, x: Tensor) -> Tensor:
        """What has S stages for each data set, (B S, ...), as (B, S, ...)."""
        return x.unflatten(0, (self.counts.shape[0], -1))

    def moments_of(self, r: Tensor) -> Moments[Tensor]:
        """Moments, given responsibilities (B S, K, N)."""
        totals = ((self.by_stage(r) * self.counts[:, None, None]) @ self.monomials).flatten(0, 1)
        dim = self.points.shape[-1]
        squares = totals[..., 1 + dim :].unflatten(-1, (dim, dim))
        return Moments(totals[..., 0], totals[..., 1 : 1 + dim], squares)


class _Climbing(NamedTuple):
    """Variational EM under way."""

    done: Tensor  # () steps
    r: Tensor  # (B, K, N) responsibilities
    before: Tensor  # (B, K) counts before the last step
    counts: Tensor  # moments after it
    sums: Tensor
    squares: Tensor

    @staticmethod
    def begin(sample: _Sample, moments: Moments[Tensor]) -> "_Climbing":
        r = torch.zeros_like(moments.counts[..., None] * sample.counts[:1, None])
        done = torch.zeros((), dtype=torch.int64)
        return _Climbing(done, r, torch.zeros_like(moments.counts), *(x.clone() for x in moments))

    @property
    def moments(self) -> Moments[Tensor]:
        return Moments(self.counts, self.sums, self.squares)

    def moving(self) -> Tensor:
        """The data sets (B,) whose counts do not rest yet."""
        change = (self.counts - self.before).abs().amax(-1)
        return (self.done < 1) | (change > RESTING * self.counts.sum(-1))

    def step(self, sample: _Sample, prior_strength: Tensor) -> "_Climbing":
        """A step for the data sets that move."""
        moving = self.moving()
        r, moments = _step(sample, self.moments, prior_strength)
        chosen = (choose(moving, new, old) for new, old in zip(moments, self.moments, strict=True))
        return _Climbing(self.done + 1, choose(moving, r, self.r), self.counts.clone(), *chosen)


def _climb(
    sample: _Sample, moments: Moments[Tensor], prior_strength: Tensor, steps: int
) -> tuple[Tensor, Moments[Tensor]]:
    """Steps of variational EM until the counts of every data set rest, but so many at most."""

    def ongoing(*state: Tensor) -> Tensor:
        climbing = _Climbing(*state)
        return (climbing.done < steps) & climbing.moving().any()

    def step(*state: Tensor) -> tuple[Tensor, ...]:
        return tuple(_Climbing(*state).step(sample, prior_strength))

    climbing = _Climbing(*while_loop(ongoing, step, tuple(_Climbing.begin(sample, moments))))
    return climbing.r, climbing.moments


def _step(
    sample: _Sample, moments: Moments[Tensor], prior_strength: Tensor
) -> tuple[Tensor, Moments[Tensor]]:
    """A step of variational EM, from moments to responsibilities (B S, K, N) and their moments."""
    coefficients = sample.by_stage(_coefficients(logits_of(moments, prior_of(moments, prior_strength))))
    logits = (sample.monomials @ coefficients.mT).mT.contiguous().flatten(0, 1)
    logits = torch.where((moments.counts > 0)[..., None], logits, -torch.inf)
    logits = logits - logits.amax(1, keepdim=True)
    r = torch.where(logits > NEGLIGIBLE, logits.exp(), 0.0)
    r = r / r.sum(1, keepdim=True)
    return r, sample.moments_of(r)


def _coefficients(logits: Logits[Tensor]) -> Tensor:
    """Those (B, K, F) of the monomials in the log-responsibilities."""
    return torch.cat([logits.constant[..., None], logits.pull, -0.5 * logits.precision.flatten(2)], -1)


def _compact(components: Components[Tensor]) -> Components[Tensor]:
    """The same with those left out that are absent from every data set."""
    present = (components.log_scale > ABSENT).to(components.freedom.dtype)
    count = known_later(present.sum(-1).max().long())
    order = present.topk(count).indices
    return Components(*(rows(field, order) for field in components))
