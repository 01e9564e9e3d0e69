"""Classical estimators of entropy, divergence, Fisher and mutual information.

Nearest neighbours (k = 3) in whitened coordinates, which suit them best: the entropy of Kozachenko and
Leonenko, the divergence of Wang, Kulkarni and Verdu, and the mutual information of Kraskov, Stoegbauer and
Grassberger (the first of their two estimators). KDE with Scott's bandwidth in whitened coordinates, for
Fisher informations. Gaussian: the closed form at the mean and the covariance of the sample.
"""

import numpy as np
from scipy.spatial import KDTree
from scipy.special import digamma, gammaln

from benchmarks.common.data_sets import Floats
from discoformer_training.evaluation.baselines import whitened_axes

K = 3  # nearest neighbours
NORMAL_ENTROPY = 0.5 * float(np.log(2 * np.pi * np.e))


def log_ball(dim: int) -> float:
    """Return the log-volume of the unit ball."""
    return 0.5 * dim * float(np.log(np.pi)) - float(gammaln(0.5 * dim + 1))


def neighbour_entropy(x: Floats) -> float:
    """Return the entropy by Kozachenko and Leonenko."""
    n, dim = x.shape
    axes = whitened_axes(x)
    radius = KDTree(x @ axes).query(x @ axes, K + 1)[0][:, K]
    found = digamma(n) - digamma(K) + log_ball(dim) + dim * np.log(radius).mean()
    return float(found - np.linalg.slogdet(axes)[1])


def neighbour_kl(x: Floats, y: Floats) -> float:
    """Return the divergence by Wang, Kulkarni and Verdu, in whitened coordinates of both samples."""
    axes = whitened_axes(np.concatenate([x, y]))
    x, y = x @ axes, y @ axes
    own, other = KDTree(x).query(x, K + 1)[0][:, K], KDTree(y).query(x, K)[0][:, K - 1]
    return float(x.shape[1] * np.log(other / own).mean() + np.log(len(y) / (len(x) - 1)))


def neighbour_information(x: Floats, y: Floats) -> float:
    """Return the mutual information by Kraskov, Stoegbauer and Grassberger."""
    x, y = x @ whitened_axes(x), y @ whitened_axes(y)
    apart = [np.linalg.norm(z[:, None] - z, axis=-1) for z in (x, y)]
    for distances in apart:
        np.fill_diagonal(distances, np.inf)
    radius = np.partition(np.maximum(*apart), K - 1, axis=1)[:, K - 1 : K]
    counts = [(distances < radius).sum(axis=1) for distances in apart]
    return float(digamma(K) + digamma(len(x)) - sum(digamma(count + 1) for count in counts).mean())


def kde_score(y: Floats, queries: Floats, own: bool) -> Floats:
    """Return the score of the KDE of y at queries; with `own`, queries are the rows, each left out."""
    n, dim = y.shape
    axes, h = whitened_axes(y), n ** (-1 / (dim + 4))
    u, v = y @ axes, queries @ axes
    logits = -np.square(v[:, None] - u).sum(axis=-1) / (2 * h**2)
    if own:
        np.fill_diagonal(logits, -np.inf)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights @ u - v) / h**2 @ axes.T


def kde_fisher(x: Floats) -> float:
    """Return the mean squared score of the KDE, each row left out."""
    return float(np.square(kde_score(x, x, own=True)).sum(axis=1).mean())


def kde_relative_fisher(x: Floats, y: Floats) -> float:
    """Return the mean squared difference of the scores of two KDEs."""
    change = kde_score(x, x, own=True) - kde_score(y, x, own=False)
    return float(np.square(change).sum(axis=1).mean())


def moments(x: Floats) -> tuple[Floats, Floats]:
    """Return mean and covariance."""
    return x.mean(axis=0), np.cov(x.T).reshape(x.shape[1], -1)


def gaussian_entropy(x: Floats) -> float:
    """Return the entropy of the Gaussian with the covariance of the sample."""
    return x.shape[1] * float(NORMAL_ENTROPY) + 0.5 * float(np.linalg.slogdet(moments(x)[1])[1])


def gaussian_kl(x: Floats, y: Floats) -> float:
    """Return the divergence of the Gaussians with the moments of the samples."""
    (m, C), (mean, covariance) = moments(x), moments(y)
    P = np.linalg.inv(covariance)
    logs = np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(C)[1]
    return 0.5 * float(np.trace(P @ C) - len(m) + (m - mean) @ P @ (m - mean) + logs)


def gaussian_fisher(x: Floats) -> float:
    """Return the Fisher information of the Gaussian with the covariance of the sample."""
    return float(np.trace(np.linalg.inv(moments(x)[1])))


def gaussian_relative_fisher(x: Floats, y: Floats) -> float:
    """Return the relative Fisher information of the Gaussians with the moments of the samples."""
    (m, C), (mean, covariance) = moments(x), moments(y)
    P = np.linalg.inv(covariance)
    slope = P - np.linalg.inv(C)
    return float(np.trace(slope @ C @ slope.T) + np.square(P @ (m - mean)).sum())


def gaussian_information(x: Floats, y: Floats) -> float:
    """Return the mutual information of the Gaussian with the covariance of the samples."""
    return gaussian_entropy(x) + gaussian_entropy(y) - gaussian_entropy(np.hstack([x, y]))
