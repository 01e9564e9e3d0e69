r"""Mixtures of Student-t distributions in the frame: evaluation, draws, and a broader proposal.

Component k has log-scale ``l_k`` (weight and normalisation), mean ``m_k``, precision factor ``F_k`` (lower
triangular) and ``f_k`` degrees of freedom::

    log c(z) = log sum_k exp(l_k - (f_k + D) / 2 log(1 + |F_k (z - m_k)|^2 / f_k))

``evaluate`` and ``log_peak`` take NumPy arrays or PyTorch tensors, the other functions NumPy arrays.
Shapes: B data sets, K components, n points, D dimensions.
"""

import math
from typing import Generic, NamedTuple

import numpy as np

from discoformer.base.arrays import (
    ArrayT,
    FieldT,
    Indices,
    as_doubles,
    cholesky,
    inverse_root,
    library,
    log_diagonal,
    log_gamma,
    positive,
    slices,
    with_dtype_of,
)
from discoformer.deprecation import warn_renamed
from discoformer.io.inputs import Floats

ABSENT = -1e30  # log-scale of an absent component
LEAST_LOG_WEIGHT = -1e3  # nats: lower log-weights mark absent components
WIDE_SHARE = 0.3  # share of the wider components in the proposal
WIDE_FREEDOM = 8.0  # their greatest degrees of freedom
WIDE_BY = 0.5  # relative excess of their width, times sqrt(D); the shell of a Gaussian scales alike
_CHUNK = 2**21  # greatest number of elements of an array in an evaluation or a draw


class Components(NamedTuple, Generic[FieldT]):
    """The predictive mixture of a context, in frame coordinates."""

    log_scale: FieldT  # (B, K) l_k, includes the log-weight, nats; ABSENT if the data set has fewer than K
    means: FieldT  # (B, K, D) m_k
    precision_factors: FieldT  # (B, K, D, D) F_k, lower triangular
    freedom: FieldT  # (B, K) f_k, degrees of freedom

    @property
    def factors(self) -> FieldT:
        """Deprecated: use ``precision_factors``."""
        warn_renamed("Components.factors", "Components.precision_factors")
        return self.precision_factors


class Evaluated(NamedTuple, Generic[FieldT]):
    """The predictive mixture at n points, in frame coordinates."""

    log_density: FieldT  # (B, n) log c, nats
    score: FieldT  # (B, n, D) its gradient
    share: FieldT  # (B, n, K) membership of the components
    square: FieldT  # (B, n, K) |F_k (z - m_k)|^2


def evaluate(components: Components[ArrayT], points: ArrayT) -> Evaluated[ArrayT]:
    """Evaluate the mixture at points (B, n, D).

    With ``P_k = F_k^T F_k``, all ``|F_k (z - m_k)|^2`` are one matrix product, of ``[z z^T, z, 1]`` with
    ``[P, -2 P m, m^T P m]``. It is float64, since they are small differences of large numbers for a narrow
    component far from the origin.
    """
    xp, dim = library(points), points.shape[-1]
    log_scale, means, factors, freedom = components
    precision = factors.mT @ factors
    pull = (precision @ means[..., None])[..., 0]  # P m, (B, K, D)
    square = _squares(points, means, factors)
    freedom = freedom[:, None]
    power = 0.5 * (freedom + dim)
    joint = log_scale[:, None] - power * xp.log1p(square / freedom)
    greatest = xp.amax(joint, -1)[..., None]
    share = xp.exp(joint - greatest)
    total = share.sum(-1)[..., None]
    share = share / total
    weight = 2 * power * share / (freedom + square)
    flat = precision.reshape(*precision.shape[:2], dim * dim)
    metric = (weight @ flat).reshape(*points.shape, dim)
    score = weight @ pull - (metric @ points[..., None])[..., 0]
    return Evaluated((greatest + xp.log(total))[..., 0], score, share, square)


