"""A fitted density: its encoding, its answers, and how to fit again.

The sample is read once; each call maps its queries ``y`` to the frame, and the answers back (see
``base.frame``)::

    z = (y - m) A        log f(y) = T(z) + log |det A|        grad log f(y) = S(z) A^T        (rows)

The mixture network turns the sample into a mixture of Student-t distributions. For ``effort="fast"``, ``T``
and ``S`` are those of this mixture. For ``effort="best"`` they are those of the heads, which refine it, with
tails of the mixture (see ``base.tails``).

Queries never see each other, so they are answered in chunks, and memory does not grow with their number.

Shapes: N rows of the sample, n landmarks, M queries, D dimensions.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self, overload

import numpy as np

from discoformer.base.arrays import slices
from discoformer.base.base import Base
from discoformer.base.mixture import LEAST_LOG_WEIGHT, Components, broadened
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer.base.tails import answer_base, radius_of, with_tails
from discoformer.errors import (
    DataWarning,
    DegenerateDataError,
    InputError,
    ModelError,
    RangeWarning,
    warn_caller,
)
from discoformer.fit import (
    OnStage,
    Sample,
    by_radius,
    diagnostics_of,
    graph_inputs,
    groups,
    ignore,
    landmarks_of,
    one_mixture_of,
    one_of,
    read_sample,
)
from discoformer.held_sample import EncodingModel, HeldSample, Reading
from discoformer.io.inputs import AnyFloats, Floats, Matrix, read_matrix, whole_number
from discoformer.onnx.graphs import CHUNK, Encoded, Graphs
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.names import MIXTURE, Effort
from discoformer.proposal import checked_components, propose

_FARTHEST = 1e13  # frame coordinates whose squares float32 can hold with ease, in units of any component
_CACHED = ("base", "components", "mixture", "proposal")  # attributes that follow from the encoding


class FittedDensity(HeldSample):
    """The density behind a sample, encoded by a model; ``Estimate`` adds the analyses."""

    @classmethod
    def of_samples(
        cls,
        model: EncodingModel,
        samples: Sequence[Sample],
        landmarks: int | None = None,
        on_progress: OnStage = ignore,
    ) -> list[Self]:
        """Encode samples that have the same number of columns, and were read with the same effort.

        Args:
            model: The model.
            samples: The samples.
            landmarks: Most rows of a sample that the network reads; by default as many as it was trained to
                read.
            on_progress: Called with a few words before the encoding.

        Raises:
            InputError: ``landmarks`` is not a whole number of 1 or more.
            DegenerateDataError: The network finds no density.
            ModelNotFoundError: The model has no files for this effort.
        """
        graphs, effort = model.graphs, samples[0].effort
        most = graphs.files(effort).metadata.landmarks
        most = most if landmarks is None else whole_number("landmarks", landmarks, 1)
        read = [landmarks_of(sample, most) for sample in samples]
        given = graph_inputs(samples, read)
        on_progress(f"reading {given['context'].shape[1]} points")
        arrays = given | graphs.mixture(given)
        for i, sample in enumerate(samples):
            _check_mixture([arrays[name][i] for name in MIXTURE], sample)
        encoded_of = one_mixture_of
        if effort == "best":
            on_progress("refining the mixture")
            arrays |= propose(graphs, samples, arrays)
            arrays |= graphs.encode(arrays)
            encoded_of = one_of
        return [
            cls(
                model,
                sample.frame,
                encoded_of(i, len(points), arrays),
                diagnostics_of(sample, graphs.files(effort).metadata, graphs.device, len(points)),
                sample.columns,
                sample.data,
                Reading(most, np.array_equal(points, sample.z[by_radius(sample.z)]), sample.allow_singular),
                sample.spread,
            )
            for i, (sample, (points, _)) in enumerate(zip(samples, read, strict=True))
        ]

    @classmethod
    def of_batch(
        cls, model: EncodingModel, samples: Sequence[Sample], landmarks: int | None = None
    ) -> list[Self]:
        """Encode samples of any sizes, similar ones together; arguments as in ``of_samples``."""
        found: dict[int, Self] = {}
        for group in groups(samples):
            alike = [samples[i] for i in group]
            found |= zip(group, cls.of_samples(model, alike, landmarks), strict=True)
        return [found[i] for i in range(len(samples))]

    def log_density_in_frame(self, z: Floats) -> Floats:
        """Return the log-density (M,) in frame coordinates, at points (M, D) there."""
        return self.answer_in_frame(z)[0]

    def refit(self, points: Any, weights: Floats | None = None, effective_size: float | None = None) -> Self:
        """Fit the same model to other points, with as many landmarks at most. Values are read as they are.

        No warnings are given, because the warnings of this estimate also apply to the new one.

        Args:
            points: Array-like (n, D').
            weights: (n,), not negative, of any scale.
            effective_size: By default Kish's.
        """
        return self.refit_sample(
            read_sample(
                points,
                weights,
                effective_size,
                effort=self.effort,
                allow_singular=self.reading.allow_singular,
            )
        )

    def refit_sample(self, sample: Sample) -> Self:
        """Fit the same model to a sample that has been read; see ``refit``."""
        return type(self).of_samples(self.model, [sample], self._reading.most)[0]

    def without_sample(self) -> Self:
        """Return the same density without its sample: it answers alike, and takes less memory."""
        return type(self)(
            self.model, self.frame, self.encoded, self.diagnostics, self.columns, None, self._reading
        )

    def with_graphs(self, graphs: Graphs) -> Self:
        """Return the same density, answered by other graphs that encode samples alike."""
        encoded = Encoded(self.encoded.arrays)
        model = type(self.model)(graphs)
        return type(self)(
            model,
            self.frame,
            encoded,
            self.diagnostics,
            self.columns,
            self._data,
            self._reading,
            self._spread,
        )

    @property
    def graphs(self) -> Graphs:
        """The graphs of the model."""
        graphs: Graphs = self.model.graphs
        return graphs

    @property
    def effort(self) -> Effort:
        """How the sample was read, ``"fast"`` or ``"best"``."""
        return self.diagnostics.effort

    def require_effort(self, effort: Effort, what: str) -> None:
        """Raise an error if something is asked for that only estimates of an effort can do.

        Raises:
            InputError: The effort is another.
        """
        if self.effort != effort:
            raise InputError(
                f"{what} needs effort={effort!r}, but this estimate has effort={self.effort!r}: estimate "
                f"again with effort={effort!r}"
            )

    @property
    def metadata(self) -> Metadata:
        """What the files that read the sample say about the model."""
        return self.graphs.files(self.effort).metadata

    @cached_property
    def base(self) -> Base[Floats]:
        """What the heads refine, in the frame; only for ``effort="best"``."""
        self.require_effort("best", "the base")
        return Base.from_inputs(self.encoded.arrays).each(lambda array: array.astype(float))

    @cached_property
    def components(self) -> Components[Floats]:
        """The mixture of Student-t distributions, in the frame, that the network made of the sample."""
        if self.effort == "best":
            return self.base.components
        return checked_components(self.encoded.arrays[name][0] for name in MIXTURE)

    @cached_property
    def mixture(self) -> MixtureAnswers:
        """The answers of ``components``, which are those of an estimate with ``effort="fast"``."""
        return MixtureAnswers(self.components)

    @cached_property
    def proposal(self) -> Components[Floats]:
        """``components``, broadened: what importance sampling draws from, in the frame."""
        return broadened(self.components)

    @overload
    def answer(self, Y: Floats) -> tuple[Floats, Floats]: ...

    @overload
    def answer(self, Y: Any) -> tuple[AnyFloats, AnyFloats]: ...

    def answer(self, Y: Any) -> tuple[AnyFloats, AnyFloats]:
        """Return log-density (M,) in nats and score (M, D) in 1 / data units at queries (M, D).

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of the sample.
        """
        return self.answer_queries(self.read_queries(Y))

    def answer_queries(self, queries: Matrix) -> tuple[AnyFloats, AnyFloats]:
        """Return log-density (M,) and score (M, D) at queries that have been read; see ``answer``.

        Off the affine hull of a singular sample, they are -inf and 0. Queries farther out than float32 can
        hold get the answer at the farthest point on their ray that it holds. An entry of the score that is
        too great for the float width is the greatest value that it holds.

        Raises:
            ModelError: An answer is not finite, so the model or the saved estimate is none.
        """
        log_density = np.empty(len(queries.values), queries.width)
        score = np.empty(queries.values.shape, queries.width)
        greatest = float(np.finfo(queries.width).max)
        for part in slices(len(queries.values), CHUNK):
            z = self.reach_in_frame(queries.values[part])
            framed_log_density, framed_score = self.answer_in_frame(z)
            if not (np.isfinite(framed_log_density).all() and np.isfinite(framed_score).all()):
                raise ModelError(
                    "the estimate gives values that are not finite: the model or the saved estimate has "
                    "numbers out of range; estimate again with the released model"
                )
            with np.errstate(over="ignore", under="ignore"):
                log_density[part] = self.frame.log_density_to_data(framed_log_density)
                score[part] = np.clip(self.frame.score_to_data(framed_score), -greatest, greatest)
        if self.is_singular:
            off = self.off_hull(queries.values)
            log_density[off], score[off] = -np.inf, 0
        return log_density, score

    def answer_in_frame(self, z: Floats) -> tuple[Floats, Floats]:
        """Return log-density (M,) and score (M, D) in frame coordinates, at points (M, D) there."""
        if self.effort == "fast":
            return self.mixture.answer(z)
        radius = radius_of(self.encoded.arrays["context"][0])
        return with_tails(self._answer_of_heads, self._answer_of_base, radius, z)

    def _answer_of_heads(self, z: Floats) -> tuple[Floats, Floats]:
        return self.graphs.answer(z, self.encoded)

    def _answer_of_base(self, z: Floats) -> tuple[Floats, Floats]:
        return answer_base(self.base, self.mixture, z)

    def read_in_frame(self, Y: Any) -> tuple[Floats, Matrix]:
        """Read queries; return them in frame coordinates (M, D), and as they are.

        Off the affine hull of a singular sample, the nearest point on it is taken.

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of the sample.
        """
        queries = self.read_queries(Y)
        return self.to_frame(queries.values), queries

    def to_frame(self, points: Floats, first: int | None = 0, name: str = "Y") -> Floats:
        """Map points (n, D) to the frame.

        Args:
            points: Data units.
            first: Number of the first row, for the error message; None to leave the row out of it.
            name: Name of the argument, for the error message.

        Raises:
            InputError: A point is too far away.
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

    def reach_in_frame(self, points: Floats) -> Floats:
        """Map points (n, D) to the frame, and those too far away to the farthest ones on their rays."""
        with np.errstate(over="ignore", invalid="ignore"):
            z = self.frame.to_frame(points)
            far = ~(np.abs(z) < _FARTHEST).all(axis=1)
        if far.any():
            size = np.maximum(np.abs(points[far]), np.abs(self.frame.center)).max(axis=1, keepdims=True)
            ray = (points[far] / size - self.frame.center / size) @ self.frame.linear
            z[far] = ray / np.abs(ray).max(axis=1, keepdims=True) * _FARTHEST
        return z

    def read_queries(self, Y: Any, missing: bool = False) -> Matrix:
        """Read queries; the columns of a data frame are those of the sample, by name.

        Args:
            Y: Array-like or data frame (M, D), data units.
            missing: Whether entries may be NaN, which means missing.

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of the sample.
        """
        queries, dim = read_matrix("Y", Y, missing, self.columns, keep_empty=True), self.diagnostics.dim
        if queries.values.shape[1] != dim:
            raise InputError(f"Y must have {dim} columns like the sample X, got shape {queries.values.shape}")
        return queries

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _CACHED}

    def __repr__(self) -> str:
        d = self.diagnostics
        return (
            f"{type(self).__name__}(n={d.n}, dim={d.dim}, effective_size={d.effective_size:.6g}, "
            f"initialisation={d.initialisation!r}, effort={d.effort!r})"
        )


