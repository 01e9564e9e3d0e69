"""Density estimators to compare with on tables, judged by their average over cells (see ``cells``).

Each is a function of training rows (N, D), the cells of M test rows and a seed. It returns the log of the
average (M,) of the density over each cell, in nats. It uses nothing but the training rows, standardised.

The vine copula is that of pyvinecopulib (MIT licence), with its own kernel estimator for the margins:
``f(x) = c(F_1(x_1), .., F_D(x_D)) f_1(x_1) .. f_D(x_D)``. The average of a margin over a cell is exact, and
the copula is averaged over the ranks F of the cell. That estimator is zero beyond the sample. Without more, a
single test row there would decide a table. So each margin gets a share ``1 / (N + 1)`` of a Cauchy
distribution with the median and quartiles of the column.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyvinecopulib as pv
from pyvinecopulib.core import Kde1d
from scipy.stats import cauchy
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

from benchmarks.common.cells import Cells, Gaussians, average, average_of, spread
from benchmarks.common.data_sets import Floats
from benchmarks.common.estimators import flow, kernel_by_leave_one_out
from discoformer_training.evaluation.baselines import MAX_COMPONENTS, fit_mixture_by_bic

CellEstimator = Callable[[Floats, Cells, int], Floats]

FLOW = "flow"
BAYESIAN_STEPS = 500  # most iterations
LEAST = 1e-300  # of a probability or a copula density, before its logarithm
EDGE = 1e-10  # least distance of ranks from 0 and 1


def standardised(estimator: CellEstimator) -> CellEstimator:
    """Return an estimator that reads columns of mean 0 and variance 1."""

    def estimate(train: Floats, cells: Cells, seed: int) -> Floats:
        center, scale = train.mean(axis=0), train.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        found = estimator((train - center) / scale, cells.scaled(center, scale), seed)
        return found - np.log(scale).sum()

    return estimate


def kde(train: Floats, cells: Cells, seed: int) -> Floats:
    """Gaussian KDE. Leave-one-out likelihood selects bandwidth and coordinates (standardised or whitened)."""
    del seed
    axes, bandwidth = kernel_by_leave_one_out(train)
    root = np.linalg.inv(axes / bandwidth).T  # lower triangular, as the axes are upper triangular
    weights = np.full(len(train), -np.log(len(train)))
    return average_of(Gaussians(weights, train, root[None]), cells)


def em_bic(train: Floats, cells: Cells, seed: int) -> Floats:
    """Gaussian mixture by EM with full covariances. BIC selects 1 to 12 components."""
    del seed
    fitted = fit_mixture_by_bic(train)
    return average_of(_gaussians(fitted.weights_, fitted.means_, fitted.covariances_), cells)


def bayesian(train: Floats, cells: Cells, seed: int) -> Floats:
    """Bayesian Gaussian mixture of scikit-learn, 12 components or fewer, at the means of its parameters."""
    mixture = BayesianGaussianMixture(
        n_components=min(MAX_COMPONENTS, len(train)), max_iter=BAYESIAN_STEPS, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(train)
    return average_of(_gaussians(mixture.weights_, mixture.means_, mixture.covariances_), cells)


def _gaussians(weights: Floats, means: Floats, covariances: Floats) -> Gaussians:
    present = weights > 0
    return Gaussians(np.log(weights[present]), means[present], np.linalg.cholesky(covariances[present]))


def spline_flow(train: Floats, cells: Cells, seed: int) -> Floats:
    """A neural spline flow in whitened coordinates, trained on this table with early stopping."""
    return average(lambda points: flow(train, points, seed), cells)


class Margin(NamedTuple):
    """A kernel estimate of one column, with a small share of a Cauchy distribution."""

    kernel: Kde1d
    tail: cauchy
    share: float  # of the tail

    def cdf(self, x: Floats) -> Floats:
        """Return the probability (n,) of values up to x (n,)."""
        return (1 - self.share) * self.kernel.cdf(x) + self.share * self.tail.cdf(x)

    def density(self, x: Floats) -> Floats:
        """Return the density (n,) at x (n,)."""
        return (1 - self.share) * self.kernel.pdf(x) + self.share * self.tail.pdf(x)


def fit_margin(column: Floats) -> Margin:
    """Fit a margin to a column (N,)."""
    kernel = Kde1d()
    kernel.fit(column)
    low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
    scale = (high - low) / 2 or column.std() or 1.0
    return Margin(kernel, cauchy(middle, scale), 1 / (len(column) + 1))


def vine(train: Floats, cells: Cells, seed: int, *, families: Sequence[pv.BicopFamily]) -> Floats:
    """A vine copula whose pair copulas are chosen from some families by AIC, with kernel margins."""
    del seed
    margins = [fit_margin(column) for column in train.T]
    ranks = np.stack([margin.cdf(column) for margin, column in zip(margins, train.T, strict=True)], axis=1)
    low, high = (
        np.stack([margin.cdf(column) for margin, column in zip(margins, side.T, strict=True)], axis=1)
        for side in cells
    )
    found = np.zeros(len(low))
    for j, rounded in enumerate(cells.is_rounded):
        if rounded:
            average_density = (high - low)[:, j] / (cells.high - cells.low)[:, j]
        else:
            average_density = margins[j].density(cells.low[:, j])
        found += np.log(np.maximum(average_density, LEAST))
    if train.shape[1] == 1:
        return found
    controls = pv.FitControlsVinecop(family_set=list(families), num_threads=1)
    copula = pv.Vinecop.from_data(np.clip(ranks, EDGE, 1 - EDGE), controls=controls)
    points = np.clip(spread(Cells(low, high)), EDGE, 1 - EDGE)
    densities = copula.pdf(points.reshape(-1, points.shape[2])).reshape(points.shape[:2])
    return found + np.log(np.maximum(densities.mean(axis=1), LEAST))


ESTIMATORS: dict[str, CellEstimator] = {
    "KDE": standardised(kde),
    "EM, BIC": standardised(em_bic),
    "Bayesian mixture": standardised(bayesian),
    "vine, TLL": standardised(partial(vine, families=(pv.families.indep, pv.families.tll))),
    "vine, all families": standardised(partial(vine, families=pv.families.all)),
    FLOW: standardised(spline_flow),
}
