"""Held-out answers: each context point's, from an estimate that has not seen it, beside simple methods.

The context is split into folds; each fold is answered by the same model from the others, and so by

- Gaussian KDE on standardised columns, with Scott's bandwidth ``n^(-1 / (D + 4))``, ``n`` the effective size;
- one Gaussian with the mean and the covariance of the points (its diagonal alone where ``n < 2 D``).

With the held-out scores, Stein's identities, which hold for the true score of any density that vanishes at
infinity (Stein, Ann. Statist. 9, 1135, 1981), can be checked in the frame::

    E[s] = 0        E[s z^T] = -I

How much the folds' answers differ gives the standard error of the log-density, by the jackknife over k folds
(Efron and Stein, Ann. Statist. 9, 586, 1981)::

    error^2 = (k - 1) / k sum_i (T_i - mean T)^2

Shapes: n points, D dimensions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.analysis.folds import FOLDS, deal
from discoformer.analysis.kernels import log_sums
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats


class HeldOut(NamedTuple):
    """Held-out answers at the context's points, data units."""

    weights: Floats  # (n,) of sum 1
    ours: Floats  # (n,) log-densities, nats
    kde: Floats  # (n,)
    gaussian: Floats  # (n,)
    points: Floats  # (n, D) in the frame of the whole context
    score: Floats  # (n, D) there

    def lead(self, other: Floats) -> tuple[float, float]:
        """Mean of our log-density over another's, nats for each point, and its standard error."""
        return mean_and_error(self.ours - other, self.weights)


class Stein(NamedTuple):
    """Departures from Stein's identities, 0 for the true score, with their standard errors."""

    mean: Floats  # (D,) E[s]
    mean_error: Floats  # (D,)
    moment: Floats  # (D, D) E[s z^T] + I
    moment_error: Floats  # (D, D)
    trace: float  # E[s . z] / D, -1 for the true score
    trace_error: float

    @property
    def size(self) -> float:
        """Root mean square departure of all entries, less what chance alone would make."""
        found = np.concatenate([self.mean, self.moment.ravel()])
        error = np.concatenate([self.mean_error, self.moment_error.ravel()])
        return float(np.sqrt(max(0.0, np.mean(found**2 - error**2))))


class Fold(NamedTuple):
    """A part of the context, and the estimate from the others."""

    test: npt.NDArray[np.bool_]  # (n,)
    fitted: FittedDensity


def fit_folds(fitted: FittedDensity, seed: int) -> list[Fold]:
    """Splits the context at random, and estimates without each part.

    Raises:
        DegenerateDataError: What is left has no density.
    """
    points, weights = fitted.data
    number = deal(len(points), min(FOLDS, len(points)), seed)
    folds = []
    for index in range(number.max() + 1):
        train = number != index
        size = max(1.0, fitted.size * float(weights[train].sum()))
        folds.append(Fold(~train, fitted.refit(points[train], weights[train], size)))
    return folds


def hold_out(fitted: FittedDensity, folds: Sequence[Fold]) -> HeldOut:
    """Answers each point of the context by the estimate without its part, and by simple methods."""
    points, weights = fitted.data
    answers, score = np.empty((3, len(points))), np.empty(points.shape)
    for test, found in folds:
        train, w = points[~test], weights[~test] / weights[~test].sum()
        size = found.diagnostics.effective_size
        answers[0, test], score[test] = found.answer(points[test])
        answers[1, test] = kernel_log_density(train, w, size, points[test])
        answers[2, test] = gaussian_log_density(train, w, size, points[test])
    ours, kde, gaussian = answers
    frame = fitted.frame
    return HeldOut(weights, ours, kde, gaussian, frame.to_frame(points), frame.score_to_frame(score))


def standard_error(folds: Sequence[Fold], queries: Floats) -> Floats:
    """Standard error (M,) of the log-density at queries (M, D), nats, by the jackknife over the folds.

    That of chance alone: what would change with other rows, not what is wrong with all of them.
    """
    return jackknife(np.stack([fold.fitted.answer(queries)[0] for fold in folds]))


def jackknife(answers: Floats) -> Floats:
    """Standard errors (...) of an answer, from those (k, ...) without each of k parts of the sample."""
    error: Floats = np.sqrt((len(answers) - 1) * answers.var(axis=0))
    return error


def stein_of(held_out: HeldOut) -> Stein:
    """Departures from Stein's identities."""
    w, z, s = held_out.weights, held_out.points, held_out.score
    mean, mean_error = mean_and_error(s, w)
    moment, moment_error = mean_and_error(s[:, :, None] * z[:, None, :], w)
    trace, trace_error = mean_and_error((s * z).mean(axis=1), w)
    return Stein(
        mean, mean_error, moment + np.eye(z.shape[1]), moment_error, float(trace), float(trace_error)
    )


def mean_and_error(values: Floats, w: Floats) -> Any:
    """Weighted mean of values (n, ...) with weights (n,) of sum 1, and its standard error."""
    mean = np.tensordot(w, values, 1)
    return mean, np.sqrt(np.tensordot(w**2, np.square(values - mean), 1))


def kernel_log_density(points: Floats, w: Floats, size: float, queries: Floats) -> Floats:
    """Log-density (M,) of the Gaussian KDE of points (n, D) with Scott's bandwidth."""
    dim = points.shape[1]
    center = w @ points  # differences of large numbers are not
    bandwidth = spread(points - center, w) * size ** (-1 / (dim + 4))
    scaled, at = (points - center) / bandwidth, (queries - center) / bandwidth
    return log_sums(at, scaled, w, 1.0) - float(np.log(bandwidth).sum())


def gaussian_log_density(points: Floats, w: Floats, size: float, queries: Floats) -> Floats:
    """Log-density (M,) of the Gaussian with the moments of points (n, D)."""
    dim, center = points.shape[1], w @ points
    scale = spread(points - center, w)
    u = (points - center) / scale
    correlation = (u * w[:, None]).T @ u if size >= 2 * dim else np.eye(dim)
    root = np.linalg.cholesky(correlation)
    white = np.linalg.solve(root, ((queries - center) / scale).T)
    log_det = np.log(np.diagonal(root)).sum() + np.log(scale).sum()
    found: Floats = -0.5 * np.square(white).sum(axis=0) - log_det - 0.5 * dim * np.log(2 * np.pi)
    return found


def spread(deviations: Floats, w: Floats) -> Floats:
    """Standard deviations (D,) from deviations (n, D), whose squares may not be numbers."""
    reach = np.abs(deviations).max(axis=0)
    found: Floats = reach * np.sqrt(w @ np.square(deviations / reach))
    return found
