r"""Entropy, divergences, Fisher and mutual information from samples, each with its error and a check of bias.

All of them are means, over rows of the sample of f, of what an estimate says at a row. With T the log-density
and S the score of an estimate, and two proper scoring rules (Gneiting and Raftery, *JASA* 102, 2007; the
second is that of Hyvarinen, *JMLR* 6, 2005)::

    l(x) = T(x)                             E_f l = -entropy of f            where the estimate is f
    q(x) = -2 div S(x) - |S(x)|^2           E_f q = E_f |grad log f|^2       likewise

    entropy(f)              = -E_f l_f                       nats
    kl(f, g)                =  E_f (l_f - l_g)               nats
    mutual_information      =  E (l_xy - l_x - l_y)          nats
    fisher(f)               =  E_f q_f                       1 / data units^2
    relative_fisher(f, g)   =  E_f (q_f - q_g)               1 / data units^2; E_f |grad log f - grad log g|^2

A proper rule is at its best where the estimate is the truth, so an error of the estimate of f costs the
second order of that error only.

**Bias.** At its own context points an estimate says too much. So the rows are dealt into folds, and each row
is asked of an estimate that has not seen it (held out), and of one that has (in sample). For a fit of
parameters by maximum likelihood, the first is too low by as much as the second is too high (Akaike 1973): the
value is the mean of both, and half their difference the check. A sample of g is not that of the rows asked,
so it is held out always. The check sees what comes of few rows, not what an estimate would miss of any
number: twenty columns of a gamma distribution are 2 nats off, and the check says 0.05
(benchmarks/analysis/information).

The log-integral of an estimate is not subtracted: the network is trained on the squared error of the
log-density, which leaves little bias at fresh rows, and to subtract measured worse
(benchmarks/analysis/information).

**Error.** Of the rows of f: the spread of the mean over rows (the infinitesimal jackknife). Of a sample of g:
the jackknife over its folds, ``(K - 1) / K sum_j (v_j - mean v)^2``, with ``v_j`` the value from all but fold
j. Both are added as squares. What bias there may be is in the check, not in the error.

The divergence of S is a mean over random directions, orthogonal to each other in the frame, each by central
differences.

Shapes: N rows of f, M rows of g, D columns.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from discoformer.analysis.folds import FOLDS, deal, fit_parts, read_rows
from discoformer.errors import InputError
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, Matrix
from discoformer.model import Model, model_or_default

STEP = 0.02  # of central differences, in the frame
DIRECTIONS = 2**10  # rows times directions of the divergence, at most; one direction at least

Rule: TypeAlias = Callable[[FittedDensity, Floats], Floats]


@dataclass(frozen=True)
class Information:
    """A functional of one or two distributions, estimated from samples.

    Attributes:
        value: The estimate; nats, or 1 / data units^2 for Fisher information.
        standard_error: Of ``value``, from the spread of rows and folds; it knows nothing of a bias.
        held_out: The same from estimates that have not seen the rows they are asked.
        in_sample: The same from estimates that have.
    """

    value: float
    standard_error: float
    held_out: float
    in_sample: float

    @property
    def bias_check(self) -> float:
        """Half the difference between ``held_out`` and ``in_sample``: how far off ``value`` may be by bias.

        Where its size exceeds the standard error, more rows would help more than the error says.
        """
        return 0.5 * (self.held_out - self.in_sample)


class _Crossed(NamedTuple):
    """What a rule says at the rows (N,)."""

    held_out: Floats
    in_sample: Floats


def entropy(X: Any, *, model: Model | None = None, folds: int = FOLDS, seed: int = 0) -> Information:
    """Differential entropy of the distribution behind a sample, in nats of the density in data units.

    >>> import numpy as np
    >>> found = entropy(np.random.default_rng(0).normal(size=(200, 1)))
    >>> abs(found.value - 1.4189) < 4 * found.standard_error
    True

    Args:
        X: Array-like (N, D), data units.
        model: What estimates densities; the default model, if None.
        folds: Into how many the rows are dealt; each takes an encoding.
        seed: Of the deal.

    Raises:
        InputError: X is no matrix of finite numbers, has too few rows, or an option is malformed.
        DegenerateDataError: X has a constant column, or collinear columns.
    """
    rows = read_rows("X", X, folds)
    crossed = _cross(model_or_default(model), rows, log_rule, folds, seed)
    return _summary(-crossed.held_out, -crossed.in_sample)


def kl(X: Any, Y: Any, *, model: Model | None = None, folds: int = FOLDS, seed: int = 0) -> Information:
    """Kullback-Leibler divergence ``E_f log f / g``, in nats, with X from f and Y from g.

    Args:
        X: Array-like (N, D), data units.
        Y: Array-like (M, D), in the same columns.
        model: As in ``entropy``.
        folds: As in ``entropy``, of X and of Y.
        seed: As in ``entropy``.

    Raises:
        InputError: As in ``entropy``, or X and Y differ in their columns.
        DegenerateDataError: X or Y has a constant column, or collinear columns.
    """
    return _between(X, Y, log_rule, model, folds, seed)


def fisher(X: Any, *, model: Model | None = None, folds: int = FOLDS, seed: int = 0) -> Information:
    """Fisher information ``E_f |grad log f|^2`` (of location, its trace), in 1 / data units^2.

    It adds up over columns, so give these like units.

    Args:
        X: Array-like (N, D), data units.
        model: As in ``entropy``.
        folds: As in ``entropy``.
        seed: Of the deal, and of the directions of the divergence.

    Raises:
        InputError: As in ``entropy``.
        DegenerateDataError: As in ``entropy``.
    """
    rows = read_rows("X", X, folds)
    return _summary(*_cross(model_or_default(model), rows, score_rule(seed), folds, seed))


def relative_fisher(
    X: Any, Y: Any, *, model: Model | None = None, folds: int = FOLDS, seed: int = 0
) -> Information:
    """Relative Fisher information ``E_f |grad log f - grad log g|^2``, in 1 / data units^2.

    Args:
        X: Array-like (N, D), from f, data units.
        Y: Array-like (M, D), from g, in the same columns.
        model: As in ``entropy``.
        folds: As in ``kl``.
        seed: As in ``fisher``.

    Raises:
        InputError: As in ``kl``.
        DegenerateDataError: As in ``kl``.
    """
    return _between(X, Y, score_rule(seed), model, folds, seed)


def mutual_information(
    X: Any, Y: Any, *, model: Model | None = None, folds: int = FOLDS, seed: int = 0
) -> Information:
    """Mutual information of X and Y, drawn together, in nats: the divergence of the joint from the product.

    Args:
        X: Array-like (N, D).
        Y: Array-like (N, E), of which row i belongs to row i of X.
        model: As in ``entropy``.
        folds: As in ``entropy``; three encodings each.
        seed: As in ``entropy``.

    Raises:
        InputError: As in ``entropy``, or X and Y differ in their number of rows.
        DegenerateDataError: X and Y together have a constant column, or collinear columns.
    """
    x, y = read_rows("X", X, folds), read_rows("Y", Y, folds)
    if len(x.values) != len(y.values):
        raise InputError(
            f"X and Y must have as many rows, drawn in pairs, got {len(x.values)} and {len(y.values)}"
        )
    model = model_or_default(model)
    both = Matrix(np.hstack([x.values, y.values]), x.width, None)
    joint, first, second = (_cross(model, z, log_rule, folds, seed) for z in (both, x, y))
    return _summary(
        joint.held_out - first.held_out - second.held_out,
        joint.in_sample - first.in_sample - second.in_sample,
    )


def log_rule(p: FittedDensity, points: Floats) -> Floats:
    """The logarithmic rule: the log-density (M,)."""
    return p.answer(points)[0].astype(float)


def score_rule(seed: int) -> Rule:
    """The rule of Hyvarinen: ``-2 div S - |S|^2`` (M,)."""

    def rule(p: FittedDensity, points: Floats) -> Floats:
        square: Floats = np.square(p.answer(points)[1]).sum(axis=1)
        return -2 * divergence(p, points, seed) - square

    return rule


def divergence(p: FittedDensity, points: Floats, seed: int = 0) -> Floats:
    """Divergence of the score (M,) in 1 / data units^2; along some random directions where rows are many.

    With ``x = m + z A^-1`` and g of length sqrt(D) in the frame, a step ``g A^-1`` in the data changes S by
    ``g A^-1 (dS/dx)^T``, whose product with ``g A^T`` is in the mean over g the trace.
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


