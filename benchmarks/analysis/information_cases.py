"""Samples whose entropy, divergence, Fisher or mutual information is known.

Families are Gaussian, Student-t, gamma (independent columns), and two clusters along the first column.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.integrate import quad
from scipy.special import digamma, gammaln
from scipy.stats import multivariate_t, norm

from benchmarks.analysis.information_estimators import NORMAL_ENTROPY
from benchmarks.common.data_sets import Floats

FREEDOM = 5.0  # degrees of freedom of the Student-t distributions
SHAPE = 3.0  # of the gamma distributions
APART = 2.5  # half the distance of the clusters
SHIFT, STRETCH = 0.5, 1.3  # of the second density relative to the first
LINK = 0.6  # correlation of paired columns


class Case(NamedTuple):
    """Samples, and the truth about their distributions."""

    samples: tuple[Floats, ...]  # one or two samples of N rows
    truth: float


def clusters(x: float) -> float:
    """Return the density of two clusters on the line."""
    return float(0.5 * (norm.pdf(x - APART) + norm.pdf(x + APART)))


def clusters_score(x: float) -> float:
    """Return the score of two clusters on the line."""
    return APART * float(np.tanh(APART * x)) - x


LINE = -APART - 9, APART + 9
CLUSTERS_ENTROPY = quad(lambda x: -clusters(x) * np.log(clusters(x)), *LINE)[0]
CLUSTERS_FISHER = quad(lambda x: clusters(x) * clusters_score(x) ** 2, *LINE)[0]
GAMMA_ENTROPY = SHAPE + gammaln(SHAPE) + (1 - SHAPE) * digamma(SHAPE)


def plain(family: str, n: int, dim: int, rng: np.random.Generator) -> Floats:
    """Draw a sample (n, D) of a family, before the affine map."""
    if family == "Gaussian":
        return rng.normal(size=(n, dim))
    if family == "Student-t":
        return rng.normal(size=(n, dim)) / np.sqrt(rng.chisquare(FREEDOM, (n, 1)) / FREEDOM)
    if family == "gamma":
        return rng.gamma(SHAPE, size=(n, dim))
    x = rng.normal(size=(n, dim))
    x[:, 0] += APART * rng.choice([-1.0, 1.0], n)
    return x


ENTROPIES: dict[str, Callable[[int], float]] = {
    "Gaussian": lambda dim: dim * NORMAL_ENTROPY,
    "clusters": lambda dim: CLUSTERS_ENTROPY + (dim - 1) * NORMAL_ENTROPY,
    "gamma": lambda dim: dim * float(GAMMA_ENTROPY),
    "Student-t": lambda dim: float(multivariate_t(np.zeros(dim), np.eye(dim), FREEDOM).entropy()),
}
FISHERS: dict[str, Callable[[int], float]] = {
    "Gaussian": float,
    "clusters": lambda dim: CLUSTERS_FISHER + dim - 1,
    "Student-t": lambda dim: dim * (FREEDOM + dim) / (FREEDOM + dim + 2),
}


def affine(dim: int, rng: np.random.Generator) -> Floats:
    """Draw a matrix (D, D) of condition 5."""
    left, right = (np.linalg.qr(rng.normal(size=(dim, dim)))[0] for _ in range(2))
    return (left * np.geomspace(1, 5, dim)) @ right


def entropy_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """Draw a sample after a random affine map."""
    A = affine(dim, rng)
    return Case((plain(family, n, dim, rng) @ A,), ENTROPIES[family](dim) + float(np.linalg.slogdet(A)[1]))


def kl_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """Draw samples of f and of a wider and shifted copy; the truth is by quadrature unless Gaussian."""
    A = affine(dim, rng)
    x, y = plain(family, n, dim, rng), SHIFT + STRETCH * plain(family, n, dim, rng)
    each = 0.5 * ((1 + SHIFT**2) / STRETCH**2 - 1) + np.log(STRETCH)
    if family == "Gaussian":
        return Case((x @ A, y @ A), dim * float(each))

    def excess(x: float) -> float:
        return clusters(x) * float(np.log(clusters(x) / clusters((x - SHIFT) / STRETCH) * STRETCH))

    return Case((x @ A, y @ A), quad(excess, *LINE, limit=200)[0] + (dim - 1) * float(each))


def fisher_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """Draw a sample after a random rotation: Fisher information is not affine-invariant."""
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return Case((plain(family, n, dim, rng) @ turn,), FISHERS[family](dim))


def relative_fisher_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """Draw samples of f and of a wider and shifted copy, after a random rotation."""
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    x, y = plain(family, n, dim, rng), SHIFT + STRETCH * plain(family, n, dim, rng)
    each = (1 - STRETCH**-2) ** 2 + (SHIFT / STRETCH**2) ** 2

    def excess(x: float) -> float:
        return clusters(x) * (clusters_score(x) - clusters_score((x - SHIFT) / STRETCH) / STRETCH) ** 2

    first = each if family == "Gaussian" else quad(excess, *LINE, limit=200)[0]
    return Case((x @ turn, y @ turn), first + (dim - 1) * each)


def information_case(family: str, n: int, dim: int, rng: np.random.Generator) -> Case:
    """Draw two halves of columns, correlated in pairs; Gaussian, or with a common Student-t scale."""
    half = dim // 2
    x, noise = np.split(plain(family, n, 2 * half, rng), 2, axis=1)
    y = LINK * x + np.sqrt(1 - LINK**2) * noise
    truth = -0.5 * half * np.log(1 - LINK**2)
    if family == "Student-t":
        truth += 2 * (ENTROPIES[family](half)) - ENTROPIES[family](2 * half)
    return Case((x @ affine(half, rng), y @ affine(half, rng)), float(truth))
