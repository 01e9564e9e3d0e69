"""Conditional distributions of mixtures of Student-t distributions, in closed form.

A component has centre ``m``, root ``G`` of its inverse scale matrix (``|G (x - m)|^2`` is its squared radius)
and ``f`` degrees of freedom. Put the free features ``u`` before the given ones ``g``. Then the triangular
factor ``R`` of ``G`` separates them::

    |G (x - m)|^2 = |R_uu (x_u - c)|^2 + r^2
    c = m_u - R_uu^-1 R_ug (x_g - m_g)      r = |R_gg (x_g - m_g)|

So ``x_g`` has the Student-t density of ``(m_g, R_gg, f)``. Given ``x_g``, ``x_u`` has a Student-t density
with centre ``c``, root ``R_uu / a`` where ``a^2 = (f + r^2) / (f + |g|)``, and ``f + |g|`` degrees of
freedom. In a mixture, each component is weighted by its density at ``x_g``. (Kotz and Nadarajah,
*Multivariate t Distributions and Their Applications*, 2004, section 1.11.)

Shapes: K components, D = F + G features, F free and G given, M rows of given values, J points for each row.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from discoformer.base.frame import Frame
from discoformer.base.mixture import Components, log_peak, shaped
from discoformer.io.inputs import Floats


class SplitMixture(NamedTuple):
    """A mixture in data units, its features split into free and given ones."""

    log_weights: Floats  # (K,) of sum 1
    free_means: Floats  # (K, F)
    given_means: Floats  # (K, G)
    free_roots: Floats  # (K, F, F) R_uu
    given_roots: Floats  # (K, G, G) R_gg
    slopes: Floats  # (K, F, G) R_uu^-1 R_ug
    freedom: Floats  # (K,)


class GivenMixture(NamedTuple):
    """Mixtures of the free features, one for each row of given values."""

    weights: Floats  # (M, K) of sum 1
    means: Floats  # (M, K, F) c
    stretch: Floats  # (M, K) a
    roots: Floats  # (K, F, F) R_uu
    freedom: Floats  # (K,)
    log_density: Floats  # (M,) of the given values, nats


def split(
    components: Components[Floats], frame: Frame, free: Sequence[int], given: Sequence[int]
) -> SplitMixture:
    """Split the features of the components of one data set, and map the components to data units."""
    log_scale, means, factors, freedom = (field[0] for field in components)
    centers, F = frame.to_data(means), len(free)
    R = np.linalg.qr((factors @ frame.linear.T)[:, :, [*free, *given]], mode="r")
    R = R * np.sign(np.diagonal(R, axis1=1, axis2=2))[..., None]
    return SplitMixture(
        log_weights=log_scale - log_peak(factors, freedom),
        free_means=centers[:, list(free)],
        given_means=centers[:, list(given)],
        free_roots=R[:, :F, :F],
        given_roots=R[:, F:, F:],
        slopes=np.linalg.solve(R[:, :F, :F], R[:, :F, F:]),
        freedom=freedom,
    )


def given_mixture(mixture: SplitMixture, values: Floats) -> GivenMixture:
    """Return the mixtures of the free features at rows of given values (M, G)."""
    offset = values[:, None] - mixture.given_means  # (M, K, G)
    square = np.square(np.einsum("kab,mkb->mka", mixture.given_roots, offset)).sum(-1)
    freedom, count = mixture.freedom, values.shape[1]
    log_weights = mixture.log_weights + log_peak(mixture.given_roots, freedom)
    log_weights = log_weights - 0.5 * (freedom + count) * np.log1p(square / freedom)
    log_density = np.logaddexp.reduce(log_weights, axis=1)
    return GivenMixture(
        weights=np.exp(log_weights - log_density[:, None]),
        means=mixture.free_means - np.einsum("kab,mkb->mka", mixture.slopes, offset),
        stretch=np.sqrt((freedom + square) / (freedom + count)),
        roots=mixture.free_roots,
        freedom=freedom + count,
        log_density=log_density,
    )


def draw_given(mixture: GivenMixture, count: int, rng: np.random.Generator) -> Floats:
    """Draw points (M, count, F) from the mixture of each row."""
    cumulated = np.cumsum(mixture.weights, axis=1)
    place = rng.uniform(size=(len(cumulated), count)) * cumulated[:, -1:]
    which = np.stack(  # (M, J)
        [np.searchsorted(row[:-1], at) for row, at in zip(cumulated, place, strict=True)]
    )
    rows = np.arange(len(which))[:, None]
    freedom = mixture.freedom[which]
    noise = rng.normal(size=(*which.shape, mixture.means.shape[-1]))
    noise *= (mixture.stretch[rows, which] * np.sqrt(freedom / rng.chisquare(freedom)))[..., None]
    turned = shaped(mixture.roots, which.ravel(), noise.reshape(which.size, -1))
    points: Floats = mixture.means[rows, which] + turned.reshape(noise.shape)
    return points


def log_density_given(mixture: GivenMixture, points: Floats) -> Floats:
    """Return the log-density (M, J) of the mixture of each row at its own points (M, J, F)."""
    dim = points.shape[-1]
    total = np.full(points.shape[:2], -np.inf)
    peaks = log_peak(mixture.roots, mixture.freedom)
    with np.errstate(divide="ignore"):
        peaks = peaks + np.log(mixture.weights) - dim * np.log(mixture.stretch)  # (M, K)
    for k, (root, freedom) in enumerate(zip(mixture.roots, mixture.freedom, strict=True)):
        offset = (points - mixture.means[:, k, None]) @ root.T / mixture.stretch[:, k, None, None]
        square = np.square(offset).sum(-1)
        total = np.logaddexp(total, peaks[:, k, None] - 0.5 * (freedom + dim) * np.log1p(square / freedom))
    return total


def mean_given(mixture: GivenMixture) -> Floats:
    """The mean (M, F) of the mixture of each row."""
    mean: Floats = np.einsum("mk,mkf->mf", mixture.weights, mixture.means)
    return mean
