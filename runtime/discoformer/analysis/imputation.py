"""Imputation: missing entries, NaN, filled in from their distribution given the other entries of the row.

Rows that miss the same entries are handled together, with the conditionals of ``analysis.conditionals``. The
conditional mean is the best single guess in mean squared error. Random draws keep the spread and the
dependence, as multiple imputation needs (Rubin, *Multiple Imputation for Nonresponse in Surveys*, 1987).

Shapes: M rows, D features; F missing and G present in a pattern; J points for each row.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from discoformer.analysis.conditionals import Conditioner
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import AnyFloats, Floats, read_seed, whole_number
from discoformer.io.outputs import replaced

SAMPLES = 64  # default number of points that each row is imputed from
_POINTS = 2**14  # most points in memory at a time


def impute(fitted: FittedDensity, Y: Any, draws: int | None, samples: int, seed: int) -> Any:
    """Fill in missing entries; see ``Estimate.impute``."""
    rows = fitted.read_queries(Y, missing=True)
    count = None if draws is None else whole_number("draws", draws, 1)
    filled = impute_rows(fitted, rows.values, count, samples, seed).astype(rows.width)
    return replaced(Y, filled[0], rows.picked) if draws is None else filled


def impute_rows(
    fitted: FittedDensity,
    rows: AnyFloats,
    draws: int | None,
    samples: int,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
) -> Floats:
    """Fill in the NaN of rows (M, D) with the conditional mean, or with random draws.

    Args:
        fitted: The density that gives the conditionals.
        rows: Data units.
        draws: Number of random draws; None for the mean.
        samples: Number of points that each row is imputed from; not used with ``effort="fast"``.
        seed: Seed of these points and of the draws.
        on_progress: Called after each group of rows, with the number of rows in it.

    Returns:
        Filled rows, (1, M, D) for the mean, else (draws, M, D).

    Raises:
        InputError: ``samples`` or ``seed`` is not a whole number or is too low, or a row is too far away.
    """
    whole_number("samples", samples, 2)
    rng = np.random.default_rng(read_seed(seed))
    filled = np.repeat(rows[None].astype(np.float64), draws or 1, axis=0)
    missing = np.isnan(rows)
    asked = ~missing & missing.any(axis=1, keepdims=True)
    fitted.to_frame(np.where(asked, rows, fitted.frame.center))  # raises if a row is too far away
    for part, conditioner in _parts(fitted, missing, max(1, _POINTS // samples)):
        values = rows[part][:, conditioner.given].astype(np.float64)
        if draws is None:
            found = conditioner.mean(values, samples, rng)[None]
        else:
            found = conditioner.draw(values, draws, samples, rng)
        filled[:, part[:, None], conditioner.free] = found
        if on_progress:
            on_progress(len(part))
    return filled


def missing_rows(values: AnyFloats) -> int:
    """Return how many of the rows (M, D) have missing entries."""
    return int(np.isnan(values).any(axis=1).sum())


def _parts(
    fitted: FittedDensity, missing: npt.NDArray[np.bool_], size: int
) -> Iterator[tuple[npt.NDArray[np.intp], Conditioner]]:
    """Yield indices of at most ``size`` rows that miss the same entries, and their conditionals."""
    patterns, which = np.unique(missing, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        conditioner = Conditioner(fitted, tuple(np.flatnonzero(pattern)), tuple(np.flatnonzero(~pattern)))
        places = np.flatnonzero(which.ravel() == index)
        for part in np.split(places, range(size, len(places), size)):
            yield part, conditioner
