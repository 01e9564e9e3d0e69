r"""Anomalies with control of false discoveries: p-values of the typicality, and the columns to blame.

A row y is anomalous if its typicality T(y) is low (see ``analysis.typicality``). How low is too low is found
from rows that the estimate has not seen.

**New rows against a clean sample** (conformal: nothing is assumed about f). X is dealt into K folds, and T_k
is found without fold k (cross-conformal: Vovk, *Annals of Mathematics and Artificial Intelligence* 74,
2015)::

    p(y) = (1 + sum_k #{x_i in fold k : T_k(x_i) <= T_k(y)}) / (N + 1)

With ``method="split"``, one half of X is read, and the other half calibrates: the same formula with that half
alone. Split p-values are super-uniform if y comes from f, and with them the procedure below controls the
false discovery rate exactly (Bates, Candes, Lei, Romano and Sesia, *Annals of Statistics* 51, 2023).
Cross-conformal p-values use every row twice and find more in small samples. Proven is
``P(p <= a) <= 2 a + 2 (K - 1) / N`` (Barber, Candes, Ramdas and Tibshirani, *Annals of Statistics* 49, 2021),
measured is ``P(p <= a) <= a`` (benchmarks/analysis/anomaly_fdr).

**A sample against itself.** Here ranks say nothing: some row is always the lowest. So p-values beyond the
lowest TAIL of the rows come from a tail fitted to the typicalities ``T_k(x_i)``, ``x_i`` in fold k. With
``e_i`` how far a row is below the other rows, ``e_(1) <= ... <= e_(k)`` those of the tail, and c the number
of rows in the lowest CENSORED of the sample::

    m = (e_(1) + ... + e_(r) + c e_(r)) / r,  r = k - c        p(x_i) = k / N (1 + e_i / (S m))^-S

m is the mean excess of an exponential tail, from its r least excesses alone (Epstein and Sobel, *JASA* 48,
1953), so that anomalies do not hide each other. Minus the log-density has such a tail under Gaussian and
under power-law densities. The p-value is that of a slightly heavier one, a generalised Pareto tail of shape
1 / S, because its form is not known exactly. Since held-out rows are measured, errors of the estimate count.
Rows found at the generous rate SUSPECT are left out, and the rest is read again, until they stay the same.
A dense cluster of anomalies is a mode of the density, and many scattered ones are a heavy tail: they are not
found.

**Which of M rows** (Benjamini and Hochberg, *JRSS B* 57, 1995). With sorted p-values ``p_(j)``, all rows up
to the greatest j with ``p_(j) <= fdr j / M`` are anomalies. The expected share of false ones among them is at
most ``fdr``.

**Why.** With the score s and its mean square ``J_j = E s_j^2`` over the sample, ``s_j^2 / J_j`` is, for a
Gaussian, twice the gain in log-density if column j alone is moved to its expected value given the others. The
contribution of a column is its share in the sum of these over columns. Its sign says whether the value is too
high (+) or too low (-). For a row off the affine hull of a singular sample, ``s_j^2 / J_j`` is the square of
how far column j is off, in spreads.

Shapes: N rows, M queries, D columns, K folds.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.analysis.folds import deal, fit_parts, in_cells, read_rows
from discoformer.analysis.typicality import Typicality
from discoformer.base.arrays import or_one, spaced
from discoformer.base.hull import HullFrame
from discoformer.deprecation import renamed_arguments, renamed_attribute
from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.fit import OnStage, ignore
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, is_real
from discoformer.model import Model, model_or_default
from discoformer.onnx.names import Effort
from discoformer.table.cells import Rounding

Method: TypeAlias = Literal["cross", "split"]
Flags: TypeAlias = npt.NDArray[np.bool_]

FOLDS = 2  # halves are cheap to read, and rank rows about as well as larger parts
ROUNDS = 4  # most readings of a sample that is held against itself
MEASURED = 4096  # most points of the sample that the mean square of the score is taken over
TAIL, CENSORED = 0.3, 0.1  # shares of a sample
STEEPNESS = 10.0  # S, the exponent of the tail
SUSPECT = 0.5  # false discovery rate at which rows are left out


@dataclass(frozen=True)
class Anomalies:
    """The anomalies among M rows; all arrays are in the order of the rows."""

    p_values: Floats  # (M,), small for anomalous rows
    found: Flags  # (M,) whether a row is an anomaly, at the false discovery rate asked for
    log_density: Floats  # (M,) nats
    contributions: Floats  # (M, D) signed share of each column, + too high, - too low; absolute sum 1

    push = renamed_attribute("push", "contributions")


class Reference:
    """A clean sample, to compare new rows with.

    Attributes:
        estimate: The estimate from the whole sample.
    """

    def __init__(
        self,
        X: Any,
        *,
        method: Method = "cross",
        model: Model | None = None,
        folds: int = FOLDS,
        seed: int = 0,
        effort: Effort = "fast",
        rounding: Rounding = "auto",
        allow_singular: bool = True,
        estimate: Estimate | None = None,
    ) -> None:
        """Read a sample and calibrate.

        Args:
            X: Array-like (N, D), data units, without anomalies.
            method: ``"cross"`` or ``"split"`` (see the head of this module).
            model: The model that estimates densities; by default the default model.
            folds: Number of folds of ``"cross"``; each of them takes one encoding.
            seed: Seed of the deal into folds.
            effort: As in ``Model.estimate``, of all estimates.
            rounding: As in ``Model.estimate``. Rows are compared at their values.
            allow_singular: As in ``Model.estimate``. Rows off the affine hull get the smallest p-values.
            estimate: The estimate from the whole of X with these options, if there is one already.

        Raises:
            InputError: X is not a matrix of finite numbers or has too few rows, there is no such method or
                effort, or ``folds`` or ``seed`` is not a whole number or is too low.
            DegenerateDataError: All rows of a part of X are the same; or, unless ``allow_singular``, X has a
                constant column, or collinear columns.
            ModelError: The model has no files for this effort.
        """
        if method not in ("cross", "split"):
            raise InputError(f"method must be 'cross' or 'split', got {method!r}")
        rows, model = read_rows("X", X, folds), model_or_default(model)
        fold = deal(len(rows.values), folds if method == "cross" else 2, seed)
        held = range(folds) if method == "cross" else [0]
        if estimate is None:
            estimate = model.estimate(rows, effort=effort, rounding=rounding, allow_singular=allow_singular)
        self.estimate = estimate
        spread = in_cells(rows, rounding, apart=False, allow_singular=allow_singular)
        fits = fit_parts(model, spread, [fold != k for k in held], effort, allow_singular)
        self._folds = [Typicality(p) for p in fits]
        self._calibration = [
            np.sort(t(rows.values[fold == k])) for k, t in zip(held, self._folds, strict=True)
        ]

    def p_values(self, Y: Any) -> Floats:
        """Return the conformal p-values (M,) of rows.

        Args:
            Y: Array-like (M, D), data units.

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of X.
        """
        rows = self.estimate.read_queries(Y).values
        below = np.zeros(len(rows))
        for typicality, calibration in zip(self._folds, self._calibration, strict=True):
            below += np.searchsorted(calibration, typicality(rows), side="right")
        found: Floats = (1 + below) / (1 + sum(map(len, self._calibration)))
        return found

    def find(self, Y: Any, fdr: float = 0.1) -> Anomalies:
        """Find the anomalies among rows.

        Args:
            Y: Array-like (M, D), data units.
            fdr: False discovery rate: greatest expected share of normal rows among the anomalies found.

        Raises:
            InputError: As in ``p_values``, or ``fdr`` is not between 0 and 1.
        """
        p_values = self.p_values(Y)
        found = benjamini_hochberg(p_values, fdr)
        return Anomalies(p_values, found, *_explained(self.estimate, self.estimate.read_queries(Y).values))


@renamed_arguments(say="on_progress")
def find_anomalies(
    X: Any,
    fdr: float = 0.1,
    *,
    model: Model | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    on_progress: OnStage = ignore,
    effort: Effort = "fast",
    rounding: Rounding = "auto",
    allow_singular: bool = True,
) -> Anomalies:
    """Find the anomalies in a sample that may hold some. For new rows, use ``Reference``.

    Args:
        X: Array-like (N, D), data units.
        fdr: False discovery rate to aim at.
        model: The model that estimates densities; by default the default model.
        folds: Number of folds; each of them takes one encoding in each of up to 4 rounds.
        seed: Seed of the deal into folds.
        on_progress: Called with a few words at the start of each round.
        effort: As in ``Model.estimate``, of all estimates.
        rounding: As in ``Model.estimate``. Rows are compared at their values.
        allow_singular: As in ``Model.estimate``. Rows off the affine hull of the others are anomalies.

    Raises:
        InputError: X is not a matrix of finite numbers or has too few rows, ``fdr`` is not between 0 and 1,
            ``folds`` or ``seed`` is not a whole number or is too low, or there is no such effort.
        DegenerateDataError: All rows of a part of X are the same; or, unless ``allow_singular``, X has a
            constant column, or collinear columns.
        ModelError: The model has no files for this effort.
    """
    benjamini_hochberg(np.ones(1), fdr)  # raises if fdr is out of range
    sample, model = read_rows("X", X, folds), model_or_default(model)
    rows, spread = sample.values, in_cells(sample, rounding, apart=False, allow_singular=allow_singular)
    fold, left_out = deal(len(rows), folds, seed), np.zeros(len(rows), bool)
    typicality, log_density, contributions = np.empty(len(rows)), np.empty(len(rows)), np.empty(rows.shape)
    for turn in range(ROUNDS):
        on_progress(f"round {turn + 1}: {left_out.sum()} of {len(rows)} rows left out")
        parts = [(fold != k) & ~left_out for k in range(folds)]
        fits = fit_parts(model, spread, parts, effort, allow_singular)
        for k, p in enumerate(fits):
            typicality[fold == k] = Typicality(p)(rows[fold == k])
        p_values = tail_p_values(typicality)
        before, left_out = left_out, benjamini_hochberg(p_values, SUSPECT)
        if (before == left_out).all():
            break
    for k, p in enumerate(fits):
        log_density[fold == k], contributions[fold == k] = _explained(p, rows[fold == k])
    return Anomalies(p_values, benjamini_hochberg(p_values, fdr), log_density, contributions)


def tail_p_values(typicality: Floats) -> Floats:
    """Return the p-values (N,) of the rows of a sample, from their typicalities (N,); see the module's head.

    Rows that are not in the tail get their rank among all, over N.
    """
    n = len(typicality)
    order = np.sort(typicality)
    finite = order[np.isfinite(order)]
    if not finite.size:
        return np.ones(n)
    order = np.maximum(order, finite[0])  # for -inf, off the hull of a singular sample
    tail, censored = max(1, round(TAIL * n)), round(CENSORED * n)
    excess = (order[tail] - order[:tail])[::-1]
    used = tail - censored
    mean = (excess[:used].sum() + censored * excess[used - 1]) / used
    p_values = np.searchsorted(order, typicality, side="right") / n
    if mean > 0:
        beyond = typicality < order[tail]
        far = (order[tail] - typicality[beyond]) / mean
        p_values[beyond] = tail / n * (1 + far / STEEPNESS) ** -STEEPNESS
    return p_values


def benjamini_hochberg(p_values: Floats, fdr: float) -> Flags:
    """Return which of M hypotheses to reject, with control of the false discovery rate.

    >>> benjamini_hochberg(np.array([0.5, 0.01, 0.03, 0.9]), 0.1)
    array([False,  True,  True, False])

    Args:
        p_values: p-values (M,) of the hypotheses.
        fdr: False discovery rate, between 0 and 1.

    Raises:
        InputError: ``fdr`` is not between 0 and 1.
    """
    if not (is_real(fdr) and 0 < fdr < 1):
        raise InputError(f"fdr must be between 0 and 1, got {fdr!r}")
    order = np.sort(p_values)
    below = np.flatnonzero(order <= fdr * np.arange(1, len(order) + 1) / len(order))
    return p_values <= order[below[-1]] if below.size else np.zeros(len(order), bool)


def contributions_of(p: FittedDensity, score: Floats) -> Floats:
    """Return the contributions (M, D) of columns to how anomalous rows are, from their scores (M, D)."""
    points, weights = p.spread
    some = spaced(len(points), MEASURED)
    own, weights = p.answer(points[some])[1], weights[some] / weights[some].sum()
    unit = or_one(np.abs(own).max(axis=0))  # squares in data units may overflow
    standard = np.square(score / unit) / or_one(weights @ np.square(own / unit))
    total = standard.sum(axis=1, keepdims=True)
    return -np.sign(score) * standard / np.where(total > 0, total, 1)


def _explained(p: FittedDensity, rows: Floats) -> tuple[Floats, Floats]:
    """Return the log-density (M,) of rows, and the contributions (M, D) of their columns."""
    log_density, score = p.answer(rows)
    contributions = contributions_of(p, score)
    if isinstance(p.frame, HullFrame):  # off the hull, the columns by which rows have left it
        off = p.off_hull(rows)
        away = p.frame.deviations(rows[off]) / p.frame.unit
        contributions[off] = np.sign(away) * np.square(away) / np.square(away).sum(axis=1, keepdims=True)
    return log_density, contributions
