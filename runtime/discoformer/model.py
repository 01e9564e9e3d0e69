"""Models: a folder with ``encode.onnx`` and ``query.onnx``, found by name or by path, never by network.

What the model is, and the ranges it was trained on, stand in the metadata of both files. A sample becomes an
estimate in four steps: its frame, its base, its landmarks (all of it, unless it is long), its encoding.
"""

import os
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from discoformer.base.base import Base
from discoformer.errors import (
    DeviceWarning,
    InputError,
    ModelError,
    ModelNotFoundError,
    RangeWarning,
    require,
)
from discoformer.estimates import Diagnostics, Estimate
from discoformer.fit import (
    Sample,
    Say,
    base_of_samples,
    graph_inputs,
    groups,
    landmarks_of,
    one_of,
    read_sample,
    say_nothing,
)
from discoformer.io.inputs import whole_number
from discoformer.onnx.graphs import FILES, Encoded, Graphs
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.parallel import both
from discoformer.onnx.sessions import Device, two_builds
from discoformer.saved import read_estimate

DEFAULT_NAME = "base"


def load(
    path_or_name: str | os.PathLike[str] = DEFAULT_NAME,
    device: Device = "auto",
    threads: int | None = None,
    provider_options: Mapping[str, str] | None = None,
) -> "Model":
    """Loads a model.

    Args:
        path_or_name: Name of a released model, or a path to a folder (a string with a path separator, or a
            ``Path``).
        device: ``"cpu"``, ``"cuda"`` (an error where it cannot be had), or ``"auto"`` (CUDA where possible).
        threads: CPU threads; onnxruntime's own choice by default.
        provider_options: Options of onnxruntime's CUDA provider, such as ``{"device_id": "1"}``.

    Raises:
        ModelNotFoundError: No such model, or an incomplete folder.
        ModelError: The files do not fit together, or this runtime cannot run them.
        DeviceError: CUDA was asked for and cannot be had.
        MissingExtraError: onnxruntime is not installed.

    Warns:
        DeviceWarning: CUDA was hoped for and cannot be had, or two builds of onnxruntime are installed.
    """
    if trouble := two_builds():
        warnings.warn(trouble, DeviceWarning, stacklevel=2)
    return Model(Graphs(find_folder(path_or_name), device, threads, provider_options))


def estimate(
    X: Any, weights: Any = None, effective_size: float | None = None, landmarks: int | None = None
) -> Estimate:
    """Estimates the distribution behind a sample with the default model, loaded once and kept.

    See ``Model.estimate`` for the arguments and errors.
    """
    require("onnxruntime")  # before any work is done

    def look() -> tuple[Sample, Base]:
        sample = read_sample(X, weights, effective_size)
        return sample, base_of_samples([sample])

    (sample, base), model = both(look, default_model)  # which takes a while the first time
    model._warn_of_range([sample])
    return model._encode([sample], base, landmarks)[0]


def load_estimate(path: str | os.PathLike[str], model: "Model | None" = None) -> Estimate:
    """Reads what ``Estimate.save`` wrote.

    Args:
        path: The file.
        model: The model that made the estimate; by default the released one of the name in the file.

    Returns:
        The estimate, as it was saved: its answers are the same.

    Raises:
        InputError: The file is no estimate, is damaged, or has the format of another version.
        ModelError: The model is not the one that made the estimate.
        ModelNotFoundError: No released model of that name.
        OSError: The file cannot be read.
    """
    saved = read_estimate(Path(path))
    model = model_or_default(model) if model or saved.model == DEFAULT_NAME else load(saved.model)
    if model.graphs.sha256 != saved.sha256:
        raise ModelError(
            f"{path} was made by the model {saved.model!r} {saved.version} (SHA-256 of its files "
            f"{saved.sha256[:12]}), got {model.metadata.name!r} {model.metadata.version} in {model.folder} "
            f"({model.graphs.sha256[:12]}): pass model=discoformer.load(folder of the one that made it), or "
            "estimate again"
        )
    diagnostics = Diagnostics(**saved.diagnostics | {"device": model.device})
    return Estimate(model.graphs, saved.frame, Encoded(saved.encoded), diagnostics, saved.columns)


