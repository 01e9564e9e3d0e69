"""Imputation of missing entries with scikit-learn's interface; see ``discoformer.analysis.imputation``."""

import os
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin

from discoformer.analysis.imputation import SAMPLES
from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.io.inputs import AnyFloats
from discoformer.io.tables import Table
from discoformer.onnx.finding import DEFAULT_NAME
from discoformer.onnx.names import Effort
from discoformer.onnx.placement import Device
from discoformer.sklearn.models import estimate_options, load_once, queries, sample_rows
from discoformer.table.cells import Rounding


class DensityImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Imputer of missing entries (NaN): by their mean, or by a draw, given the other entries of their row.

    ``fit`` uses the complete rows and ignores all others.

    >>> import numpy as np
    >>> from discoformer.sklearn import DensityImputer
    >>> x = np.random.default_rng(0).normal(size=400)
    >>> imputer = DensityImputer(device="cpu").fit(np.c_[x, 2 * x + 0.1 * x**3])
    >>> imputer.transform([[1.0, np.nan]]).round()
    array([[1., 2.]])

    Model, device, threads, effort, rounding and allow_singular are as in ``DensityEstimator``.

    Args:
        sample: Whether to fill in draws, which keep the spread of the data, instead of means.
        samples: Number of points that each row is imputed from; more are slower and more accurate.
        seed: Seed of these points and of the draws.

    Attributes:
        estimate_: The fitted ``discoformer.Estimate``.
        n_complete_: Number of complete rows, from which the density is estimated.
        n_features_in_: Number of columns seen in ``fit``.
        feature_names_in_: Names of the columns seen in ``fit`` (D,), if all names are strings.
    """

    def __init__(
        self,
        sample: bool = False,
        samples: int = SAMPLES,
        seed: int = 0,
        model: str | os.PathLike[str] = DEFAULT_NAME,
        device: Device = "auto",
        threads: int | None = None,
        effort: Effort = "best",
        rounding: Rounding = "auto",
        allow_singular: bool = True,
    ) -> None:
        self.sample = sample
        self.samples = samples
        self.seed = seed
        self.model = model
        self.device = device
        self.threads = threads
        self.effort = effort
        self.rounding = rounding
        self.allow_singular = allow_singular

    def fit(self, X: Any, y: Any = None) -> Self:
        """Estimate the density of the complete rows of a sample.

        Args:
            X: Array-like (N, D), data units, with NaN for missing entries.
            y: Ignored; present for the interface of scikit-learn.

        Returns:
            The estimator itself.

        Raises:
            ValueError: X is not a matrix of numbers, or has fewer than 2 complete rows.
            DegenerateDataError: All rows are the same; or, unless ``allow_singular``, a column is constant or
                columns are collinear.

        Warns:
            DataWarning: Columns of a data frame are left out because they hold no numbers, or the rows are
                singular or contaminated.
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        X = sample_rows(self, X, ensure_all_finite="allow-nan")
        rows = np.flatnonzero(~np.isnan(X).any(axis=1))
        if len(rows) < 2:
            raise InputError(
                f"X must have 2 complete rows or more, got {len(rows)} of {len(X)}: leave out columns "
                "with many missing entries"
            )
        self.n_complete_ = len(rows)
        complete = Table(X[rows], None, rows)
        self.estimate_: Estimate = load_once(self).estimate(complete, **estimate_options(self))
        return self

    def transform(self, X: Any) -> AnyFloats:
        """Fill in the missing entries of rows; all other entries stay as they are.

        Args:
            X: Array-like (M, D), data units, with NaN for missing entries.

        Returns:
            Array (M, D).

        Raises:
            ValueError: X is not a matrix of numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        X = queries(self, X, ensure_all_finite="allow-nan")
        if self.sample:
            return self.estimate_.impute(X, 1, self.samples, self.seed)[0]
        return self.estimate_.impute(X, None, self.samples, self.seed)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