def _between(X: Any, Y: Any, rule: Rule, model: Model | None, folds: int, seed: int) -> Information:
    """The mean over rows of X of what a rule says by estimates of X, less by estimates of Y."""
    first, second = read_rows("X", X, folds), read_rows("Y", Y, folds)
    _check_alike(first, second)
    model = model_or_default(model)
    mine = _cross(model, first, rule, folds, seed)
    fold = deal(len(second.values), folds, seed)
    others = fit_parts(model, second, [fold != k for k in range(folds)])
    theirs = np.array([rule(p, first.values) for p in others])  # (K, N)
    means = theirs.mean(axis=1)
    spread = (folds - 1) / folds * float(np.square(means - means.mean()).sum())
    other = theirs.mean(axis=0)
    return _summary(mine.held_out - other, mine.in_sample - other, spread)


def _cross(model: Model, sample: Matrix, rule: Rule, folds: int, seed: int) -> _Crossed:
    """Asks each row once of an estimate that has not seen it, and once of one that has."""
    points = sample.values
    fold = deal(len(points), folds, seed)
    crossed = _Crossed(np.empty(len(points)), np.empty(len(points)))
    for k, p in enumerate(fit_parts(model, sample, [fold != k for k in range(folds)])):
        for values, rows in zip(crossed, (fold == k, fold == (k + 1) % folds), strict=True):
            values[rows] = rule(p, points[rows])
    return crossed


def _summary(held_out: Floats, in_sample: Floats, other_variance: float = 0.0) -> Information:
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
            f"X and Y must have as many columns, got {first.values.shape[1]} and {second.values.shape[1]}"
        )
    if None not in (first.columns, second.columns) and first.columns != second.columns:
        raise InputError(
            f"Y must have the columns of X in the same order, {first.columns}, got {second.columns}"
        )
