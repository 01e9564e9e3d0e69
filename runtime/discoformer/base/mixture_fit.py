"""The components: a Bayesian Gaussian mixture of the context in its frame, which the network refines.

The formulas are in ``bayes``; here is the search. The prior counts for as many points as make the context
likeliest. It follows the moments from step to step, so the ELBO below holds given the prior.

The number of components is found by merging. From ``MOST`` of them, around points chosen greedily to bring
the sum of squared distances down, the pair whose union lowers the ELBO least is merged, and so on down to
one. Each stage has its ELBO, a lower bound on the log-probability of the context, and its posterior
predictive density, a mixture of Student-t distributions. Averaged over the stages, with weights proportional
to ``exp(ELBO / TEMPERATURE)``, they make one mixture::

    log c(z) = log sum_k exp(l_k - (f_k + D) / 2 log(1 + |F_k (z - m_k)|^2 / f_k)),    f_k = v_k + 1 - D

Every step is invariant to the order of the points, to repetition in place of integer weights and to rotations
of the frame, except that exact ties (points on a lattice) go to the row that comes first. The same code runs
on NumPy arrays and, in training and export, on PyTorch tensors.

Shapes: B data sets, N points, D dimensions, K components, P pairs of components. Float64.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple

import numpy as np

from discoformer.base.arrays import (
    TIE,
    ArrayT,
    FieldT,
    Indices,
    choose,
    first_of_greatest,
    identity_like,
    library,
    one_hot,
    place_in_upper,
    positive,
    take_rows,
    upper,
    with_axes_of,
    with_rows,
)
from discoformer.base.landmarks import take_landmarks
from discoformer.base.mixture import ABSENT, Components
from discoformer.base.normal_wishart import (
    Moments,
    Prior,
    arrangements,
    component_elbo,
    entropy_of,
    likeliest_prior,
    logits_of,
    number_of,
    predictive,
    prior_of,
)
from discoformer.io.inputs import Floats

MOST = 24  # components to begin with
FEWEST_POINTS = (2.0, 0.125)  # of a component to begin with: so many, and so many for each dimension
SUBSET = 8192  # points on which components are merged, where there are more,
KEPT = 2**24  # and at most so many monomials of points in memory
SEEDS_AMONG = 512  # points that the first components are put around
FIRST_STEPS, MERGED_STEPS, LAST_STEPS = 5, 2, 30  # of variational EM: at first, after a merge, at the end
RESTING = 1e-6  # change of a component's share below which EM ends
CHUNK = 2**18  # monomials of points held at a time: what fits a cache
TEMPERATURE = 3.0  # divides the ELBO of a stage: stages err alike, and the bound is not tight
LEAST_SHARE = 0.02  # of the best stage's weight, below which a stage is left out
NEGLIGIBLE = -60.0  # log-responsibilities below this are 0
FARTHEST = 1e3  # |z| / sqrt(D) of the points farthest out, farther ones are drawn in to there
MOST_POINTS = 1e9  # larger effective sizes count as this


Begin = Callable[[ArrayT, ArrayT], ArrayT]


class Found(NamedTuple, Generic[FieldT]):
    """A mixture, and how likely it makes the points."""

    components: Components[FieldT]
    elbo: FieldT  # (B,) of the best stage, nats


class _Sample:
    """Points (B, N, D) that count (B, N) each, with their monomials; one data set may have many fits."""

    def __init__(self, points: Floats, counts: Floats) -> None:
        self.points = points
        self.counts = counts
        self._kept: list[tuple[slice, Floats]] = []

    def monomials(self) -> Iterable[tuple[slice, Floats]]:
        """Products z_a z_b, a <= b, with z_0 = 1, (B, n, F), in parts; kept if they are few."""
        batch, n, dim = self.points.shape
        if batch * n * len(upper(dim + 1)[0]) > KEPT:
            return self._computed()
        self._kept = self._kept or list(self._computed())
        return self._kept

    def part(self, own: Indices) -> "_Sample":
        """The data sets that fits are of, (b,); the only one stands for all."""
        if len(self.counts) == 1:
            return self
        part = _Sample(self.points[own], self.counts[own])
        part._kept = [(rows, monomials[own]) for rows, monomials in self._kept]
        return part

    def _computed(self) -> Iterator[tuple[slice, Floats]]:
        z = np.concatenate([np.ones_like(self.points[..., :1]), self.points], -1)
        a, b = upper(z.shape[-1])
        rows = max(1, CHUNK // (len(z) * len(a)))
        for start in range(0, z.shape[1], rows):
            part = slice(start, start + rows)
            yield part, z[:, part, a] * z[:, part, b]


def fit_components(
    points: Floats, weights: Floats, size: Floats, begin: Begin[Floats] | None = None
) -> Found[Floats]:
    """Fits the components of contexts in their frames.

    Args:
        points: (B, N, D), float64, of finite variance that is not zero.
        weights: (B, N), not negative, of sum 1; points of weight 0 count as absent.
        size: (B,) effective sizes, 1 or more.
        begin: From points and counts to responsibilities (B, K, N) to begin with; by default around points
            that are far from each other.

    Returns:
        As many components as the data set that needs the most.
    """
    size = np.clip(size, 1, MOST_POINTS)
    points, counts = _drawn_in(points), weights * size[:, None]
    subset = min(SUBSET, KEPT // len(upper(points.shape[-1] + 1)[0]))
    few, few_counts = take_landmarks(points, weights, size, subset)
    stages, elbo = _merging(_Sample(few, few_counts), begin or around_far_points)
    scale = size / few_counts.sum(-1)
    kept = shares_of(elbo)  # (B, S)
    owner, stage = np.where(kept > 0)  # (P,): every stage that is kept is a data set of its own
    begun = _of_stages(stages, owner, stage)
    prior_strength, _, _ = likeliest_prior(begun)
    grown = Moments(*(moment * with_axes_of(scale[owner], moment) for moment in begun))
    _, grown = _climb(_Sample(points, counts).part(owner), grown, prior_strength, LAST_STEPS)
    found = predictive(grown, prior_of(grown, prior_strength))
    found = found._replace(log_scale=found.log_scale + np.log(kept[owner, stage])[:, None])
    return Found(_together(found, owner, len(size)), scale * np.amax(elbo, -1))


def _merging(sample: _Sample, begin: Begin[Floats]) -> tuple[list[Moments[Floats]], Floats]:
    """Moments at each stage of merging, and the ELBO (B, S) of the stages."""
    r = begin(sample.points, sample.counts)
    mass = r * sample.counts[:, None]
    parts = (mass[..., part] @ monomials for part, monomials in sample.monomials())
    moments = _unpacked(sum(parts, np.zeros(())), sample.points.shape[-1])
    prior_strength, _, _ = likeliest_prior(moments)
    r, moments = _climb(sample, moments, prior_strength, FIRST_STEPS)
    begun = number_of(moments)  # (B,) components to begin with
    stages, elbo = [], []
    for k in range(r.shape[1], 0, -1):
        prior_strength, prior, alone = likeliest_prior(moments)
        stages.append(moments)
        alone = alone + entropy_of(r, sample.counts)
        found = alone.sum(-1) + arrangements(moments)
        elbo.append(choose(begun >= k, found, np.full_like(found, -math.inf)))
        if k > 1:
            r, moments = _merge(moments, prior, r, sample.counts, alone)
            climbed = _climb(sample, moments, prior_strength, MERGED_STEPS)
            r, moments = choose(begun >= k, climbed[0], r), _chosen(begun >= k, climbed[1], moments)
    return stages, np.stack(elbo, 1)


def shares_of(elbo: ArrayT) -> ArrayT:
    """Weights (B, S) of the stages in the average: 0 where negligible."""
    xp = library(elbo)
    share = xp.exp((elbo - xp.amax(elbo, -1)[:, None]) / TEMPERATURE)
    share = xp.where(share >= LEAST_SHARE, share, 0 * share)
    return share / share.sum(-1)[:, None]


def _of_stages(stages: list[Moments[Floats]], owner: Indices, stage: Indices) -> Moments[Floats]:
    """Moments (P, K, ...) of stages (P,) of data sets (P,), those of fewer components with absent ones."""
    first = int(stage.min())
    needed = stages[first : int(stage.max()) + 1]
    most = needed[0].counts.shape[1]
    fields = zip(*needed, strict=True)
    stacked = (np.stack([with_rows(x, most) for x in field]) for field in fields)
    return Moments(*(field[stage - first, owner] for field in stacked))


def _together(found: Components[Floats], owner: Indices, batch: int) -> Components[Floats]:
    """The components (B, K, ...) of data sets, from those (P, k, ...) of stages, owned by data sets (P,)."""
    present = np.where(found.log_scale > ABSENT)
    owner = owner[present[0]]
    number = np.bincount(owner, minlength=batch)
    place = np.arange(len(owner)) - (np.cumsum(number, 0) - number)[owner]
    fields = []
    for field, absent in zip(found, (ABSENT, 0.0, 0.0, 1.0), strict=True):
        shape = (batch, int(number.max()), *field.shape[2:])
        filled = np.full(shape, absent, dtype=field.dtype)
        filled[owner, place] = field[present]
        fields.append(filled)
    return Components(*fields)


def around_far_points(points: Floats, counts: Floats) -> Floats:
    """Responsibilities (B, K, N) to begin with: around points that are far from each other."""
    size = counts.sum(-1)
    few, few_counts = take_landmarks(points, counts / size[:, None], size, SEEDS_AMONG)
    allowed = most_components(size, points.shape[-1])
    return around_spread_points(points, few, few_counts, allowed, min(MOST, int(allowed.max())))


def most_components(size: ArrayT, dim: int) -> ArrayT:
    """How many components there may be in data sets of effective size (B,), not rounded; 1 or more."""
    return library(size).clip(size / (FEWEST_POINTS[0] + FEWEST_POINTS[1] * dim) + TIE, 1, None)


def around_spread_points(
    points: ArrayT, few: ArrayT, few_counts: ArrayT, allowed: ArrayT, most: int
) -> ArrayT:
    """Gives each point to the nearest of those that, one by one, lower the sum of squared distances most.

    Args:
        points: (B, N, D).
        few: (B, n, D), the points to choose from.
        few_counts: (B, n), what these count for.
        allowed: (B,), how many are chosen at most in a data set,
        most: K, and in all of them.

    Returns:
        Responsibilities (B, K, N), 0 or 1.
    """
    xp = library(points)
    distances = _squared_distances(few, few)
    to_all = _squared_distances(few, points)
    scale = xp.amax(distances, (1, 2))
    nearest, reaches = None, []
    for k in range(most):
        left = -distances if nearest is None else positive(nearest[:, None] - distances)
        gain = (left @ few_counts[..., None])[..., 0]
        pick = first_of_greatest(xp.where(few_counts > 0, gain, -math.inf))[:, None]
        reached = (pick @ distances)[:, 0]
        nearest = reached if nearest is None else xp.minimum(nearest, reached)
        reach = (pick @ to_all)[:, 0]  # (B, N)
        reaches.append(choose(allowed >= k + 1, reach, xp.full_like(reach, math.inf)))
    apart = xp.stack(reaches, 1)  # (B, K, N)
    least = xp.amin(apart, 1)[:, None]
    index = xp.argmin(xp.where(apart <= least + TIE * scale[:, None, None], least, apart), 1)  # (B, N)
    one = xp.ones_like(points[..., 0])
    return xp.stack([xp.where(index == k, one, 0 * one) for k in range(most)], 1)


def _merge(
    moments: Moments[Floats], prior: Prior[Floats], r: Floats, counts: Floats, alone: Floats
) -> tuple[Floats, Moments[Floats]]:
    """One component less in each data set: an absent one, or the pair whose union lowers the ELBO least.

    ``alone`` (B, K) is the ELBO of each component.
    """
    pairs = pairs_of(r.shape[1], r)
    kept, gone = best_union(moments, prior, r, counts, alone, pairs, 1e300)
    left = np.argsort(gone, stable=True)[:, :-1]
    r, *merged = (take_rows(united(x, kept, gone), left) for x in (r, *moments))
    return r, Moments(*merged)


def pairs_of(k: int, like: ArrayT) -> tuple[Indices, Indices]:
    """The pairs (i, j) of so many things, i < j: indices (P,) and (P,), on the device of another array."""
    sides = zip(*((i, j) for i in range(k) for j in range(i + 1, k)), strict=True)
    first, second = (library(like).asarray(side, device=like.device) for side in sides)
    return first, second


def best_union(
    moments: Moments[ArrayT],
    prior: Prior[ArrayT],
    r: ArrayT,
    counts: ArrayT,
    alone: ArrayT,
    pairs: tuple[Indices, Indices],
    absent_gain: float,
) -> tuple[ArrayT, ArrayT]:
    """The pair of components whose union raises the ELBO most, or lowers it least.

    Args:
        moments: Moments of K components.
        prior: Their prior.
        r: Responsibilities (B, K, N).
        counts: What the points count for, (B, N).
        alone: ELBO (B, K) of the components.
        pairs: The pairs of K.
        absent_gain: What the union with an absent component counts as gaining.

    Returns:
        The component that is kept and the one that goes, a one in rows (B, K) each.
    """
    xp = library(r)
    i, j = pairs
    union = Moments(*(moment[:, i] + moment[:, j] for moment in moments))
    together = component_elbo(union, prior) + entropy_of(r[:, i] + r[:, j], counts)
    absent = moments.counts <= 0
    gain = together - alone[:, i] - alone[:, j]
    gain = xp.where(absent[:, i] | absent[:, j], xp.full_like(gain, absent_gain), gain)
    pair = first_of_greatest(gain)  # (B, P)
    each = xp.zeros_like(moments.counts[:1])
    return pair @ one_hot(i, each), pair @ one_hot(j, each)


def united(x: ArrayT, kept: ArrayT, gone: ArrayT) -> ArrayT:
    """Adds to what one component has, in x (B, K, ...), what another has; that one keeps it too."""
    return x + with_axes_of(kept, x) * (with_axes_of(gone, x) * x).sum(1)[:, None]


def _climb(
    sample: _Sample, moments: Moments[Floats], prior_strength: Floats, most: int
) -> tuple[Floats, Moments[Floats]]:
    """Steps of variational EM until the counts of each data set rest, but so many at most."""
    before = moments.counts
    r, moments = _step(sample, moments, prior_strength)
    for _ in range(most - 1):
        change = np.amax(abs(moments.counts - before), -1)
        (moving,) = np.where(change > RESTING * moments.counts.sum(-1))
        if len(moving) == 0:
            break
        own = sample if len(moving) == len(before) else sample.part(moving)
        before = 1 * moments.counts
        moved = Moments(*(moment[moving] for moment in moments))
        r[moving], moved = _step(own, moved, prior_strength[moving])
        for moment, now in zip(moments, moved, strict=True):
            moment[moving] = now
    return r, moments


def _step(
    sample: _Sample, moments: Moments[Floats], prior_strength: Floats
) -> tuple[Floats, Moments[Floats]]:
    """A step of variational EM, from moments to responsibilities (B, K, N) and their moments."""
    coefficients = _coefficients(moments, prior_strength)
    present = (moments.counts > 0)[..., None]
    found = []
    for part, monomials in sample.monomials():
        logits = np.where(present, coefficients @ monomials.mT, -math.inf)  # (B, K, n)
        logits = logits - np.amax(logits, 1)[:, None]
        r = np.where(logits > NEGLIGIBLE, np.exp(logits), 0.0)
        r = r / r.sum(1)[:, None]
        found.append((r, (r * sample.counts[:, None, part]) @ monomials))
    responsibilities, totals = zip(*found, strict=True)
    return np.concatenate(responsibilities, -1), _unpacked(sum(totals), sample.points.shape[-1])


def _unpacked(totals: Floats, dim: int) -> Moments[Floats]:
    """Moments from the sums (B, K, F) of monomials."""
    full = totals[..., place_in_upper(dim + 1)]  # (B, K, D + 1, D + 1)
    return Moments(full[..., 0, 0], full[..., 0, 1:], full[..., 1:, 1:])


def _drawn_in(points: Floats) -> Floats:
    """The same points, those beyond FARTHEST moved toward the origin: their squares would drown the rest."""
    radius = np.sqrt((points * points).mean(-1))
    return points * (FARTHEST / np.clip(radius, FARTHEST, None))[..., None]


def _squared_distances(points: ArrayT, others: ArrayT) -> ArrayT:
    """Squared distances (B, n, m) of points (B, n, D) to others (B, m, D)."""
    square, other_square = (points * points).sum(-1), (others * others).sum(-1)
    return positive(square[..., None] + other_square[:, None] - 2 * points @ others.mT)


def _coefficients(moments: Moments[Floats], prior_strength: Floats) -> Floats:
    """Coefficients (B, K, F) of the monomials in the log-responsibilities, up to a constant."""
    constant, pull, precision = logits_of(moments, prior_of(moments, prior_strength))
    a, b = upper(precision.shape[-1])
    pairs = (0.5 * precision * identity_like(precision) - precision)[..., a, b]  # each stands for two
    return np.concatenate([constant[..., None], pull, pairs], -1)


def _chosen(condition: Indices, one: Moments[Floats], other: Moments[Floats]) -> Moments[Floats]:
    """Choose between moments by condition (B,)."""
    return Moments(*(choose(condition, a, b) for a, b in zip(one, other, strict=True)))