class Model:
    """A loaded model; made by ``load``. It may be pickled, and used from several threads and after a fork.

    Attributes:
        graphs: Its two files.
    """

    def __init__(self, graphs: Graphs) -> None:
        self.graphs = graphs

    @property
    def metadata(self) -> Metadata:
        """What it is, and the ranges it was trained on."""
        return self.graphs.metadata

    @property
    def folder(self) -> Path:
        """Where it was loaded from."""
        return self.graphs.folder

    @property
    def device(self) -> Device:
        """Where it runs, ``"cpu"`` or ``"cuda"``."""
        return self.graphs.device

    def estimate(
        self,
        X: Any,
        weights: Any = None,
        effective_size: float | None = None,
        landmarks: int | None = None,
        say: Say = say_nothing,
    ) -> Estimate:
        """Encodes a context once, to be queried as often as wanted.

        Args:
            X: Array-like (N, D), data units: nested sequences, NumPy, ``__array__`` or DLPack, pandas, Arrow.
            weights: Array-like (N,), not negative, of any scale; rows of weight 0 count as absent.
            effective_size: How many independent points the rows are worth, where that is known better than
                Kish's ``(sum w)^2 / sum w^2`` (correlated draws, say).
            landmarks: How many points of a long context the network reads at most; by default as many as it
                was trained to read. The frame and the base always take all of it. Time grows with the
                square of this number.
            say: Called with a few words at the start of each stage: a long context takes a while.

        Raises:
            InputError: An argument is malformed or not finite.
            DegenerateDataError: A single row, a constant column, or collinear columns.

        Warns:
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        sample = read_sample(X, weights, effective_size, say)
        self._warn_of_range([sample])
        return self._encode([sample], base_of_samples([sample], say), landmarks, say)[0]

    def estimate_again(self, X: Any, weights: Any, effective_size: float) -> Estimate:
        """``estimate`` without its warnings, for points made from those of an estimate that has given them.

        (``warnings.catch_warnings`` would turn off those of other threads, too.)
        """
        sample = read_sample(X, weights, effective_size)
        return self._encode([sample], base_of_samples([sample]), None)[0]

    def estimate_batch(
        self, contexts: Iterable[Any], weights: Iterable[Any] | None = None, landmarks: int | None = None
    ) -> list[Estimate]:
        """Encodes many contexts together, which for small ones is much quicker than one by one.

        Args:
            contexts: Array-likes (N, D), of any N and D each, data units.
            weights: For each of them array-like (N,) or None, as in ``estimate``.
            landmarks: As in ``estimate``.

        Returns:
            For each context the estimate that ``estimate`` gives, up to rounding.

        Raises:
            InputError: An argument is malformed or not finite; the message says in which context.
            DegenerateDataError: A context with a single row, a constant column, or collinear columns.

        Warns:
            RangeWarning: N or D of a context is outside the ranges the model was trained on.
        """
        contexts = list(contexts)
        weights = [None] * len(contexts) if weights is None else list(weights)
        if len(weights) != len(contexts):
            raise InputError(
                f"weights must have one entry for each of the {len(contexts)} contexts, got {len(weights)}"
            )
        samples = []
        for index, (X, w) in enumerate(zip(contexts, weights, strict=True)):
            try:
                samples.append(read_sample(X, w))
            except InputError as error:
                raise type(error)(f"contexts[{index}]: {error}") from error
        self._warn_of_range(samples)
        estimates: dict[int, Estimate] = {}
        for group in groups(samples):
            alike = [samples[i] for i in group]
            estimates |= zip(group, self._encode(alike, base_of_samples(alike), landmarks), strict=True)
        return [estimates[i] for i in range(len(samples))]

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the model into a folder, which ``load`` reads: an adapted one, above all.

        Args:
            folder: Made if absent; files of the same names are replaced.

        Raises:
            InputError: It is the folder that the model was loaded from.
            OSError: A file cannot be written.
        """
        from discoformer.onnx.model_folder import save_model

        save_model(self.graphs, Path(folder), {})

    def _encode(
        self,
        samples: list[Sample],
        base: Base,
        landmarks: int | None,
        say: Say = say_nothing,
    ) -> list[Estimate]:
        """Estimates of samples that have one dimension, from their bases."""
        most = self.metadata.landmarks if landmarks is None else whole_number("landmarks", landmarks, 1)
        read = [landmarks_of(sample, most) for sample in samples]
        given = graph_inputs([sample.frame for sample in samples], base, read)
        say(f"encoding {given['context'].shape[1]} points")
        states = self.graphs.encode(given)
        return [
            Estimate(
                self.graphs,
                sample.frame,
                one_of(i, len(read[i][0]), given | states),
                self._diagnose(sample, len(read[i][0])),
                sample.columns,
            )
            for i, sample in enumerate(samples)
        ]

    def _warn_of_range(self, samples: list[Sample]) -> None:
        texts = dict.fromkeys(" ".join(self.metadata.out_of_range(*sample.z.shape)) for sample in samples)
        for text in filter(None, texts):
            warnings.warn(text, RangeWarning, stacklevel=3)

    def _diagnose(self, sample: Sample, landmarks: int) -> Diagnostics:
        n, dim = sample.z.shape
        return Diagnostics(
            n=n,
            dim=dim,
            effective_size=sample.frame.effective_size,
            seed=sample.frame.seed,
            shrinkage=sample.frame.shrinkage,
            landmarks=landmarks,
            device=self.device,
            warnings=self.metadata.out_of_range(n, dim)
            + sample.doubts()
            + self.metadata.doubts_about_landmarks(landmarks),
        )

    def __repr__(self) -> str:
        return f"Model({self.metadata.name!r}, version={self.metadata.version!r}, device={self.device!r})"


