"""Held-out answers: each point of the sample, answered by an estimate without it, and by simple methods.

The sample is dealt into folds. Each fold is answered by the same model from the other folds, and also by

- Gaussian KDE on standardised columns, with Scott's bandwidth ``n^(-1 / (D + 4))``, ``n`` the effective size;
- one Gaussian with the mean and the covariance of the points (only its diagonal if ``n < 2 D``).

Stein's identities hold for the true score of any density that vanishes at infinity (Stein, Ann. Statist. 9,
1135, 1981). They are checked with the held-out scores, in the frame::

    E[s] = 0        E[s z^T] = -I

The standard error of the log-density follows from the differences between the answers of the folds, by the
jackknife over k folds (Efron and Stein, Ann. Statist. 9, 586, 1981)::

    error^2 = (k - 1) / k sum_i (T_i - mean T)^2

The copies of a row whose rounded values are spread within their cells are in one fold.

Shapes: n points, D dimensions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.analysis.folds import FOLDS, deal
from discoformer.analysis.kernels import log_sums
from discoformer.base.arrays import spaced
from discoformer.errors import DegenerateDataError
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats

ASKED = 4096  # most points that are held out and asked: a kernel density takes time as their number times N


class HeldOut(NamedTuple):
    """Held-out answers at the points of the sample, in data units unless stated otherwise."""

    weights: Floats  # (n,) of sum 1
    ours: Floats  # (n,) log-densities of the model, nats
    kde: Floats  # (n,) log-densities of KDE, nats
    gaussian: Floats  # (n,) log-densities of one Gaussian, nats
    points: Floats  # (n, D) in the frame of the whole sample
    score: Floats  # (n, D) of the model, in that frame

    def lead(self, other: Floats) -> tuple[float, float]:
        """Return the mean excess of our log-density over another (n,), in nats, and its standard error."""
        return mean_and_error(self.ours - other, self.weights)

    def moved(self, by: float) -> "HeldOut":
        """Return the same with log-densities in other units, higher by so many nats."""
        return self._replace(ours=self.ours + by, kde=self.kde + by, gaussian=self.gaussian + by)


class Stein(NamedTuple):
    """Deviations from Stein's identities, 0 for the true score, with their standard errors."""

    mean: Floats  # (D,) E[s]
    mean_error: Floats  # (D,)
    moment: Floats  # (D, D) E[s z^T] + I
    moment_error: Floats  # (D, D)
    trace: float  # E[s . z] / D, -1 for the true score
    trace_error: float

    @property
    def size(self) -> float:
        """Root mean square deviation over all entries, less the part expected from chance."""
        found = np.concatenate([self.mean, self.moment.ravel()])
        error = np.concatenate([self.mean_error, self.moment_error.ravel()])
        return float(np.sqrt(max(0.0, np.mean(found**2 - error**2))))


class Fold(NamedTuple):
    """One part of the sample, and the estimate from all other parts."""

    test: npt.NDArray[np.bool_]  # (n,) which points belong to the part
    fitted: FittedDensity


def fit_folds(fitted: FittedDensity, seed: int) -> list[Fold]:
    """Deal the sample into folds at random, and estimate without each of them.

    Raises:
        DegenerateDataError: Without one of the folds, a column is constant or columns are collinear.
    """
    points, weights = fitted.spread
    rows = len(points) // fitted.copies
    number = np.repeat(deal(rows, min(FOLDS, rows), seed), fitted.copies)
    folds = []
    for index in range(number.max() + 1):
        train = number != index
        size = max(1.0, fitted.size * float(weights[train].sum()))
        folds.append(Fold(~train, fitted.refit(points[train], weights[train], size)))
        if folds[-1].fitted.is_singular:
            raise DegenerateDataError(f"the sample is singular without fold {index}: give more rows")
    return folds


def hold_out(fitted: FittedDensity, folds: Sequence[Fold]) -> HeldOut:
    """Answer points of the sample by the estimate without their fold, and by simple methods.

    At most ``ASKED`` points are asked, one for each row, evenly spaced among the sorted rows. Every fold
    reads all of its points.
    """
    points, weights = fitted.spread
    asked = fitted.copies * spaced(len(points) // fitted.copies, ASKED)
    answers, score = np.empty((3, len(points))), np.empty(points.shape)
    for test, found in folds:
        train, w = points[~test], weights[~test] / weights[~test].sum()
        size, held = found.diagnostics.effective_size, asked[test[asked]]
        answers[0, held], score[held] = found.answer(points[held])
        answers[1, held] = kernel_log_density(train, w, size, points[held])
        answers[2, held] = gaussian_log_density(train, w, size, points[held])
    ours, kde, gaussian = answers[:, asked]
    frame, w = fitted.frame, weights[asked] / weights[asked].sum()
    z, framed = frame.to_frame(points[asked]), frame.score_to_frame(score[asked])
    return HeldOut(w, ours, kde, gaussian, z, framed)


def standard_error(folds: Sequence[Fold], queries: Floats) -> Floats:
    """Return the standard error (M,) of the log-density at queries (M, D), in nats, by the jackknife.

    It measures how much the answers would change with another sample. It does not see errors that all
    samples share.
    """
    return jackknife(np.stack([fold.fitted.answer(queries)[0] for fold in folds]))


def jackknife(answers: Floats) -> Floats:
    """Return standard errors (...) of answers, given the answers (k, ...) without each of k folds."""
    error: Floats = np.sqrt((len(answers) - 1) * answers.var(axis=0))
    return error


def stein_of(held_out: HeldOut) -> Stein:
    """Return the deviations from Stein's identities."""
    w, z, s = held_out.weights, held_out.points, held_out.score
    mean, mean_error = mean_and_error(s, w)
    moment, moment_error = mean_and_error(s[:, :, None] * z[:, None, :], w)
    trace, trace_error = mean_and_error((s * z).mean(axis=1), w)
    return Stein(
        mean, mean_error, moment + np.eye(z.shape[1]), moment_error, float(trace), float(trace_error)
    )


def mean_and_error(values: Floats, w: Floats) -> Any:
    """Return the mean of values (n, ...) with weights (n,) of sum 1, and its standard error."""
    mean = np.tensordot(w, values, 1)
    return mean, np.sqrt(np.tensordot(w**2, np.square(values - mean), 1))


def kernel_log_density(points: Floats, w: Floats, size: float, queries: Floats) -> Floats:
    """Return the log-density (M,) of the Gaussian KDE of points (n, D) with Scott's bandwidth."""
    dim = points.shape[1]
    center = w @ points  # distances are computed from centred points, to lose no digits far from 0
    bandwidth = spread(points - center, w) * size ** (-1 / (dim + 4))
    scaled, at = (points - center) / bandwidth, (queries - center) / bandwidth
    return log_sums(at, scaled, w, 1.0) - float(np.log(bandwidth).sum())


def gaussian_log_density(points: Floats, w: Floats, size: float, queries: Floats) -> Floats:
    """Return the log-density (M,) of the Gaussian with the moments of points (n, D)."""
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
    """Return standard deviations (D,) from deviations (n, D), without overflow or underflow of squares."""
    reach = np.abs(deviations).max(axis=0)
    found: Floats = reach * np.sqrt(w @ np.square(deviations / reach))
    return found
