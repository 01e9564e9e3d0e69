"""Imputation: missing entries, NaN, from their distribution given the entries that are there.

Rows are taken together by which of their entries are missing. Each row's conditional is that of
``conditionals``: its mean fills in a single best guess, in the mean squared error; draws keep the spread and
the dependence, as multiple imputation needs (Rubin, *Multiple Imputation for Nonresponse in Surveys*, 1987).

Shapes: M rows, D features; F missing and G present in a pattern; J points for each row.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from discoformer.analysis.conditionals import Conditioner, Weighted
from discoformer.deprecation import renamed_arguments
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import AnyFloats, Floats, read_matrix, whole_number
from discoformer.io.outputs import like

SAMPLES = 64  # points that each row is imputed from, by default
_POINTS = 2**14  # held at a time


def impute(fitted: FittedDensity, Y: Any, draws: int | None, samples: int, seed: int) -> Any:
    """Fills in missing entries; see ``Estimate.impute``."""
    rows = read_matrix("Y", Y, missing=True)
    fitted.check_columns(rows)
    count = None if draws is None else whole_number("draws", draws, 1)
    filled = impute_rows(fitted, rows.values, count, samples, seed).astype(rows.width)
    return like(Y, "impute", filled[0]) if draws is None else filled


@renamed_arguments(done="on_progress")
def impute_rows(
    fitted: FittedDensity,
    rows: AnyFloats,
    draws: int | None,
    samples: int,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
) -> Floats:
    """Fills in the NaN of rows (M, D), by the mean, (1, M, D), or draws, (draws, M, D).

    Args:
        fitted: Where their distribution comes from.
        rows: Data units.
        draws: How many; None for the mean.
        samples: Points that each row is imputed from.
        seed: Of these and of the draws.
        on_progress: Called with a number of rows whenever so many more have been filled in.

    Raises:
        InputError: ``samples`` or ``seed`` is no whole number, or too low, or a row is too far away.
    """
    whole_number("samples", samples, 2)
    rng = np.random.default_rng(whole_number("seed", seed, 0))
    filled = np.repeat(rows[None].astype(np.float64), draws or 1, axis=0)
    missing = np.isnan(rows)
    asked = ~missing & missing.any(axis=1, keepdims=True)
    fitted.to_frame(np.where(asked, rows, fitted.frame.center))  # checks how far away they are
    for part, free, weighted in _weighted(fitted, filled[0], samples, rng):
        found = weighted.mean()[None] if draws is None else weighted.pick(draws, rng)
        filled[:, part[:, None], free] = found
        if on_progress:
            on_progress(len(part))
    return filled


def missing_rows(values: AnyFloats) -> int:
    """How many rows (M, D) have missing entries."""
    return int(np.isnan(values).any(axis=1).sum())


def _weighted(
    fitted: FittedDensity, rows: Floats, samples: int, rng: np.random.Generator
) -> Iterator[tuple[Any, list[int], Weighted]]:
    """For a few rows at a time, of one pattern: their places, what is missing, and points in its place."""
    rows = rows.copy()
    missing = np.isnan(rows)
    patterns, which = np.unique(missing, axis=0, return_inverse=True)
    size = max(1, _POINTS // samples)
    for index, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        free, given = np.flatnonzero(pattern), np.flatnonzero(~pattern)
        conditioner = Conditioner(fitted, tuple(free), tuple(given))
        places = np.flatnonzero(which.ravel() == index)
        for part in np.split(places, range(size, len(places), size)):
            yield part, list(free), conditioner.weigh(rows[np.ix_(part, given)], samples, rng)
