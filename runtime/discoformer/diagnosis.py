"""Whether to trust an estimate: what can be measured without the truth, each with a level and what to do.

``Estimate.diagnostics`` holds the facts that are known as soon as the context is read; a diagnosis measures:

- the context: size for its columns, condition of the correlations, repeated rows, columns of few values;
- the integral of the density, which should be 1 (see ``normalization``);
- the likelihood of held-out points, beside KDE and one Gaussian, Stein's identities, and the standard error
  of the log-density (see ``held_out``);
- how far score and slope of the log-density agree (see ``consistency``), at the queries asked about.

None of these sees an error that all answers share. How well the last two predict the error is measured in
``benchmarks/diagnosis.py``: the standard error tells good estimates of a log-density from bad ones, to about
a factor of two; score against slope finds the places where something is broken, and little else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from discoformer.consistency import Consistency, consistency_of
from discoformer.errors import DegenerateDataError
from discoformer.held_out import Fold, HeldOut, Stein, fit_folds, hold_out, standard_error, stein_of
from discoformer.inputs import Floats, describe_column, read_matrix, whole_number
from discoformer.normalization import Normalization

if TYPE_CHECKING:
    from discoformer.estimates import Estimate

Level: TypeAlias = Literal["fine", "doubtful", "bad"]
LEVELS: tuple[Level, ...] = ("fine", "doubtful", "bad")
VERDICTS = {
    "fine": "Trust it: nothing that can be measured without the truth speaks against this estimate.",
    "doubtful": "Trust it with care: see what is doubtful.",
    "bad": "Do not trust it as it stands: see what is bad, and mend that first.",
}

QUERIES = 512  # context points at which score and slope are compared, at most
DIRECTIONS = 4
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


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about an estimate; it prints as plain words."""

    findings: tuple[Finding, ...]
    normalization: Normalization
    held_out: HeldOut | None  # None where the context is too degenerate to be split
    stein: Stein | None  # likewise
    log_density: Floats  # (M,) at the queries, nats
    standard_error: Floats | None  # (M,) of these by the jackknife, nats; None likewise
    consistency: Consistency  # (M,) there

    @property
    def level(self) -> Level:
        """That of the worst finding."""
        return LEVELS[max(LEVELS.index(finding.level) for finding in self.findings)]

    @property
    def verdict(self) -> str:
        """Whether to trust the estimate."""
        return VERDICTS[self.level]

    def as_dict(self) -> dict[str, Any]:
        """Level, verdict, findings and the figures behind them, for JSON."""
        residual = self.consistency.residual
        found: dict[str, Any] = {
            "level": self.level,
            "verdict": self.verdict,
            "findings": [finding._asdict() for finding in self.findings],
            "normalization": self.normalization._asdict(),
            "consistency": dict(
                zip(("median", "90 %"), np.quantile(residual, (0.5, 0.9)).tolist(), strict=True)
            ),
        }
        if self.held_out and self.stein and self.standard_error is not None:
            w, columns = self.held_out.weights, ("ours", "kde", "gaussian")
            found["held_out"] = {name: float(w @ getattr(self.held_out, name)) for name in columns}
            found["stein"] = {"trace": self.stein.trace, "size": self.stein.size}
            found["standard_error"] = float(np.sqrt(np.mean(self.standard_error**2)))
        return found

    def __str__(self) -> str:
        lines = [f"{f.level:8}  {f.name}: {f.value}. {f.text}" for f in self.findings]
        return "\n".join([self.verdict, *lines])


def diagnose(estimate: "Estimate", Y: Any, seed: int) -> Diagnosis:
    """Measures what can be measured; see ``Estimate.diagnose``."""
    whole_number("seed", seed, 0)
    points = estimate.frame.to_frame(estimate.context.points)
    queries = _some(points) if Y is None else _read(estimate, Y)
    normalization = estimate.normalization(seed=seed)
    folds = _folds(estimate, seed)
    held_out = hold_out(estimate, folds) if folds else None
    stein = stein_of(held_out) if held_out else None
    error = standard_error(folds, estimate.frame.to_data(queries)) if folds else None
    consistency = consistency_of(estimate, queries, DIRECTIONS, seed)
    findings = [
        _size(estimate),
        _condition(estimate),
        *_values(estimate),
        _integral(normalization),
        *_likelihood(held_out, normalization),
        *([_stein(stein)] if stein else []),
        *([] if error is None else [_stability(error)]),
        _agreement(consistency),
        *([] if Y is None else [_reach(points, queries)]),
    ]
    log_density = estimate.frame.log_density_to_data(estimate.answer_in_frame(queries)[0])
    return Diagnosis(tuple(findings), normalization, held_out, stein, log_density, error, consistency)


def _read(estimate: "Estimate", Y: Any) -> Floats:
    queries = read_matrix("Y", Y)
    estimate.check_columns(queries)
    return estimate.frame.to_frame(queries.values)


def _some(points: Floats) -> Floats:
    return points[np.linspace(0, len(points) - 1, min(QUERIES, len(points))).round().astype(int)]


def _folds(estimate: "Estimate", seed: int) -> list[Fold]:
    try:
        return fit_folds(estimate, seed)
    except DegenerateDataError:
        return []


def _level(value: float, thresholds: tuple[float, float]) -> Level:
    return LEVELS[sum(value >= threshold for threshold in thresholds)]


