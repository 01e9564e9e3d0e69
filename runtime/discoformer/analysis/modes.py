"""Modes of a density, and the points that climb to each of them: clusters without a bandwidth.

Every point climbs the log-density along the score (see ``ascent``). A mode is where paths end; its basin is
the set of points whose paths end there. Estimated densities have small bumps, so each mode has a *prominence*
in nats (see ``saddles``). A mode of less prominence than asked for is merged, with its basin, into the higher
mode behind its saddle. Modes are sought from the sample, so they do not depend on the points to label.

Shapes: N points, K modes, D dimensions.
"""

from typing import Any, NamedTuple

import numpy as np

from discoformer.analysis.ascent import Climb, Ints, OnArrival, ascend, climb_of
from discoformer.analysis.saddles import pairs_of, prominences, saddle_heights
from discoformer.base.arrays import slices, spaced
from discoformer.errors import InputError
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, is_real

PROMINENCE = 1.0  # default of the least prominence, nats
STARTS = 1024  # most points of the sample that modes are sought from
FLAT = 0.5  # greatest slope at a mode
SAME = 0.05  # ends of paths nearer than this, over sqrt(D), are one mode
_CHUNK = 1024  # points compared with all modes at a time


class Modes(NamedTuple):
    """The modes of a density, highest first, and the points that belong to them."""

    points: Floats  # (K, D) data units
    log_density: Floats  # (K,) nats
    prominence: Floats  # (K,) nats lost on the way to a higher mode; inf for the highest
    behind: Ints  # (K,) the mode, 0 to K - 1, behind the highest saddle of each; for the highest mode itself
    labels: Ints  # (N,) the mode, 0 to K - 1, to which each point climbs

    def merged(self, prominence: float) -> "Modes":
        """Merge modes of less prominence, in nats, into the higher mode behind their saddle.

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
    """Find all modes, small bumps included; see ``Estimate.modes``."""
    frame, sample = fitted.frame, fitted.z
    rows = frame.to_frame(fitted.data.points) if Y is None else fitted.read_in_frame(Y)[0]
    climb = climb_of(fitted)
    peaks = _distinct(climb, ascend(climb, sample[spaced(len(sample), STARTS)]))
    heights, pairs = climb(peaks).log_density, pairs_of(peaks)
    lost, behind = prominences(heights, pairs, saddle_heights(climb, peaks, pairs))
    labels = _nearest(ascend(climb, rows, on_progress), peaks) if len(rows) else np.zeros(0, np.intp)
    return Modes(frame.to_data(peaks), frame.log_density_to_data(heights), lost, behind, labels)


def _distinct(climb: Climb, ends: Floats) -> Floats:
    """Return the ends of paths that are modes, highest first, none within ``SAME`` of a higher one."""
    heights, _, slope = climb(ends)
    order = np.argsort(-heights, kind="stable")
    left, peaks = ends[order[slope[order] <= max(FLAT, slope.min())]], []
    while len(left):
        peaks.append(left[0])
        left = left[np.linalg.norm(left - left[0], axis=1) > SAME * np.sqrt(ends.shape[1])]
    return np.stack(peaks)


def _nearest(points: Floats, peaks: Floats) -> Ints:
    """Return the nearest mode of each point."""
    parts = (points[part, None] for part in slices(len(points), _CHUNK))
    return np.concatenate([np.square(part - peaks).sum(-1).argmin(axis=1) for part in parts])
