"""Density estimation with scikit-learn's interface.

Note on names: in scikit-learn, ``score`` is the mean log-likelihood of rows. The gradient of the log-density,
which the rest of this package calls the score, is ``log_density_gradient`` here.
"""

import os
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from discoformer.estimates import Estimate
from discoformer.io.inputs import AnyFloats, Floats
from discoformer.onnx.finding import DEFAULT_NAME
from discoformer.onnx.names import Effort
from discoformer.onnx.placement import Device
from discoformer.sklearn.models import estimate_options, load_once, queries, sample_rows
from discoformer.table.cells import Rounding


class DensityEstimator(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Density estimator that uses a pretrained model, with scikit-learn's interface.

    ``fit`` does not train. It encodes the rows and keeps them. A pickle holds the rows too, but of the model
    only the path and the hash. In a pipeline, log-densities are in the units of the transformed columns: do
    not compare them across transformers.

    >>> import numpy as np
    >>> from discoformer.sklearn import DensityEstimator
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> DensityEstimator(device="cpu").fit(X).score_samples([[0.0, 0.0]]).round()
    array([-2.])

    Args:
        model: Name of a released model, or a path to a folder (a string with a path separator, or a Path).
        device: ``"cpu"``, ``"cuda"`` (an error if it is not available), or ``"auto"`` (CUDA if possible).
        threads: Number of CPU threads; chosen by onnxruntime if None.
        effort: ``"fast"`` or ``"best"``, as in ``discoformer.Model.estimate``.
        rounding: ``"auto"``, None, or steps by name or position of the column, as in
            ``discoformer.Model.estimate``.
        allow_singular: Whether the fitted rows may have constant or collinear columns, as in
            ``discoformer.Model.estimate``; rows off their affine hull have log-density -inf.

    Attributes:
        estimate_: The fitted ``discoformer.Estimate``. Reasons to doubt it are in ``estimate_.diagnostics``.
        n_features_in_: Number of columns seen in ``fit``.
        feature_names_in_: Names of the columns seen in ``fit`` (D,), if all names are strings.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_NAME,
        device: Device = "auto",
        threads: int | None = None,
        effort: Effort = "best",
        rounding: Rounding = "auto",
        allow_singular: bool = True,
    ) -> None:
        self.model = model
        self.device = device
        self.threads = threads
        self.effort = effort
        self.rounding = rounding
        self.allow_singular = allow_singular

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the density of a sample, without training.

        Args:
            X: Array-like (N, D), data units.
            y: Ignored; present for the interface of scikit-learn.
            sample_weight: Array-like (N,), not negative, of any scale. Weights are not counts: the effective
                sample size is Kish's ``(sum w)^2 / sum w^2``, so doubling all weights changes nothing.

        Returns:
            The estimator itself.

        Raises:
            ValueError: X is not a matrix of finite numbers with 2 rows or more.
            InputError: The weights, the device, the number of threads or the effort are invalid.
            DegenerateDataError: All rows are the same; or, unless ``allow_singular``, a column is constant or
                columns are collinear.
            ModelNotFoundError: The model does not exist.

        Warns:
            DataWarning: Columns of a data frame are left out because they hold no numbers, or the rows are
                singular or contaminated.
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        X = sample_rows(self, X)
        self.estimate_: Estimate = load_once(self).estimate(X, sample_weight, **estimate_options(self))
        return self

    def score_samples(self, X: Any) -> AnyFloats:
        """Return the log-density at each row, in nats, of the density in data units; it may be positive.

        Args:
            X: Array-like (M, D), data units.

        Returns:
            Array (M,).

        Raises:
            ValueError: X is not a matrix of finite numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        X = queries(self, X)
        return self.estimate_.log_density(X)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-likelihood of the rows, in nats per row; cross-validation maximises it.

        This is the convention of ``GaussianMixture``. ``KernelDensity`` returns the sum over the rows.

        Args:
            X: Array-like (M, D), data units.
            y: Ignored; present for the interface of scikit-learn.

        Raises:
            ValueError: X is not a matrix of finite numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        return float(self.score_samples(X).mean(dtype=np.float64))

    def log_density_gradient(self, X: Any) -> AnyFloats:
        """Return the gradient of the log-density at each row, in 1 / data units.

        The rest of this package calls it the score. In scikit-learn that name means the figure of merit.

        Args:
            X: Array-like (M, D), data units.

        Returns:
            Array (M, D).

        Raises:
            ValueError: X is not a matrix of finite numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        X = queries(self, X)
        return self.estimate_.score(X)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Floats:
        """Draw new rows from the estimated density: exactly, or by Langevin chains with ``effort="best"``.

        As in ``KernelDensity``, the result is an array. ``GaussianMixture`` returns labels too.

        Args:
            n_samples: Number of rows.
            random_state: Seed for reproducible rows, ``RandomState``, or None.

        Returns:
            Array (n_samples, D), data units, float64.

        Raises:
            InputError: ``n_samples`` is not a whole number of 1 or more.
            NotFittedError: ``fit`` was not called.
        """
        check_is_fitted(self)
        return self.estimate_.sample(n_samples, seed=int(check_random_state(random_state).randint(2**31 - 1)))
