"""Imputation: missing entries, NaN, from their distribution given the entries that are there.

Rows are taken together by which of their entries are missing. Each row's conditional is that of
``conditionals``: its mean fills in a single best guess, in the mean squared error; draws keep the spread and
the dependence, as multiple imputation needs (Rubin, *Multiple Imputation for Nonresponse in Surveys*, 1987).

Shapes: M rows, D features; F missing and G present in a pattern; J points for each row.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from discoformer.conditionals import Conditioner, Weighted
from discoformer.inputs import AnyFloats, Floats, read_matrix, whole_number
from discoformer.outputs import like

if TYPE_CHECKING:
    from discoformer.estimates import Estimate

SAMPLES = 64  # points that each row is imputed from, by default
_POINTS = 2**14  # held at a time


def impute(
    estimate: "Estimate",
    Y: Any,
    draws: int | None,
    samples: int,
    seed: int,
    done: Callable[[int], None] | None = None,
) -> Any:
    """Fills in missing entries; see ``Estimate.impute``."""
    rows = read_matrix("Y", Y, missing=True)
    estimate.check_columns(rows)
    whole_number("samples", samples, 2)
    rng = np.random.default_rng(whole_number("seed", seed, 0))
    count = 1 if draws is None else whole_number("draws", draws, 1)
    filled = np.repeat(rows.values[None], count, axis=0).astype(rows.width)
    for part, free, weighted in _weighted(estimate, rows.values, samples, rng):
        found = weighted.mean()[None] if draws is None else weighted.pick(count, rng)
        filled[:, part[:, None], free] = found
        if done:
            done(len(part))
    return like(Y, "impute", filled[0]) if draws is None else filled


def missing_rows(values: AnyFloats) -> int:
    """How many rows (M, D) have missing entries."""
    return int(np.isnan(values).any(axis=1).sum())


def _weighted(
    estimate: "Estimate", rows: Floats, samples: int, rng: np.random.Generator
) -> Iterator[tuple[Any, list[int], Weighted]]:
    """For a few rows at a time, of one pattern: their places, what is missing, and points in its place."""
    missing = np.isnan(rows)
    patterns, which = np.unique(missing, axis=0, return_inverse=True)
    size = max(1, _POINTS // samples)
    for index, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        free, given = np.flatnonzero(pattern), np.flatnonzero(~pattern)
        conditioner = Conditioner(estimate, tuple(free), tuple(given))
        places = np.flatnonzero(which.ravel() == index)
        for part in np.split(places, range(size, len(places), size)):
            yield part, list(free), conditioner.weigh(rows[np.ix_(part, given)], samples, rng)
