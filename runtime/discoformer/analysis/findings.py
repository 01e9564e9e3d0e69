"""The findings of a diagnosis: each measures one thing, and has a level and advice; see ``diagnosis``.

The thresholds of the levels are round numbers, chosen by judgement.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from discoformer.analysis.consistency import Consistency
from discoformer.analysis.held_out import HeldOut, Stein, spread
from discoformer.analysis.normalization import Normalization
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, describe_column

Level: TypeAlias = Literal["fine", "doubtful", "bad"]
LEVELS: tuple[Level, ...] = ("fine", "doubtful", "bad")

ENOUGH = 100.0  # effective samples from which on an integral is relied on
CLEAR = 2.0  # standard errors from which on a difference is clear

# Where a finding becomes doubtful, and where it becomes bad.
_CONDITION = (1e6, 1e10)  # condition number of the correlation matrix
_REPEATED = (0.05, 0.5)  # share of rows that repeat another
_INTEGRAL = (0.1, 0.5)  # absolute log of the integral, nats
_BEHIND = (0.05, 1.0)  # nats per point by which a simple method is ahead
_STEIN = (0.1, 0.3)  # size of the deviation from Stein's identities
_STANDARD_ERROR = (0.5, 2.0)  # of the log-density, nats
_RESIDUAL = (0.25, 0.6)  # difference of score and slope, as a share of the score


class Finding(NamedTuple):
    """One measurement, its level and what to do about it."""

    name: str
    level: Level
    value: str  # the figure, with its unit
    text: str  # what it means, and what to do


def _level(value: float, thresholds: tuple[float, float]) -> Level:
    return LEVELS[sum(not value < threshold for threshold in thresholds)]  # NaN is bad


def size_finding(fitted: FittedDensity) -> Finding:
    """Report whether the rows suffice for the columns, and whether the model was trained on such sizes."""
    found = fitted.diagnostics
    doubts = fitted.metadata.out_of_range(found.n, found.rank)
    value = f"{found.effective_size:.4g} effective rows, {found.dim} columns"
    if found.shrinkage > 0:
        text = f"Fewer than 4 rows for each column; take {4 * found.rank} rows or more, or fewer columns."
        return Finding("size", "doubtful", value, text)
    if doubts:
        return Finding("size", "doubtful", value, " ".join(doubts))
    return Finding("size", "fine", value, "The model was trained on samples of this size.")


def condition_finding(fitted: FittedDensity) -> Finding:
    """Report whether columns are nearly linear combinations of others."""
    if fitted.is_singular:
        value = f"rank {fitted.frame.rank} of {fitted.diagnostics.dim} columns"
        text = "Some columns are constant or linear combinations of others. The estimate is a density on the "
        text += "affine hull of the rows, and 0 elsewhere; drop these columns if new rows may leave it."
        return Finding("condition", "doubtful", value, text)
    points, w = fitted.spread
    u = points - w @ points
    u /= spread(u, w)
    values = np.linalg.eigvalsh((u * w[:, None]).T @ u)
    condition = float(values[-1] / max(values[0], np.finfo(float).tiny))
    if fitted.diagnostics.n <= fitted.diagnostics.dim:
        condition = 1.0  # singular by its size, which size_finding reports
    level = _level(condition, _CONDITION)
    text = {
        "fine": "No column is close to a linear combination of the others.",
        "doubtful": "Some columns are close to linear combinations of others; drop one of them if you can.",
        "bad": "Some columns are linear combinations of others, except for rounding; drop one of them.",
    }[level]
    return Finding("condition", level, f"condition number of the correlations {condition:.2g}", text)


def values_findings(fitted: FittedDensity) -> Iterator[Finding]:
    """Report whether rows are repeated, columns take few values, and values are atoms."""
    found, cells = fitted.diagnostics, fitted.cells
    text = "No row lies so far out that it would distort the estimate."
    if found.left_out:
        text = "These rows lie far out, and are left out of the estimate; correct or remove them."
    yield Finding("rows far out", "doubtful" if found.left_out else "fine", f"{found.left_out:.3%}", text)
    text = "No repeated value lies far outside the others."
    if found.codes:
        text = "These values look like codes for missing values; replace them by NaN, or drop these rows."
    yield Finding("codes", "doubtful" if found.codes else "fine", found.codes or "none", text)
    repeated = max(found.copied, found.tied)
    text = "Few rows repeat others, or it is known what they are worth."
    if found.copied:
        text = "These rows repeat others, though values are not rounded. They count as copies; drop them."
    elif found.tied:
        text = "These rows repeat others. If they are rounded, give the step; if they are copies, drop them."
    yield Finding("repeated rows", _level(repeated, _REPEATED), f"{repeated:.1%}", text)
    few = ", ".join(describe_column(j, fitted.columns) for j in cells.few_valued)
    level = LEVELS[max((1 if cells.steps[j] else 2 for j in cells.few_valued), default=0)]
    text = {
        "fine": "Every column takes many values.",
        "doubtful": "Their values are spread over cells as wide as the step between them; if they are "
        "categories, make one estimate for each of them.",
        "bad": "Such columns have no density; leave them out, or make one estimate for each of their values.",
    }[level]
    yield Finding("few-valued columns", level, few or "none", text)
    atoms = ", ".join(
        f"{value:.6g} in {describe_column(j, fitted.columns)} ({share:.1%})"
        for j, found in enumerate(cells.atoms)
        for value, share in found
    )
    text = "Such values have a probability and no density. " + (
        "The density is that of the other rows." if cells.left_out else "They are spread over narrow cells."
    )
    if not atoms:
        text = "No value is far more frequent than those around it."
    yield Finding("atoms", "doubtful" if atoms else "fine", atoms or "none", text)


def integral_finding(found: Normalization) -> Finding:
    """Report whether the density integrates to 1."""
    value = f"{np.exp(found.log_integral):.3g} ± {np.exp(found.log_integral) * found.standard_error:.2g}"
    if found.effective_samples < ENOUGH:
        text = "It is known too poorly; do not compare these log-densities with those of other methods."
        return Finding("integral", "doubtful", value, text)
    level = _level(abs(found.log_integral), _INTEGRAL)
    text = {
        "fine": "It is near 1, as it must be for a density.",
        "doubtful": f"It is not 1; subtract {found.log_integral:.2f} nats from every log-density.",
        "bad": f"It is far from 1; subtract {found.log_integral:.2f} nats from every log-density, and rely "
        "only on their differences.",
    }[level]
    return Finding("integral", level, value, text)


def leads(held_out: HeldOut, normalization: Normalization) -> dict[str, tuple[float, float]]:
    """Return how much the estimate's held-out log-density exceeds that of simple methods, by their names.

    Each entry is the difference in nats per point, and its standard error. The log-integral of the
    estimate is subtracted if it is known well enough.
    """
    excess = normalization.log_integral if normalization.effective_samples >= ENOUGH else 0.0
    found = {"KDE": held_out.lead(held_out.kde), "a Gaussian": held_out.lead(held_out.gaussian)}
    return {name: (lead - excess, error) for name, (lead, error) in found.items()}


def likelihood_findings(held_out: HeldOut | None, normalization: Normalization) -> Iterator[Finding]:
    """Report whether simple methods explain held-out points better."""
    name = "held-out likelihood"
    if held_out is None:
        text = "Without a fifth of the rows, a column is constant or collinear; give more rows, or drop it."
        yield Finding(name, "bad", "cannot be measured", text)
        return
    for other, (lead, error) in leads(held_out, normalization).items():
        level = _level(-lead if lead < -CLEAR * error else 0.0, _BEHIND)
        text = {
            "fine": f"The estimate explains new points no worse than {other}.",
            "doubtful": f"{other[0].upper() + other[1:]} explains new points better; use it for likelihoods.",
            "bad": f"{other[0].upper() + other[1:]} explains new points far better; use that instead.",
        }[level]
        yield Finding(f"{name}, {other}", level, f"{lead:+.3g} ± {error:.2g} nats per point", text)


def stein_finding(found: Stein) -> Finding:
    """Report whether the held-out score satisfies Stein's identities."""
    level = _level(found.size, _STEIN)
    text = {
        "fine": "The score has the mean and the moments that a score must have.",
        "doubtful": "The moments of the score are slightly off; do not rely on its exact length.",
        "bad": "The moments of the score are wrong; check every step that you take along it.",
    }[level]
    value = f"E[s.z] / D = {found.trace:.3g} ± {found.trace_error:.2g}, should be -1"
    return Finding("Stein identities", level, f"{value}; deviation of all moments {found.size:.2g}", text)


