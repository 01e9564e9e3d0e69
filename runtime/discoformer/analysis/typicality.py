r"""Typicality: how ordinary a row is, from the two ways in which it may be unusual.

With the mixture of Student-t distributions of an estimate, ``f_j`` its marginal of column j, and ``T`` the
log-density of the estimate::

    whole(y) = T(y)        columns(y) = sum_j log f_j(y_j)
    typicality(y) = min over both of (value at y - median) / interquartile range

The medians and ranges are over the rows of the sample (256 of many, evenly spaced in the ranks of ``|z|``
in the frame). So 0 is as ordinary as the median row, and -1 is
one interquartile range below. The lower, the more anomalous. Rows off the affine hull of a singular sample
have typicality -inf.

**Why two.** The joint density knows how columns go together. But anomalies that lie close together, within
the sample, are a mode of it: they hide each other. In single columns they overlap with other rows, so the
marginals see what is rare in a column all the same. Either one suffices to make a row unusual, hence the
minimum. (Measured in benchmarks/accuracy/adbench.)

**Marginals.** A component has centre ``m_k`` and inverse root ``F_k^-1`` in the frame, ``f_k`` degrees of
freedom and weight ``w_k``. With the row ``b_j`` of the inverse of the frame's map, column j has the density::

    f_j(x) = sum_k w_k t_(f_k)((x - c_kj) / s_kj) / s_kj,    c_kj = center_j + m_k b_j,  s_kj = |F_k^-T b_j|

**Exactness.** The order of the rows does not matter. Typicality does not change if columns are shifted,
scaled or permuted. Marginals depend on the choice of the columns, so other affine maps change it.

Shapes: K components, M queries, D columns.
"""

import numpy as np

from discoformer.base.arrays import inverse_root, or_one, slices
from discoformer.base.landmarks import evenly_spaced
from discoformer.base.mixture import log_peak
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats
from discoformer.onnx.graphs import CHUNK

QUARTILES = (0.25, 0.5, 0.75)
MEASURED = 256  # rows of the sample that they are taken over; of large samples, none is a landmark
_FARTHEST = 1e15  # spreads of a column; farther values count as this far out
_BLOCK = 2**17  # pairs of a value and a component in memory at a time


class Typicality:
    """The typicality of rows, under one estimate.

    Args:
        fitted: The estimate.
    """

    def __init__(self, fitted: FittedDensity) -> None:
        self.fitted = fitted.without_sample()
        self._columns = ColumnDensities(fitted)
        points, weights = fitted.data
        radius = np.square(fitted.reach_in_frame(points)).sum(axis=1)
        some = evenly_spaced(radius[None], weights[None], MEASURED)[0]
        low, self._median, high = np.quantile(self._both(points[some]), QUARTILES, axis=1)
        self._range = or_one(high - low)

    def __call__(self, rows: Floats) -> Floats:
        """Return the typicality (M,) of finite rows (M, D), data units."""
        found: Floats = ((self._both(rows).T - self._median) / self._range).min(axis=1)
        found[self.fitted.off_hull(rows)] = -np.inf
        return found

    def _both(self, rows: Floats) -> Floats:
        """Return both log-densities (2, M) at rows (M, D), up to constants."""
        z = self.fitted.reach_in_frame(rows)
        whole = np.concatenate([self.fitted.log_density_in_frame(z[p]) for p in slices(len(z), CHUNK)])
        return np.stack([whole, self._columns(rows)])


class ColumnDensities:
    """The marginal densities of all columns of an estimate's mixture.

    Args:
        fitted: The estimate.
    """

    def __init__(self, fitted: FittedDensity) -> None:
        log_scale, means, factors, freedom = (field[0] for field in fitted.components)
        center = fitted.frame.center
        axes = fitted.frame.inverse_of(range(len(center)))  # (r, D), rows b_j as columns
        unit = np.linalg.norm(axes, axis=0)
        self._varies = np.flatnonzero(unit)
        self._center, self._unit = center[self._varies], unit[self._varies]
        axes = axes[:, self._varies] / self._unit
        scale = np.sqrt(np.square(inverse_root(factors).mT @ axes).sum(axis=1)).T  # (D, K) s
        self._means = (means @ axes).T  # (D, K) c
        self._per_scale = 1 / (scale * np.sqrt(freedom))
        peak = log_peak(np.ones((len(freedom), 1, 1)), freedom)
        self._log_scale = (log_scale - log_peak(factors, freedom) + peak - np.log(scale)).astype(np.float32)
        self._power = (-0.5 * (freedom + 1)).astype(np.float32)

    def __call__(self, Y: Floats) -> Floats:
        """Return the sum over columns (M,) of their log-densities at rows (M, D), up to a constant."""
        total = np.zeros(len(Y))
        for j, column in enumerate(self._varies):
            with np.errstate(over="ignore"):
                u = np.clip((Y[:, column] - self._center[j]) / self._unit[j], -_FARTHEST, _FARTHEST)
            values, place = np.unique(u, return_inverse=True)  # rounded columns have few
            parts = slices(len(values), max(16, _BLOCK // len(self._power)))
            total += np.concatenate([self._log_density(j, values[part]) for part in parts])[place]
        return total

    def _log_density(self, j: int, u: Floats) -> Floats:
        """Return the log-density (n,) of column j at values (n,), in units of the column."""
        joint = np.square((u[:, None] - self._means[j]) * self._per_scale[j]).astype(np.float32)
        joint += 1
        np.log(joint, out=joint)
        joint *= self._power
        joint += self._log_scale[j]
        greatest = joint.max(axis=1, keepdims=True)
        joint -= greatest
        np.exp(joint, out=joint)
        found: Floats = greatest[:, 0] + np.log(joint.sum(axis=1, dtype=np.float64))
        return found
