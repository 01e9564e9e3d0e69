"""The estimate: a fitted density, and everything that can be asked of it. Each method calls one analysis.

Analyses are imported when they are first used: so the package is quick to import.

Shapes: N points of the sample, M queries, D dimensions.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discoformer.analysis.densities import Densities, Method
from discoformer.deprecation import renamed_arguments, renamed_attribute
from discoformer.fit import Context, Diagnostics, ignore
from discoformer.fitted import warn_without_sample
from discoformer.io.features import Feature
from discoformer.io.inputs import Floats, read_seed, whole_number
from discoformer.io.outputs import like
from discoformer.saved import save_estimate

if TYPE_CHECKING:
    from discoformer.analysis.adaptation import Adaptation
    from discoformer.analysis.conditionals import Conditional
    from discoformer.analysis.diagnosis import Diagnosis
    from discoformer.analysis.marginals import Method as MarginalMethod
    from discoformer.analysis.modes import Modes
    from discoformer.analysis.sampling import Method as SamplingMethod

__all__ = ["Context", "Diagnostics", "Estimate", "Method"]


class Estimate(Densities):
    """Density and score of the distribution behind a sample; made by ``Model.estimate``.

    Log-densities are in nats, of the density in the units of the data: they may be positive, and densities at
    points do not sum to 1. Results have the float width of the queries: float32 for float32, else float64.
    They are Series and DataFrames of pandas or polars if the queries are a DataFrame, tensors on the same
    device if they are a tensor (of PyTorch, CuPy or JAX), else NumPy arrays. The columns of a DataFrame are
    those of the sample, by name: in any order, and other columns may be there too.

    Attributes:
        model: The ``discoformer.Model`` that made it.
        effort: How the sample was read, ``"fast"`` or ``"best"``.
        diagnostics: What is known about the sample, and the reasons to doubt the estimate.
        data: The sample: its rows of positive weight, sorted, and their weights.
        holds_sample: Whether ``data`` is the whole sample, and not the landmarks of an estimate that was
            saved without it.
        spread: What is read of ``data``: rounded values are spread within their cells. It is ``data`` if
            nothing is rounded.
        landmarks: The points that the network reads, and their weights: all of ``spread``, unless it is
            large.
        frame: The affine map to the coordinates in which the network sees the data.
        columns: Names of the columns of the sample, if it had any.
        adaptation: What ``adapt`` did; None for other estimates, and for those read from a file.
    """

    adaptation: "Adaptation | None" = None
    context = renamed_attribute("context", "landmarks")

    def sample(
        self, n: int, method: "SamplingMethod | None" = None, seed: int = 0, steps: int = 16
    ) -> Floats:
        """Draw new points from the estimated density.

        With ``effort="fast"`` draws are exact and independent. Langevin chains with Metropolis correction are
        exact in the limit of many steps. Diffusion adds noise to the sample and encodes it again at each
        noise level. ``analysis.sampling.sample`` also returns how many moves were accepted.

        Args:
            n: How many points.
            method: ``"exact"``, for ``effort="fast"`` only and the default there; ``"langevin"``, the default
                otherwise; ``"diffusion"``; or ``"ode"``, which is diffusion by its probability flow.
            seed: The same seed draws the same points.
            steps: Steps of the chains, or noise levels. Time grows with it.

        Returns:
            Array (n, D), data units.

        Raises:
            InputError: There is no such method, the effort does not allow it, or a number is not whole or is
                too low.
        """
        from discoformer.analysis.sampling import sample

        if method in ("diffusion", "ode"):
            warn_without_sample(self)
        return sample(self, n, method, seed, steps).points

    def consistency(self, Y: Any, directions: int = 4, seed: int = 0) -> Any:
        """Measure how far the score and the slope of the log-density disagree at the queries.

        The score must be the gradient of the log-density. If the network's two answers differ, at least one
        of them is wrong; if they agree, both may still be wrong. As a guess of the error, this is no better
        than a low log-density (``docs/diagnosis``). It costs ``2 directions + 1`` queries for each query.
        With ``effort="fast"`` it is 0: the score is the exact gradient.

        Args:
            Y: Array-like or data frame (M, D), data units.
            directions: How many random directions the two are compared along.
            seed: Seed of the directions.

        Returns:
            Array or series (M,): root mean square difference of an entry of the score, in the frame, where
            the entries of a score are about 1. 0 means agreement.

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of the sample, or a number is too
                low.
        """
        from discoformer.analysis.consistency import consistency_of

        z, queries = self.read_in_frame(Y)
        found = consistency_of(self, z, whole_number("directions", directions, 1), read_seed(seed))
        return like(Y, "consistency", found.residual.astype(queries.width))

    def diagnose(self, Y: Any = None, seed: int = 0) -> "Diagnosis":
        """Measure whether to trust the estimate, as far as that is possible without the truth.

        ``diagnostics`` holds what was known when the sample was read. This takes about six times as long as
        the estimate: parts of the sample are held out and answered by estimates from the other parts.

        Args:
            Y: Array-like or data frame (M, D), data units: the queries that matter, at which score and slope
                are compared. By default these are up to 512 points of the sample.
            seed: Seed of the folds, draws and directions.

        Returns:
            Findings, each with a level (fine, doubtful, bad) and advice. It prints as text.

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of the sample, or ``seed`` is not
                a whole number of 0 or more.
        """
        from discoformer.analysis.diagnosis import diagnose

        warn_without_sample(self)
        return diagnose(self, Y, seed)

    def marginal(
        self, features: Feature | Iterable[Feature], method: "MarginalMethod" = "refit"
    ) -> "Estimate":
        """Estimate the density of some of the features, whatever the values of the others.

        Args:
            features: Names or positions (0 to D - 1) of the features to keep, in the order you want.
            method: With ``"refit"`` the same model reads the chosen columns of the sample. With
                ``"mixture"``, for ``effort="fast"`` only, the density is the exact integral of this one.

        Returns:
            An estimate of these features.

        Raises:
            InputError: No feature is named, one is not there, or one is named twice; or there is no such
                method, or the effort does not allow it.

        Warns:
            RangeWarning: The number of rows or columns is outside the ranges the model was trained on, or the
                estimate was saved without its sample.
        """
        from discoformer.analysis.marginals import marginal_of

        warn_without_sample(self)
        return marginal_of(self, features, method)

    def conditional(self, given: Mapping[Feature, float]) -> "Conditional":
        """Return the distribution of the free features, given the values of the others.

        With ``effort="fast"`` all its answers are exact.

        Args:
            given: Values by name or position of the feature, data units. All other features are free.

        Returns:
            Log-density, density, score, mean and draws of the free features.

        Raises:
            InputError: No feature is named, one is not there, none is left free, or a value is not finite.
        """
        from discoformer.analysis.conditionals import Conditional

        return Conditional(self, given)

    def modes(self, Y: Any = None, prominence: float = 1.0) -> "Modes":
        """Find the modes of the density and the points that climb to each of them: clusters.

        Time grows with the number of points to label.

        Args:
            Y: Array-like or data frame (M, D), data units: points to label. By default these are the points
                of ``data``. The modes do not depend on it.
            prominence: Height in nats that must be lost on the way from a mode to a higher one. Less
                prominent modes are merged into the higher one. 1 nat is a factor e in density; 0 keeps every
                mode.

        Returns:
            ``points`` (K, D) of the modes, highest first, their ``log_density`` and ``prominence`` (K,), the
            mode ``behind`` the saddle of each (K,), and the ``labels`` (M,) of Y. Its method ``merged`` gives
            the result for a higher prominence at no cost.

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of the sample, or ``prominence``
                is negative.
        """
        from discoformer.analysis.modes import modes_of

        warn_without_sample(self)
        return modes_of(self, Y).merged(prominence)

    def impute(self, Y: Any, draws: int | None = None, samples: int = 64, seed: int = 0) -> Any:
        """Fill in missing entries, NaN, from their distribution given the other entries of their row.

        Args:
            Y: Array-like or data frame (M, D), data units, with NaN where an entry is missing.
            draws: How many times to fill in random draws (multiple imputation). By default the entries are
                filled in once, by the conditional mean: the best guess in mean squared error.
            samples: How many points each row is imputed from; more are slower and more exact.
            seed: Seed of these points and of the draws.

        Returns:
            Y with its missing entries filled in and all others as they were, (M, D). Of a data frame, other
            columns than those of the sample are kept. With ``draws`` an array (draws, M, D).

        Raises:
            InputError: Y has other columns than the sample or infinite entries, or a number is too low.
        """
        from discoformer.analysis.imputation import impute

        return impute(self, Y, draws, samples, seed)

    @renamed_arguments(say="on_progress")
    def adapt(
        self, steps: int = 256, seed: int = 0, on_progress: Callable[[int], None] | None = None
    ) -> "Estimate":
        """Adapt the network to this sample, by steps on losses that need no labels.

        This is for data unlike anything in training. The first step goes along directions that were learned
        from other data sets, as far as the noise of its slope allows; it is kept unless held-out points
        contradict it. Further gradient steps are kept only if held-out points clearly support them. With no
        step kept, the answers stay as they are. This estimate and its model do not change; ``model.save`` of
        the result writes the adapted model.

        Args:
            steps: How many steps are tried. They take little time: most of it goes into preparing them.
            seed: Seed of the random split into parts. The same seed gives the same answer on the same
                machine.
            on_progress: Called with the number of parts that are done, of 5.

        Returns:
            A new estimate from the same sample; its ``adaptation`` says what was done.

        Raises:
            InputError: ``steps`` is not a whole number of 1 or more, ``seed`` not one of 0 or more, the
                sample has fewer than 20 points, or the effort is ``"fast"``.
            MissingExtraError: PyTorch is not installed.
            ModelError: The weights beside the model's files do not belong to them.
            ModelNotFoundError: There are no weights beside the model's files.
        """
        from discoformer.analysis.adaptation import adapt

        self.require_effort("best", "adapt")
        warn_without_sample(self)
        graphs, adaptation = adapt(self, steps, seed, on_progress or ignore)
        adapted = self.with_graphs(graphs)
        adapted.adaptation = adaptation
        return adapted

    def save(self, path: str | os.PathLike[str], sample: bool = False) -> None:
        """Write the estimate to one file, which ``discoformer.load_estimate`` reads; all of it or nothing.

        The file holds the encoded sample and the hash of the model, not the model itself.

        Args:
            path: The file; an existing one is replaced.
            sample: Whether to save the whole sample too. Without it the file stays small, the answers at
                queries are the same, and analyses that read the sample (marginals, modes, diagnosis, ...) use
                its landmarks instead and warn. If the sample has no more rows than
                landmarks, the file holds all of it anyway, in float32.

        Raises:
            InputError: ``sample`` is True, and the estimate was itself read from a file without its sample.
            OSError: The file cannot be written.
        """
        save_estimate(Path(path), self, sample)
