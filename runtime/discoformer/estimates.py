"""The estimate: log-density and score of the distribution behind one context, at any points.

The context is encoded once; each call maps its queries ``y`` to the frame and back (see ``frame``)::

    z = (y - m) A        log f(y) = T(z) + log |det A|        grad log f(y) = S(z) A^T        (rows)

Queries never see each other, so they are answered in chunks, and memory does not grow with their number.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from discoformer.analysis.normalization import Normalization, normalization_of
from discoformer.base.base import Base
from discoformer.base.frame import Frame
from discoformer.base.mixture import Components
from discoformer.errors import InputError
from discoformer.io.features import Feature
from discoformer.io.inputs import AnyFloats, Floats, Matrix, read_matrix, whole_number
from discoformer.io.outputs import like
from discoformer.onnx.graphs import Encoded, Graphs
from discoformer.saved import Saved, save_estimate

if TYPE_CHECKING:
    from discoformer.analysis.adaptation import Adaptation
    from discoformer.analysis.conditionals import Conditional
    from discoformer.analysis.diagnosis import Diagnosis
    from discoformer.analysis.modes import Modes
    from discoformer.analysis.sampling import Method as SamplingMethod
    from discoformer.analysis.sd_kde import SdKde
    from discoformer.model import Model

Method: TypeAlias = Literal["network", "normalized", "sd_kde"]

_FARTHEST = 1e13  # frame coordinates whose squares float32 can hold with ease, in units of any component


@dataclass(frozen=True)
class Diagnostics:
    """What is known about a context once it is read; ``Estimate.diagnose`` measures whether to trust it."""

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
        adaptation: What ``adapt`` did to it; None for other estimates, and for those read from a file.
    """

    def __init__(
        self,
        graphs: Graphs,
        frame: Frame,
        encoded: Encoded,
        diagnostics: Diagnostics,
        columns: tuple[str, ...] | None,
        adaptation: "Adaptation | None" = None,
    ) -> None:
        self.adaptation = adaptation
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

    @property
    def components(self) -> Components:
        """The mixture of Student-t distributions of its base (see ``base``), in the frame."""
        return self.base.components

    @property
    def base(self) -> Base:
        """What the network refines, in the frame."""
        return Base.from_inputs(self._encoded.arrays).each(lambda array: array.astype(float))

    def log_density(self, Y: Any, method: Method = "network") -> Any:
        """Log-density at the queries, in nats.

        Args:
            Y: Array-like or data frame (M, D), data units.
            method: ``"network"``; ``"normalized"`` for that less the log of its integral, which
                ``normalization`` finds; or ``"sd_kde"`` for kernels at the points of ``context`` moved by
                their scores, less accurate, but the density integrates to 1 by construction (see ``sd_kde``).

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
        return normalization_of(lambda z: self.answer_in_frame(z)[0], self.components, samples, seed)

    def sample(self, n: int, method: "SamplingMethod" = "langevin", seed: int = 0, steps: int = 16) -> Floats:
        """Draws new points from the estimated density.

        By Langevin chains with Metropolis correction, which is exact in the limit of many steps, or by
        diffusion, for which the context is noised and encoded again at each level of noise: see ``sampling``,
        whose ``sample`` says besides how many moves were accepted.

        Args:
            n: How many points.
            method: ``"langevin"``, ``"diffusion"``, or ``"ode"``, which is diffusion by its probability flow.
            seed: The same seed draws the same points.
            steps: Steps of the chains, or levels of noise. Time grows with it.

        Returns:
            Array (n, D), data units.

        Raises:
            InputError: No such method, or a number that is not whole or too low.
        """
        from discoformer.analysis.sampling import sample

        return sample(self, n, method, seed, steps).points

    def consistency(self, Y: Any, directions: int = 4, seed: int = 0) -> Any:
        """How far score and slope of the log-density disagree at the queries: a sign of doubt.

        The score must be the gradient of the log-density; where the network's two answers differ, at least
        one is wrong. Where they agree both may be: as a guess of the error it is no better than a low
        log-density (``docs/diagnosis``). Costs ``2 directions + 1`` queries for each.

        Args:
            Y: Array-like or data frame (M, D), data units.
            directions: Random directions along which the two are compared.
            seed: Of the directions.

        Returns:
            Array or series (M,): root mean square difference of an entry, in the frame, where entries of a
            score are about 1. 0 is agreement.

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns, or a number is too low.
        """
        from discoformer.analysis.consistency import consistency_of

        z, queries = self.read_in_frame(Y)
        found = consistency_of(
            self, z, whole_number("directions", directions, 1), whole_number("seed", seed, 0)
        )
        return like(Y, "consistency", found.residual.astype(queries.width))

    def diagnose(self, Y: Any = None, seed: int = 0) -> "Diagnosis":
        """Whether to trust the estimate: measures what can be measured without the truth.

        ``diagnostics`` holds what was known when the context was read. This takes longer, some six times as
        long as the estimate: parts of the context are held out, and answered from the others.

        Args:
            Y: Array-like or data frame (M, D) of queries that matter, data units, at which score and slope
                are compared; by default up to 512 points of the context.
            seed: Of the folds, draws and directions.

        Returns:
            Findings, each with a level (fine, doubtful, bad) and what to do; it prints as plain words.

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns, or ``seed`` is malformed.
        """
        from discoformer.analysis.diagnosis import diagnose

        return diagnose(self, Y, seed)

    def marginal(self, features: Feature | Iterable[Feature]) -> "Estimate":
        """The density of some of the features, whatever the others are.

        The chosen columns of the context are estimated again by the same model.

        Args:
            features: Names or positions (0 to D - 1) of the features to keep, in the order wanted.

        Returns:
            An estimate like any other, of these features.

        Raises:
            InputError: No feature, one that is not there, or one that is named twice.

        Warns:
            RangeWarning: As ``Model.estimate`` does.
        """
        from discoformer.analysis.marginals import marginal_of

        return marginal_of(self, features)

    def conditional(self, given: Mapping[Feature, float]) -> "Conditional":
        """The distribution of the free features, given the values of the others.

        Args:
            given: Values by name or position of the feature, data units; those left out are free.

        Returns:
            Log-density, density, score, mean and draws of the free features.

        Raises:
            InputError: No feature, one that is not there, none left free, or a value that is not finite.
        """
        from discoformer.analysis.conditionals import Conditional

        return Conditional(self, given)

    def modes(self, Y: Any = None, prominence: float = 1.0) -> "Modes":
        """The modes of the density, and the points that climb to each: clusters.

        Args:
            Y: Array-like or data frame (M, D) of points to label, data units; by default those of
                ``context``. The modes do not depend on it.
            prominence: Nats that must be lost on the way from a mode to a higher one; modes of less are
                taken into that one. 1 nat is a density lower by the factor e; 0 keeps every bump.

        Returns:
            ``points`` (K, D) of the modes, highest first, their ``log_density`` and ``prominence`` (K,), the
            mode ``behind`` the pass of each (K,), and the ``labels`` (M,) of Y. Its method ``merged`` gives
            what a higher prominence gives, at no cost.

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns, or ``prominence`` is
                negative.
        """
        from discoformer.analysis.modes import modes_of

        return modes_of(self, Y).merged(prominence)

    def impute(self, Y: Any, draws: int | None = None, samples: int = 64, seed: int = 0) -> Any:
        """Fills in missing entries, NaN, from their distribution given the entries that are there.

        Args:
            Y: Array-like or data frame (M, D), data units, with NaN where an entry is missing.
            draws: How many times to fill in by a draw each (multiple imputation); by default once, by the
                conditional mean, the best guess in mean squared error.
            samples: Points that each row is imputed from; more are slower and more exact.
            seed: Of these and of the draws.

        Returns:
            Y with its missing entries filled in and all others as they were, (M, D); an array (draws, M, D)
            where draws are asked for.

        Raises:
            InputError: Y has other columns than the context or infinite entries, or a number is too low.
        """
        from discoformer.analysis.imputation import impute

        return impute(self, Y, draws, samples, seed)

    def adapt(self, steps: int = 256, seed: int = 0, say: Callable[[int], None] | None = None) -> "Estimate":
        """Adapts the network to this context: steps on losses that need no labels.

        For data unlike anything in training. The first step goes as far along directions learned from other
        data sets as the noise of its slope lets it, and is taken unless points that are held out speak
        against it; then come as many gradient steps as do these good beyond doubt. ``adaptation`` of the
        result says what was done; with no step taken, the answers stay as they are.
        This estimate and its model do not change; ``model.save`` of the result writes the adapted model.

        Args:
            steps: How many are tried. They take little time: what comes before takes most of it.
            seed: Of the random cut into parts. The same seed gives the same answer on the same machine.
            say: Called with the number of parts that are done, of 5.

        Returns:
            An estimate of its own, from the same context.

        Raises:
            InputError: ``steps`` is no whole number of 1 or more, ``seed`` none of 0 or more, or the context
                has less than 20 points.
            MissingExtraError: PyTorch is not installed.
            ModelError: The weights beside the model's files are not theirs.
            ModelNotFoundError: There are none.
        """
        from discoformer.analysis.adaptation import adapt
        from discoformer.fit import say_nothing

        graphs, adaptation = adapt(self._graphs, self._encoded, self.frame, steps, seed, say or say_nothing)
        encoded = Encoded(self._encoded.arrays)
        return Estimate(graphs, self.frame, encoded, self.diagnostics, self.columns, adaptation)

    def answer_in_frame(self, z: Floats) -> tuple[Floats, Floats]:
        """Log-density (M,) and score (M, D) in frame coordinates, at points (M, D) there."""
        return self._graphs.answer(z, self._encoded)

    def read_in_frame(self, Y: Any) -> tuple[Floats, Matrix]:
        """Reads queries; gives them in frame coordinates (M, D), and as they are.

        Raises:
            InputError: Y is no matrix of finite numbers with the context's columns.
        """
        queries = read_matrix("Y", Y)
        self.check_columns(queries)
        return self.to_frame(queries.values), queries

    def _log_density(self, Y: Any, method: Method) -> AnyFloats:
        if method == "network":
            return self._answer(Y)[0]
        if method == "normalized":
            return self._answer(Y)[0] - self._log_integral
        if method != "sd_kde":
            raise InputError(f"method must be 'network', 'normalized' or 'sd_kde', got {method!r}")
        queries = read_matrix("Y", Y)
        self.check_columns(queries)
        return self._sd_kde.log_density(queries.values).astype(queries.width)

    @cached_property
    def _log_integral(self) -> float:
        return self.normalization().log_integral

    @cached_property
    def _sd_kde(self) -> "SdKde":
        from discoformer.analysis.sd_kde import sd_kde

        return sd_kde(self)

    def _answer(self, Y: Any) -> tuple[AnyFloats, AnyFloats]:
        queries = read_matrix("Y", Y)
        self.check_columns(queries)
        log_density = np.empty(len(queries.values), queries.width)
        score = np.empty(queries.values.shape, queries.width)
        for part in self._graphs.chunks(len(queries.values)):
            z = self.to_frame(queries.values[part], part.start)
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

    def check_columns(self, queries: Matrix) -> None:
        """Checks that queries have the columns of the context.

        Raises:
            InputError: They have not.
        """
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

    def to_frame(self, points: Floats, first: int | None = 0, name: str = "Y") -> Floats:
        """Brings points (n, D) to the frame.

        Raises:
            InputError: One is too far away. The message has the name of the points, and the number of the
                row, counted from ``first``, if that is given.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            z = self.frame.to_frame(points)
            far = np.flatnonzero(~(np.abs(z) < _FARTHEST).all(axis=1))
        if far.size:
            where = "" if first is None else f" in row {first + far[0]}"
            raise InputError(
                f"{name} is more than {_FARTHEST:.0e} spreads of X away{where}, beyond what float32 can "
                "hold: leave it out, or check its units"
            )
        return z

    def __repr__(self) -> str:
        d = self.diagnostics
        return f"Estimate(n={d.n}, dim={d.dim}, effective_size={d.effective_size:.6g}, seed={d.seed!r})"
