"""Models: a folder with graph files, found by name or by path, never by network.

``effort="fast"`` needs ``mixture.onnx``, ``effort="best"`` also ``encode.onnx`` and ``query.onnx``. The
metadata of the files say what the model is, and which ranges it was trained on.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from discoformer.deprecation import renamed_arguments, warn_renamed
from discoformer.errors import DeviceWarning, InputError, ModelError, ModelNotFoundError, warn_caller
from discoformer.estimates import Estimate
from discoformer.fit import OnStage, Sample, ignore, read_sample
from discoformer.fitted import warn_of_range, warn_of_rows
from discoformer.io.incomplete import Missing, complete_rows
from discoformer.one_run import answer_raw
from discoformer.onnx.finding import DEFAULT_NAME, find_folder
from discoformer.onnx.graphs import Encoded, Graphs
from discoformer.onnx.importing import import_onnxruntime
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.model_files import ModelFiles
from discoformer.onnx.names import Effort, check_effort
from discoformer.onnx.parallel import both
from discoformer.onnx.placement import Device, Provider, find_placement, two_builds
from discoformer.onnx.released import RELEASED
from discoformer.saved import Saved, read_estimate
from discoformer.table.cells import Rounding


def load(
    path_or_name: str | os.PathLike[str] = DEFAULT_NAME,
    device: Device = "auto",
    threads: int | None = None,
    provider_options: Mapping[str, str] | None = None,
    trust: bool = False,
    providers: Sequence[Provider] | None = None,
) -> "Model":
    """Load a model: find its files and check them. Each is opened when it is first needed.

    Args:
        path_or_name: Name of a released model, or path of a folder (a string with a path separator, or a
            ``Path``).
        device: ``"cpu"``, ``"cuda"`` or one of several GPUs such as ``"cuda:1"`` (an error if it cannot be
            had), or ``"auto"`` (CUDA if possible).
        threads: CPU threads; onnxruntime's own choice by default.
        provider_options: Options of onnxruntime's CUDA provider, such as ``{"gpu_mem_limit": "4000000000"}``.
        trust: Whether to load a folder whose ``config.json`` does not record the SHA-256 of its files, or
            records others. A model with the name and version of a released one must have its files anyway.
        providers: Execution providers of onnxruntime instead of a device, the preferred one first: names, or
            names and options, such as ``["OpenVINOExecutionProvider"]``. They are passed on as they are.
            Answers were verified on the CPU provider alone.

    Raises:
        InputError: An argument is invalid.
        ModelNotFoundError: There is no such model, or the folder is incomplete.
        ModelError: The files are not those that were recorded, are not safe to open, or do not fit together.
        DeviceError: CUDA or a provider was asked for and cannot be had.
        MissingExtraError: onnxruntime is not installed.

    Warns:
        DeviceWarning: ``device`` is "auto" and CUDA is not available, or two builds of onnxruntime are
            installed.
    """
    if trouble := two_builds():
        warn_caller(trouble, DeviceWarning)
    source = ModelFiles(find_folder(path_or_name), trust)
    return Model(Graphs(source, find_placement(device, threads, provider_options, providers)))


def estimate(
    X: Any,
    weights: Any = None,
    effective_size: float | None = None,
    landmarks: int | None = None,
    effort: Effort = "best",
    missing: Missing | None = None,
    rounding: Rounding = "auto",
    allow_singular: bool = False,
) -> Estimate:
    """Estimate the distribution behind a sample with the default model, which is loaded once and kept.

    See ``Model.estimate`` for the arguments and errors.
    """
    import_onnxruntime()  # before any work is done
    check_effort(effort)

    def read() -> Sample:
        rows, w = complete_rows(X, weights, missing)
        return read_sample(
            rows, w, effective_size, effort=effort, rounding=rounding, allow_singular=allow_singular
        )

    def opened() -> Model:
        model = default_model()
        model.graphs.open(effort)  # which takes a while the first time
        return model

    sample, model = both(read, opened)
    warn_of_range(model.graphs.files(effort).metadata, [sample])
    warn_of_rows([sample])
    return Estimate.of_samples(model, [sample], landmarks)[0]


def load_estimate(
    path: str | os.PathLike[str], model: "Model | str | os.PathLike[str] | None" = None
) -> Estimate:
    """Read what ``Estimate.save`` wrote.

    Args:
        path: The file. It may come from anyone: it is checked, and names no other file.
        model: The model that made the estimate, or its folder; by default the released one of the name and
            version in the file.

    Returns:
        The estimate as it was saved: its answers are the same.

    Raises:
        InputError: The file is no estimate, is damaged, holds values that no estimate has, or has a format
            that this version does not read.
        ModelError: The model is not the one that made the estimate.
        ModelNotFoundError: No released model of this version of discoformer made it.
        OSError: The file cannot be read.
    """
    saved = read_estimate(Path(path))
    by = (saved.model, saved.version, saved.sha256)
    return restored(saved, maker_of(str(path), *by, saved.diagnostics.effort, model))


def maker_of(
    path: str,
    name: str,
    version: str,
    sha256: str,
    effort: Effort,
    model: "Model | str | os.PathLike[str] | None",
) -> "Model":
    """Return the model that made a file, of the given name, version and hash; errors of ``load_estimate``."""
    if isinstance(model, str | os.PathLike):
        model = load(model)
    elif model is None and (name, version) not in RELEASED:
        raise ModelNotFoundError(
            f"{path} was made by the model {name[:80]!r} {version[:80]}, which does not come "
            "with this version of discoformer: pass model=discoformer.load(its folder), or estimate again"
        )
    elif model is None and name != DEFAULT_NAME:
        model = load(name)
    model = model_or_default(model)
    files = model.graphs.files(effort)
    if files.sha256 != sha256:
        raise ModelError(
            f"{path} was made by the model {name[:80]!r} {version[:80]} (SHA-256 of its files "
            f"{sha256[:12]}), got {files.metadata.name!r} {files.metadata.version} in {model.folder} "
            f"({files.sha256[:12]}): pass model=discoformer.load(folder of the one that made it), or "
            "estimate again"
        )
    return model


def restored(saved: Saved, model: "Model") -> Estimate:
    """Return a saved estimate of the model that made it."""
    return Estimate(
        model,
        saved.frame,
        Encoded(saved.encoded),
        replace(saved.diagnostics, device=model.device),
        saved.columns,
        saved.data,
        saved.reading,
        saved.spread,
    )


class Model:
    """A loaded model; made by ``load``. It may be pickled, and used from several threads and after a fork.

    Attributes:
        graphs: Its graphs.
    """

    def __init__(self, graphs: Graphs) -> None:
        self.graphs = graphs

    @property
    def metadata(self) -> Metadata:
        """What the model is, and the ranges it was trained on."""
        return self.graphs.metadata

    @property
    def folder(self) -> Path:
        """The folder it was loaded from."""
        return self.graphs.folder

    @property
    def device(self) -> Device:
        """The device it runs on: ``"cpu"``, ``"cuda"`` for the first GPU, or such as ``"cuda:1"``."""
        return self.graphs.device

    @renamed_arguments(say="on_progress")
    def estimate(
        self,
        X: Any,
        weights: Any = None,
        effective_size: float | None = None,
        landmarks: int | None = None,
        on_progress: OnStage = ignore,
        effort: Effort = "best",
        missing: Missing | None = None,
        rounding: Rounding = "auto",
        allow_singular: bool = False,
    ) -> Estimate:
        """Read a sample once, to be queried as often as you want.

        Args:
            X: Array-like (N, D), data units: nested sequences, NumPy, ``__array__`` or DLPack, pandas, Arrow.
                A tensor on a device is copied to the host, where checks and frame are computed. Of a data
                frame, columns that hold no numbers (text, categories, dates) are left out. So are rows so far
                out that they would distort the estimate, up to 5 % of the weight (see ``table.outlying``);
                their share is ``diagnostics.left_out``. If many rows are copies of others, the effective size
                counts them once.
            weights: Array-like (N,), not negative, of any scale; rows of weight 0 count as absent.
            effective_size: How many independent points the rows are worth, if you know that better than
                Kish's ``(sum w)^2 / sum w^2`` (for correlated draws, say).
            landmarks: Most points of a large sample that the network reads; by default as many as it was
                trained to read. Time grows with the square of this number. The mixture always uses the whole
                sample.
            on_progress: Called with a few words at the start of each stage: a large sample takes a while.
            effort: ``"fast"`` takes one pass of the network, which turns the sample into a mixture of
                Student-t distributions. The estimate is this mixture: its integral is 1, its score is the
                exact gradient, and draws, marginals and conditionals are exact. ``"best"`` refines the
                mixture at each query, which is more accurate.
            missing: What is done with rows that have missing values, NaN or null. With ``"error"`` they are
                an error. With ``"drop"`` they are left out, and a warning counts them. By default ``"drop"``
                for data frames, else ``"error"``.
            rounding: How rounded values are read. With ``"auto"`` the step of each column is found, and a
                value stands for a cell as wide as the step: the density is that of the values spread evenly
                over their cells. Values that many rows have in a column that is continuous otherwise are
                atoms: they have a probability and no density. With one column, the density is that of the
                other rows; with more, atoms are spread over narrow cells. ``diagnostics`` holds the steps and
                the atoms. With None, values are read as they are. A dict gives the steps of columns, by name
                or position, 0 for those to be read as they are; the others are found.
            allow_singular: Whether X may have constant or collinear columns. Then its rows are on an affine
                hull of lower dimension, the rank in ``diagnostics``. The density is that on the hull, with
                respect to its volume in data units, as in ``scipy.stats.multivariate_normal``, and the score
                is the gradient along it. Queries off the hull have log-density -inf and score 0. They are off
                it if they are farther away than rounding, or 1e-6 of their distance from the mean, explains.
                N <= D rows never span more than N - 1 dimensions, so such a table is singular only if a
                column is constant, or if the rows span less than that.

        Raises:
            InputError: An argument is malformed or not finite.
            DegenerateDataError: X has a single row; or, unless ``allow_singular``, a constant column or
                collinear columns.
            ModelError: The model has no files for this effort.

        Warns:
            DataWarning: Columns or rows of X are left out, X is singular, many rows repeat others, or values
                look like codes for missing values.
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        check_effort(effort)
        metadata = self.graphs.files(effort).metadata  # an error here comes before any work
        rows, weights = complete_rows(X, weights, missing)
        sample = read_sample(rows, weights, effective_size, on_progress, effort, rounding, allow_singular)
        warn_of_range(metadata, [sample])
        warn_of_rows([sample])
        return Estimate.of_samples(self, [sample], landmarks, on_progress)[0]

    def estimate_again(self, X: Any, weights: Any, effective_size: float) -> Estimate:
        """Deprecated: use ``estimate``, or ``refit`` of an estimate, which gives no warnings."""
        warn_renamed("Model.estimate_again", "Estimate.refit")
        sample = read_sample(X, weights, effective_size)
        return Estimate.of_samples(self, [sample])[0]

    def estimate_batch(
        self,
        contexts: Iterable[Any],
        weights: Iterable[Any] | None = None,
        landmarks: int | None = None,
        effort: Effort = "best",
        missing: Missing | None = None,
        rounding: Rounding = "auto",
        allow_singular: bool = False,
    ) -> list[Estimate]:
        """Encode many samples together, which for small ones is much faster than one by one.

        Args:
            contexts: Array-likes (N, D), each of any N and D, data units.
            weights: For each of them an array-like (N,) or None, as in ``estimate``.
            landmarks: As in ``estimate``.
            effort: As in ``estimate``.
            missing: As in ``estimate``.
            rounding: As in ``estimate``.
            allow_singular: As in ``estimate``.

        Returns:
            For each sample the estimate that ``estimate`` gives, up to rounding.

        Raises:
            InputError: An argument is malformed or not finite; the message says in which sample.
            DegenerateDataError: A sample has a single row; or, unless ``allow_singular``, a constant column
                or collinear columns.
            ModelError: The model has no files for this effort.

        Warns:
            DataWarning: As in ``estimate``.
            RangeWarning: N or D of a sample is outside the ranges the model was trained on.
        """
        check_effort(effort)
        metadata = self.graphs.files(effort).metadata
        contexts = list(contexts)
        weights = [None] * len(contexts) if weights is None else list(weights)
        if len(weights) != len(contexts):
            raise InputError(
                f"weights must have one entry for each of the {len(contexts)} contexts, got {len(weights)}"
            )
        samples = []
        for index, (X, given) in enumerate(zip(contexts, weights, strict=True)):
            try:
                rows, w = complete_rows(X, given, missing)
                samples.append(
                    read_sample(rows, w, effort=effort, rounding=rounding, allow_singular=allow_singular)
                )
            except InputError as error:
                raise type(error)(f"contexts[{index}]: {error}") from error
        warn_of_range(metadata, samples)
        warn_of_rows(samples, "contexts[{}]: ")
        return Estimate.of_batch(self, samples, landmarks)

    def log_density_and_score(self, X: Any, Y: Any, weights: Any = None) -> tuple[Any, Any]:
        """Read a sample and answer queries, by one run of ``discoformer.onnx``; effort ``"fast"``.

        Tensors never leave their device. The sample is read as it is: rows far out, rounded values and copies
        are not looked for. Where ``estimate`` finds none, its answers are the same up to rounding.

        Args:
            X: Array-like or tensor (N, D), data units.
            Y: (M, D), of the same kind; all of it is answered at once, so memory grows with N and with M.
            weights: (N,), as in ``estimate``.

        Returns:
            Log-density (M,) in nats and score (M, D) in 1 / data units.

        Raises:
            InputError: An argument is malformed or not finite, or a tensor is on another device.
            DegenerateDataError: X has no density: a column is constant, or some are collinear.
            ModelNotFoundError: The model has no such file.
        """
        return answer_raw(self.graphs, X, Y, weights)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model into a folder, which ``load`` reads; this is for adapted models above all.

        Args:
            folder: Made if absent; files of the same names are replaced.

        Raises:
            InputError: It is the folder that the model was loaded from.
            OSError: A file cannot be written.
        """
        from discoformer.onnx.model_folder import save_model

        save_model(self.graphs, Path(folder), {})

    def __repr__(self) -> str:
        return f"Model({self.metadata.name!r}, version={self.metadata.version!r}, device={self.device!r})"


@cache
def default_model() -> Model:
    """Return the default model, which is loaded once and kept."""
    return load()


def model_or_default(model: Any) -> Model:
    """Return the model given, or the default one for None.

    Raises:
        InputError: It is not a model.
    """
    if model is None:
        return default_model()
    if not isinstance(model, Model):
        raise InputError(f"model must be what discoformer.load gives, or None for the default, got {model!r}")
    return model
