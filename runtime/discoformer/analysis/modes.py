"""Modes of an estimate, and the basins of points that climb to them: clusters without a bandwidth.

Every point climbs the log-density along the score (see ``ascent``); where paths end is a mode, and the points
whose paths end there are its basin. An estimate has small bumps, so each mode has its *prominence* in nats
(see ``passes``), and one of less prominence than asked for is taken, with its basin, into the higher mode
behind its pass. Modes are sought from the context, so they do not depend on the points that are labelled.

Shapes: N points, K modes, D dimensions.
"""

from typing import Any, NamedTuple

import numpy as np

from discoformer.analysis.ascent import Climb, Ints, OnArrival, ascend, climb_of
from discoformer.analysis.saddles import pairs_of, pass_heights, prominences
from discoformer.base.arrays import slices, spaced
from discoformer.errors import InputError
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, is_real

PROMINENCE = 1.0  # nats, by default
STARTS = 1024  # points of the sample that modes are sought from, at most
FLAT = 0.5  # slope of a mode, at most
SAME = 0.05  # distance, over sqrt(D), of ends of paths that are one mode
_CHUNK = 1024  # points at a time beside all modes


class Modes(NamedTuple):
    """The modes of an estimate, highest first, and the points that belong to them."""

    points: Floats  # (K, D) data units
    log_density: Floats  # (K,) nats
    prominence: Floats  # (K,) nats lost on the way to a higher mode; inf for the highest
    behind: Ints  # (K,) the mode, 0 to K - 1, behind the highest pass from each; of the highest, itself
    labels: Ints  # (N,) the mode, 0 to K - 1, to which each point climbs

    def merged(self, prominence: float) -> "Modes":
        """Takes modes of less prominence than this many nats into the higher mode behind their pass.

        Raises:
            InputError: ``prominence`` is negative or not finite.
        """
        if isinstance(prominence, bool) or not (is_real(prominence) and 0 <= prominence < np.inf):
            raise InputError(f"prominence must be finite and 0 nats or more, got {prominence!r}")
        kept = self.prominence >= prominence
        into = np.arange(len(kept))
        for mode in np.flatnonzero(~kept):  # from the highest down
            into[mode] = into[self.behind[mode]]
        into = (np.cumsum(kept) - 1)[into]
        return Modes(
            self.points[kept],
            self.log_density[kept],
            self.prominence[kept],
            into[self.behind[kept]],
            into[self.labels],
        )


def modes_of(fitted: FittedDensity, Y: Any, on_progress: OnArrival | None = None) -> Modes:
    """Finds all modes, bumps included; see ``Estimate.modes``."""
    frame, sample = fitted.frame, fitted.z
    rows = sample if Y is None else fitted.read_in_frame(Y)[0]
    climb = climb_of(fitted)
    peaks = _distinct(climb, ascend(climb, sample[spaced(len(sample), STARTS)]))
    heights, pairs = climb(peaks).log_density, pairs_of(peaks)
    lost, behind = prominences(heights, pairs, pass_heights(climb, peaks, pairs))
    labels = _nearest(ascend(climb, rows, on_progress), peaks) if len(rows) else np.zeros(0, np.intp)
    return Modes(frame.to_data(peaks), frame.log_density_to_data(heights), lost, behind, labels)


def _distinct(climb: Climb, ends: Floats) -> Floats:
    """The ends of paths that are modes, from the highest down, none within ``SAME`` of a higher one."""
    heights, _, slope = climb(ends)
    order = np.argsort(-heights, kind="stable")
    left, peaks = ends[order[slope[order] <= max(FLAT, slope.min())]], []
    while len(left):
        peaks.append(left[0])
        left = left[np.linalg.norm(left - left[0], axis=1) > SAME * np.sqrt(ends.shape[1])]
    return np.stack(peaks)


def _nearest(points: Floats, peaks: Floats) -> Ints:
    """For each point the nearest mode."""
    parts = (points[part, None] for part in slices(len(points), _CHUNK))
    return np.concatenate([np.square(part - peaks).sum(-1).argmin(axis=1) for part in parts])
