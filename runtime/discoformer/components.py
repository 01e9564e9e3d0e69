r"""The components: a Bayesian Gaussian mixture of the context in its frame, which the network refines.

Variational Bayes (Bishop, *Pattern Recognition and Machine Learning*, 2006, section 10.2), with the number of
components and the prior read from the context. For frame points ``z_i`` that count ``w_i`` each (their weight
times the effective size), responsibilities ``r_ik`` and moments::

    n_k = sum_i w_i r_ik     s_k = sum_i w_i r_ik z_i     Q_k = sum_i w_i r_ik z_i z_i^T

mean and precision of component k have a normal-Wishart posterior, from the prior ``(m, b, v, a I)``::

    b_k = b + n_k     v_k = v + n_k     m_k = (b m + s_k) / b_k
    P_k = a I + Q_k + b m m^T - b_k m_k m_k^T

``m`` is the mean of the context, ``a = h p`` with ``p`` the pooled variance within the components,
``b = p / q``, at most 1, with ``q`` the variance between them, ``v = D + 1 + h``. The prior counts for ``h``
points: that one of ``HARDNESS`` under which the context is likeliest. It follows the moments from step to
step, so the evidence below holds given the prior.

The number of components is found by merging. From ``MOST`` of them, around points chosen greedily to bring
the sum of squared distances down, the pair whose union loses the least evidence is merged, and so on down to
one. Each stage has its evidence, a lower bound on the log-probability of the context, and its posterior
predictive density, a mixture of Student-t distributions. Averaged over the stages, with weights proportional
to ``exp(evidence / TEMPERATURE)``, they make one mixture::

    log c(z) = log sum_k exp(l_k - (f_k + D) / 2 log(1 + |F_k (z - m_k)|^2 / f_k)),    f_k = v_k + 1 - D

Every step is invariant to the order of the points, to repetition in place of integer weights and to rotations
of the frame, except that exact ties (points on a lattice) go to the row that comes first. The same code runs
on NumPy arrays and, in training and export, on PyTorch tensors.

Shapes: B data sets, N points, D dimensions, K components, P pairs of components. Float64.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from discoformer.arrays import (
    TIE,
    Array,
    choose,
    digamma,
    first_of_greatest,
    identity_like,
    index_range,
    library,
    log_diagonal,
    log_gamma,
    one_hot,
    or_one,
    positive,
    take_rows,
    ties_to_first,
    trace,
    upper,
    with_axes_of,
)
from discoformer.landmarks import take_landmarks

MOST = 24  # components to begin with
FEWEST_POINTS = (2.0, 0.125)  # of a component to begin with: so many, and so many for each dimension
SUBSET = 8192  # points on which components are merged, where there are more,
KEPT = 2**24  # and at most so many monomials of points in memory
SEEDS_AMONG = 512  # points that the first components are put around
FIRST_STEPS, MERGED_STEPS, LAST_STEPS = 5, 2, 30  # of variational EM: at first, after a merge, at the end
RESTING = 1e-6  # change of a component's share below which EM ends
HARDNESS = tuple(2.0**k for k in range(9))  # h, points that the prior counts for
CHUNK = 2**18  # monomials of points held at a time: what fits a cache
TEMPERATURE = 3.0  # divides the evidence of a stage: stages err alike, and the bound is not tight
LEAST_SHARE = 0.02  # of the best stage's weight, below which a stage is left out
NEGLIGIBLE = -60.0  # log-responsibilities below this are 0
ABSENT = -1e30  # log-scale of a component that is not there
LEAST_VARIANCE = 1e-3  # within components, of the frame's unit or the context's variance, by the prior
FARTHEST = 1e3  # |z| / sqrt(D) of the points farthest out, farther ones are drawn in to there
MOST_POINTS = 1e9  # larger effective sizes count as this


class Components(NamedTuple):
    """The predictive mixture of a context, in frame coordinates."""

    log_scale: Array  # (B, K) l_k, weights included, nats; ABSENT where a data set has fewer than K
    means: Array  # (B, K, D) m_k
    factors: Array  # (B, K, D, D) F_k, lower triangular
    freedom: Array  # (B, K) f_k, degrees of freedom


class Evaluated(NamedTuple):
    """The predictive mixture at n points, in frame coordinates."""

    log_density: Array  # (B, n) log c, nats
    score: Array  # (B, n, D) its gradient
    share: Array  # (B, K, n) membership of the components
    square: Array  # (B, K, n) |F_k (z - m_k)|^2


class _Sample:
    """Points (B, N, D) that count (B, N) each, with their monomials."""

    def __init__(self, points: Array, counts: Array) -> None:
        self.points = points
        self.counts = counts
        self._kept: list[tuple[slice, Array]] = []

    def monomials(self) -> Iterable[tuple[slice, Array]]:
        """Products z_a z_b, a <= b, with z_0 = 1, (B, n, F), in parts; kept if they are few."""
        batch, n, dim = self.points.shape
        if batch * n * len(upper(dim + 1)[0]) > KEPT:
            return self._computed()
        self._kept = self._kept or list(self._computed())
        return self._kept

    def _computed(self) -> Iterator[tuple[slice, Array]]:
        xp = library(self.points)
        z = xp.concatenate([xp.ones_like(self.points[..., :1]), self.points], -1)
        a, b = upper(z.shape[-1])
        rows = max(1, CHUNK // (len(z) * len(a)))
        for start in range(0, z.shape[1], rows):
            part = slice(start, start + rows)
            yield part, z[:, part, a] * z[:, part, b]


class _Moments(NamedTuple):
    counts: Array  # (B, K) n_k
    sums: Array  # (B, K, D) s_k
    squares: Array  # (B, K, D, D) Q_k


class _Prior(NamedTuple):
    center: Array  # (B, 1, D) m
    strength: Array  # (B, 1) b
    freedom: Array  # (B, 1) v
    scale: Array  # (B, 1) a


class _Posterior(NamedTuple):
    means: Array  # (B, K, D) m_k
    strength: Array  # (B, K) b_k
    freedom: Array  # (B, K) v_k
    root: Array  # (B, K, D, D) lower triangular, P_k = root root^T
    log_det: Array  # (B, K) log det P_k


def fit_components(points: Array, weights: Array, size: Array) -> Components:
    """Fits the components of contexts in their frames.

    Args:
        points: (B, N, D), float64, of finite variance that is not zero.
        weights: (B, N), not negative, of sum 1; points of weight 0 count as absent.
        size: (B,) effective sizes, 1 or more.

    Returns:
        As many components as the data set that needs the most.
    """
    xp = library(points)
    size = xp.clip(size, 1, MOST_POINTS)
    points, counts = _drawn_in(points), weights * size[:, None]
    most = min(SUBSET, KEPT // len(upper(points.shape[-1] + 1)[0]))
    few, few_counts = take_landmarks(points, weights, size, most)
    stages, evidence = _merging(_Sample(few, few_counts))
    share = _shares(evidence)  # (B, S)
    scale = size / few_counts.sum(-1)
    sample, mixtures = _Sample(points, counts), []
    for moments, stage_share in zip(stages, share.mT, strict=True):
        if not stage_share.any():
            continue
        hardness = _likeliest_hardness(moments)
        grown = _Moments(*(moment * with_axes_of(scale, moment) for moment in moments))
        _, grown = _climb(sample, grown, hardness, LAST_STEPS)
        found = _predictive(grown, _prior(grown, hardness))
        log_scale = found.log_scale + xp.log(or_one(stage_share))[:, None]  # ABSENT is too low to be moved
        mixtures.append(found._replace(log_scale=xp.where((stage_share > 0)[:, None], log_scale, ABSENT)))
    return _compact(Components(*(xp.concatenate(field, 1) for field in zip(*mixtures, strict=True))))


def evaluate(components: Components, points: Array) -> Evaluated:
    """Evaluates the predictive mixture at points (B, n, D)."""
    xp = library(points)
    freedom = components.freedom[..., None]
    power = 0.5 * (freedom + points.shape[-1])
    offset = (points[:, None] - components.means[:, :, None]) @ components.factors.mT  # (B, K, n, D)
    square = (offset * offset).sum(-1)
    joint = components.log_scale[..., None] - power * xp.log1p(square / freedom)
    greatest = xp.amax(joint, 1)[:, None]
    share = xp.exp(joint - greatest)
    total = share.sum(1)[:, None]
    share = share / total
    pull = (2 * power * share / (freedom + square))[..., None] * offset
    score = -(pull @ components.factors).sum(1)
    return Evaluated((greatest + xp.log(total))[:, 0], score, share, square)


def _merging(sample: _Sample) -> tuple[list[_Moments], Array]:
    """Moments at each stage of merging, and the evidence (B, S) of the stages."""
    xp = library(sample.points)
    r = _first(sample.points, sample.counts)
    mass = r * sample.counts[:, None]
    totals = sum(mass[..., part] @ monomials for part, monomials in sample.monomials())
    moments = _unpacked(totals, sample.points.shape[-1])
    r, moments = _climb(sample, moments, _likeliest_hardness(moments), FIRST_STEPS)
    begun = _number(moments)  # (B,) components to begin with
    stages, evidence = [], []
    for k in range(r.shape[1], 0, -1):
        hardness = _likeliest_hardness(moments)
        prior = _prior(moments, hardness)
        stages.append(moments)
        alone = _component_evidence(moments, prior) + _entropy(r, sample.counts)
        found = alone.sum(-1) + _arrangements(moments)
        evidence.append(choose(begun >= k, found, xp.full_like(found, -math.inf)))
        if k > 1:
            r, moments = _merge(moments, prior, r, sample.counts, alone)
            climbed = _climb(sample, moments, hardness, MERGED_STEPS)
            r, moments = choose(begun >= k, climbed[0], r), _chosen(begun >= k, climbed[1], moments)
    return stages, xp.stack(evidence, 1)


def _shares(evidence: Array) -> Array:
    """Weights (B, S) of the stages in the average: 0 where negligible."""
    xp = library(evidence)
    share = xp.exp((evidence - xp.amax(evidence, -1)[:, None]) / TEMPERATURE)
    share = xp.where(share >= LEAST_SHARE, share, 0 * share)
    return share / share.sum(-1)[:, None]


def _compact(components: Components) -> Components:
    """The same with those left out that are absent from every data set."""
    absent = components.log_scale <= ABSENT
    order = library(absent).argsort(1.0 * absent, stable=True)[:, : int((~absent).sum(-1).max())]
    return Components(*(take_rows(field, order) for field in components))


def _first(points: Array, counts: Array) -> Array:
    """Each point to the nearest of those that, one by one, bring the sum of squared distances down most."""
    xp = library(points)
    few, few_counts = take_landmarks(points, counts / counts.sum(-1)[:, None], counts.sum(-1), SEEDS_AMONG)
    distances = _squared_distances(few, few)
    to_all = _squared_distances(few, points)
    scale = xp.amax(distances, (1, 2))
    allowed = counts.sum(-1) / (FEWEST_POINTS[0] + FEWEST_POINTS[1] * points.shape[-1]) + TIE  # (B,)
    nearest, reaches = None, []
    for k in range(max(1, min(MOST, int(allowed.max())))):
        left = -distances if nearest is None else positive(nearest[:, None] - distances)
        gain = (left @ few_counts[..., None])[..., 0]
        pick = first_of_greatest(xp.where(few_counts > 0, gain, -math.inf))[:, None]
        reached = (pick @ distances)[:, 0]
        nearest = reached if nearest is None else xp.minimum(nearest, reached)
        reach = (pick @ to_all)[:, 0]  # (B, N)
        reaches.append(choose((allowed >= k + 1) | (k == 0), reach, xp.full_like(reach, math.inf)))
    apart = xp.stack(reaches, 1)  # (B, K, N)
    least = xp.amin(apart, 1)[:, None]
    index = xp.argmin(xp.where(apart <= least + TIE * scale[:, None, None], least, apart), 1)  # (B, N)
    one = xp.ones_like(counts)
    return xp.stack([xp.where(index == k, one, 0 * one) for k in range(len(reaches))], 1)


def _merge(moments: _Moments, prior: _Prior, r: Array, counts: Array, alone: Array) -> tuple[Array, _Moments]:
    """One component less in each data set: an absent one, or the pair whose union loses least evidence.

    The components have the evidence alone (B, K).
    """
    xp = library(r)
    k = r.shape[1]
    i, j = (list(side) for side in zip(*((i, j) for i in range(k) for j in range(i + 1, k)), strict=True))
    union = _Moments(*(moment[:, i] + moment[:, j] for moment in moments))
    together = _component_evidence(union, prior) + _entropy(r[:, i] + r[:, j], counts)
    absent = moments.counts <= 0
    gain = together - alone[:, i] - alone[:, j]
    gain = xp.where(absent[:, i] | absent[:, j], xp.full_like(gain, 1e300), gain)
    pair = xp.argmax(ties_to_first(gain), -1).tolist()
    kept, gone = (one_hot([side[p] for p in pair], moments.counts) for side in (i, j))
    left = xp.argsort(gone, stable=True)[:, :-1]
    r, *merged = (
        take_rows(x + with_axes_of(kept, x) * (with_axes_of(gone, x) * x).sum(1)[:, None], left)
        for x in (r, *moments)
    )
    return r, _Moments(*merged)


def _climb(sample: _Sample, moments: _Moments, hardness: Array, most: int) -> tuple[Array, _Moments]:
    """Steps of variational EM until the counts of a data set rest, but so many at most."""
    r, after = _step(sample, moments, hardness)
    for _ in range(most - 1):
        change = library(r).amax(abs(after.counts - moments.counts), -1)
        moving = change > RESTING * sample.counts.sum(-1)
        if not moving.any():
            break
        next_r, next_moments = _step(sample, after, hardness)
        r, moments, after = choose(moving, next_r, r), after, _chosen(moving, next_moments, after)
    return r, after


def _step(sample: _Sample, moments: _Moments, hardness: Array) -> tuple[Array, _Moments]:
    """A step of variational EM, from moments to responsibilities (B, K, N) and their moments."""
    xp = library(hardness)
    coefficients = _coefficients(moments, hardness)
    present = (moments.counts > 0)[..., None]
    found = []
    for part, monomials in sample.monomials():
        logits = xp.where(present, coefficients @ monomials.mT, -math.inf)  # (B, K, n)
        logits = logits - xp.amax(logits, 1)[:, None]
        r = xp.where(logits > NEGLIGIBLE, xp.exp(logits), 0.0)
        r = r / r.sum(1)[:, None]
        found.append((r, (r * sample.counts[:, None, part]) @ monomials))
    responsibilities, totals = zip(*found, strict=True)
    return xp.concatenate(responsibilities, -1), _unpacked(sum(totals), sample.points.shape[-1])


def _unpacked(totals: Array, dim: int) -> _Moments:
    """Moments from the sums (B, K, F) of monomials."""
    a, b = upper(dim + 1)
    shape = (*totals.shape[:2], dim + 1, dim + 1)
    full = library(totals).zeros(shape, dtype=totals.dtype, device=totals.device)
    full[..., a, b] = full[..., b, a] = totals
    return _Moments(full[..., 0, 0], full[..., 0, 1:], full[..., 1:, 1:])


def _coefficients(moments: _Moments, hardness: Array) -> Array:
    """Coefficients (B, K, F) of the monomials in the log-responsibilities, up to a constant."""
    xp = library(hardness)
    dim = moments.sums.shape[-1]
    posterior = _posterior(moments, _prior(moments, hardness))
    inverse = xp.linalg.inv(posterior.root)
    precision = posterior.freedom[..., None, None] * (inverse.mT @ inverse)
    pull = precision @ posterior.means[..., None]  # (B, K, D, 1)
    log_precision = digamma(_halves(posterior.freedom, dim)).sum(-1) - posterior.log_det  # up to a constant
    constant = (
        digamma(1 + moments.counts)
        + 0.5 * (log_precision - dim / posterior.strength)
        - 0.5 * (pull[..., 0] * posterior.means).sum(-1)
    )
    form = xp.concatenate(
        [
            xp.concatenate([constant[..., None, None], 0.5 * pull.mT], -1),
            xp.concatenate([0.5 * pull, -0.5 * precision], -1),
        ],
        -2,
    )  # (B, K, D + 1, D + 1): the log-responsibility is (1, z) form (1, z)^T
    a, b = upper(dim + 1)
    return (form + form.mT - form * identity_like(form))[..., a, b]


def _prior(moments: _Moments, hardness: Array) -> _Prior:
    """The prior of a hardness (B, 1), centred and scaled by the context."""
    xp = library(hardness)
    counts, sums, squares = moments
    dim = sums.shape[-1]
    total = counts.sum(-1)[:, None]  # (B, 1)
    center = sums.sum(1)[:, None] / total[..., None]
    traces = trace(squares)
    variance = traces.sum(-1)[:, None] / total / dim - (center * center).mean(-1)
    within = positive(traces - (sums * sums).sum(-1) / or_one(counts)).sum(-1)[:, None]
    freedom = xp.maximum(positive(counts - 1).sum(-1)[:, None], xp.ones_like(total))
    pooled = xp.maximum(within / freedom / dim, LEAST_VARIANCE * xp.clip(variance, None, 1))
    strength = pooled / xp.maximum(variance - pooled, pooled)
    return _Prior(center, strength, dim + 1 + hardness, hardness * pooled)


def _posterior(moments: _Moments, prior: _Prior) -> _Posterior:
    xp = library(moments.counts)
    strength = prior.strength + moments.counts
    means = (prior.strength[..., None] * prior.center + moments.sums) / strength[..., None]
    scatter = (
        moments.squares
        + (prior.strength[..., None] * prior.center).mT[:, None] @ prior.center[:, None]
        - strength[..., None, None] * means[..., None] @ means[..., None, :]
        + prior.scale[..., None, None] * identity_like(means)
    )
    root = xp.linalg.cholesky(scatter)
    return _Posterior(means, strength, prior.freedom + moments.counts, root, 2 * log_diagonal(root))


def _component_evidence(moments: _Moments, prior: _Prior) -> Array:
    """Log-probability (B, K) of the points of each component and of their number, but for common terms."""
    dim = moments.sums.shape[-1]
    posterior = _posterior(moments, prior)
    gammas = log_gamma(_halves(posterior.freedom, dim)) - log_gamma(_halves(prior.freedom, dim))
    xp = library(gammas)
    return (
        gammas.sum(-1)
        - 0.5 * posterior.freedom * posterior.log_det
        + 0.5 * prior.freedom * dim * xp.log(prior.scale)
        + 0.5 * dim * xp.log(prior.strength / posterior.strength)
        - 0.5 * moments.counts * dim * math.log(math.pi)
        + log_gamma(1 + moments.counts)
    )


def _arrangements(moments: _Moments) -> Array:
    """What the evidence (B,) of a mixture has beyond its components': their weights, and K! orders."""
    number, total = _number(moments), moments.counts.sum(-1)
    return log_gamma(number) - log_gamma(number + total) + log_gamma(number + 1)


