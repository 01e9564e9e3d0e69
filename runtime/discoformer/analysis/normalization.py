"""The integral of an estimated density, which the network is not forced to make 1, by importance sampling.

Points ``z_i`` are drawn in the frame from a proposal ``q``, read from the components of the estimate (a
mixture of Student-t distributions, see ``components``): most of them as they are, the rest wider and with
heavier tails, for where the network puts more than they do. With ``p`` the density in the frame, whose
integral is that of the density in the units of the data::

    log of the integral = log mean_i w_i      w_i = p(z_i) / q(z_i)
    its standard error = std(w) / (mean(w) sqrt(n))      effective samples = (sum w)^2 / sum w^2

Shapes: n samples, K components, D dimensions. Float64.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from discoformer.base.arrays import log_diagonal, log_gamma
from discoformer.base.mixture import Components, evaluate
from discoformer.io.inputs import Floats, whole_number

WIDE_SHARE = 0.3  # of the proposal
WIDE_FREEDOM = 8.0  # its degrees of freedom, at most
WIDE_BY = 0.5  # it is wider by this over sqrt(D), as is the shell of a Gaussian beside its radius
_CHUNK = 2**21  # numbers held at a time in each array of an evaluation of the proposal


class Normalization(NamedTuple):
    """The integral of exp(log_density) over all of space, and how well it is known."""

    log_integral: float  # nats; 0 for a density
    standard_error: float  # of log_integral, nats; to be believed with some 100 effective samples or more
    effective_samples: float  # from 1 to the number drawn: how evenly they carry the integral


def normalization_of(
    log_density: Callable[[Floats], Floats], components: Components, samples: int, seed: int
) -> Normalization:
    """Integrates a density in the frame.

    Args:
        log_density: From points (n, D) in the frame to the log-density there (n,), nats.
        components: A mixture that is nearly the density, of one data set.
        samples: How many points are drawn.
        seed: Of the draw; the same seed draws the same points.

    Raises:
        InputError: ``samples`` or ``seed`` is no whole number, or too low.
    """
    count, rng = whole_number("samples", samples, 2), np.random.default_rng(whole_number("seed", seed, 0))
    proposal = broadened(components)
    points = draw(proposal, count, rng)
    return integral_of(log_density(points) - mixture_log_density(proposal, points))


def integral_of(log_weights: Floats) -> Normalization:
    """The log of the mean weight, from the logarithms (n,) of importance weights."""
    greatest = float(log_weights.max())
    weights = np.exp(log_weights - greatest)
    mean, square = float(weights.mean()), float(np.square(weights).mean())
    spread = math.sqrt(max(0.0, square - mean**2) / (len(weights) - 1))
    return Normalization(greatest + math.log(mean), spread / mean, len(weights) * mean**2 / square)


def broadened(components: Components) -> Components:
    """The proposal: the components (1, K), and after them the same again, wider, as (1, 2 K)."""
    log_scale, means, factors, freedom = components
    log_weights = log_scale - log_peak(factors, freedom)
    log_weights = log_weights - np.logaddexp.reduce(log_weights, axis=1, keepdims=True)
    parts = []
    for share, wider, most in ((1 - WIDE_SHARE, 0.0, math.inf), (WIDE_SHARE, WIDE_BY, WIDE_FREEDOM)):
        f = np.minimum(freedom, most)
        F = factors / (1 + wider / math.sqrt(means.shape[-1]))
        parts.append(Components(math.log(share) + log_weights + log_peak(F, f), means, F, f))
    return Components(*(np.concatenate(fields, axis=1) for fields in zip(*parts, strict=True)))


def draw(components: Components, count: int, rng: np.random.Generator) -> Floats:
    """Draws points (count, D) from the mixture of one data set.

    ``m_k + F_k^-1 g sqrt(f_k / c)``, with ``g`` normal and ``c`` chi-squared of ``f_k`` degrees of freedom.
    """
    log_scale, means, factors, freedom = (field[0] for field in components)
    weights = np.exp(log_scale - log_peak(factors, freedom))
    which = rng.choice(len(weights), size=count, p=weights / weights.sum())
    noise = rng.normal(size=(count, means.shape[1]))
    noise *= np.sqrt(freedom[which] / rng.chisquare(freedom[which]))[:, None]
    points = means[which]
    for k in np.unique(which):
        points[which == k] += np.linalg.solve(factors[k], noise[which == k].T).T
    return points


def log_peak(factors: Floats, freedom: Floats) -> Floats:
    """Log-density (..., K) of a Student-t distribution at its centre."""
    dim = factors.shape[-1]
    peak: Floats = log_gamma((freedom + dim) / 2) - log_gamma(freedom / 2) + log_diagonal(factors)
    return peak - 0.5 * dim * np.log(math.pi * freedom)


def mixture_log_density(components: Components, points: Floats) -> Floats:
    """Log-density (n,) of the mixture of one data set, at points (n, D)."""
    rows = max(1, _CHUNK // components.means.size)
    parts = (points[None, start : start + rows] for start in range(0, len(points), rows))
    return np.concatenate([evaluate(components, part).log_density[0] for part in parts])