def _squares(points: ArrayT, means: ArrayT, factors: ArrayT) -> ArrayT:
    """Return |F_k (z - m_k)|^2 (B, n, K), with the dtype of the points (B, n, D)."""
    batch, count, dim = means.shape
    z, m, F = (as_doubles(array) for array in (points, means, factors))
    precision = F.mT @ F
    pull = (precision @ m[..., None])[..., 0]
    flat = precision.reshape(batch, count, dim * dim)
    offset = (pull * m).sum(-1)[..., None]
    outer = (z[..., :, None] * z[..., None, :]).reshape(*z.shape[:2], dim * dim)
    squares = outer @ flat.mT - 2 * (z @ pull.mT) + offset.mT
    return with_dtype_of(positive(squares), points)


def components_of(log_weights: Floats, means: Floats, scales: Floats, freedom: Floats) -> Components[Floats]:
    """Return the components (1, K) of one data set, from their log-weights and scale matrices.

    Args:
        log_weights: (K,). Components below LEAST_LOG_WEIGHT are left out.
        means: (K, D).
        scales: (K, D, D), positive definite.
        freedom: (K,).
    """
    present = log_weights > LEAST_LOG_WEIGHT
    log_weights, means, scales, freedom = (
        np.asarray(field[present], np.float64) for field in (log_weights, means, scales, freedom)
    )
    factors = inverse_root(cholesky(scales))
    return Components(
        *(field[None] for field in (log_weights + log_peak(factors, freedom), means, factors, freedom))
    )


def broadened(components: Components[Floats]) -> Components[Floats]:
    """Return the proposal (1, 2 K): the components (1, K), followed by wider copies of them."""
    log_scale, means, factors, freedom = components
    log_weights = log_scale - log_peak(factors, freedom)
    log_weights = log_weights - np.logaddexp.reduce(log_weights, axis=1, keepdims=True)
    parts = []
    for share, wider, most in ((1 - WIDE_SHARE, 0.0, math.inf), (WIDE_SHARE, WIDE_BY, WIDE_FREEDOM)):
        f = np.minimum(freedom, most)
        F = factors / (1 + wider / math.sqrt(means.shape[-1]))
        parts.append(Components(math.log(share) + log_weights + log_peak(F, f), means, F, f))
    return Components(*(np.concatenate(fields, axis=1) for fields in zip(*parts, strict=True)))


def draw(components: Components[Floats], count: int, rng: np.random.Generator) -> Floats:
    """Draw points (count, D) from the mixture of one data set.

    A draw is ``m_k + F_k^-1 g sqrt(f_k / c)``, with ``g`` normal and ``c`` chi-squared (``f_k`` degrees of
    freedom).
    """
    log_scale, means, factors, freedom = (field[0] for field in components)
    weights = np.exp(log_scale - log_peak(factors, freedom))
    which = rng.choice(len(weights), size=count, p=weights / weights.sum())
    noise = rng.normal(size=(count, means.shape[1]))
    noise *= np.sqrt(freedom[which] / rng.chisquare(freedom[which]))[:, None]
    return means[which] + shaped(factors, which, noise)


def shaped(factors: Floats, which: Indices, noise: Floats) -> Floats:
    """Return ``F_k^-1 g`` (n, D) for rows g of noise (n, D), where ``F_k`` (K, D, D) is that of k (n,)."""
    inverse, found = inverse_root(factors), np.empty(noise.shape)
    for part in slices(len(noise), max(1, _CHUNK // max(1, factors[0].size))):
        found[part] = (inverse[which[part]] @ noise[part, :, None])[..., 0]
    return found


def log_peak(factors: ArrayT, freedom: ArrayT) -> ArrayT:
    """Return the log-density (..., K) of Student-t distributions at their centres."""
    dim = factors.shape[-1]
    peak: ArrayT = log_gamma((freedom + dim) / 2) - log_gamma(freedom / 2) + log_diagonal(factors)
    return peak - 0.5 * dim * library(freedom).log(math.pi * freedom)


def mixture_log_density(components: Components[Floats], points: Floats) -> Floats:
    """Return the log-density (n,) of the mixture of one data set, at points (n, D)."""
    rows = max(1, _CHUNK // components.means.size)
    parts = slices(len(points), rows)
    return np.concatenate([evaluate(components, points[None, part]).log_density[0] for part in parts])
