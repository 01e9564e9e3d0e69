"""A fitted density: its encoding, its answers, and how to fit again.

The sample is read once. The mixture network turns it into a mixture of Student-t distributions. For
``effort="fast"`` the answers are those of this mixture. For ``effort="best"`` heads refine it (see
``answering``).

Shapes: N rows of the sample, n landmarks, M queries, D dimensions.
"""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, Self, overload

import numpy as np

from discoformer.answering import FARTHEST, Answers
from discoformer.base.arrays import ArrayT, library, moved_to
from discoformer.base.base import Base
from discoformer.base.frame import AffineMap
from discoformer.base.mixture import Components, broadened
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer.base.mixture_checks import check_mixture, checked_components
from discoformer.base.tails import radius_of
from discoformer.base.tensors import read_tensor
from discoformer.errors import (
    DataWarning,
    InputError,
    RangeWarning,
    warn_caller,
)
from discoformer.fit import (
    OnStage,
    Sample,
    by_radius,
    diagnostics_of,
    groups,
    ignore,
    landmarks_of,
    one_mixture_of,
    one_of,
    read_sample,
)
from discoformer.held_sample import EncodingModel, HeldSample, Reading
from discoformer.io.inputs import AnyFloats, Floats, Matrix, read_matrix, whole_number
from discoformer.io.tensors import check_device, is_tensor
from discoformer.onnx.graphs import Encoded, Graphs
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.names import MIXTURE, Effort
from discoformer.proposal import by_sample, propose, read_mixtures

_HOST = np.zeros(0)
FEWEST_LANDMARKS = 32  # no mixture is read again from fewer
_CACHED = ("base", "components", "proposal", "_placed")  # attributes that follow from the encoding


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
        on_progress(f"reading {max(len(points) for points, _ in read)} points")
        arrays, astray = read_mixtures(graphs, samples, read)
        fewer = {i: half for i in astray if (half := min(most, len(read[i][0])) // 2) >= FEWEST_LANDMARKS}
        if fewer:
            rest = [sample for i, sample in enumerate(samples) if i not in fewer]
            found = iter(cls.of_samples(model, rest, landmarks) if rest else [])
            return [
                cls.of_samples(model, [sample], fewer[i])[0] if i in fewer else next(found)
                for i, sample in enumerate(samples)
            ]
        for mixture, sample in zip(by_sample(arrays), samples, strict=True):
            check_mixture(mixture, sample.frame)
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

    @property
    def mixture(self) -> MixtureAnswers[Floats]:
        """The answers of ``components``, which are those of an estimate with ``effort="fast"``."""
        return self._answers_on(_HOST).mixture

    @cached_property
    def proposal(self) -> Components[Floats]:
        """``components``, broadened: what importance sampling draws from, in the frame."""
        return broadened(self.components)

    @overload
    def answer(self, Y: Floats) -> tuple[Floats, Floats]: ...

    @overload
    def answer(self, Y: Any) -> tuple[AnyFloats, AnyFloats]: ...

    def answer(self, Y: Any) -> tuple[Any, Any]:
        """Return log-density (M,) in nats and score (M, D) in 1 / data units at queries (M, D).

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of the sample, or a tensor on
                another device than the model.
        """
        return self._answer_tensor(Y) if is_tensor(Y) else self.answer_queries(self.read_queries(Y))

    def answer_queries(self, queries: Matrix) -> tuple[AnyFloats, AnyFloats]:
        """Return log-density (M,) and score (M, D) at queries that have been read; see ``Answers.at``.

        Off the affine hull of a singular sample, they are -inf and 0.
        """
        log_density, score = self._answers_on(_HOST).at(queries.values, queries.width.name)
        if self.is_singular:
            off = self.off_hull(queries.values)
            log_density[off], score[off] = -np.inf, 0
        return log_density, score

    def _answer_tensor(self, Y: Any) -> tuple[Any, Any]:
        """Return log-density (M,) and score (M, D) at a tensor (M, D), as tensors; see ``answer``."""
        check_device("Y", Y, self.graphs.device)
        values, width = read_tensor("Y", Y)
        self._check_columns(tuple(values.shape))
        if self.is_singular:
            raise InputError(
                "Y must be a NumPy array for an estimate of a singular sample, got a tensor: copy it"
            )
        return self._answers_on(values).at(values, width)

    def answer_in_frame(self, z: Floats) -> tuple[Floats, Floats]:
        """Return log-density (M,) and score (M, D) in frame coordinates, at points (M, D) there."""
        return self._answers_on(_HOST).in_frame(z)

    def _answers_on(self, like: ArrayT) -> Answers[ArrayT]:
        """Return the answers for arrays of the library of another, on its device; they are kept."""
        xp = library(like)
        key = xp.__name__, str(like.device)
        if key not in self._placed:
            move, frame = partial(moved_to, like=like), self.frame
            base = self.base.each(move) if self.effort == "best" else None
            self._placed[key] = Answers(
                frame if xp is np else AffineMap(move(frame.center), move(frame.linear)),
                frame.log_abs_det + frame.log_share,
                MixtureAnswers(base.components if base else Components(*map(move, self.components))),
                base,
                radius_of(self.encoded.arrays["context"][0]) if base else 0.0,
                partial(self.graphs.answer, encoded=self.encoded),
                self.graphs.chunk,
            )
        return self._placed[key]

    @cached_property
    def _placed(self) -> dict[tuple[str, str], Answers[Any]]:
        """The answers by library and device."""
        return {}

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
            far = np.flatnonzero(~(np.abs(z) < FARTHEST).all(axis=1))
        if far.size:
            where = "" if first is None else f" in row {first + far[0]}"
            raise InputError(
                f"{name} is more than {FARTHEST:.0e} spreads of X away{where}, beyond what float32 can "
                "hold: leave it out, or check its units"
            )
        return z

    def reach_in_frame(self, points: Floats) -> Floats:
        """Map points (n, D) to the frame, and those too far away to the farthest ones on their rays."""
        return self._answers_on(_HOST).reach(points)

    def read_queries(self, Y: Any, missing: bool = False) -> Matrix:
        """Read queries; the columns of a data frame are those of the sample, by name.

        Args:
            Y: Array-like or data frame (M, D), data units.
            missing: Whether entries may be NaN, which means missing.

        Raises:
            InputError: Y is not a matrix of finite numbers with the columns of the sample.
        """
        queries = read_matrix("Y", Y, missing, self.columns, keep_empty=True)
        self._check_columns(queries.values.shape)
        return queries

    def _check_columns(self, shape: tuple[int, ...]) -> None:
        dim = self.diagnostics.dim
        if shape[1] != dim:
            raise InputError(f"Y must have {dim} columns like the sample X, got shape {shape}")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _CACHED}

    def __repr__(self) -> str:
        d = self.diagnostics
        return (
            f"{type(self).__name__}(n={d.n}, dim={d.dim}, effective_size={d.effective_size:.6g}, "
            f"initialisation={d.initialisation!r}, effort={d.effort!r})"
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
