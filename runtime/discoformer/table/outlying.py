r"""Rows so far out that they would carry the frame: they are found, and left out of the reading.

With ``w`` the weights, of sum 1, and ``H`` a set of rows, at first all of them::

    d_i = Mahalanobis distance of row i in the mean and covariance of H
    H   <- the rows of smallest d that hold CENTRAL of the weight                          (STEPS times)
    R   = the distance within which CENTRAL of the weight lies

These are concentration steps (Rousseeuw and van Driessen, *Technometrics* 41, 1999). Sort the rows by ``d``.
Rows are left out from the last on that lies beyond ``FAR R``, is ``GAP`` times as far out as the row before
it, and has no more than ``MOST`` of the weight from it on. Then all of this is done again without them, until
no more are found: rows far out cost the others digits, so nearer rows are judged without them. Else nothing
changes. Student-t tails have no such gap, nor do two clusters of which the smaller one holds more than
``MOST``.

**Unknown scales.** Nothing is known of the scale of a direction in which most central rows agree, such as a
column of zeros with few other values. So directions in which H is flat (relative variance below ``FLAT``)
count for nothing. And a row stays if, along its own direction, half of H lies within ``SPIKE`` spreads.

**Equivariance.** Distances do not change under affine maps, so the same rows are left out. With an effective
size below ``4 D``, covariances are replaced by their diagonals, so the rule is exact under shifts, scales and
permutations of columns alone.

**Breakdown.** Rows may hold up to ``MOST`` of the weight. Along one line, at distances that differ, they may
hold about ``1 / D``, if that is less: more of them hide each other (measured for D up to 80).

**Cost.** The steps use at most ``USED`` rows, evenly spaced in the ranks of the first d. They are skipped if
no first d is large: rows far out that hold the share e of the weight have a mean square of d above 1 / e - 1,
about, whatever the others are.

Shapes: N rows, D columns.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.base.arrays import TIE, kth_smallest, slices
from discoformer.base.landmarks import evenly_spaced
from discoformer.base.standardised import standardised
from discoformer.io.inputs import Floats

CENTRAL = 0.75  # share of the weight that the central part holds
STEPS = 4  # concentration steps
USED = 4096  # rows, or 16 D of them
FAR = 1e3  # times the radius of the central part
GAP = 10.0  # times the distance of the nearest row that stays
MOST = 0.05  # greatest share of the weight that is left out
LEAST_SQUARE = 0.9 * (1 / MOST - 1)  # least first d^2 of the farthest row, if rows are far out
FLAT = 1e-10  # least variance along a direction, in standardised columns, that tells a scale
SPIKE = 0.3  # spreads of H along a direction
BLOCK = 256  # directions that are checked at a time
CLIP = 1e140  # standardised values beyond this are as far out

Flags: TypeAlias = npt.NDArray[np.bool_]


def outlying(points: Floats, w: Floats, size: float) -> Flags:
    """Return which rows (N,) of points (N, D) lie so far out that they would carry the frame.

    Args:
        points: Finite, data units.
        w: Weights (N,), positive, of sum 1.
        size: Effective size.
    """
    out = np.zeros(len(points), bool)
    if w.min() > MOST:
        return out
    diagonal, weight = size < 4 * points.shape[1], 0.0
    while True:
        near = np.flatnonzero(~out)
        found = near[_beyond_a_gap(points[near], w[near], weight, diagonal)]
        if not len(found):
            return out
        out[found] = True
        weight = float(w[out].sum())


def _beyond_a_gap(points: Floats, w: Floats, weight: float, diagonal: bool) -> npt.NDArray[np.intp]:
    """Return which rows are to be left out, beside others of a weight that are left out already."""
    none = np.zeros(0, np.intp)
    d = _length(_whitened(points, points, w, diagonal))
    if d.max() ** 2 < LEAST_SQUARE:
        return none
    some, w_of_some = points, w
    if len(points) > (used := max(USED, 16 * points.shape[1])):
        picked = evenly_spaced(d[None], w[None] / w.sum(), used)[0]
        some, w_of_some, d = points[picked], np.full(used, 1 / used), d[picked]
    central = d <= _radius(d, w_of_some)
    for _ in range(STEPS - 1):
        d = _length(_whitened(some, some[central], w_of_some[central], diagonal))
        central = d <= _radius(d, w_of_some)
    u = _whitened(points, some[central], w_of_some[central], diagonal)
    d = _length(u)
    far = (d > FAR * _radius(d, w)) & (d > 0)
    if not far.any():
        return none
    inner = _whitened(some[central], some[central], w_of_some[central], diagonal)
    far[far] = _have_known_scale(u[far] / d[far, None], inner, w_of_some[central])
    order = np.flatnonzero(far)[np.argsort(d[far])]
    before = np.append(d[~far].max(), d[order[:-1]])
    held = weight + np.cumsum(w[order][::-1])[::-1]  # from each row on
    gaps = np.flatnonzero((d[order] >= GAP * before[: len(order)]) & (held <= MOST * (1 + TIE)))
    return order[gaps[-1] :] if gaps.size else none


def _have_known_scale(directions: Floats, points: Floats, w: Floats) -> Flags:
    """Return along which directions (m, k) no half of the points (n, k) is within ``SPIKE`` spreads."""
    known = np.zeros(len(directions), bool)
    for part in slices(len(directions), BLOCK):
        along = np.abs(points @ directions[part].T)  # (n, m)
        spread = np.sqrt(w @ np.square(along) / w.sum())
        known[part] = w @ (along < SPIKE * spread) < 0.5 * w.sum()
    return known


def _radius(distance: Floats, w: Floats) -> float:
    """Return the distance within which ``CENTRAL`` of the weight lies."""
    if (w == w[0]).all():
        return float(kth_smallest(distance, math.ceil(CENTRAL * len(w)) - 1))
    order = np.argsort(distance)
    held = np.cumsum(w[order])
    return float(distance[order[np.searchsorted(held, CENTRAL * held[-1])]])


def _whitened(points: Floats, rows: Floats, w: Floats, diagonal: bool) -> Floats:
    """Return points (N, k) in coordinates in which rows of weights w have mean 0 and covariance 1."""
    w = w / w.sum()
    center, spread, of_rows = (field[0] for field in standardised(rows[None], w[None]))
    known = spread > 8 * np.finfo(float).eps * np.abs(center)
    with np.errstate(over="ignore"):
        u = np.clip((points[:, known] - center[known]) / spread[known], -CLIP, CLIP)
    if diagonal:
        return u
    of_rows = of_rows[:, known]
    values, vectors = np.linalg.eigh((of_rows * w[:, None]).T @ of_rows)
    wide = values > FLAT
    whitened: Floats = u @ (vectors[:, wide] / np.sqrt(values[wide]))
    return whitened


def _length(points: Floats) -> Floats:
    """Return the distances (N,) of points (N, k) from 0."""
    length: Floats = np.sqrt(np.square(points).sum(axis=1))
    return length
