"""The components: a Bayesian Gaussian mixture, fitted to a context in its frame.

The formulas are in ``normal_wishart``; this module searches the number of components. The prior strength is
the one of the highest ELBO. The prior is updated with the moments, so the ELBO below is that for a given
prior.

The search starts from at most ``MOST`` components, around points that are chosen greedily to lower the sum of
squared distances. Then the pair of components whose union lowers the ELBO least is merged, until one is left.
Each stage of merging has an ELBO, a lower bound on the log-probability of the context, and a posterior
predictive density, a mixture of Student-t distributions. The result is their average over the stages, with
weights proportional to ``exp(ELBO / TEMPERATURE)``. It is one mixture::

    log c(z) = log sum_k exp(l_k - (f_k + D) / 2 log(1 + |F_k (z - m_k)|^2 / f_k)),    f_k = v_k + 1 - D

Every step is invariant to the order of the points and to rotations of the frame. Integer weights give the
same as repeated points. The one exception: exact ties, as on a lattice, are decided by the order of the rows.

The fit is NumPy. The export, which must fix the steps beforehand, shares the functions that also take PyTorch
tensors.

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
    slices,
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

MOST = 24  # greatest number of initial components
FEWEST_POINTS = (2.0, 0.125)  # least points of an initial component: a constant, and more per dimension
SUBSET = 8192  # greatest number of points that the merging uses
KEPT = 2**24  # greatest number of monomials of points that are kept in memory
SEEDS_AMONG = 512  # number of points from which the initial centres are chosen
FIRST_STEPS, MERGED_STEPS, LAST_STEPS = (
    5,
    2,
    30,
)  # steps of variational EM: at first, after a merge, at the end
RESTING = 1e-6  # EM ends when no share of a component changes by more
CHUNK = 2**18  # number of monomials computed at a time, so that they fit the cache
TEMPERATURE = 3.0  # divides the ELBO of a stage, since the bound is not tight
LEAST_SHARE = 0.02  # stages of less weight, relative to the best stage, are left out
NEGLIGIBLE = -60.0  # smaller log-responsibilities count as minus infinity
FARTHEST = 1e3  # greatest |z| / sqrt(D); points farther out are moved to it
MOST_POINTS = 1e9  # greatest effective size; larger ones are clipped


Begin = Callable[[ArrayT, ArrayT], ArrayT]


class Found(NamedTuple, Generic[FieldT]):
    """A mixture, and its ELBO."""

    components: Components[FieldT]
    elbo: FieldT  # (B,) that of the best stage, nats


class _Sample:
    """Points (B, N, D) with counts (B, N), and their monomials. One data set may have several fits."""

    def __init__(self, points: Floats, counts: Floats) -> None:
        self.points = points
        self.counts = counts
        self._kept: list[tuple[slice, Floats]] = []

    def monomials(self) -> Iterable[tuple[slice, Floats]]:
        """Yield the F products z_a z_b, a <= b, with z_0 = 1, in parts (B, n, F), kept if few."""
        batch, n, dim = self.points.shape
        if batch * n * len(upper(dim + 1)[0]) > KEPT:
            return self._computed()
        self._kept = self._kept or list(self._computed())
        return self._kept

    def part(self, own: Indices) -> "_Sample":
        """Return the sample of each fit, by the index (b,) of its data set."""
        if len(self.counts) == 1:
            return self
        part = _Sample(self.points[own], self.counts[own])
        part._kept = [(rows, monomials[own]) for rows, monomials in self._kept]
        return part

    def _computed(self) -> Iterator[tuple[slice, Floats]]:
        z = np.concatenate([np.ones_like(self.points[..., :1]), self.points], -1)
        a, b = upper(z.shape[-1])
        rows = max(1, CHUNK // (len(z) * len(a)))
        for part in slices(z.shape[1], rows):
            yield part, z[:, part, a] * z[:, part, b]


def fit_components(
    points: Floats, weights: Floats, size: Floats, begin: Begin[Floats] | None = None
) -> Found[Floats]:
    """Fit the components of contexts in their frames.

    Args:
        points: (B, N, D), float64, of positive finite variance.
        weights: (B, N), not negative, of sum 1. Points of weight 0 are absent.
        size: (B,) effective sizes, 1 or more.
        begin: Function of points and counts that returns initial responsibilities (B, K, N). By default these
            are ``around_far_points``.

    Returns:
        The mixtures and their ELBOs. K is the number of components of the data set that needs the most.
    """
    size = np.clip(size, 1, MOST_POINTS)
    points, counts = _drawn_in(points), weights * size[:, None]
    subset = min(SUBSET, KEPT // len(upper(points.shape[-1] + 1)[0]))
    few, few_counts = take_landmarks(points, weights, size, subset)
    stages, elbo = _merging(_Sample(few, few_counts), begin or around_far_points)
    scale = size / few_counts.sum(-1)
    kept = shares_of(elbo)  # (B, S)
    owner, stage = np.where(kept > 0)  # (P,): every stage that is kept is fitted as a data set
    begun = _of_stages(stages, owner, stage)
    prior_strength, _, _ = likeliest_prior(begun)
    grown = Moments(*(moment * with_axes_of(scale[owner], moment) for moment in begun))
    _, grown = _climb(_Sample(points, counts).part(owner), grown, prior_strength, LAST_STEPS)
    found = predictive(grown, prior_of(grown, prior_strength))
    found = found._replace(log_scale=found.log_scale + np.log(kept[owner, stage])[:, None])
    return Found(_together(found, owner, len(size)), scale * np.amax(elbo, -1))


def _merging(sample: _Sample, begin: Begin[Floats]) -> tuple[list[Moments[Floats]], Floats]:
    """Return the moments at each stage of merging, and the ELBO (B, S) of the stages."""
    r = begin(sample.points, sample.counts)
    mass = r * sample.counts[:, None]
    parts = (mass[..., part] @ monomials for part, monomials in sample.monomials())
    moments = _unpacked(sum(parts, np.zeros(())), sample.points.shape[-1])
    prior_strength, _, _ = likeliest_prior(moments)
    r, moments = _climb(sample, moments, prior_strength, FIRST_STEPS)
    begun = number_of(moments)  # (B,) initial components
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
    """Return the weights (B, S) of the stages in the average. Negligible weights are set to 0."""
    xp = library(elbo)
    share = xp.exp((elbo - xp.amax(elbo, -1)[:, None]) / TEMPERATURE)
    share = xp.where(share >= LEAST_SHARE, share, 0 * share)
    return share / share.sum(-1)[:, None]


def _of_stages(stages: list[Moments[Floats]], owner: Indices, stage: Indices) -> Moments[Floats]:
    """Return the moments (P, K, ...) of stages (P,) of data sets (P,), padded with absent components."""
    first = int(stage.min())
    needed = stages[first : int(stage.max()) + 1]
    most = needed[0].counts.shape[1]
    fields = zip(*needed, strict=True)
    stacked = (np.stack([with_rows(x, most) for x in field]) for field in fields)
    return Moments(*(field[stage - first, owner] for field in stacked))


def _together(found: Components[Floats], owner: Indices, batch: int) -> Components[Floats]:
    """Collect the components (B, K, ...) of data sets from those (P, k, ...) of their stages (P,)."""
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
    """Return initial responsibilities (B, K, N) around points that are far from each other."""
    size = counts.sum(-1)
    few, few_counts = take_landmarks(points, counts / size[:, None], size, SEEDS_AMONG)
    allowed = most_components(size, points.shape[-1])
    return around_spread_points(points, few, few_counts, allowed, min(MOST, int(allowed.max())))


def most_components(size: ArrayT, dim: int) -> ArrayT:
    """Return the greatest number of components for effective sizes (B,), not rounded, 1 or more."""
    return library(size).clip(size / (FEWEST_POINTS[0] + FEWEST_POINTS[1] * dim) + TIE, 1, None)


def around_spread_points(
    points: ArrayT, few: ArrayT, few_counts: ArrayT, allowed: ArrayT, most: int
) -> ArrayT:
    """Assign each point to the nearest centre.

    Centres are chosen one by one. Each lowers the sum of squared distances most.

    Args:
        points: (B, N, D).
        few: (B, n, D), the points from which centres are chosen.
        few_counts: (B, n), their counts.
        allowed: (B,), greatest number of centres in each data set.
        most: K, greatest number of centres in all of them.

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
    """Remove a component of each data set: an absent one, or merge the pair that lowers the ELBO least.

    ``alone`` (B, K) is the ELBO of each component.
    """
    pairs = pairs_of(r.shape[1], r)
    kept, gone = best_union(moments, prior, r, counts, alone, pairs, 1e300)
    left = np.argsort(gone, stable=True)[:, :-1]
    r, *merged = (take_rows(united(x, kept, gone), left) for x in (r, *moments))
    return r, Moments(*merged)


