"""The estimate: log-density and score of the distribution behind one context, at any points.

The context is encoded once; each call maps its queries ``y`` to the frame and back (see ``frame``)::

    z = (y - m) A        log f(y) = T(z) + log |det A|        grad log f(y) = S(z) A^T        (rows)

Queries never see each other, so they are answered in chunks, and memory does not grow with their number.
"""

import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from discoformer.components import Components
from discoformer.errors import InputError
from discoformer.frame import Frame
from discoformer.graphs import Encoded, Graphs
from discoformer.inputs import AnyFloats, Floats, Matrix, read_matrix
from discoformer.normalization import Normalization, normalization_of
from discoformer.outputs import like
from discoformer.saved import Saved, save_estimate

if TYPE_CHECKING:
    from discoformer.model import Model
    from discoformer.sd_kde import SdKde

Method: TypeAlias = Literal["network", "sd_kde"]

_FARTHEST = 1e13  # frame coordinates whose squares float32 can hold with ease, in units of any component


@dataclass(frozen=True)
class Diagnostics:
    """What is worth knowing about a context before trusting its estimate."""

    n: int  # rows of positive weight
    dim: int  # columns
    effective_size: float  # Kish's (sum w)^2 / sum w^2, or as given
    seed: str  # what the frame was found from, "whitened" or "standardised"
    shrinkage: float  # weight of the identity in the correlation matrix, 0 where n_eff >= 4 D
    landmarks: int  # rows that the network reads: all, unless the context is long
    device: str  # "cpu" or "cuda"
    warnings: tuple[str, ...]  # one sentence for each cause of doubt; empty when all is well


class Context(NamedTuple):
    """The points that the network reads: the rows of positive weight or, of a long context, its landmarks.

    In an order that does not depend on that of the rows.
    """

    points: Floats  # (n, D) data units; held in float32, in the frame
    weights: Floats  # (n,) of sum 1


