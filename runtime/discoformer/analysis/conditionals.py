"""Conditionals: density, score and draws of the free features ``u``, given the values of the others ``g``.

``f`` is the joint density. Its integral over the free features is found by importance sampling. The proposal
``q`` is the conditional of the estimate's own components (see ``base.conditional_mixtures``), broadened::

    log f(u | g) = log f(u, g) - log f(g)        grad_u log f(u | g) = the free entries of the joint score
    f(g) = mean_j w_j                            w_j = f(u_j, g) / q(u_j),  u_j from q
    E[u | g] = E_q[u] + sum_j (w_j / sum w - 1 / J) (u_j - E_q[u])

The last term is small where the network agrees with the components, and their mean is known in closed form.
To draw a point, a few points are drawn from ``q``, and one of them is picked with probability proportional to
its ``w``. Dividing by this ``f(g)`` makes the density over ``u`` integrate to 1. ``Estimate.marginal`` is
another estimate of ``f(g)``.

An estimate of ``effort="fast"`` is its components. So ``f(g)``, the mean and the draws are exact. Those of a
singular estimate are found in coordinates of its affine hull (see ``analysis.on_hull``).

Shapes: D = F + G features, F free and G given; M rows of given values, J points for each.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from discoformer.analysis.normalization import Normalization, integral_of
from discoformer.analysis.on_hull import free_and_given
from discoformer.base.arrays import slices
from discoformer.base.conditional_mixtures import (
    GivenMixture,
    SplitMixture,
    draw_given,
    given_mixture,
    log_density_given,
    mean_given,
    split,
)
from discoformer.deprecation import renamed_arguments
from discoformer.errors import InputError
from discoformer.fitted import FittedDensity
from discoformer.io.features import Feature, feature_indices
from discoformer.io.inputs import (
    AnyFloats,
    Floats,
    Matrix,
    as_float,
    names_of,
    read_matrix,
    read_seed,
    shown,
    whole_number,
)
from discoformer.io.outputs import like

SAMPLES = 4096  # points that the integral is estimated from
CANDIDATES = 32  # points that each draw is picked from
DRAWN = 2**9  # most draws made at a time


class Weighted(NamedTuple):
    """Weighted points of the free features, for each row of given values."""

    points: Floats  # (M, J, F) from q
    log_weights: Floats  # (M, J) log w
    center: Floats  # (M, F) E_q[u]

    def shares(self) -> Floats:
        """Return the weights (M, J), scaled to sum 1 in each row."""
        weights = np.exp(self.log_weights - self.log_weights.max(axis=1, keepdims=True))
        shares: Floats = weights / weights.sum(axis=1, keepdims=True)
        return shares

    def mean(self) -> Floats:
        """Return the conditional mean E[u | g], (M, F)."""
        excess = self.shares() - 1 / self.log_weights.shape[1]
        mean: Floats = self.center + np.einsum("mj,mjf->mf", excess, self.points - self.center[:, None])
        return mean

    def pick(self, count: int, rng: np.random.Generator) -> Floats:
        """Pick points (count, M, F), with probability proportional to their weights."""
        cumulated = np.cumsum(self.shares(), axis=1)
        place = rng.uniform(size=(count, len(cumulated), 1)) * cumulated[:, -1:]
        which = (place > cumulated[:, :-1]).sum(-1)
        return self.points[np.arange(len(cumulated)), which]


def _joined(places: Any, points: Floats, values: Floats) -> Floats:
    """Join points (..., F) and values (..., G) at the positions ``free`` and ``given``."""
    joined = np.empty((*points.shape[:-1], len(places.free) + len(places.given)))
    joined[..., list(places.free)] = points
    joined[..., list(places.given)] = values
    return joined


class Conditioner:
    """The conditionals of a fitted density for one choice of free and given features, at any given values."""

    def __init__(self, fitted: FittedDensity, free: tuple[int, ...], given: tuple[int, ...]) -> None:
        self.free, self.given = free, given
        self.coordinates = at = free_and_given(fitted, free, given)
        self._exact = fitted.effort == "fast"
        components = fitted.components if self._exact else fitted.proposal
        self._mixture: SplitMixture = split(components, at.fitted.frame, at.free, at.given)

    def normalization(self, values: Floats, samples: int, rng: np.random.Generator) -> Normalization:
        """Return the log-density of one row of given values (1, G), as ``log_integral``."""
        if self._exact:
            log_density = given_mixture(self._mixture, self.coordinates.to_given(values)).log_density[0]
            log_share = self.coordinates.fitted.frame.log_share
            found = Normalization(float(log_density) + log_share, 0.0, samples)
        else:
            found = integral_of(self.weigh(values, samples, rng).log_weights[0])
        return found._replace(log_integral=found.log_integral - self.coordinates.given_volume)

    def mean(self, values: Floats, samples: int, rng: np.random.Generator) -> Floats:
        """Return the conditional mean (M, F) for rows of given values (M, G), from so many samples each."""
        given = self.coordinates.to_given(values)
        if self._exact:
            return self.coordinates.to_free(mean_given(given_mixture(self._mixture, given)), given)
        return self.coordinates.to_free(self.weigh(values, samples, rng).mean(), given)

    def draw(self, values: Floats, count: int, samples: int, rng: np.random.Generator) -> Floats:
        """Draw points (count, M, F) for rows of given values (M, G), each from so many samples."""
        given = self.coordinates.to_given(values)
        if self._exact:
            drawn = draw_given(given_mixture(self._mixture, given), count, rng).transpose(1, 0, 2)
        else:
            drawn = self.weigh(values, samples, rng).pick(count, rng)
        return self.coordinates.to_free(drawn, given)

    def draw_independent(self, values: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Draw independent points (count, F) for one row of given values (1, G)."""
        if self._exact:
            return self.draw(values, count, 1, rng)[:, 0]
        rows = (np.repeat(values, part.stop - part.start, axis=0) for part in slices(count, DRAWN))
        return np.concatenate([self.draw(row, 1, CANDIDATES, rng)[0] for row in rows])

    def join(self, points: Floats, values: Floats) -> Floats:
        """Return all features (..., D), joined from free ones (..., F) and given ones (..., G)."""
        return _joined(self, points, values)

    def weigh(self, values: Floats, samples: int, rng: np.random.Generator) -> Weighted:
        """Draw and weigh points, in the free coordinates, for rows of given values (M, G)."""
        given = self.coordinates.to_given(values)
        mixture: GivenMixture = given_mixture(self._mixture, given)
        points = draw_given(mixture, samples, rng)
        joined = _joined(self.coordinates, points, given[:, None])
        fitted = self.coordinates.fitted
        joint = fitted.answer(joined.reshape(-1, joined.shape[-1]))[0].reshape(points.shape[:2])
        return Weighted(points, joint - log_density_given(mixture, points), mean_given(mixture))


