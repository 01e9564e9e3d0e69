r"""Entropy, divergences, Fisher and mutual information from samples, each with its error and a bias check.

All of them are means, over the rows of a sample of f, of a scoring rule of an estimate at a row. With T the
log-density and S the score of an estimate, there are two proper scoring rules (Gneiting and Raftery, *JASA*
102, 2007; the second is that of Hyvarinen, *JMLR* 6, 2005)::

    l(x) = T(x)                             E_f l = -entropy of f            if the estimate is f
    q(x) = -2 div S(x) - |S(x)|^2           E_f q = E_f |grad log f|^2       if the estimate is f

    entropy(f)              = -E_f l_f                       nats
    kl(f, g)                =  E_f (l_f - l_g)               nats
    mutual_information      =  E (l_xy - l_x - l_y)          nats
    fisher(f)               =  E_f q_f                       1 / data units^2
    relative_fisher(f, g)   =  E_f (q_f - q_g)               1 / data units^2; E_f |grad log f - grad log g|^2

The mean of a proper rule is greatest for the true density. So an error in the estimate of f changes the
result only to second order.

**Bias.** At the points of its own sample, an estimate is overconfident. So the rows are dealt into folds, and
each row is answered by an estimate that has not seen it (held out) and by one that has (in sample). For a
maximum-likelihood fit of parameters, the first is too low by as much as the second is too high (Akaike 1973).
The value is the mean of both, and the check is half their difference. The rows of f are never in the sample
of g, so estimates of g are always held out. The check sees bias from few rows. It does not see errors that
remain for any number of rows.

The log-integral of an estimate is not subtracted. In up to 5 columns it makes little difference. In 20 it
helps for Gaussians, and makes errors larger for clusters and gamma variables (docs/information/base.md).

**Error.** For the rows of f, it is the spread of the mean over rows (the infinitesimal jackknife). For the
sample of g, it is the jackknife over its folds, ``(K - 1) / K sum_j (v_j - mean v)^2``, with ``v_j`` the
value from all folds but j. Their squares are added. A bias shows in the check, not in the error.

**Rounded values** stand for cells (see ``table.cells``): the value at a row is the mean over places within
its cell. Where one column has atoms, its entropies, divergences and Fisher informations are those of the
other rows. Rows far out (see ``table.outlying``) are left out, with a warning.

The divergence of S is a mean over random directions, orthogonal to each other in the frame. Along each of
them it is a central difference.

Shapes: N rows of f, M rows of g, D columns.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from discoformer.analysis.folds import FOLDS, Rows, deal, fit_parts, in_cells, read_rows
from discoformer.errors import DegenerateDataError, InputError
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, Matrix
from discoformer.model import Model, model_or_default
from discoformer.onnx.names import Effort
from discoformer.table.cells import Rounding

STEP = 0.02  # half-length of central differences, in the frame
DIRECTIONS = 2**10  # most rows times directions of the divergence; each row has one direction or more

Rule: TypeAlias = Callable[[FittedDensity, Floats], Floats]


@dataclass(frozen=True)
class Information:
    """A functional of one or two distributions, estimated from samples.

    Attributes:
        value: The estimate: nats, or 1 / data units^2 for Fisher information.
        standard_error: Standard error of ``value``, from the spread over rows and folds. It does not include
            bias.
        held_out: The value by estimates that have not seen the rows they answer.
        in_sample: The value by estimates that have seen the rows they answer.
    """

    value: float
    standard_error: float
    held_out: float
    in_sample: float

    @property
    def bias_check(self) -> float:
        """Half the difference between ``held_out`` and ``in_sample``: the size of the bias that is possible.

        If it exceeds the standard error, more rows would help more than that error suggests.
        """
        return 0.5 * (self.held_out - self.in_sample)


class _Crossed(NamedTuple):
    """Values of a rule at the rows (N,), by estimates that have seen them and by estimates that have not."""

    held_out: Floats
    in_sample: Floats


def entropy(
    X: Any,
    *,
    model: Model | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    effort: Effort = "best",
    rounding: Rounding = "auto",
    allow_singular: bool = False,
) -> Information:
    """Estimate the differential entropy of the distribution behind a sample, in nats, for data units.

    >>> import numpy as np
    >>> found = entropy(np.random.default_rng(0).normal(size=(200, 1)))
    >>> abs(found.value - 1.4189) < 4 * found.standard_error
    True

    Args:
        X: Array-like (N, D), data units.
        model: The model that estimates densities; by default the default model.
        folds: Number of folds; each of them takes one encoding.
        seed: Seed of the deal into folds.
        effort: As in ``Model.estimate``, of all estimates.
        rounding: As in ``Model.estimate``.
        allow_singular: As in ``Model.estimate``: the entropy is that of the density on the affine hull.

    Raises:
        InputError: X is not a matrix of finite numbers or has too few rows, ``folds`` or ``seed`` is not a
            whole number or is too low, or there is no such effort.
        DegenerateDataError: X has a constant column or collinear columns; or, with ``allow_singular``, more
            of them without one of the folds.
        ModelError: The model has no files for this effort.
    """
    rows = in_cells(read_rows("X", X, folds), rounding, allow_singular=allow_singular)
    crossed = _cross(model_or_default(model), rows, log_rule, folds, seed, effort, allow_singular)
    if not np.isfinite(crossed.held_out).all():
        raise DegenerateDataError(
            "X has rows off the affine hull of the others, so it has no entropy: drop the columns that are "
            "constant in all other rows, or give more rows"
        )
    return _summary(-crossed.held_out, -crossed.in_sample)


def kl(
    X: Any,
    Y: Any,
    *,
    model: Model | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    effort: Effort = "best",
    rounding: Rounding = "auto",
) -> Information:
    """Estimate the Kullback-Leibler divergence ``E_f log(f / g)``, in nats.

    Args:
        X: Array-like (N, D), drawn from f, data units.
        Y: Array-like (M, D), drawn from g, with the same columns.
        model: As in ``entropy``.
        folds: Number of folds of X, and of Y; each of them takes one encoding.
        seed: As in ``entropy``.
        effort: As in ``entropy``.
        rounding: As in ``entropy``.

    Raises:
        InputError: As in ``entropy``, or X and Y differ in their columns.
        DegenerateDataError: X or Y has a constant column, or collinear columns.
    """
    return _between(X, Y, log_rule, model, folds, seed, effort, rounding)


def fisher(
    X: Any,
    *,
    model: Model | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    effort: Effort = "best",
    rounding: Rounding = "auto",
) -> Information:
    """Estimate the Fisher information ``E_f |grad log f|^2``, in 1 / data units^2.

    This is the trace of the Fisher information of location. It is a sum over columns, so their units should
    be the same.

    Args:
        X: Array-like (N, D), data units.
        model: As in ``entropy``.
        folds: As in ``entropy``.
        seed: Seed of the deal into folds, and of the directions of the divergence.
        effort: As in ``entropy``.
        rounding: As in ``entropy``.

    Raises:
        InputError: As in ``entropy``.
        DegenerateDataError: As in ``entropy``.
    """
    rows = in_cells(read_rows("X", X, folds), rounding)
    return _summary(*_cross(model_or_default(model), rows, score_rule(seed), folds, seed, effort))


def relative_fisher(
    X: Any,
    Y: Any,
    *,
    model: Model | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    effort: Effort = "best",
    rounding: Rounding = "auto",
) -> Information:
    """Estimate the relative Fisher information ``E_f |grad log f - grad log g|^2``, in 1 / data units^2.

    Args:
        X: Array-like (N, D), drawn from f, data units.
        Y: Array-like (M, D), drawn from g, with the same columns.
        model: As in ``entropy``.
        folds: As in ``kl``.
        seed: As in ``fisher``.
        effort: As in ``entropy``.
        rounding: As in ``entropy``.

    Raises:
        InputError: As in ``kl``.
        DegenerateDataError: As in ``kl``.
    """
    return _between(X, Y, score_rule(seed), model, folds, seed, effort, rounding)


def mutual_information(
    X: Any,
    Y: Any,
    *,
    model: Model | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    effort: Effort = "best",
    rounding: Rounding = "auto",
) -> Information:
    """Estimate the mutual information of paired samples, in nats.

    It is the Kullback-Leibler divergence of the joint distribution from the product of the marginals.

    Args:
        X: Array-like (N, D).
        Y: Array-like (N, E); row i belongs to row i of X.
        model: As in ``entropy``.
        folds: Number of folds; each of them takes three encodings.
        seed: As in ``entropy``.
        effort: As in ``entropy``.
        rounding: As in ``entropy``. In a dict, the positions of columns go on from X to Y.

    Raises:
        InputError: As in ``entropy``, or X and Y differ in their number of rows.
        DegenerateDataError: X and Y together have a constant column, or collinear columns.
    """
    x, y = read_rows("X", X, folds), read_rows("Y", Y, folds)
    if len(x.values) != len(y.values):
        raise InputError(
            f"X and Y must have the same number of rows, drawn in pairs, got {len(x.values)} and "
            f"{len(y.values)}"
        )
    model, dim = model_or_default(model), x.values.shape[1]
    names = None if x.columns is None or y.columns is None else x.columns + y.columns
    both = in_cells(Matrix(np.hstack([x.values, y.values]), x.width, names), rounding)
    parts = (both, Rows(both.places[..., :dim], x.columns), Rows(both.places[..., dim:], y.columns))
    joint, first, second = (_cross(model, part, log_rule, folds, seed, effort) for part in parts)
    return _summary(
        joint.held_out - first.held_out - second.held_out,
        joint.in_sample - first.in_sample - second.in_sample,
    )


def log_rule(p: FittedDensity, points: Floats) -> Floats:
    """Return the logarithmic rule (M,) at points: the log-density."""
    return p.answer(points)[0].astype(float)


def score_rule(seed: int) -> Rule:
    """Return the rule of Hyvarinen, a function to ``-2 div S - |S|^2`` (M,) at points."""

    def rule(p: FittedDensity, points: Floats) -> Floats:
        square: Floats = np.square(p.answer(points)[1]).sum(axis=1)
        return -2 * divergence(p, points, seed) - square

    return rule


def divergence(p: FittedDensity, points: Floats, seed: int = 0) -> Floats:
    """Estimate the divergence (M,) of the score at points, in 1 / data units^2.

    It is exact up to central differences if all D directions are used. With many rows, only some random
    directions are used. With ``x = m + z A^-1`` and g of length sqrt(D) in the frame, a step ``g A^-1`` in
    the data changes S by ``g A^-1 (dS/dx)^T``. The product of this with ``g A^T`` has the trace as its mean
    over g.
    """
    rows, dim = points.shape
    count = int(np.clip(DIRECTIONS // rows, 1, dim))
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(rows, dim, count)))[0]  # each row its own
    found = np.zeros(rows)
    for k in range(count):
        g = math.sqrt(dim) * axes[..., k]
        step = STEP * np.linalg.solve(p.frame.linear.T, g.T).T
        change = p.answer(points + step)[1] - p.answer(points - step)[1]
        found += (change * (g @ p.frame.linear.T)).sum(axis=1) / (2 * STEP)
    return found / count


def _between(
    X: Any,
    Y: Any,
    rule: Rule,
    model: Model | None,
    folds: int,
    seed: int,
    effort: Effort,
    rounding: Rounding,
) -> Information:
    """Return the mean over rows of X of a rule by estimates from X, minus the rule by estimates from Y."""
    x = read_rows("X", X, folds)
    y = read_rows("Y", Y, folds, x.columns)
    _check_alike(x, y)
    model, first, second = model_or_default(model), in_cells(x, rounding), in_cells(y, rounding)
    mine = _cross(model, first, rule, folds, seed, effort)
    fold = deal(len(second.places), folds, seed)
    others = fit_parts(model, second, [fold != k for k in range(folds)], effort)
    theirs = np.array([_mean_over_places(rule, p, first.places) for p in others])  # (K, N)
    means = theirs.mean(axis=1)
    spread = (folds - 1) / folds * float(np.square(means - means.mean()).sum())
    other = theirs.mean(axis=0)
    return _summary(mine.held_out - other, mine.in_sample - other, spread)


def _cross(
    model: Model,
    sample: Rows,
    rule: Rule,
    folds: int,
    seed: int,
    effort: Effort,
    allow_singular: bool = False,
) -> _Crossed:
    """Evaluate a rule at each row, by an estimate that has not seen it and by one that has."""
    places = sample.places
    fold = deal(len(places), folds, seed)
    crossed = _Crossed(np.empty(len(places)), np.empty(len(places)))
    parts = [fold != k for k in range(folds)]
    for k, p in enumerate(fit_parts(model, sample, parts, effort, allow_singular)):
        for values, rows in zip(crossed, (fold == k, fold == (k + 1) % folds), strict=True):
            values[rows] = _mean_over_places(rule, p, places[rows])
    return crossed


def _mean_over_places(rule: Rule, p: FittedDensity, places: Floats) -> Floats:
    """Return the rule (M,) at rows, as the mean over their places (M, c, D)."""
    found: Floats = rule(p, places.reshape(-1, places.shape[2])).reshape(places.shape[:2]).mean(axis=1)
    return found


def _summary(held_out: Floats, in_sample: Floats, other_variance: float = 0.0) -> Information:
    """Return value, error and check from the values (N,) at rows, and the variance from a second sample."""
    value = 0.5 * (held_out + in_sample)
    variance = float(value.var(ddof=1)) / len(value)
    return Information(
        float(value.mean()),
        math.sqrt(variance + other_variance),
        float(held_out.mean()),
        float(in_sample.mean()),
    )


def _check_alike(first: Matrix, second: Matrix) -> None:
    if first.values.shape[1] != second.values.shape[1]:
        raise InputError(
            f"X and Y must have the same number of columns, got {first.values.shape[1]} and "
            f"{second.values.shape[1]}"
        )
