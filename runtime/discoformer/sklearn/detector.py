"""Anomalies by low density, with scikit-learn's interface; see ``discoformer.anomalies``."""

import os
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from discoformer.anomalies import Anomalies, Reference
from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.io.inputs import AnyFloats, Floats, is_real
from discoformer.model import DEFAULT_NAME
from discoformer.onnx.sessions import Device
from discoformer.sklearn.models import WIDTHS, load_once


class AnomalyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Detects anomalies: rows of low density, as estimated by a model that was trained once.

    ``predict`` calls rows anomalies (-1) that are less dense than all but a share ``contamination`` of the
    rows fitted. ``find`` controls the false discovery rate instead, and says which columns are to blame.

    >>> import numpy as np
    >>> from discoformer.sklearn import AnomalyDetector
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> detector = AnomalyDetector(device="cpu").fit(X)
    >>> detector.predict([[0.0, 0.0], [5.0, 0.0]])
    array([ 1, -1])
    >>> detector.find([[0.0, 0.0], [0.0, 9.0]], fdr=0.1).found
    array([False,  True])

    Args:
        contamination: Share of the rows fitted that ``predict`` calls anomalies, above 0 and up to 0.5.
        model: Name of a released model, or a path to a folder (a string with a path separator, or a Path).
        device: ``"cpu"``, ``"cuda"`` (an error where it cannot be had), or ``"auto"`` (CUDA where possible).
        threads: CPU threads; onnxruntime's own choice by default.
        seed: Of the deal into folds, for p-values.

    Attributes:
        estimate_: The ``discoformer.Estimate`` of the rows fitted.
        offset_: The log-density (nats) below which a row is called an anomaly.
        n_features_in_: Number of columns seen in ``fit``.
        feature_names_in_: Their names (D,), where they had names that are all strings.
    """

    def __init__(
        self,
        contamination: float = 0.1,
        model: str | os.PathLike[str] = DEFAULT_NAME,
        device: Device = "auto",
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        self.contamination = contamination
        self.model = model
        self.device = device
        self.threads = threads
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> Self:
        """Reads a sample; nothing is trained.

        Args:
            X: Array-like (N, D), data units.
            y: Ignored; scikit-learn passes it.

        Returns:
            The estimator itself.

        Raises:
            ValueError: X is no matrix of finite numbers with 2 rows or more.
            InputError: An option is malformed.
            DegenerateDataError: A constant column, or collinear columns.
            ModelNotFoundError: No such model.

        Warns:
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        if not (is_real(self.contamination) and 0 < self.contamination <= 0.5):
            raise InputError(f"contamination must be above 0 and up to 0.5, got {self.contamination!r}")
        self._rows: AnyFloats = validate_data(self, X, dtype=WIDTHS, ensure_min_samples=2, copy=True)
        self.estimate_: Estimate = load_once(self.model, self.device, self.threads).estimate(self._rows)
        self.offset_ = float(np.quantile(self.estimate_.log_density(self._rows), self.contamination))
        self.__dict__.pop("_reference", None)  # of an earlier fit
        return self

    def score_samples(self, X: Any) -> AnyFloats:
        """Log-density at rows, in nats: the lower, the stranger.

        Args:
            X: Array-like (M, D), data units.

        Returns:
            Array (M,).

        Raises:
            ValueError: X is no matrix of finite numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        X = self._check(X)
        return self.estimate_.log_density(X)

    def decision_function(self, X: Any) -> AnyFloats:
        """``score_samples`` less ``offset_``: negative at anomalies. Arguments and errors are the same."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """-1 at anomalies, 1 elsewhere (M,). Arguments and errors are those of ``score_samples``."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> Floats:
        """Cross-conformal p-values (M,), for new rows and a clean sample; see ``conformal``.

        The first call takes six encodings. Arguments and errors are those of ``score_samples``.
        """
        X = self._check(X)
        return self._reference.p_values(X)

    def find(self, X: Any, fdr: float = 0.1) -> Anomalies:
        """Finds the anomalies among new rows, where the rows fitted are a clean sample.

        Args:
            X: Array-like (M, D), data units.
            fdr: False discovery rate, the mean share of false ones among those found, at most.

        Returns:
            p-values, which rows are found, log-densities, and the columns to blame.

        Raises:
            ValueError: As in ``score_samples``.
            InputError: ``fdr`` is not between 0 and 1, or too few rows were fitted.
            NotFittedError: ``fit`` was not called.
        """
        X = self._check(X)
        return self._reference.find(X, fdr)

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self._rows, model=self.estimate_.model, seed=self.seed)

    def _check(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, dtype=WIDTHS, reset=False)
