"""Detection of anomalies by low density, with scikit-learn's interface; see ``discoformer.anomalies``."""

import os
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OutlierMixin

from discoformer.analysis.typicality import Typicality
from discoformer.anomalies import Anomalies, Reference
from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.io.inputs import AnyFloats, Floats, is_real
from discoformer.onnx.finding import DEFAULT_NAME
from discoformer.onnx.names import Effort
from discoformer.onnx.placement import Device
from discoformer.sklearn.models import estimate_options, load_once, queries, sample_rows
from discoformer.table.cells import Rounding


class AnomalyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Detector of anomalies: rows of low typicality, as estimated by a pretrained model.

    The typicality of a row is low if its density is low, or if its values are rare in their columns (see
    ``discoformer.analysis.typicality``). ``predict`` labels a row as an anomaly (-1) if its typicality is
    below a threshold. The threshold is chosen so that a share ``contamination`` of the fitted rows are
    anomalies. ``find`` controls the false discovery rate instead, and returns the contribution of each
    column.

    >>> import numpy as np
    >>> from discoformer.sklearn import AnomalyDetector
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> detector = AnomalyDetector(device="cpu").fit(X)
    >>> detector.predict([[0.0, 0.0], [5.0, 0.0]])
    array([ 1, -1])
    >>> detector.find([[0.0, 0.0], [0.0, 9.0]], fdr=0.1).found
    array([False,  True])

    Args:
        contamination: Share of the fitted rows that ``predict`` labels as anomalies, above 0 and up to 0.5.
        model: Name of a released model, or a path to a folder (a string with a path separator, or a Path).
        device: ``"cpu"``, ``"cuda"`` (an error if it is not available), or ``"auto"`` (CUDA if possible).
        threads: Number of CPU threads; chosen by onnxruntime if None.
        seed: Seed of the random split into folds, for p-values.
        effort: ``"fast"`` or ``"best"``, as in ``discoformer.Model.estimate``.
        rounding: ``"auto"``, None, or steps by name or position of the column, as in
            ``discoformer.Model.estimate``.
        allow_singular: Whether the fitted rows may have constant or collinear columns, as in
            ``discoformer.Model.estimate``; rows off their affine hull have typicality -inf.

    Attributes:
        estimate_: The ``discoformer.Estimate`` of the fitted rows.
        offset_: The typicality below which ``predict`` labels a row as an anomaly.
        n_features_in_: Number of columns seen in ``fit``.
        feature_names_in_: Names of the columns seen in ``fit`` (D,), if all names are strings.
    """

    def __init__(
        self,
        contamination: float = 0.1,
        model: str | os.PathLike[str] = DEFAULT_NAME,
        device: Device = "auto",
        threads: int | None = None,
        seed: int = 0,
        effort: Effort = "fast",
        rounding: Rounding = "auto",
        allow_singular: bool = True,
    ) -> None:
        self.contamination = contamination
        self.model = model
        self.device = device
        self.threads = threads
        self.seed = seed
        self.effort = effort
        self.rounding = rounding
        self.allow_singular = allow_singular

    def fit(self, X: Any, y: Any = None) -> Self:
        """Estimate the density of a sample, without training.

        Args:
            X: Array-like (N, D), data units.
            y: Ignored; present for the interface of scikit-learn.

        Returns:
            The estimator itself.

        Raises:
            ValueError: X is not a matrix of finite numbers with 2 rows or more.
            InputError: A parameter is invalid.
            DegenerateDataError: All rows are the same; or, unless ``allow_singular``, a column is constant or
                columns are collinear.
            ModelNotFoundError: The model does not exist.

        Warns:
            DataWarning: Columns of a data frame are left out because they hold no numbers, or the rows are
                singular or contaminated.
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        if not (is_real(self.contamination) and 0 < self.contamination <= 0.5):
            raise InputError(
                f"contamination must be above 0 and up to 0.5, got {self.contamination!r}: pass the share of "
                "the fitted rows to label as anomalies"
            )
        self._rows: AnyFloats = sample_rows(self, X, copy=True)
        self.estimate_: Estimate = load_once(self).estimate(self._rows, **estimate_options(self))
        self._typicality = Typicality(self.estimate_)
        self.offset_ = float(np.quantile(self._score(self._rows), self.contamination))
        self.__dict__.pop("_reference", None)  # of an earlier fit
        return self

    def score_samples(self, X: Any) -> AnyFloats:
        """Return the typicality of each row. Lower values are more anomalous.

        It is 0 for a row as ordinary as the median of the fitted rows, and -1 one interquartile range below.
        Log-densities are those of ``estimate_``.

        Args:
            X: Array-like (M, D), data units.

        Returns:
            Array (M,).

        Raises:
            ValueError: X is not a matrix of finite numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        X = queries(self, X)
        return self._score(X)

    def decision_function(self, X: Any) -> AnyFloats:
        """Return ``score_samples(X) - offset_`` (M,), which is negative for anomalies.

        Arguments and errors are those of ``score_samples``.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """Return -1 for anomalies and 1 for all other rows, shape (M,).

        Arguments and errors are those of ``score_samples``.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> Floats:
        """Return cross-conformal p-values (M,) of new rows; see ``discoformer.anomalies``.

        The fitted rows must be a clean sample, without anomalies. The first call reads both halves of them.
        Arguments and errors are those of ``score_samples``.
        """
        X = queries(self, X)
        return self._reference.p_values(X)

    def find(self, X: Any, fdr: float = 0.1) -> Anomalies:
        """Find the anomalies among new rows. The fitted rows must be a clean sample, without anomalies.

        Args:
            X: Array-like (M, D), data units.
            fdr: Largest false discovery rate: the expected share of false anomalies among those found.

        Returns:
            The p-values, which rows are anomalies, their log-densities, and the contribution of each column.

        Raises:
            ValueError: As in ``score_samples``.
            InputError: ``fdr`` is not between 0 and 1, or too few rows were fitted.
            NotFittedError: ``fit`` was not called.
        """
        X = queries(self, X)
        return self._reference.find(X, fdr)

    def _score(self, rows: AnyFloats) -> AnyFloats:
        return self._typicality(rows.astype(np.float64)).astype(rows.dtype)

    @cached_property
    def _reference(self) -> Reference:
        options = estimate_options(self)
        return Reference(
            self._rows, model=self.estimate_.model, seed=self.seed, estimate=self.estimate_, **options
        )