def _likeliest_hardness(moments: _Moments) -> Array:
    """The hardness (B, 1) of the prior under which the moments are likeliest."""
    xp = library(moments.counts)
    batch, tried = len(moments.counts), len(HARDNESS)
    again = _Moments(*(xp.concatenate([moment] * tried) for moment in moments))
    options = xp.concatenate([xp.full_like(moments.counts[:, :1], h) for h in HARDNESS])  # (tried B, 1)
    evidence = _component_evidence(again, _prior(again, options)).sum(-1).reshape(tried, batch)
    return (first_of_greatest(evidence.mT) * options.reshape(tried, batch).mT).sum(-1)[:, None]


def _predictive(moments: _Moments, prior: _Prior) -> Components:
    """The posterior predictive mixture."""
    xp = library(moments.counts)
    dim = moments.sums.shape[-1]
    posterior = _posterior(moments, prior)
    freedom = posterior.freedom + 1 - dim
    factors = xp.linalg.inv(posterior.root)
    factors = factors * xp.sqrt(freedom * posterior.strength / (1 + posterior.strength))[..., None, None]
    present = moments.counts > 0
    weights = (1 + moments.counts) * present
    log_scale = (
        xp.log(or_one(weights) / weights.sum(-1)[:, None])
        + log_gamma((freedom + dim) / 2)
        - log_gamma(freedom / 2)
        - 0.5 * dim * xp.log(freedom * math.pi)
        + log_diagonal(factors)
    )
    return Components(xp.where(present, log_scale, ABSENT), posterior.means, factors, freedom)


