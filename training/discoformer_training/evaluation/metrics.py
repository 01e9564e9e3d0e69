"""Error measures of the benchmark, pooled over draws, with jackknife standard errors.

On draw r let s be the true score and log f the true log-density at the M queries, S and T the estimates.
Three sums per draw determine everything else:

    A_r = sum_i |S_i - s_i|^2,    P_r = sum_i |s_i|^2,    E_r = sum_i (T_i - log f_i)^2

The reports contain, with sums over the R draws:

    relative score error   100 sum A / sum P       percent; 100 for the zero predictor
    score MSE              sum A / (R M D)         per coordinate, 1 / data units^2
    log-density MSE        sum E / (R M)           nats^2
    ratio to a baseline    sum A / sum A_baseline  and the same for E, on the same draws

Each is a ratio of sums g = sum a / sum b. Its standard error is the jackknife over draws (Efron and
Tibshirani, *An Introduction to the Bootstrap*, chapter 11). With g_(r) the ratio without draw r,

    se^2 = (R - 1) / R * sum_r (g_(r) - mean g_(.))^2
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError

FloatArray = npt.NDArray[np.float64]


class Values(NamedTuple):
    """A density at M queries, true or estimated."""

    log_density: FloatArray  # (M,) in nats
    score: FloatArray  # (M, D) in 1 / data units


class ErrorSums(NamedTuple):
    """The sums A, P and E over the queries of one draw."""

    score_error: float
    score_power: float
    log_density_error: float

    def rounded(self) -> "ErrorSums":
        """Round to six significant digits, for storage."""
        return ErrorSums(*map(six_digits, self))


class Measurement(NamedTuple):
    """A pooled figure and its jackknife standard error, which is NaN for a single draw."""

    value: float
    error: float


def score_error(estimate: Values, truth: Values) -> float:
    """Return the squared score error, summed over the queries: ``sum_i |S_i - s_i|^2``."""
    return float(np.square(estimate.score - truth.score).sum())


def log_density_error(estimate: Values, truth: Values) -> float:
    """Return the squared log-density error, summed over the queries: ``sum_i (T_i - log f_i)^2``, nats^2."""
    return float(np.square(estimate.log_density - truth.log_density).sum())


def sum_errors(estimate: Values, truth: Values) -> ErrorSums:
    """Return the sums of one draw.

    Args:
        estimate: output of an estimator, log-density (M,) and score (M, D).
        truth: the true values, of the same shapes.

    Raises:
        InputError: a shape of the estimate differs from that of the truth. Broadcasting would hide this.
    """
    for name, got, needed in zip(Values._fields, estimate, truth, strict=True):
        if got.shape != needed.shape:
            raise InputError(f"{name} has shape {got.shape}, needed {needed.shape}: one row per query")
    power = float(np.square(truth.score).sum())
    return ErrorSums(score_error(estimate, truth), power, log_density_error(estimate, truth))


def six_digits(value: float) -> float:
    """Round to six significant digits."""
    return float(f"{value:.6g}")


def pooled_ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Measurement:
    """Return the ratio of two sums over draws, with its jackknife standard error.

    Args:
        numerator: one term per draw, shape (R,).
        denominator: one term per draw, shape (R,).

    Example:
        >>> pooled_ratio([1.0, 3.0], [2.0, 2.0])
        Measurement(value=1.0, error=0.5)
    """
    a, b = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    value = float(a.sum() / b.sum())
    if len(a) < 2:
        return Measurement(value, float("nan"))
    left_out = (a.sum() - a) / (b.sum() - b)  # (R,)
    return Measurement(value, float(np.sqrt((len(a) - 1) * left_out.var())))
