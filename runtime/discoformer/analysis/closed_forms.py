"""What an estimate of ``effort="fast"`` gives in closed form, or by exact draws, since it is a mixture.

The probabilities of boxes are in ``boxes``. Shapes: M queries, D columns.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from discoformer.analysis.boxes import SHIFTS, BoxProbability, box_probability_of, cdf_at, mixture_of
from discoformer.base.mixture import draw
from discoformer.errors import InputError
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, read_seed, shown, whole_number
from discoformer.io.outputs import like


class Entropy(NamedTuple):
    """A differential entropy."""

    entropy: float  # nats
    standard_error: float  # of the mean over draws, nats


class ClosedForms(FittedDensity):
    """A fitted density that answers more in closed form, if its effort is ``"fast"``."""

    def cdf(self, Y: Any) -> Any:
        """Return the distribution function at the queries: the probability of a smaller value.

        It needs ``effort="fast"`` and a sample of one column. For one of several columns, take its marginal:
        ``p.marginal("a", method="mixture").cdf(Y)``.

        Args:
            Y: Array-like or data frame (M, 1), data units.

        Returns:
            Array or series (M,), float64.

        Raises:
            InputError: Y is not a matrix of finite numbers with one column, the sample has more columns, or
                the effort is ``"best"``.
            MissingExtraError: SciPy is not installed.
        """
        self.require_effort("fast", "cdf")
        if self.diagnostics.dim != 1:
            raise InputError(
                f"cdf needs an estimate of one column, got {self.diagnostics.dim}: take the marginal of one, "
                "or use box_probability"
            )
        queries = self.read_queries(Y)
        return like(Y, "cdf", cdf_at(mixture_of(self).of([0]), queries.values))

    def box_probability(
        self, low: Any = -math.inf, high: Any = math.inf, samples: int = 2**13, seed: int = 0
    ) -> BoxProbability:
        """Return the probability that every column is within its bounds. It needs ``effort="fast"``.

        With bounds on one column it is exact. With bounds on more, it is an integral by quasi-Monte Carlo.

        Args:
            low: Lower bounds (D,) in data units, -inf for none; a number is the bound of every column.
            high: Upper bounds (D,), inf for none.
            samples: Number of points of the integral.
            seed: Seed of their random shifts.

        Returns:
            ``probability`` and its ``standard_error``, 0 where the probability is exact.

        Raises:
            InputError: A bound is NaN, a lower one exceeds the upper one, their number is not D,
                ``samples`` is not a whole number of 8 or more, ``seed`` not one of 0 or more, or the effort
                is ``"best"``.
            MissingExtraError: SciPy is not installed.
        """
        self.require_effort("fast", "box_probability")
        count, rng = whole_number("samples", samples, SHIFTS), _generator(seed)
        first, last = _bounds(low, high, self.diagnostics.dim)
        return box_probability_of(self, first, last, count, rng)

    def entropy(self, samples: int = 4096, seed: int = 0) -> Entropy:
        """Return the differential entropy of the estimate, by exact draws. It needs ``effort="fast"``.

        This is the entropy of the estimated density. ``discoformer.information.entropy`` estimates that of
        the distribution behind the sample; its error includes the error of the estimate.

        Args:
            samples: Number of draws; the standard error falls with their square root.
            seed: Seed of the draws.

        Returns:
            ``entropy`` in nats, of the density in data units, and its ``standard_error``.

        Raises:
            InputError: ``samples`` is not a whole number of 2 or more, ``seed`` not one of 0 or more, or the
                effort is ``"best"``.
        """
        self.require_effort("fast", "entropy")
        count, rng = whole_number("samples", samples, 2), _generator(seed)
        found = self.log_density_in_frame(draw(self.components, count, rng))
        values = -(found + self.frame.log_abs_det)
        return Entropy(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(count))


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(read_seed(seed))


def _bounds(low: Any, high: Any, dim: int) -> tuple[Floats, Floats]:
    """Read bounds (D,)."""
    found: list[Floats] = []
    for name, values in (("low", low), ("high", high)):
        try:
            found.append(np.broadcast_to(np.asarray(values, np.float64), (dim,)))
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{name} must be a number, or {dim} numbers, one for each column, got {shown(values)}"
            ) from error
        if np.isnan(found[-1]).any():
            raise InputError(f"{name} must not be NaN, got {values!r}: use -inf or inf for no bound")
    first, last = found
    if (first > last).any():
        j = int(np.flatnonzero(first > last)[0])
        raise InputError(f"low must not exceed high, got {first[j]} and {last[j]} in column {j}")
    return first, last