def _drawn_in(points: Array) -> Array:
    """The same points, those beyond FARTHEST moved toward the origin: their squares would drown the rest."""
    xp = library(points)
    radius = xp.sqrt((points * points).mean(-1))
    return points * (FARTHEST / xp.clip(radius, FARTHEST, None))[..., None]


def _squared_distances(points: Array, others: Array) -> Array:
    """Squared distances (B, n, m) of points (B, n, D) to others (B, m, D)."""
    square, other_square = (points * points).sum(-1), (others * others).sum(-1)
    return positive(square[..., None] + other_square[:, None] - 2 * points @ others.mT)


def _chosen(condition: Array, one: _Moments, other: _Moments) -> _Moments:
    """Choose between moments by condition (B,)."""
    return _Moments(*(choose(condition, a, b) for a, b in zip(one, other, strict=True)))


def _number(moments: _Moments) -> Array:
    """Number (B,) of components that are present, as floats."""
    return (moments.counts > 0).sum(-1) + 0 * moments.counts[:, 0]


def _entropy(r: Array, counts: Array) -> Array:
    """-sum_i w_i r_ik log r_ik, (B, K)."""
    return -(counts[:, None] * r * library(r).log(or_one(r))).sum(-1)


def _halves(freedom: Array, dim: int) -> Array:
    """(v - d) / 2 for d from 0 to D - 1, (..., D): the arguments of the multivariate gamma function."""
    return 0.5 * (freedom[..., None] - index_range(dim, freedom))
