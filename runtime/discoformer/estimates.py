"""The estimate: log-density and score of the distribution behind one context, at any points.

The context is encoded once; each call maps its queries ``y`` to the frame and back (see ``frame``)::

    z = (y - m) A        log f(y) = T(z) + log |det A|        grad log f(y) = S(z) A^T        (rows)

Queries never see each other, so they are answered in chunks of bounded memory.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from discoformer.errors import InputError
from discoformer.frame import Frame
from discoformer.inputs import AnyFloats, Floats, Matrix, read_matrix
from discoformer.sessions import Float32s

if TYPE_CHECKING:
    from discoformer.model import Model

_FARTHEST = 1e13  # frame coordinates whose squares float32 can hold with ease, in units of any component


@dataclass(frozen=True)
class Diagnostics:
    """What is worth knowing about a context before trusting its estimate."""

    n: int  # rows of positive weight
    dim: int  # columns
    effective_size: float  # Kish's (sum w)^2 / sum w^2, or as given
    seed: str  # what the frame was found from, "whitened" or "standardised"
    shrinkage: float  # weight of the identity in the correlation matrix, 0 where n_eff >= 4 D
    device: str  # "cpu" or "cuda"
    warnings: tuple[str, ...]  # one sentence for each cause of doubt; empty when all is well


class Estimate:
    """Density and score of the distribution behind a context; made by ``Model.estimate``.

    Log-densities are in nats, of the density in the units of the data: they may be positive, and densities at
    points do not sum to 1. Results have the float width of the queries: float32 for float32, else float64.

    Attributes:
        diagnostics: What is worth knowing about the context.
        frame: The affine map in which the network sees the data.
        columns: Names of the context's columns, where it had any.
    """

    def __init__(
        self,
        model: "Model",
        frame: Frame,
        encoded: dict[str, Float32s],
        diagnostics: Diagnostics,
        columns: tuple[str, ...] | None,
    ) -> None:
        self.diagnostics = diagnostics
        self.frame = frame
        self.columns = columns
        self._model = model
        self._encoded = encoded

    def log_density(self, Y: Any) -> AnyFloats:
        """Log-density at the queries, in nats.

        Args:
            Y: Array-like (M, D), data units.

        Returns:
            Array (M,).

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns.
        """
        return self.log_density_and_score(Y)[0]

    def density(self, Y: Any) -> AnyFloats:
        """Density at the queries, in 1 / data units to the power D; inf where the float width cannot hold it.

        Args:
            Y: Array-like (M, D), data units.

        Returns:
            Array (M,).

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns.
        """
        with np.errstate(over="ignore", under="ignore"):
            return np.exp(self.log_density(Y))

    def score(self, Y: Any) -> AnyFloats:
        """Score at the queries: the gradient of the log-density with respect to the query, in 1 / data units.

        Args:
            Y: Array-like (M, D), data units.

        Returns:
            Array (M, D).

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns.
        """
        return self.log_density_and_score(Y)[1]

    def log_density_and_score(self, Y: Any) -> tuple[AnyFloats, AnyFloats]:
        """Both at once, for the cost of one.

        Args:
            Y: Array-like (M, D), data units.

        Returns:
            Log-density (M,) in nats and score (M, D) in 1 / data units.

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns.
        """
        queries = read_matrix("Y", Y)
        self._check_columns(queries)
        log_density, score = self._model.query(self._to_frame(queries.values), self._encoded)
        with np.errstate(over="ignore", under="ignore"):
            return (
                self.frame.log_density_to_data(log_density).astype(queries.width),
                self.frame.score_to_data(score).astype(queries.width),
            )

    def _check_columns(self, queries: Matrix) -> None:
        dim = self.diagnostics.dim
        if queries.values.shape[1] != dim:
            raise InputError(
                f"Y must have {dim} columns like the context X, got shape {queries.values.shape}"
            )
        if None not in (self.columns, queries.columns) and self.columns != queries.columns:
            raise InputError(
                f"Y must have the columns of X in the same order, {self.columns}, got {queries.columns}: "
                "select and order them first"
            )

    def _to_frame(self, queries: Floats) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):
            z = self.frame.to_frame(queries)
            far = np.flatnonzero(~(np.abs(z) < _FARTHEST).all(axis=1))
        if far.size:
            raise InputError(
                f"Y is more than {_FARTHEST:.0e} spreads of X away in row {far[0]} ({far.size} such rows), "
                "beyond what float32 can hold: drop these rows, or check their units"
            )
        return z

    def __repr__(self) -> str:
        d = self.diagnostics
        return f"Estimate(n={d.n}, dim={d.dim}, effective_size={d.effective_size:.6g}, seed={d.seed!r})"