class Estimate:
    """Density and score of the distribution behind a context; made by ``Model.estimate``.

    Log-densities are in nats, of the density in the units of the data: they may be positive, and densities at
    points do not sum to 1. Results have the float width of the queries: float32 for float32, else float64.
    They are Series and DataFrames of pandas or polars where the queries are a DataFrame, else NumPy arrays.

    Attributes:
        diagnostics: What is worth knowing about the context.
        frame: The affine map in which the network sees the data.
        columns: Names of the context's columns, where it had any.
    """

    def __init__(
        self,
        graphs: Graphs,
        frame: Frame,
        encoded: Encoded,
        diagnostics: Diagnostics,
        columns: tuple[str, ...] | None,
    ) -> None:
        self.diagnostics = diagnostics
        self.frame = frame
        self.columns = columns
        self._graphs = graphs
        self._encoded = encoded

    @property
    def model(self) -> "Model":
        """The model that made it."""
        from discoformer.model import Model

        return Model(self._graphs)

    @property
    def context(self) -> Context:
        """The points that the network reads, and their weights."""
        arrays = self._encoded.arrays
        points = self.frame.to_data(arrays["context"][0].astype(float))
        weights = np.exp(arrays["log_weights"][0].astype(float))
        return Context(points, weights / weights.sum())

    def log_density(self, Y: Any, method: Method = "network") -> Any:
        """Log-density at the queries, in nats.

        Args:
            Y: Array-like or data frame (M, D), data units.
            method: ``"network"``, or ``"sd_kde"`` for kernels at the points of ``context`` moved by their
                scores: less accurate, but the density integrates to 1 by construction (see ``sd_kde``).

        Returns:
            Array or series (M,).

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns, or no such method.
        """
        return like(Y, "log_density", self._log_density(Y, method))

    def density(self, Y: Any, method: Method = "network") -> Any:
        """Density at the queries, in 1 / data units to the power D; inf where the float width cannot hold it.

        Args:
            Y: Array-like or data frame (M, D), data units.
            method: As in ``log_density``.

        Returns:
            Array or series (M,).

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns, or no such method.
        """
        with np.errstate(over="ignore", under="ignore"):
            return like(Y, "density", np.exp(self._log_density(Y, method)))

    def score(self, Y: Any) -> Any:
        """Score at the queries: the gradient of the log-density with respect to the query, in 1 / data units.

        Args:
            Y: Array-like or data frame (M, D), data units.

        Returns:
            Array or data frame (M, D).

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns.
        """
        return like(Y, "score", self._answer(Y)[1])

    def log_density_and_score(self, Y: Any) -> tuple[Any, Any]:
        """Both at once, for the cost of one.

        Args:
            Y: Array-like or data frame (M, D), data units.

        Returns:
            Log-density (M,) in nats and score (M, D) in 1 / data units.

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns.
        """
        log_density, score = self._answer(Y)
        return like(Y, "log_density", log_density), like(Y, "score", score)

    def normalization(self, samples: int = 4096, seed: int = 0) -> Normalization:
        """The log of the integral of the density over all of space, which is 0 for a perfect estimate.

        By importance sampling from the estimate's own components, broadened. Subtract ``log_integral`` from
        log-densities where they are compared with those of a normalised density, provided that
        ``effective_samples`` is some 100 or more; in many columns it may not be.

        Args:
            samples: How many points are drawn and queried; the standard error falls with their root.
            seed: Of the draw. The same seed gives the same answer.

        Returns:
            ``log_integral`` (nats), its ``standard_error`` (nats) and ``effective_samples``.

        Raises:
            InputError: ``samples`` is no whole number of 2 or more, ``seed`` none of 0 or more.
        """
        return normalization_of(self._log_density_in_frame, self.components, samples, seed)

    @property
    def components(self) -> Components:
        """The mixture of Student-t distributions, in the frame, that the network refines."""
        arrays = self._encoded.arrays
        return Components(*(arrays[f"component_{name}"].astype(float) for name in Components._fields))

    def _log_density(self, Y: Any, method: Method) -> AnyFloats:
        if method == "network":
            return self._answer(Y)[0]
        if method != "sd_kde":
            raise InputError(f"method must be 'network' or 'sd_kde', got {method!r}")
        queries = read_matrix("Y", Y)
        self._check_columns(queries)
        return self._sd_kde.log_density(queries.values).astype(queries.width)

    @cached_property
    def _sd_kde(self) -> "SdKde":
        from discoformer.sd_kde import sd_kde

        return sd_kde(self)

    def _log_density_in_frame(self, z: Floats) -> Floats:
        parts = self._graphs.chunks(len(z), self._encoded)
        return np.concatenate([self._graphs.query(z[part], self._encoded)[0] for part in parts])

    def _answer(self, Y: Any) -> tuple[AnyFloats, AnyFloats]:
        queries = read_matrix("Y", Y)
        self._check_columns(queries)
        log_density = np.empty(len(queries.values), queries.width)
        score = np.empty(queries.values.shape, queries.width)
        for part in self._graphs.chunks(len(queries.values), self._encoded):
            z = self._to_frame(queries.values[part], part.start)
            framed_log_density, framed_score = self._graphs.query(z, self._encoded)
            with np.errstate(over="ignore", under="ignore"):
                log_density[part] = self.frame.log_density_to_data(framed_log_density)
                score[part] = self.frame.score_to_data(framed_score)
        return log_density, score

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the estimate to one file, which ``discoformer.load_estimate`` reads; all of it or nothing.

        The file holds the encoded context and the hash of the model, not the model itself.

        Args:
            path: The file, as it stands; one that is there is replaced.

        Raises:
            OSError: The file cannot be written.
        """
        save_estimate(
            Path(path),
            Saved(
                model=self._graphs.metadata.name,
                version=self._graphs.metadata.version,
                sha256=self._graphs.sha256,
                frame=self.frame,
                diagnostics=asdict(self.diagnostics),
                columns=self.columns,
                encoded=self._encoded.arrays,
            ),
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

    def _to_frame(self, queries: Floats, first: int) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):
            z = self.frame.to_frame(queries)
            far = np.flatnonzero(~(np.abs(z) < _FARTHEST).all(axis=1))
        if far.size:
            raise InputError(
                f"Y is more than {_FARTHEST:.0e} spreads of X away in row {first + far[0]}, "
                "beyond what float32 can hold: drop such rows, or check their units"
            )
        return z

    def __repr__(self) -> str:
        d = self.diagnostics
        return f"Estimate(n={d.n}, dim={d.dim}, effective_size={d.effective_size:.6g}, seed={d.seed!r})"
