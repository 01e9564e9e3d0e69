"""Diagnosis: whether to trust an estimate, by what can be measured without the truth.

``Estimate.diagnostics`` holds the facts known as soon as the sample is read. A diagnosis measures:

- the sample: its size for its columns, the condition of the correlations, repeated rows, columns of few
  values;
- the integral of the density, which should be 1 (see ``normalization``);
- the likelihood of held-out points, compared with KDE and one Gaussian; Stein's identities; the standard
  error of the log-density (see ``held_out``);
- how far score and slope of the log-density agree at the queries (see ``consistency``).

Each result is a finding with a level and advice. No finding sees an error that all answers share. How well
the last two figures predict the error is measured in ``benchmarks/analysis/diagnosis.py``. The standard error
tells good estimates of a log-density from bad ones, and is in most cases half of the error or more. Score
against slope finds places where something is broken, and little else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from discoformer.analysis.consistency import Consistency, consistency_of
from discoformer.analysis.findings import (
    LEVELS,
    Finding,
    Level,
    agreement_finding,
    condition_finding,
    integral_finding,
    likelihood_findings,
    reach_finding,
    size_finding,
    stability_finding,
    stein_finding,
    values_findings,
)
from discoformer.analysis.held_out import Fold, HeldOut, Stein, fit_folds, hold_out, standard_error, stein_of
from discoformer.analysis.normalization import SAMPLES, Normalization, normalization
from discoformer.analysis.on_hull import in_frame
from discoformer.base.arrays import spaced
from discoformer.errors import DegenerateDataError, InputError
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, read_seed

VERDICTS = {
    "fine": "Trust it: no measurement that is possible without the truth speaks against this estimate.",
    "doubtful": "Trust it with care: read the doubtful findings below.",
    "bad": "Do not trust it yet: read the bad findings below, and fix those first.",
}

QUERIES = 512  # most points of the sample at which score and slope are compared
DIRECTIONS = 4  # along which they are compared


@dataclass(frozen=True)
class Diagnosis:
    """The findings about an estimate and the figures behind them; prints as text."""

    findings: tuple[Finding, ...]
    normalization: Normalization
    held_out: HeldOut | None  # None if the sample is too degenerate to hold out parts of it
    stein: Stein | None  # None in the same case
    log_density: Floats  # (M,) at the queries, nats
    standard_error: Floats | None  # (M,) of log_density, nats; None in the same case
    consistency: Consistency  # (M,) at the queries

    @property
    def level(self) -> Level:
        """The level of the worst finding."""
        return LEVELS[max(LEVELS.index(finding.level) for finding in self.findings)]

    @property
    def verdict(self) -> str:
        """One sentence that says whether to trust the estimate."""
        return VERDICTS[self.level]

    def as_dict(self) -> dict[str, Any]:
        """Return level, verdict, findings and the figures behind them, as numbers and text for JSON."""
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


def diagnose(fitted: FittedDensity, Y: Any, seed: int) -> Diagnosis:
    """Diagnose an estimate; see ``Estimate.diagnose``."""
    read_seed(seed)
    points = fitted.z
    if Y is None:
        queries, off = points[spaced(len(points), QUERIES)], 0
    else:
        queries, rows = fitted.read_in_frame(Y)
        off = int(fitted.off_hull(rows.values).sum())
    if not len(queries):
        raise InputError("Y must have 1 row or more, got 0: leave it out to diagnose at points of the sample")
    integral = normalization(fitted, SAMPLES, seed)
    ordinary = in_frame(fitted) if fitted.is_singular else fitted
    folds = _folds(ordinary, seed)
    held_out = hold_out(ordinary, folds) if folds else None
    if held_out and fitted.is_singular:
        held_out = held_out.moved(fitted.frame.log_abs_det)
    stein = stein_of(held_out) if held_out else None
    error = standard_error(folds, ordinary.frame.to_data(queries)) if folds else None
    consistency = consistency_of(fitted, queries, DIRECTIONS, seed)
    findings = [
        size_finding(fitted),
        condition_finding(fitted),
        *values_findings(fitted),
        integral_finding(integral),
        *likelihood_findings(held_out, integral),
        *([stein_finding(stein)] if stein else []),
        *([] if error is None else [stability_finding(error)]),
        agreement_finding(consistency),
        *([] if Y is None else [reach_finding(points, queries, off)]),
    ]
    log_density = fitted.frame.log_density_to_data(fitted.answer_in_frame(queries)[0])
    return Diagnosis(tuple(findings), integral, held_out, stein, log_density, error, consistency)


def _folds(fitted: FittedDensity, seed: int) -> list[Fold]:
    try:
        return fit_folds(fitted, seed)
    except DegenerateDataError:
        return []
