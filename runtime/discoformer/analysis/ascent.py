"""Ascent of many points at once to the modes of a log-density, each step checked, by a mean shift.

The metric of a step is that of a mixture of Student-t distributions near the density (see ``components``)::

    z <- z + a H(z)^-1 S(z)      H(z) = sum_k r_k(z) (f_k + D) / (f_k + |F_k (z - m_k)|^2) F_k^T F_k

For the mixture alone and ``a = 1`` this is the fixed-point iteration for its modes, which never descends.
Here ``a`` is halved where a step would descend, and grows up to ``LONGEST`` where steps succeed, so that the
climb is monotone whatever the density. Paths that come within a small cell of each other go on as one.

At a mode ``S`` vanishes. Where score and log-density disagree a path may end without one: the *slope* left,
``sqrt(S^T H^-1 S / D)``, tells which (it is the distance to the mode that a Gaussian would have, in standard
deviations).

Shapes: n points, K components, D dimensions. Frame coordinates, float64.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.base.arrays import slices
from discoformer.base.mixture import evaluate
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats

Ints = npt.NDArray[np.intp]
OnArrival = Callable[[int, int], None]  # called with how many of how many points have arrived

ROUNDS = 200  # of steps, at most
LONGEST = 2.0  # times the step of the mean shift
CELL = 0.01  # side of a cell, over sqrt(D), in which paths become one
RESTING = 1e-3  # length of a step, over sqrt(D), at which a path ends
TINY = np.finfo(np.float64).tiny
_CHUNK = 2**20  # numbers held at a time in the metrics


class Footing(NamedTuple):
    """Where points stand."""

    log_density: Floats  # (n,) T
    step: Floats  # (n, D) H^-1 S, no longer than the way to the centre of the frame and a spread beyond
    slope: Floats  # (n,) sqrt(S^T H^-1 S / D)


Climb = Callable[[Floats], Footing]


def climb_of(fitted: FittedDensity) -> Climb:
    """What takes points (n, D) to their footing in an estimate."""
    components = fitted.components
    metrics = components.precision_factors[0].mT @ components.precision_factors[0]  # (K, D, D)
    rows = max(1, _CHUNK // max(metrics[0].size, components.means.size))

    def metric(z: Floats) -> Floats:
        found = evaluate(components, z[None])
        freedom = components.freedom[0, :, None]
        pull: Floats = found.share[0] * (freedom + z.shape[1]) / (freedom + found.square[0])  # (K, n)
        return np.tensordot(pull.T, metrics, axes=1)

    def climb(z: Floats) -> Footing:
        log_density, score = fitted.answer_in_frame(z)
        step = np.empty_like(z)
        for part in slices(len(z), rows):
            step[part] = np.linalg.solve(metric(z[part]), score[part, :, None])[..., 0]
        slope = np.sqrt(np.maximum(0.0, (score * step).mean(axis=1)))
        reach = np.linalg.norm(z, axis=1) + np.sqrt(z.shape[1])
        step *= np.minimum(1.0, reach / np.maximum(np.linalg.norm(step, axis=1), TINY))[:, None]
        return Footing(log_density, step, slope)

    return climb


def ascend(climb: Climb, starts: Floats, on_progress: OnArrival | None = None) -> Floats:
    """Takes starting points (n, D) to where their paths end, (n, D).

    No path ever descends, but that of a point may be taken over by a higher one in its cell.
    """
    dim = starts.shape[1]
    path, z = _joined(starts, np.zeros(len(starts)))
    log_density, step, _ = climb(z)
    length = np.ones(len(z))
    resting = np.zeros(len(z), bool)
    for _ in range(ROUNDS):
        going = np.flatnonzero(~resting)
        if not going.size:
            break
        trial = z[going] + length[going, None] * step[going]
        there = climb(trial)
        up = there.log_density >= log_density[going]
        resting[going] = np.linalg.norm(trial - z[going], axis=1) < RESTING * np.sqrt(dim)
        went = going[up]
        z[went], log_density[went], step[went] = trial[up], there.log_density[up], there.step[up]
        length[going] = np.where(up, np.minimum(LONGEST, 1.5 * length[going]), 0.5 * length[going])
        merged, kept = _cells(z, log_density)
        path, z, log_density, step = merged[path], z[kept], log_density[kept], step[kept]
        length, resting = length[kept], resting[kept]
        if on_progress:
            on_progress(int(resting[path].sum()), len(path))
    return z[path]


def _joined(points: Floats, heights: Floats) -> tuple[Ints, Floats]:
    which, kept = _cells(points, heights)
    return which, points[kept]


def _cells(z: Floats, heights: Floats) -> tuple[Ints, Ints]:
    """For each of the points (n, D) the number of its cell, and for each cell the highest of its points."""
    cells = np.round(z / (CELL * np.sqrt(z.shape[1])))
    _, which = np.unique(cells, axis=0, return_inverse=True)
    which = which.ravel()
    order = np.argsort(heights, kind="stable")
    kept = np.empty(which.max() + 1, np.intp)
    kept[which[order]] = order  # of several the last counts
    return which, kept
