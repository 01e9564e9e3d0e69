"""Clustering by modes of the density, with scikit-learn's interface; see ``discoformer.analysis.modes``."""

import os
from typing import Any, Self

from sklearn.base import BaseEstimator, ClusterMixin

from discoformer.analysis.modes import PROMINENCE, Modes, modes_of
from discoformer.estimates import Estimate
from discoformer.onnx.finding import DEFAULT_NAME
from discoformer.onnx.names import Effort
from discoformer.onnx.placement import Device
from discoformer.sklearn.models import estimate_options, load_once, queries, sample_rows
from discoformer.table.cells import Rounding


class DensityClusterer(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Clustering by the modes of the density: like mean shift, but without a bandwidth.

    >>> import numpy as np
    >>> from discoformer.sklearn import DensityClusterer
    >>> X = np.random.default_rng(0).normal(size=(200, 2)) + np.repeat([[0, 0], [9, 9]], 100, axis=0)
    >>> np.bincount(DensityClusterer(device="cpu").fit_predict(X))
    array([100, 100])

    Model, device, threads, effort, rounding and allow_singular are as in ``DensityEstimator``.

    Args:
        prominence: Smallest prominence of a cluster, in nats. The prominence of a mode is the drop in
            log-density on the best path to a higher mode. A mode with less belongs to the cluster of the
            higher mode.

    Attributes:
        labels_: The cluster of each row (N,). The cluster of the highest mode is 0.
        cluster_centers_: The modes (K, D), data units.
        modes_: The modes as ``discoformer.Modes``, with their log-densities and prominences.
        estimate_: The fitted ``discoformer.Estimate``.
        n_features_in_: Number of columns seen in ``fit``.
        feature_names_in_: Names of the columns seen in ``fit`` (D,), if all names are strings.
    """

    def __init__(
        self,
        prominence: float = PROMINENCE,
        model: str | os.PathLike[str] = DEFAULT_NAME,
        device: Device = "auto",
        threads: int | None = None,
        effort: Effort = "best",
        rounding: Rounding = "auto",
        allow_singular: bool = True,
    ) -> None:
        self.prominence = prominence
        self.model = model
        self.device = device
        self.threads = threads
        self.effort = effort
        self.rounding = rounding
        self.allow_singular = allow_singular

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the density of a sample, and find its modes.

        Args:
            X: Array-like (N, D), data units.
            y: Ignored; present for the interface of scikit-learn.
            sample_weight: As in ``DensityEstimator.fit``.

        Returns:
            The estimator itself.

        Raises:
            ValueError: As in ``DensityEstimator.fit``, or ``prominence`` is negative.

        Warns:
            DataWarning: Columns of a data frame are left out because they hold no numbers, or the rows are
                singular or contaminated.
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        X = sample_rows(self, X)
        self.estimate_: Estimate = load_once(self).estimate(X, sample_weight, **estimate_options(self))
        self.modes_: Modes = modes_of(self.estimate_, X).merged(self.prominence)
        self.cluster_centers_ = self.modes_.points
        self.labels_ = self.modes_.labels
        return self

    def predict(self, X: Any) -> Any:
        """Return the cluster of each row: that of the mode which the row climbs to.

        Args:
            X: Array-like (M, D), data units.

        Returns:
            Array (M,) of integers.

        Raises:
            ValueError: X is not a matrix of finite numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        X = queries(self, X)
        return modes_of(self.estimate_, X).merged(self.prominence).labels
