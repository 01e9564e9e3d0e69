"""The interface of ``scipy.stats.gaussian_kde`` with the estimates of this package.

To switch a script, change its import::

    from discoformer.scipy import DensityEstimate as gaussian_kde

Arrays are (D, N) as in SciPy: *columns* are points. There is no bandwidth. The methods ``integrate_*`` and
``marginal`` are not available. SciPy itself is not needed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError
from discoformer.io.inputs import AnyFloats, Floats, read_matrix, read_weights
from discoformer.model import Model, estimate
from discoformer.onnx.names import Effort
from discoformer.table.cells import Rounding


class DensityEstimate:
    """Estimate of the density, log-density and score of a data set, with SciPy's conventions.

    >>> import numpy as np
    >>> from discoformer.scipy import DensityEstimate as gaussian_kde
    >>> kde = gaussian_kde(np.random.default_rng(0).normal(size=(2, 500)))
    >>> kde([0.0, 0.0]).shape, kde.logpdf(np.zeros((2, 7))).shape
    ((1,), (7,))

    Attributes:
        dataset: The data (D, N).
        d: Number of dimensions D.
        n: Number of points N.
        weights: Weights of the points (N,), with sum 1.
        neff: Effective number of points, Kish's ``1 / sum(weights**2)``.
    """

    def __init__(
        self,
        dataset: Any,
        bw_method: None = None,
        weights: Any = None,
        *,
        model: Model | None = None,
        effort: Effort = "best",
        rounding: Rounding = "auto",
    ) -> None:
        """Estimate the density of a data set.

        Args:
            dataset: Array-like (D, N), or (N,) in one dimension; data units.
            bw_method: Must be None, since there is no bandwidth. It keeps the order of SciPy's arguments.
            weights: Array-like (N,), not negative, of any scale.
            model: A loaded model. By default the default model, which is loaded once.
            effort: ``"fast"`` or ``"best"``, as in ``discoformer.Model.estimate``.
            rounding: As in ``discoformer.Model.estimate``; the columns there are the rows of ``dataset``.

        Raises:
            InputError: An argument is invalid or not finite, or there are more dimensions than points.
            DegenerateDataError: There is a single point, or all points are in a subspace.
            ModelError: The model has no files for this effort.

        Warns:
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        if bw_method is not None:
            raise InputError(
                f"bw_method must be None, got {bw_method!r}: leave it out, there is no bandwidth to choose"
            )
        columns = np.atleast_2d(np.asanyarray(dataset))
        _check_orientation(columns)
        with _transposed("X", "dataset"):
            X = read_matrix("X", columns.T).values
            self.weights = _normalised(weights, len(X))
            ask = model.estimate if model else estimate
            self._estimate = ask(X, weights, effort=effort, rounding=rounding)
        self.dataset: Floats = X.T
        self.d, self.n = self.dataset.shape
        self.neff = float(1 / np.sum(self.weights**2))

    def evaluate(self, points: Any) -> AnyFloats:
        """Return the density at points, in 1 / data units to the power D.

        ``pdf`` does the same, and so does calling the object.

        Args:
            points: Array-like (D, M), data units; (D,) for a single point, (M,) in one dimension.

        Returns:
            Array (M,), float64.

        Raises:
            InputError: The points are not finite numbers, or have another number of dimensions.
        """
        return self._answer(self._estimate.density, points)

    __call__ = evaluate

    def pdf(self, points: Any) -> AnyFloats:
        """Return the density at points; see ``evaluate``."""
        return self.evaluate(points)

    def logpdf(self, points: Any) -> AnyFloats:
        """Return the log-density at points, in nats. It is finite even if the density underflows to 0.

        Args:
            points: As in ``evaluate``.

        Returns:
            Array (M,), float64.

        Raises:
            InputError: As in ``evaluate``.
        """
        return self._answer(self._estimate.log_density, points)

    def score(self, points: Any) -> AnyFloats:
        """Return the gradient of the log-density at points, in 1 / data units. SciPy has no such method.

        Args:
            points: As in ``evaluate``.

        Returns:
            Array (D, M), float64.

        Raises:
            InputError: As in ``evaluate``.
        """
        return self._answer(self._estimate.score, points).T

    def resample(self, size: int | None = None, seed: Any = None) -> Floats:
        """Draw new points from the estimated density: exactly, or by Langevin chains with ``effort="best"``.

        Args:
            size: Number of points. By default the effective number of points, rounded down.
            seed: Whole number, ``RandomState`` or ``Generator`` for reproducible points, or None.

        Returns:
            Array (D, size), data units, float64.

        Raises:
            InputError: ``size`` is not a whole number of 1 or more.
        """
        size = int(self.neff * (1 + 1e-9)) if size is None else size
        return self._estimate.sample(size, seed=_whole_seed(seed)).T

    def _answer(self, ask: Callable[[Floats], AnyFloats], points: Any) -> AnyFloats:
        """Call a method of the estimate with points in SciPy's shapes."""
        columns = np.atleast_2d(np.asanyarray(points))
        if columns.shape == (1, self.d):
            columns = columns.T
        if columns.ndim != 2 or len(columns) != self.d:
            raise InputError(
                f"points must have shape ({self.d}, M), or ({self.d},) for a single point, got "
                f"{np.shape(points)}: transpose them if rows are points"
            )
        with _transposed("Y", "points"):
            return ask(read_matrix("Y", columns.T).values)


def _whole_seed(seed: Any) -> int:
    """Draw a whole number from one of NumPy's random generators, or from a seed of it."""
    if isinstance(seed, np.random.RandomState):
        return int(seed.randint(2**31 - 1))
    return int(np.random.default_rng(seed).integers(2**31 - 1))


def _check_orientation(columns: npt.NDArray[Any]) -> None:
    if columns.ndim == 2 and len(columns) > columns.shape[1]:
        raise InputError(
            f"dataset must have shape (D, N) with N >= D, got {columns.shape}: transpose it if its rows are "
            "points; for fewer points than dimensions use discoformer.estimate"
        )


def _normalised(weights: Any, n: int) -> Floats:
    w = np.ones(n) if weights is None else read_weights(weights, n)
    scaled = w / w.max()
    return scaled / scaled.sum()


@contextmanager
def _transposed(inner: str, outer: str) -> Iterator[None]:
    """Add to the message of an ``InputError`` that its rows are columns of the caller's array."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{error} (here {inner} is {outer}.T)") from error
