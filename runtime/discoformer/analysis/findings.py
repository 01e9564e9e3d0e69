"""What is found out about an estimate, each with a level and what to do; see ``diagnosis``.

The thresholds of the levels are round numbers.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from discoformer.analysis.consistency import Consistency
from discoformer.analysis.held_out import HeldOut, Stein, spread
from discoformer.analysis.normalization import Normalization
from discoformer.fit import name_few_valued
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats

Level: TypeAlias = Literal["fine", "doubtful", "bad"]
LEVELS: tuple[Level, ...] = ("fine", "doubtful", "bad")

ENOUGH = 100.0  # effective samples of an integral to be believed
CLEAR = 2.0  # standard errors of a clear difference

_CONDITION = (1e6, 1e10)  # of the correlation matrix: from here on doubtful, bad
_REPEATED = (0.05, 0.5)  # share of rows that repeat another
_INTEGRAL = (0.1, 0.5)  # nats
_BEHIND = (0.05, 1.0)  # nats for each point by which a simple method is ahead
_STEIN = (0.1, 0.3)  # size of the departure
_STANDARD_ERROR = (0.5, 2.0)  # nats
_RESIDUAL = (0.25, 0.6)  # of the score


class Finding(NamedTuple):
    """One thing measured."""

    name: str
    level: Level
    value: str  # the figure, in words
    text: str  # what it means, and what to do


def _level(value: float, thresholds: tuple[float, float]) -> Level:
    return LEVELS[sum(not value < threshold for threshold in thresholds)]  # what is no number is bad


def size_finding(fitted: FittedDensity) -> Finding:
    """Whether there are rows enough for the columns, and the model was trained on as many."""
    found = fitted.diagnostics
    doubts = fitted.metadata.out_of_range(found.n, found.dim)
    value = f"{found.effective_size:.4g} effective rows, {found.dim} columns"
    if found.shrinkage > 0:
        text = f"Fewer than 4 rows for each column; take {4 * found.dim} rows or more, or fewer columns."
        return Finding("size", "doubtful", value, text)
    if doubts:
        return Finding("size", "doubtful", value, " ".join(doubts))
    return Finding("size", "fine", value, "Within what the model was trained on.")


def condition_finding(fitted: FittedDensity) -> Finding:
    """Whether columns are nearly linear combinations of others."""
    points, w = fitted.data
    u = points - w @ points
    u /= spread(u, w)
    values = np.linalg.eigvalsh((u * w[:, None]).T @ u)
    condition = float(values[-1] / max(values[0], np.finfo(float).tiny))
    if fitted.diagnostics.n <= fitted.diagnostics.dim:
        condition = 1.0  # singular, and shrunk for that: said of the size
    level = _level(condition, _CONDITION)
    text = {
        "fine": "No column is nearly a linear combination of others.",
        "doubtful": "Some columns are nearly linear combinations of others; drop one of them if you can.",
        "bad": "Some columns are linear combinations of others, but for rounding; drop one of them.",
    }[level]
    return Finding("condition", level, f"condition number of the correlations {condition:.2g}", text)


def values_findings(fitted: FittedDensity) -> Iterator[Finding]:
    """Whether rows are repeated, and columns take few values."""
    points = fitted.data.points
    repeated = 1 - len(np.unique(points, axis=0)) / len(points)
    level = _level(repeated, _REPEATED)
    text = {
        "fine": "Rows differ.",
        "doubtful": "Some rows repeat others; drop duplicates unless they are separate measurements.",
        "bad": "Many rows repeat others, so the data have no density; drop duplicates, or add the noise that "
        "rounding took away.",
    }[level]
    yield Finding("repeated rows", level, f"{repeated:.1%}", text)
    few = name_few_valued(points, fitted.columns)
    if few:
        text = "Such columns have no density; leave them out, or estimate for each of their values."
        yield Finding("few-valued columns", "bad", few, text)
    else:
        yield Finding("few-valued columns", "fine", "none", "Every column takes many values.")


def integral_finding(found: Normalization) -> Finding:
    """Whether the density has the integral 1."""
    value = f"{np.exp(found.log_integral):.3g} ± {np.exp(found.log_integral) * found.standard_error:.2g}"
    if found.effective_samples < ENOUGH:
        text = "Known too poorly to say; do not compare these log-densities with those of other methods."
        return Finding("integral", "doubtful", value, text)
    level = _level(abs(found.log_integral), _INTEGRAL)
    text = {
        "fine": "It is near 1, as that of a density must be.",
        "doubtful": f"It is not 1; subtract {found.log_integral:.2f} nats from every log-density.",
        "bad": f"It is far from 1; subtract {found.log_integral:.2f} nats, and trust differences alone.",
    }[level]
    return Finding("integral", level, value, text)


def leads(held_out: HeldOut, normalization: Normalization) -> dict[str, tuple[float, float]]:
    """By how much the estimate is ahead of simple methods, nats for each point, and the standard error.

    Its integral is subtracted where it is known.
    """
    excess = normalization.log_integral if normalization.effective_samples >= ENOUGH else 0.0
    found = {"KDE": held_out.lead(held_out.kde), "a Gaussian": held_out.lead(held_out.gaussian)}
    return {name: (lead - excess, error) for name, (lead, error) in found.items()}


def likelihood_findings(held_out: HeldOut | None, normalization: Normalization) -> Iterator[Finding]:
    """Whether simple methods explain held-out points better."""
    name = "held-out likelihood"
    if held_out is None:
        text = "Some column is constant or collinear without a fifth of the rows; give more rows or drop it."
        yield Finding(name, "bad", "cannot be measured", text)
        return
    for other, (lead, error) in leads(held_out, normalization).items():
        level = _level(-lead if lead < -CLEAR * error else 0.0, _BEHIND)
        text = {
            "fine": f"It explains new points no worse than {other}.",
            "doubtful": f"{other[0].upper() + other[1:]} explains new points better; use it for likelihoods.",
            "bad": f"{other[0].upper() + other[1:]} explains new points far better; use that instead.",
        }[level]
        yield Finding(f"{name}, {other}", level, f"{lead:+.3g} ± {error:.2g} nats for each point", text)


def stein_finding(found: Stein) -> Finding:
    """Whether the held-out score has the moments of a score."""
    level = _level(found.size, _STEIN)
    text = {
        "fine": "The score has the mean and the moments that a score must have.",
        "doubtful": "The score has not quite the moments that a score must have; take its length with care.",
        "bad": "The score has not the moments that a score must have; do not take steps by it unchecked.",
    }[level]
    value = f"E[s.z] / D = {found.trace:.3g} ± {found.trace_error:.2g}, where -1 is right"
    return Finding("Stein identities", level, f"{value}; other departures {found.size:.2g}", text)


def stability_finding(error: Floats) -> Finding:
    """Whether other rows would give the same log-densities, from their standard errors (M,)."""
    size = float(np.sqrt(np.mean(error**2)))
    level = _level(size, _STANDARD_ERROR)
    text = {
        "fine": "Other rows would give nearly the same log-densities.",
        "doubtful": "Other rows would give other log-densities; give more rows, or fewer columns.",
        "bad": "Log-densities depend on which rows happened to be drawn; give more rows, or fewer columns.",
    }[level]
    return Finding(
        "standard error", level, f"{size:.2g} nats, by the jackknife; errors may be twice that", text
    )


def agreement_finding(found: Consistency) -> Finding:
    """Whether the score is the slope of the log-density."""
    share = float(np.sqrt(np.mean(found.residual**2) / np.mean(found.score**2)))
    level = _level(share, _RESIDUAL)
    text = {
        "fine": "The score is the slope of the log-density, as it must be.",
        "doubtful": "Score and slope of the log-density differ; give more rows, or see where they do most.",
        "bad": "Score and slope of the log-density contradict each other; do not use either there.",
    }[level]
    return Finding("score against slope", level, f"they differ by {share:.1%} of the score", text)


def reach_finding(points: Floats, queries: Floats) -> Finding:
    """Whether queries (M, D) are within the reach of the context (n, D), in the frame."""
    beyond = np.linalg.norm(queries, axis=1) > np.linalg.norm(points, axis=1).max()
    level: Level = "doubtful" if beyond.any() else "fine"
    text = {
        "fine": "Every query is within the reach of the context.",
        "doubtful": "These queries are farther out than any context point; the answers there are the tails'.",
    }[level]
    return Finding("reach", level, f"{beyond.sum()} of {len(queries)} queries beyond the context", text)