class Conditional:
    """The distribution of the free features given the others; made by ``Estimate.conditional``.

    Queries hold only the free features, in the order of the columns of the sample. Results have the float
    width of the queries. They are Series and DataFrames if the queries are a DataFrame, else NumPy arrays.

    Attributes:
        free: Positions (F,) of the free features.
        columns: Names of the free features, if the sample had names.
        given: Values of the other features, by position.
    """

    @renamed_arguments(estimate="fitted")
    def __init__(self, fitted: FittedDensity, given: Mapping[Feature, float]) -> None:
        dim = fitted.diagnostics.dim
        if not isinstance(given, Mapping):
            raise InputError(f"given must map features to values, got {type(given).__name__}: pass a dict")
        positions = feature_indices("given", given, dim, fitted.columns)
        values = [_value(feature, value) for feature, value in given.items()]
        self.given = dict(sorted(zip(positions, values, strict=True)))
        self.free = tuple(j for j in range(dim) if j not in self.given)
        if not self.free:
            raise InputError(
                f"given must leave one feature free or more, got all {dim}: ask the estimate itself for "
                "their density"
            )
        self.columns = names_of(self.free, fitted.columns)
        self._fitted = fitted
        self._conditioner = Conditioner(fitted, self.free, tuple(self.given))
        self._values = np.array([*self.given.values()])
        middle = fitted.frame.center[list(self.free)]
        fitted.to_frame(
            self._conditioner.join(middle, self._values)[None], None, "given"
        )  # raises if a value is too far away
        self._check_possible()

    @cached_property
    def normalization(self) -> Normalization:
        """The log-density of the given values, as ``log_integral`` in nats, and how well it is known."""
        return self._conditioner.normalization(self._values[None], SAMPLES, np.random.default_rng(0))

    def log_density(self, Y: Any) -> Any:
        """Return the log-density of the free features at the queries, in nats.

        Args:
            Y: Array-like or data frame (M, F), data units.

        Returns:
            Array or series (M,).

        Raises:
            InputError: Y is not a matrix of finite numbers with the free features as columns.
        """
        return self.log_density_and_score(Y)[0]

    def density(self, Y: Any) -> Any:
        """Return the density of the free features at the queries, in 1 / data units to the power F.

        Args:
            Y: Array-like or data frame (M, F), data units.

        Returns:
            Array or series (M,).

        Raises:
            InputError: Y is not a matrix of finite numbers with the free features as columns.
        """
        queries = self._read(Y)
        log_density = self._answer(queries)[0] - self.normalization.log_integral
        with np.errstate(over="ignore", under="ignore"):
            return like(Y, "density", np.exp(log_density).astype(queries.width))

    def score(self, Y: Any) -> Any:
        """Return the score: the gradient of the log-density by the free features, in 1 / data units.

        Args:
            Y: Array-like or data frame (M, F), data units.

        Returns:
            Array or data frame (M, F).

        Raises:
            InputError: Y is not a matrix of finite numbers with the free features as columns.
        """
        queries = self._read(Y)
        return like(Y, "score", self._answer(queries)[1], queries.picked)

    def log_density_and_score(self, Y: Any) -> tuple[Any, Any]:
        """Return log-density and score at the queries, for the cost of one.

        Args:
            Y: Array-like or data frame (M, F), data units.

        Returns:
            Log-density (M,) in nats and score (M, F) in 1 / data units.

        Raises:
            InputError: Y is not a matrix of finite numbers with the free features as columns.
        """
        queries = self._read(Y)
        log_density, score = self._answer(queries)
        log_density = (log_density - self.normalization.log_integral).astype(queries.width)
        return like(Y, "log_density", log_density), like(Y, "score", score, queries.picked)

    def mean(self, samples: int = SAMPLES, seed: int = 0) -> Floats:
        """Return the mean (F,) of the free features, in data units.

        Args:
            samples: Number of points that the mean is estimated from; with ``effort="fast"`` it is exact.
            seed: Seed of their draw.

        Raises:
            InputError: ``samples`` or ``seed`` is not a whole number or is too low.
        """
        whole_number("samples", samples, 2)
        rng = np.random.default_rng(read_seed(seed))
        return self._conditioner.mean(self._values[None], samples, rng)[0]

    def sample(self, count: int, seed: int = 0) -> Floats:
        """Draw independent points (count, F) of the free features, in data units.

        Args:
            count: Number of points.
            seed: The same seed draws the same points.

        Raises:
            InputError: ``count`` or ``seed`` is not a whole number or is too low.
        """
        whole_number("count", count, 1)
        rng = np.random.default_rng(read_seed(seed))
        return self._conditioner.draw_independent(self._values[None], count, rng)

    def _read(self, Y: Any) -> Matrix:
        queries = read_matrix("Y", Y, wanted=self.columns)
        if queries.values.shape[1] != len(self.free):
            raise InputError(
                f"Y must have {len(self.free)} columns, the free features {self.columns or self.free}, "
                f"got shape {queries.values.shape}"
            )
        return queries

    def _answer(self, queries: Matrix) -> tuple[AnyFloats, AnyFloats]:
        joined, at = self._conditioner.join(queries.values, self._values), self._conditioner.coordinates
        log_density, score = self._fitted.answer(joined)
        return log_density - at.excess, at.score(score).astype(queries.width)

    def _check_possible(self) -> None:
        """Raise an error if no point of the affine hull of a singular sample has the given values."""
        at, values = self._conditioner.coordinates, self._values[None]
        some = at.to_free(np.zeros((1, len(at.free))), at.to_given(values))
        if self._fitted.off_hull(self._conditioner.join(some, values))[0]:
            raise InputError(
                f"given must be possible values: no point of the affine hull of X, which is singular, has "
                f"{self.given}; change a value, or give fewer of them"
            )

    def __repr__(self) -> str:
        names = self._fitted.columns or [f"feature {j}" for j in range(len(self.free) + len(self.given))]
        given = ", ".join(f"{names[j]}={value:.6g}" for j, value in self.given.items())
        return f"Conditional({', '.join(names[j] for j in self.free)} | {given})"


def _value(feature: Feature, value: Any) -> float:
    number = as_float(value)
    if not np.isfinite(number):
        raise InputError(
            f"given must hold finite numbers, got {shown(value)} for {feature!r}: leave it out if it "
            "is unknown"
        )
    return number