@cache
def default_model() -> Model:
    """The default model, loaded once and kept."""
    return load()


def model_or_default(model: Any) -> Model:
    """The model given, or the default one for None.

    Raises:
        InputError: It is neither.
    """
    if model is None:
        return default_model()
    if not isinstance(model, Model):
        raise InputError(f"model must be what discoformer.load gives, or None for the default, got {model!r}")
    return model


def find_folder(path_or_name: str | os.PathLike[str]) -> Path:
    """The folder of a model: a path as it stands; a name in the package, else in the checkout's ``models``.

    Raises:
        ModelNotFoundError: No folder there with the two graph files.
    """
    package = Path(__file__).resolve().parent
    if isinstance(path_or_name, str) and Path(path_or_name).name == path_or_name:
        candidates = [package / "models" / path_or_name, package.parents[1] / "models" / path_or_name]
        advice = (
            f"reinstall discoformer, or pass a path to a model folder ('./{path_or_name}' for one right here)"
        )
    else:
        candidates = [Path(path_or_name).resolve()]
        advice = "pass the folder that holds them, written by discoformer-export"
    for folder in candidates:
        if all((folder / name).is_file() for name in FILES):
            return folder
    found = "; ".join(f"{folder} {_describe(folder)}" for folder in candidates)
    raise ModelNotFoundError(
        f"no model {str(path_or_name)!r} ({' and '.join(FILES)} are needed): {found}; {advice}"
    )


def _describe(folder: Path) -> str:
    if not folder.is_dir():
        return "is not a folder" if folder.exists() else "does not exist"
    return "holds " + (", ".join(sorted(item.name for item in folder.iterdir())) or "nothing")