def _check_mixture(mixture: Sequence[AnyFloats], sample: Sample) -> None:
    """Check that the network found a density for a sample."""
    present = mixture[0] > LEAST_LOG_WEIGHT
    if not (present.any() and all(np.isfinite(array[present]).all() for array in mixture)):
        raise DegenerateDataError(
            f"the network finds no density for X, of effective size {sample.frame.effective_size:.4g}: check "
            "the weights and the landmarks"
        )


def warn_of_range(metadata: Metadata, samples: Sequence[Sample]) -> None:
    """Warn, once for each text, of singular samples, and of sizes that a model was not trained on."""
    for text in dict.fromkeys(text for sample in samples for text in sample.singularity()):
        warn_caller(text, DataWarning)
    sizes = ((len(sample.data.points), sample.frame.rank) for sample in samples)
    for text in filter(None, dict.fromkeys(" ".join(metadata.out_of_range(*size)) for size in sizes)):
        warn_caller(text, RangeWarning)


def warn_of_rows(samples: Sequence[Sample], name: str = "") -> None:
    """Warn of rows that are far out or repeat others, and of values that look like codes."""
    for index, sample in enumerate(samples):
        for text in sample.doubts_about_rows():
            warn_caller(name.format(index) + text, DataWarning)


def warn_without_sample(fitted: FittedDensity) -> None:
    """Warn that an analysis reads landmarks, if the sample was not saved with the estimate."""
    if not fitted.holds_sample:
        warn_caller(
            f"the estimate was saved without its sample of {fitted.diagnostics.n} rows, so this reads its "
            f"{fitted.diagnostics.landmarks} landmarks instead: save with sample=True, or estimate again",
            RangeWarning,
        )
