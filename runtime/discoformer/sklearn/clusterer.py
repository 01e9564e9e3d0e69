"""Clusters by modes, with scikit-learn's interface; see ``discoformer.analysis.modes``."""

import os
from typing import Any, Self

from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from discoformer.analysis.modes import PROMINENCE, Modes, modes_of
from discoformer.estimates import Estimate
from discoformer.model import DEFAULT_NAME
from discoformer.onnx.sessions import Device
from discoformer.sklearn.models import WIDTHS, load_once


class DensityClusterer(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Clusters by the modes of the density: a mean shift without a bandwidth.

    >>> import numpy as np
    >>> from discoformer.sklearn import DensityClusterer
    >>> X = np.random.default_rng(0).normal(size=(200, 2)) + np.repeat([[0, 0], [9, 9]], 100, axis=0)
    >>> np.bincount(DensityClusterer(device="cpu").fit_predict(X))
    array([100, 100])

    Args:
        prominence: Nats that must be lost on the way from a mode to a higher one; modes of less are no
            clusters of their own.
        model, device, threads: As in ``DensityEstimator``.

    Attributes:
        labels_: The cluster of each row (N,), 0 for that of the highest mode.
        cluster_centers_: The modes (K, D), data units.
        modes_: The same as ``discoformer.Modes``, with their log-density and prominence.
        estimate_: The fitted ``discoformer.Estimate``.
        n_features_in_: Number of columns seen in ``fit``.
        feature_names_in_: Their names (D,), where they had names that are all strings.
    """

    def __init__(
        self,
        prominence: float = PROMINENCE,
        model: str | os.PathLike[str] = DEFAULT_NAME,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        self.prominence = prominence
        self.model = model
        self.device = device
        self.threads = threads

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Reads a sample, and finds its modes.

        Args:
            X: Array-like (N, D), data units.
            y: Ignored; scikit-learn passes it.
            sample_weight: As in ``DensityEstimator.fit``.

        Returns:
            The estimator itself.

        Raises:
            ValueError: As ``DensityEstimator.fit``, or ``prominence`` is negative.

        Warns:
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        X = validate_data(self, X, dtype=WIDTHS, ensure_min_samples=2)
        self.estimate_: Estimate = load_once(self.model, self.device, self.threads).estimate(X, sample_weight)
        self.modes_: Modes = modes_of(self.estimate_, X).merged(self.prominence)
        self.cluster_centers_ = self.modes_.points
        self.labels_ = self.modes_.labels
        return self

    def predict(self, X: Any) -> Any:
        """The cluster of rows: the mode to which each climbs.

        Args:
            X: Array-like (M, D), data units.

        Returns:
            Array (M,) of integers.

        Raises:
            ValueError: X is no matrix of finite numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=WIDTHS, reset=False)
        return modes_of(self.estimate_, X).merged(self.prominence).labels