def pairs_of(k: int, like: ArrayT) -> tuple[Indices, Indices]:
    """Return the pairs i < j < k, as indices (P,) and (P,) on the device of another array."""
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
    """Find the pair of components whose union raises the ELBO most, or lowers it least.

    Args:
        moments: Moments of K components.
        prior: Their prior.
        r: Responsibilities (B, K, N).
        counts: Counts of the points (B, N).
        alone: ELBO (B, K) of the components.
        pairs: The pairs of K components, see ``pairs_of``.
        absent_gain: Gain that is assigned to a union with an absent component.

    Returns:
        The component that is kept and the one that is removed, each as rows (B, K) with a single one.
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
    """Add the values of the removed component to the kept one, in x (B, K, ...)."""
    return x + with_axes_of(kept, x) * (with_axes_of(gone, x) * x).sum(1)[:, None]


def _climb(
    sample: _Sample, moments: Moments[Floats], prior_strength: Floats, most: int
) -> tuple[Floats, Moments[Floats]]:
    """Run variational EM until the counts of each data set are stable, but at most ``most`` steps."""
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
    """Take a step of variational EM, from moments to responsibilities (B, K, N) and new moments."""
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
    """Return moments from the sums (B, K, F) of monomials."""
    full = totals[..., place_in_upper(dim + 1)]  # (B, K, D + 1, D + 1)
    return Moments(full[..., 0, 0], full[..., 0, 1:], full[..., 1:, 1:])


def _drawn_in(points: Floats) -> Floats:
    """Move points beyond FARTHEST toward the origin, since their squares would dominate all sums."""
    radius = np.sqrt((points * points).mean(-1))
    return points * (FARTHEST / np.clip(radius, FARTHEST, None))[..., None]


def _squared_distances(points: ArrayT, others: ArrayT) -> ArrayT:
    """Return squared distances (B, n, m) of points (B, n, D) to others (B, m, D)."""
    square, other_square = (points * points).sum(-1), (others * others).sum(-1)
    return positive(square[..., None] + other_square[:, None] - 2 * points @ others.mT)


def _coefficients(moments: Moments[Floats], prior_strength: Floats) -> Floats:
    """Return the coefficients (B, K, F) of the monomials in the log-responsibilities, up to a constant."""
    constant, pull, precision = logits_of(moments, prior_of(moments, prior_strength))
    a, b = upper(precision.shape[-1])
    pairs = (0.5 * precision * identity_like(precision) - precision)[
        ..., a, b
    ]  # each of these stands for two
    return np.concatenate([constant[..., None], pull, pairs], -1)


def _chosen(condition: Indices, one: Moments[Floats], other: Moments[Floats]) -> Moments[Floats]:
    """Choose between moments by condition (B,)."""
    return Moments(*(choose(condition, a, b) for a, b in zip(one, other, strict=True)))
