"""Ascent of many points at once to the modes of a log-density: a mean shift whose every step is checked.

The step is measured in the metric of the components ``k`` of the mixture (see ``base.mixture``), which is the
density for ``effort="fast"``, and near it for ``effort="best"``::

    z <- z + a H(z)^-1 S(z)      H(z) = sum_k r_k(z) (f_k + D) / (f_k + |F_k (z - m_k)|^2) F_k^T F_k

For the mixture alone and ``a = 1``, this is the fixed-point iteration for its modes, which never descends.
Here ``a`` is halved when a step would descend, and grows up to ``LONGEST`` while steps succeed. So no step
descends, whatever the density. Paths that enter the same small cell are continued as one.

At a mode, ``S`` vanishes. If score and log-density disagree, a path may also end elsewhere. The *slope* that
is left, ``sqrt(S^T H^-1 S / D)``, tells the two apart. For a Gaussian it is the distance to the mode, in
standard deviations.

Symbols: r_k responsibility, f_k degrees of freedom, F_k precision factor, m_k centre of a component.

Shapes: n points, K components, D dimensions. Frame coordinates, float64.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats

Ints = npt.NDArray[np.intp]
OnArrival = Callable[[int, int], None]  # called with the number of points that have arrived, and of all

ROUNDS = 200  # most steps of a path
LONGEST = 2.0  # most that a step of the mean shift is multiplied by
CELL = 0.01  # side of a cell in which paths are merged, over sqrt(D)
RESTING = 1e-3  # a path ends at a step shorter than this, over sqrt(D)
TINY = np.finfo(np.float64).tiny


class Footing(NamedTuple):
    """Height, next step and slope at points."""

    log_density: Floats  # (n,) T
    step: Floats  # (n, D) H^-1 S, cut to |z| + sqrt(D) where it is longer
    slope: Floats  # (n,) sqrt(S^T H^-1 S / D)


Climb = Callable[[Floats], Footing]


def climb_of(fitted: FittedDensity) -> Climb:
    """Return the function from points (n, D) to their footing in a fitted density."""
    exact = fitted.effort == "fast"

    def steps(z: Floats) -> tuple[Floats, Floats, Floats]:
        log_density, score, metric = fitted.mixture.answer_with_metric(z)
        if not exact:
            log_density, score = fitted.answer_in_frame(z)
        return log_density, score, np.linalg.solve(metric, score[..., None])[..., 0].astype(float)

    def climb(z: Floats) -> Footing:
        log_density, score, step = steps(z)
        slope = np.sqrt(np.maximum(0.0, (score * step).mean(axis=1)))
        reach = np.linalg.norm(z, axis=1) + np.sqrt(z.shape[1])
        step *= np.minimum(1.0, reach / np.maximum(np.linalg.norm(step, axis=1), TINY))[:, None]
        return Footing(log_density, step, slope)

    return climb


def ascend(climb: Climb, starts: Floats, on_progress: OnArrival | None = None) -> Floats:
    """Return where the paths from starting points (n, D) end, (n, D).

    No path descends. When paths meet in a cell, the highest of them continues for all.
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
    """Return the cell (n,) of each point (n, D), and the index of the highest point in each cell."""
    cells = np.round(z / (CELL * np.sqrt(z.shape[1])))
    _, which = np.unique(cells, axis=0, return_inverse=True)
    which = which.ravel()
    order = np.argsort(heights, kind="stable")
    kept = np.empty(which.max() + 1, np.intp)
    kept[which[order]] = order  # the last write to a cell, by its highest point, stays
    return which, kept
