"""Density estimation with scikit-learn's interface.

scikit-learn's ``score`` is the mean log-likelihood of rows. What this package calls the score, the gradient
of the log-density, is ``log_density_gradient`` here.
"""

import os
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from discoformer.estimates import Estimate
from discoformer.io.inputs import AnyFloats, Floats
from discoformer.model import DEFAULT_NAME
from discoformer.onnx.sessions import Device
from discoformer.sklearn.models import WIDTHS, load_once


class DensityEstimator(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Density estimation by a model that was trained once, with scikit-learn's interface.

    ``fit`` trains nothing: it encodes the rows, which the fitted estimator holds. A pickle holds them too,
    but only the place and the hash of the model. In a pipeline, log-densities are those of the transformed
    columns, in their units: do not compare them across transformers.

    >>> import numpy as np
    >>> from discoformer.sklearn import DensityEstimator
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> DensityEstimator(device="cpu").fit(X).score_samples([[0.0, 0.0]]).round()
    array([-2.])

    Args:
        model: Name of a released model, or a path to a folder (a string with a path separator, or a Path).
        device: ``"cpu"``, ``"cuda"`` (an error where it cannot be had), or ``"auto"`` (CUDA where possible).
        threads: CPU threads; onnxruntime's own choice by default.

    Attributes:
        estimate_: The fitted ``discoformer.Estimate``; causes of doubt are in ``estimate_.diagnostics``.
        n_features_in_: Number of columns seen in ``fit``.
        feature_names_in_: Their names (D,), where they had names that are all strings.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_NAME,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        self.model = model
        self.device = device
        self.threads = threads

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Reads a sample.

        Args:
            X: Array-like (N, D), data units.
            y: Ignored; scikit-learn passes it.
            sample_weight: Array-like (N,), not negative, of any scale. These are no counts: what the sample
                is worth is Kish's ``(sum w)^2 / sum w^2``, so doubling all weights changes nothing.

        Returns:
            The estimator itself.

        Raises:
            ValueError: X is no matrix of finite numbers with 2 rows or more.
            InputError: Weights, device or threads are malformed.
            DegenerateDataError: A constant column, or collinear columns.
            ModelNotFoundError: No such model.

        Warns:
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        X = validate_data(self, X, dtype=WIDTHS, ensure_min_samples=2)
        self.estimate_: Estimate = load_once(self.model, self.device, self.threads).estimate(X, sample_weight)
        return self

    def score_samples(self, X: Any) -> AnyFloats:
        """Log-density at rows, in nats, of the density in data units: it may be positive.

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

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of rows, in nats per row: what cross-validation maximises.

        This is the convention of ``GaussianMixture``; ``KernelDensity`` gives the sum over the rows.

        Args:
            X: Array-like (M, D), data units.
            y: Ignored; scikit-learn passes it.

        Raises:
            ValueError: X is no matrix of finite numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        return float(self.score_samples(X).mean(dtype=np.float64))

    def log_density_gradient(self, X: Any) -> AnyFloats:
        """Gradient of the log-density at rows, in 1 / data units.

        Elsewhere in this package, and in statistics, this is the score; here that name is taken by
        scikit-learn's figure of merit.

        Args:
            X: Array-like (M, D), data units.

        Returns:
            Array (M, D).

        Raises:
            ValueError: X is no matrix of finite numbers with the columns seen in ``fit``.
            NotFittedError: ``fit`` was not called.
        """
        X = self._check(X)
        return self.estimate_.score(X)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Floats:
        """Draws new rows from the estimated density, by Langevin chains.

        As in ``KernelDensity``, an array comes back, without the labels that ``GaussianMixture`` gives.

        Args:
            n_samples: How many rows.
            random_state: Whole number for the same rows each time, ``RandomState``, or None.

        Returns:
            Array (n_samples, D), data units, float64.

        Raises:
            InputError: ``n_samples`` is no whole number of 1 or more.
            NotFittedError: ``fit`` was not called.
        """
        check_is_fitted(self)
        return self.estimate_.sample(n_samples, seed=int(check_random_state(random_state).randint(2**31 - 1)))

    def _check(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, dtype=WIDTHS, reset=False)
