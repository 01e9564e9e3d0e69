"""Density, log-density and score at queries, among them queries with missing values.

The density of a query with missing values is the marginal of the values that are present: the integral of
the density over the missing columns. An estimate of ``effort="fast"`` has it in closed form (see
``analysis.marginals``). Queries that miss the same columns are answered together.

Shapes: M queries, D columns.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from discoformer.analysis.closed_forms import ClosedForms
from discoformer.analysis.normalization import Normalization, normalization
from discoformer.base.arrays import library
from discoformer.errors import DataWarning, InputError, warn_caller
from discoformer.fitted import warn_without_sample
from discoformer.io.incomplete import MissingQueries, complete, missing_rule
from discoformer.io.inputs import AnyFloats, Floats, Matrix, read_seed
from discoformer.io.outputs import PandasFrame, PolarsFrame, TensorT, like
from discoformer.io.tensors import is_tensor

if TYPE_CHECKING:
    import pandas
    import polars

    from discoformer.analysis.sd_kde import SdKde

Method: TypeAlias = Literal["network", "normalized", "sd_kde"]


class Answers(NamedTuple):
    """Answers to queries, in their float width: arrays, or tensors if the queries are one."""

    picked: tuple[int, ...] | None  # positions (D,) of the columns of the queries that were read
    log_density: Any  # (M,) nats
    score: Any  # (M, D) 1 / data units


class Densities(ClosedForms):
    """A fitted density with answers in the form of the queries."""

    @overload
    def log_density(
        self, Y: PandasFrame, method: Method = ..., missing: MissingQueries | None = ...
    ) -> "pandas.Series": ...

    @overload
    def log_density(
        self, Y: PolarsFrame, method: Method = ..., missing: MissingQueries | None = ...
    ) -> "polars.Series": ...

    @overload
    def log_density(
        self, Y: npt.NDArray[Any], method: Method = ..., missing: MissingQueries | None = ...
    ) -> AnyFloats: ...

    @overload
    def log_density(
        self, Y: TensorT, method: Method = ..., missing: MissingQueries | None = ...
    ) -> TensorT: ...

    @overload
    def log_density(
        self, Y: Any, method: Method = ..., missing: MissingQueries | None = ...
    ) -> AnyFloats: ...

    def log_density(self, Y: Any, method: Method = "network", missing: MissingQueries | None = None) -> Any:
        """Return the log-density at the queries, in nats.

        Args:
            Y: Array-like, tensor or data frame (M, D), data units. Of a data frame, the columns of the sample
                are picked by name. A tensor (of PyTorch, CuPy or JAX) is on the device of the model.
            method: ``"network"``; ``"normalized"`` for that less the log of its integral, which
                ``normalization`` finds (0 with ``effort="fast"``); or ``"sd_kde"`` for kernels at the points
                of the sample moved by their scores (see ``analysis.sd_kde``). That is less accurate, but
                integrates to 1 by construction; its time for a query grows with the size of the sample.
            missing: What is done with queries that have missing values, NaN or null. With ``"error"`` they
                are an error. With ``"drop"`` their answers are NaN, and a warning counts them. With
                ``"marginal"``, for ``effort="fast"`` only, they get the density of the values that are
                present, and a score of NaN where a value is missing; it has other units than the density of
                complete queries. By default ``"drop"`` for data frames, else ``"error"``.

        Returns:
            Array or series (M,), or a tensor on the same device; -inf off the affine hull of a singular
            sample.

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of the sample, there is no such
                method or rule for missing values, or the effort does not allow it. Or Y is a tensor that is
                on another device than the model, or requires gradients, or the sample is singular.

        Warns:
            DataWarning: Queries have missing values, and ``missing`` is ``"drop"``.
        """
        return like(Y, "log_density", self._answers(Y, method, missing).log_density)

    @overload
    def density(
        self, Y: PandasFrame, method: Method = ..., missing: MissingQueries | None = ...
    ) -> "pandas.Series": ...

    @overload
    def density(
        self, Y: PolarsFrame, method: Method = ..., missing: MissingQueries | None = ...
    ) -> "polars.Series": ...

    @overload
    def density(
        self, Y: npt.NDArray[Any], method: Method = ..., missing: MissingQueries | None = ...
    ) -> AnyFloats: ...

    @overload
    def density(self, Y: TensorT, method: Method = ..., missing: MissingQueries | None = ...) -> TensorT: ...

    @overload
    def density(self, Y: Any, method: Method = ..., missing: MissingQueries | None = ...) -> AnyFloats: ...

    def density(self, Y: Any, method: Method = "network", missing: MissingQueries | None = None) -> Any:
        """Return the density at the queries, in 1 / data units to the power D.

        Args:
            Y: As in ``log_density``.
            method: As in ``log_density``.
            missing: As in ``log_density``.

        Returns:
            Array or series (M,); inf where the float width cannot hold the density.

        Raises:
            InputError: As in ``log_density``.
        """
        log_density = self._answers(Y, method, missing).log_density
        with np.errstate(over="ignore", under="ignore"):
            return like(Y, "density", library(log_density).exp(log_density))

    @overload
    def score(self, Y: PandasFrame, missing: MissingQueries | None = ...) -> "pandas.DataFrame": ...

    @overload
    def score(self, Y: PolarsFrame, missing: MissingQueries | None = ...) -> "polars.DataFrame": ...

    @overload
    def score(self, Y: npt.NDArray[Any], missing: MissingQueries | None = ...) -> AnyFloats: ...

    @overload
    def score(self, Y: TensorT, missing: MissingQueries | None = ...) -> TensorT: ...

    @overload
    def score(self, Y: Any, missing: MissingQueries | None = ...) -> AnyFloats: ...

    def score(self, Y: Any, missing: MissingQueries | None = None) -> Any:
        """Return the score at the queries: the gradient of the log-density by the query, in 1 / data units.

        Args:
            Y: As in ``log_density``.
            missing: As in ``log_density``.

        Returns:
            Array or data frame (M, D), with the columns of the sample in their order. Of a singular sample it
            is the gradient along the affine hull, and 0 off it.

        Raises:
            InputError: As in ``log_density``.
        """
        found = self._answers(Y, "network", missing)
        return like(Y, "score", found.score, found.picked)

    @overload
    def log_density_and_score(
        self, Y: PandasFrame, missing: MissingQueries | None = ...
    ) -> "tuple[pandas.Series, pandas.DataFrame]": ...

    @overload
    def log_density_and_score(
        self, Y: PolarsFrame, missing: MissingQueries | None = ...
    ) -> "tuple[polars.Series, polars.DataFrame]": ...

    @overload
    def log_density_and_score(
        self, Y: npt.NDArray[Any], missing: MissingQueries | None = ...
    ) -> tuple[AnyFloats, AnyFloats]: ...

    @overload
    def log_density_and_score(
        self, Y: TensorT, missing: MissingQueries | None = ...
    ) -> tuple[TensorT, TensorT]: ...

    @overload
    def log_density_and_score(
        self, Y: Any, missing: MissingQueries | None = ...
    ) -> tuple[AnyFloats, AnyFloats]: ...

    def log_density_and_score(self, Y: Any, missing: MissingQueries | None = None) -> tuple[Any, Any]:
        """Return log-density and score at the queries, for the cost of one.

        Args:
            Y: As in ``log_density``.
            missing: As in ``log_density``.

        Returns:
            Log-density (M,) in nats and score (M, D) in 1 / data units.

        Raises:
            InputError: As in ``log_density``.
        """
        picked, log_density, score = self._answers(Y, "network", missing)
        return like(Y, "log_density", log_density), like(Y, "score", score, picked)

    def normalization(self, samples: int = 4096, seed: int = 0) -> Normalization:
        """Estimate the log of the integral of the density over all of space, which is 0 for a density.

        It is that of the rows that were read: rows far out, which were left out, are no part of it. With
        ``effort="fast"`` it is 0 exactly, and nothing is drawn. With ``effort="best"`` it is found by
        importance sampling from the estimate's own components, broadened. Subtract ``log_integral`` from
        log-densities that you compare with those of a normalised density, if ``effective_samples`` is about
        100 or more; in many columns it may not be.

        Args:
            samples: How many points are drawn and queried; the standard error falls with their square root.
            seed: Seed of the draw. The same seed gives the same answer.

        Returns:
            ``log_integral`` (nats), its ``standard_error`` (nats) and ``effective_samples``.

        Raises:
            InputError: ``samples`` is not a whole number of 2 or more, or ``seed`` not one of 0 or more.
        """
        return normalization(self, samples, read_seed(seed))

    def _answers(self, Y: Any, method: Method, missing: MissingQueries | None) -> Answers:
        rule = missing_rule(missing, Y, MissingQueries)
        if method not in ("network", "normalized", "sd_kde"):
            raise InputError(f"method must be 'network', 'normalized' or 'sd_kde', got {method!r}")
        if rule == "marginal":
            self.require_effort("fast", "missing='marginal'")
            if method == "sd_kde":
                raise InputError("missing='marginal' needs method='network', got 'sd_kde'")
        if is_tensor(Y):
            return self._answers_to_tensor(Y, method, rule)
        queries = self.read_queries(Y, missing=rule != "error")
        kept = complete(queries.values)
        if kept.all():
            return Answers(queries.picked, *self._complete(queries, method))
        log_density = np.full(len(kept), np.nan, queries.width)
        score = np.full(queries.values.shape, np.nan, queries.width)
        part = Matrix(queries.values[kept], queries.width, queries.columns)
        log_density[kept], score[kept] = self._complete(part, method)
        if rule == "marginal":
            log_density[~kept], score[~kept] = self._marginals(queries.values[~kept])
        else:
            warn_caller(
                f"{np.count_nonzero(~kept)} of {len(kept)} rows of Y have missing values: their answers are "
                "NaN.",
                DataWarning,
            )
        return Answers(queries.picked, log_density, score)

    def _answers_to_tensor(self, Y: Any, method: Method, rule: str) -> Answers:
        if method == "sd_kde" or rule != "error":
            asked = "method='sd_kde'" if method == "sd_kde" else f"missing={rule!r}"
            raise InputError(
                f"{asked} needs a NumPy array or a data frame, got a tensor: copy it to the host"
            )
        log_density, score = self._answer_tensor(Y)
        return Answers(None, log_density if method == "network" else log_density - self._log_integral, score)

    def _complete(self, queries: Matrix, method: Method) -> tuple[AnyFloats, AnyFloats]:
        """Return the answers to queries without missing values; of SD-KDE, a score of NaN."""
        if method == "sd_kde":
            log_density = self._sd_kde.log_density(queries.values).astype(queries.width)
            log_density[self.off_hull(queries.values)] = -np.inf
            return log_density, np.full(queries.values.shape, np.nan, queries.width)
        log_density, score = self.answer_queries(queries)
        return (log_density if method == "network" else log_density - self._log_integral), score

    def _marginals(self, values: Floats) -> tuple[Floats, Floats]:
        """Return log-density (M,) and score (M, D) at rows (M, D) with missing values."""
        from discoformer.analysis.marginals import marginal_of

        log_density, score = np.zeros(len(values)), np.full(values.shape, np.nan)
        patterns, which = np.unique(np.isnan(values), axis=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            rows, given = np.flatnonzero(which.ravel() == index), np.flatnonzero(~pattern)
            if given.size:  # else the integral over all columns, which is 1
                found = marginal_of(self, given, "mixture").answer(values[np.ix_(rows, given)])
                log_density[rows], score[np.ix_(rows, given)] = found
        return log_density, score

    @cached_property
    def _log_integral(self) -> float:
        return self.normalization().log_integral

    @cached_property
    def _sd_kde(self) -> "SdKde":
        from discoformer.analysis.sd_kde import sd_kde

        warn_without_sample(self)
        return sd_kde(self)