def stability_finding(error: Floats) -> Finding:
    """Report whether another sample would give the same log-densities, from their standard errors (M,)."""
    size = float(np.sqrt(np.mean(error**2)))
    level = _level(size, _STANDARD_ERROR)
    text = {
        "fine": "Another sample would give nearly the same log-densities.",
        "doubtful": "Another sample would give different log-densities; give more rows, or fewer columns.",
        "bad": "Another sample would give very different log-densities; give more rows, or fewer columns.",
    }[level]
    return Finding(
        "standard error", level, f"{size:.2g} nats, by the jackknife; the true error may be twice that", text
    )


def agreement_finding(found: Consistency) -> Finding:
    """Report whether the score is the slope of the log-density."""
    share = float(np.sqrt(np.mean(found.residual**2) / np.mean(found.score**2)))
    level = _level(share, _RESIDUAL)
    text = {
        "fine": "The score is the slope of the log-density, as it must be.",
        "doubtful": "Score and slope of the log-density differ; give more rows, or look where they do most.",
        "bad": "Score and slope of the log-density contradict each other; use neither of them there.",
    }[level]
    return Finding("score against slope", level, f"they differ by {share:.1%} of the score", text)


def reach_finding(points: Floats, queries: Floats, off: int) -> Finding:
    """Report whether queries (M, D) lie no farther out than the points (n, D) of the sample, in the frame.

    So many of them are ``off`` the affine hull of a singular sample.
    """
    if off:
        text = "These queries are off the affine hull of the rows, where the density is 0."
        return Finding("reach", "bad", f"{off} of {len(queries)} queries off the affine hull", text)
    beyond = np.linalg.norm(queries, axis=1) > np.linalg.norm(points, axis=1).max()
    level: Level = "doubtful" if beyond.any() else "fine"
    text = {
        "fine": "No query is farther out than the sample.",
        "doubtful": "These queries are farther out than every row of the sample; the answers extrapolate.",
    }[level]
    return Finding("reach", level, f"{beyond.sum()} of {len(queries)} queries beyond the sample", text)
