r"""Score-debiased kernel density estimation (SD-KDE): KDE at points moved by their scores; integrates to 1.

A Gaussian kernel of covariance H blurs: with points ``x_i`` of the sample, KDE gives the density of
``x + H^(1/2) g`` (g standard normal), which heat flow makes from f. Before the kernels are placed, each point
takes one step back along that flow, given by the score s. This undoes the blur to first order (Epstein,
Dwaraknath, Sornwanee, Winnicki and Liu, *SD-KDE: Score-Debiased Kernel Density Estimation*, arXiv 2504.19084,
for ``H = h^2 I``)::

    x'_i = x_i + H s(x_i) / 2        f(y) = sum_i w_i N(y; x'_i, H)

So the bias falls from order ``h^2`` to ``h^4``. The shape of the kernels also comes from the scores, by the
Fisher information J of the sample. For a Gaussian, J is its precision; for clusters far from each other, it
is the mean of their precisions::

    H = h^2 J^-1        J = (S + (D / n) (tr S / D) I) / (1 + D / n)        S = sum_i w_i s(x_i) s(x_i)^T

All this is computed in the frame (see ``base.frame``), so the density follows affine maps of the data. In
coordinates in which J is the identity, the kernels are isotropic.

**Bandwidth.** For a standard normal f and its exact score, ``f(y)`` has mean ``N(0, (1 + h^4 / 4) I)``. To
first order, the integrated squared error and the h that minimises it are::

    (4 pi)^(-D/2) (D (D + 2) h^8 / 256 + 1 / (n h^D))        h = (32 / ((D + 2) n))^(1 / (D + 8))

This is the rate of the paper. For SD-KDE it is what Silverman's ``(4 / ((D + 2) n))^(1 / (D + 4))`` is for
KDE. The bandwidth used is this h times one of ``FACTORS``: the factor with the greatest leave-one-out
likelihood of the sample.

Shapes: N points, M queries, D dimensions. Float64.
"""

import math
from dataclasses import dataclass

import numpy as np

from discoformer.analysis.kernels import log_sums
from discoformer.base.arrays import spaced
from discoformer.base.frame import Frame
from discoformer.deprecation import renamed_arguments
from discoformer.errors import InputError
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats

FACTORS = tuple(np.geomspace(0.5, 4.0, 13).tolist())  # factors of the bandwidth of the rule that are tried
TRIED_ON = 1024  # most points that the leave-one-out likelihood is measured at


@dataclass(frozen=True)
class SdKde:
    """A score-debiased kernel density, which integrates to 1; made by ``sd_kde``.

    Memory is bounded: distances between queries and kernels are computed in blocks.
    """

    frame: Frame
    axes: Floats  # (D, D), from the frame to coordinates in which the kernels are isotropic
    centers: Floats  # (N, D) centres of the kernels, in these coordinates
    weights: Floats  # (N,) of sum 1
    bandwidth: float  # h, in these coordinates

    def log_density(self, queries: Floats) -> Floats:
        """Return the log-density (M,) in nats at queries (M, D), data units."""
        u = self.frame.to_frame(queries) @ self.axes
        found = log_sums(u, self.centers, self.weights, self.bandwidth)
        return self.frame.log_density_to_data(found + float(np.linalg.slogdet(self.axes)[1]))


@renamed_arguments(estimate="fitted")
def sd_kde(fitted: FittedDensity, bandwidth: float | None = None) -> SdKde:
    """Place kernels at the points of the sample moved by their scores.

    Args:
        fitted: The density that gives the sample and the scores.
        bandwidth: h (see the head of this module); by default the one with the greatest likelihood.

    Raises:
        InputError: ``bandwidth`` is not positive and finite.
    """
    if bandwidth is not None and not 0 < bandwidth < math.inf:
        raise InputError(f"bandwidth must be positive and finite, or None to choose it, got {bandwidth}")
    points, weights = fitted.spread
    size = min(1 / float(weights @ weights), fitted.size)
    score = fitted.frame.score_to_frame(np.asarray(fitted.answer(points)[1], float))
    axes = np.asarray(np.linalg.cholesky(_information(score, weights, size)), float)
    u = fitted.frame.to_frame(points) @ axes
    pull = np.linalg.solve(axes, score.T).T  # the score in these coordinates
    if bandwidth is None:
        tried = [factor * normal_bandwidth(size, u.shape[1]) for factor in FACTORS]
        rows = slice(None, None, fitted.copies)  # one point of each, else its copies would give it away
        w = weights[rows] / weights[rows].sum()
        bandwidth = max(tried, key=lambda h: _likelihood(u[rows], w, pull[rows], h))
    return SdKde(fitted.frame, axes, u + 0.5 * bandwidth**2 * pull, weights, bandwidth)


def _information(score: Floats, weights: Floats, size: float) -> Floats:
    """Return the Fisher information J (D, D), from scores (N, D)."""
    dim = score.shape[1]
    second = (score * weights[:, None]).T @ score
    share = dim / size
    return (second + share * np.trace(second) / dim * np.eye(dim)) / (1 + share)


def normal_bandwidth(size: float, dim: int) -> float:
    """Return the bandwidth of least integrated squared error for a standard normal density, to first order.

    >>> normal_bandwidth(1000, 1)
    0.6037985703733003
    """
    return float((32 / ((dim + 2) * size)) ** (1 / (dim + 8)))


def _likelihood(u: Floats, weights: Floats, pull: Floats, h: float) -> float:
    """Return the mean log-density of at most ``TRIED_ON`` points, each without its own kernel."""
    picked = spaced(len(u), TRIED_ON)
    found = log_sums(u[picked], u + 0.5 * h**2 * pull, weights, h, picked) - np.log1p(-weights[picked])
    return float(np.average(found, weights=weights[picked]))