def _size(estimate: "Estimate") -> Finding:
    found = estimate.diagnostics
    doubts = estimate.model.metadata.out_of_range(found.n, found.dim)
    value = f"{found.effective_size:.4g} effective rows, {found.dim} columns"
    if found.shrinkage > 0:
        text = f"Fewer than 4 rows for each column; take {4 * found.dim} rows or more, or fewer columns."
        return Finding("size", "doubtful", value, text)
    if doubts:
        return Finding("size", "doubtful", value, " ".join(doubts))
    return Finding("size", "fine", value, "Within what the model was trained on.")


def _condition(estimate: "Estimate") -> Finding:
    points, w = estimate.context
    u = points - w @ points
    u /= np.sqrt(w @ np.square(u))
    values = np.linalg.eigvalsh((u * w[:, None]).T @ u)
    condition = float(values[-1] / max(values[0], np.finfo(float).tiny))
    if estimate.diagnostics.n <= estimate.diagnostics.dim:
        condition = 1.0  # singular, and shrunk for that: said of the size
    level = _level(condition, _CONDITION)
    text = {
        "fine": "No column is nearly a linear combination of others.",
        "doubtful": "Some columns are nearly linear combinations of others; drop one of them if you can.",
        "bad": "Some columns are linear combinations of others, but for rounding; drop one of them.",
    }[level]
    return Finding("condition", level, f"condition number of the correlations {condition:.2g}", text)


def _values(estimate: "Estimate") -> Iterator[Finding]:
    points = estimate.context.points
    repeated = 1 - len(np.unique(points, axis=0)) / len(points)
    level = _level(repeated, _REPEATED)
    text = {
        "fine": "Rows differ.",
        "doubtful": "Some rows repeat others; drop duplicates unless they are separate measurements.",
        "bad": "Many rows repeat others, so the data have no density; drop duplicates, or add the noise that "
        "rounding took away.",
    }[level]
    yield Finding("repeated rows", level, f"{repeated:.1%}", text)
    few = ", ".join(describe_column(j, estimate.columns) for j in few_valued(points))
    if few:
        text = "Such columns have no density; leave them out, or estimate for each of their values."
        yield Finding("few-valued columns", "bad", few, text)
    else:
        yield Finding("few-valued columns", "fine", "none", "Every column takes many values.")


def few_valued(points: Floats) -> list[int]:
    """Columns of points (n, D) that take fewer than sqrt(n) values, up to the rounding of float32."""
    unit = 1e-5 * np.ptp(points, axis=0)
    return [
        j
        for j, column in enumerate(points.T)
        if (1 + np.sum(np.diff(np.sort(column)) > unit[j])) ** 2 < len(column)
    ]


def _integral(found: Normalization) -> Finding:
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


def _likelihood(held_out: HeldOut | None, normalization: Normalization) -> Iterator[Finding]:
    name = "held-out likelihood"
    if held_out is None:
        text = "Some column is constant or collinear without a fifth of the rows; give more rows or drop it."
        yield Finding(name, "bad", "cannot be measured", text)
        return
    leads = {"KDE": held_out.lead(held_out.kde), "a Gaussian": held_out.lead(held_out.gaussian)}
    known = normalization.effective_samples >= ENOUGH
    for other, (raw, error) in leads.items():
        lead = raw - normalization.log_integral if known else raw
        level = _level(-lead if lead < -CLEAR * error else 0.0, _BEHIND)
        text = {
            "fine": f"It explains new points no worse than {other}.",
            "doubtful": f"{other[0].upper() + other[1:]} explains new points better; use it for likelihoods.",
            "bad": f"{other[0].upper() + other[1:]} explains new points far better; use that instead.",
        }[level]
        yield Finding(f"{name}, {other}", level, f"{lead:+.3g} ± {error:.2g} nats for each point", text)


def _stein(found: Stein) -> Finding:
    level = _level(found.size, _STEIN)
    text = {
        "fine": "The score has the mean and the moments that a score must have.",
        "doubtful": "The score has not quite the moments that a score must have; take its length with care.",
        "bad": "The score has not the moments that a score must have; do not take steps by it unchecked.",
    }[level]
    value = f"E[s.z] / D = {found.trace:.3g} ± {found.trace_error:.2g}, where -1 is right"
    return Finding("Stein identities", level, f"{value}; other departures {found.size:.2g}", text)


def _stability(error: Floats) -> Finding:
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


def _agreement(found: Consistency) -> Finding:
    share = float(np.sqrt(np.mean(found.residual**2) / np.mean(found.score**2)))
    level = _level(share, _RESIDUAL)
    text = {
        "fine": "The score is the slope of the log-density, as it must be.",
        "doubtful": "Score and slope of the log-density differ; give more rows, or see where they do most.",
        "bad": "Score and slope of the log-density contradict each other; do not use either there.",
    }[level]
    return Finding("score against slope", level, f"they differ by {share:.1%} of the score", text)


def _reach(points: Floats, queries: Floats) -> Finding:
    beyond = np.linalg.norm(queries, axis=1) > np.linalg.norm(points, axis=1).max()
    level: Level = "doubtful" if beyond.any() else "fine"
    text = {
        "fine": "Every query is within the reach of the context.",
        "doubtful": "These queries are farther out than any context point; the answers there are the tails'.",
    }[level]
    return Finding("reach", level, f"{beyond.sum()} of {len(queries)} queries beyond the context", text)
