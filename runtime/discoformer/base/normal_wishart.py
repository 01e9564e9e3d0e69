r"""Formulas of a Bayesian mixture of Gaussians with normal-Wishart components.

This is variational Bayes (Bishop, *Pattern Recognition and Machine Learning*, 2006, section 10.2), with a
prior that depends on the context. The moments of component k are sums over points ``z_i``, with counts
``w_i`` (weight times effective size) and responsibilities ``r_ik``::

    n_k = sum_i w_i r_ik     s_k = sum_i w_i r_ik z_i     Q_k = sum_i w_i r_ik z_i z_i^T

With the prior ``(m, b, v, a I)``, the mean and precision of a component have a normal-Wishart posterior::

    b_k = b + n_k     v_k = v + n_k     m_k = (b m + s_k) / b_k
    P_k = a I + Q_k + b m m^T - b_k m_k m_k^T

Here ``m`` is the mean of the context, ``a = h p`` with ``p`` the pooled variance within components,
``b = p / q`` with ``q`` the variance between components, at most 1, and ``v = D + 1 + h``. The prior strength
``h`` is the number of points that the prior counts for, one of ``PRIOR_STRENGTHS``.

The functions take NumPy arrays and, for the export, PyTorch tensors.
Shapes: B data sets, K components, D dimensions. Float64.
"""

import math
from typing import Generic, NamedTuple

from discoformer.base.arrays import (
    ArrayT,
    FieldT,
    cholesky,
    digamma,
    identity_like,
    index_range,
    inverse_root,
    library,
    log_diagonal,
    log_gamma,
    or_one,
    positive,
    ties_to_first,
    trace,
)
from discoformer.base.mixture import ABSENT, Components

PRIOR_STRENGTHS = tuple(2.0**k for k in range(9))  # values of h, in points
LEAST_VARIANCE = 1e-3  # least p, relative to the variance of the context, or to 1 if that is less


class Moments(NamedTuple, Generic[FieldT]):
    """The moments of the components."""

    counts: FieldT  # (B, K) n_k
    sums: FieldT  # (B, K, D) s_k
    squares: FieldT  # (B, K, D, D) Q_k


class Prior(NamedTuple, Generic[FieldT]):
    """Normal-Wishart prior of the components."""

    center: FieldT  # (B, 1, D) m
    strength: FieldT  # (B, 1) b
    freedom: FieldT  # (B, 1) v
    scale: FieldT  # (B, 1) a


class Posterior(NamedTuple, Generic[FieldT]):
    """Normal-Wishart posteriors of the components."""

    means: FieldT  # (B, K, D) m_k
    strength: FieldT  # (B, K) b_k
    freedom: FieldT  # (B, K) v_k
    root: FieldT  # (B, K, D, D) lower triangular, P_k = root root^T
    log_det: FieldT  # (B, K) log det P_k


def prior_of(moments: Moments[ArrayT], prior_strength: ArrayT) -> Prior[ArrayT]:
    """Return the prior of a strength (B, 1), centred and scaled by the context."""
    xp = library(prior_strength)
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
    return Prior(center, strength, dim + 1 + prior_strength, prior_strength * pooled)


def posterior_of(moments: Moments[ArrayT], prior: Prior[ArrayT]) -> Posterior[ArrayT]:
    """Return the posteriors, given moments and prior."""
    strength = prior.strength + moments.counts
    means = (prior.strength[..., None] * prior.center + moments.sums) / strength[..., None]
    scatter = (
        moments.squares
        + (prior.strength[..., None] * prior.center).mT[:, None] @ prior.center[:, None]
        - strength[..., None, None] * means[..., None] @ means[..., None, :]
        + prior.scale[..., None, None] * identity_like(means)
    )
    root = cholesky(scatter)
    return Posterior(means, strength, prior.freedom + moments.counts, root, 2 * log_diagonal(root))


class Logits(NamedTuple, Generic[FieldT]):
    """Log-responsibilities ``c + b . z - z^T P z / 2``, up to a constant that is common to all components."""

    constant: FieldT  # (B, K) c
    pull: FieldT  # (B, K, D) b
    precision: FieldT  # (B, K, D, D) P


def logits_of(moments: Moments[ArrayT], prior: Prior[ArrayT]) -> Logits[ArrayT]:
    """Return the log-responsibilities as functions of a point, given moments and prior."""
    dim = moments.sums.shape[-1]
    posterior = posterior_of(moments, prior)
    inverse = inverse_root(posterior.root)
    precision = posterior.freedom[..., None, None] * (inverse.mT @ inverse)
    pull = (precision @ posterior.means[..., None])[..., 0]
    found = digamma(_arguments(posterior, moments))
    log_precision = found[..., :-1].sum(-1) - posterior.log_det  # up to a constant
    quadratic = dim / posterior.strength + (pull * posterior.means).sum(-1)
    constant = found[..., -1] + 0.5 * (log_precision - quadratic)
    return Logits(constant, pull, precision)


def component_elbo(moments: Moments[ArrayT], prior: Prior[ArrayT]) -> ArrayT:
    """Return the terms (B, K) of the ELBO that belong to each component: its points and their number."""
    dim = moments.sums.shape[-1]
    posterior = posterior_of(moments, prior)
    gammas = log_gamma(_arguments(posterior, moments)).sum(-1) - log_gamma(_halves(prior.freedom, dim)).sum(
        -1
    )
    xp = library(gammas)
    return (
        gammas
        - 0.5 * posterior.freedom * posterior.log_det
        + 0.5 * prior.freedom * dim * xp.log(prior.scale)
        + 0.5 * dim * xp.log(prior.strength / posterior.strength)
        - 0.5 * moments.counts * dim * math.log(math.pi)
    )


def arrangements(moments: Moments[ArrayT]) -> ArrayT:
    """Return the other terms (B,) of the ELBO of a mixture: the weights, and the K! orders of components."""
    number, total = number_of(moments), moments.counts.sum(-1)
    return log_gamma(number) - log_gamma(number + total) + log_gamma(number + 1)


def likeliest_prior(moments: Moments[ArrayT]) -> tuple[ArrayT, Prior[ArrayT], ArrayT]:
    """Return the prior strength (B, 1) of the highest ELBO, its prior, and that ELBO (B, K)."""
    xp = library(moments.counts)
    batch, tried = moments.counts.shape[0], len(PRIOR_STRENGTHS)
    again = Moments(*(xp.concatenate([moment] * tried) for moment in moments))
    options = xp.concatenate(
        [xp.full_like(moments.counts[:, :1], h) for h in PRIOR_STRENGTHS]
    )  # (tried B, 1)
    prior = prior_of(again, options)
    elbo = component_elbo(again, prior)
    best = xp.argmax(ties_to_first(elbo.sum(-1).reshape(tried, batch).mT), -1)  # (B,)
    row = best * batch + xp.arange(batch, device=best.device)
    return options[row], Prior(*(field[row] for field in prior)), elbo[row]


def predictive(moments: Moments[ArrayT], prior: Prior[ArrayT]) -> Components[ArrayT]:
    """Return the posterior predictive mixture."""
    xp = library(moments.counts)
    dim = moments.sums.shape[-1]
    posterior = posterior_of(moments, prior)
    freedom = posterior.freedom + 1 - dim
    factors = inverse_root(posterior.root)
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


def number_of(moments: Moments[ArrayT]) -> ArrayT:
    """Return the number (B,) of components that are present, as floats."""
    return (moments.counts > 0).sum(-1) + 0 * moments.counts[:, 0]


def entropy_of(r: ArrayT, counts: ArrayT) -> ArrayT:
    """Return the entropy ``-sum_i w_i r_ik log r_ik``, (B, K)."""
    return -(counts[:, None] * r * library(r).log(or_one(r))).sum(-1)


def _arguments(posterior: Posterior[ArrayT], moments: Moments[ArrayT]) -> ArrayT:
    """Return the arguments (B, K, D + 1) of the gamma functions of each component."""
    halves = _halves(posterior.freedom, moments.sums.shape[-1])
    return library(halves).concatenate([halves, 1 + moments.counts[..., None]], -1)


def _halves(freedom: ArrayT, dim: int) -> ArrayT:
    """Return the arguments (..., D) of the multivariate gamma function: ``(v - d) / 2``, d = 0 to D - 1."""
    return 0.5 * (freedom[..., None] - index_range(dim, freedom))
