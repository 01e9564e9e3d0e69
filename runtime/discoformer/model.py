"""Models: a folder with ``encode.onnx`` and ``query.onnx``, found by name or by path, never by network.

The graphs (float32; B data sets, N context points, M queries, D dimensions, K components, L layers,
E scalars, C vectors)::

    encode:  context (B, N, D), log_weights (B, N), precision_root (B, D, D), log_det_precision (B,),
             effective_size (B,), component_log_scale (B, K), component_means (B, K, D),
             component_factors (B, K, D, D), component_freedom (B, K)
             ->  scalars (B, L, N, E), vectors (B, L, N, C, D), sample (B, G)
    query:   queries (B, M, D), what encode gave and was given  ->  log_density (B, M), score (B, M, D)

all in frame coordinates (see ``frame`` and ``components``); each graph is fed the inputs that it names. What
the model is, and the ranges it was trained on, stand in the metadata of both files.
"""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from discoformer.components import Components, fit_components
from discoformer.errors import InputError, ModelError, ModelNotFoundError, RangeWarning
from discoformer.estimates import Diagnostics, Estimate
from discoformer.frame import Frame, fit_frame, present_rows
from discoformer.inputs import Floats, read_matrix, read_weights
from discoformer.sessions import Device, Float32s, device_of, on_device, open_session, run

DEFAULT_NAME = "gmm"
_FILES = ("encode.onnx", "query.onnx")
_GIVEN = {
    "context",
    "log_weights",
    "precision_root",
    "log_det_precision",
    "effective_size",
    *(f"component_{field}" for field in Components._fields),
}
_CHUNK = 1024  # queries at a time, fewer where
_PAIRS = 2**23  # queries times context points at a time would exceed this (256 MB in 8 heads)


@dataclass(frozen=True)
class Metadata:
    """What a model file says about itself."""

    name: str
    version: str
    licence: str
    opset: str
    exporter: str
    weights_sha256: str  # hash of the weights that both graphs were made from
    training_commit: str
    training_step: str
    trained_dim: tuple[int, int]  # smallest and largest number of columns seen in training
    trained_context: tuple[int, int]  # likewise of rows
    trained_modes: tuple[int, int]  # likewise of mixture components
    config: dict[str, Any]  # shape of the network

    @classmethod
    def parse(cls, raw: Mapping[str, str], path: Path) -> Self:
        """Reads the metadata of a file (``path`` is for the error message).

        Raises:
            ModelError: An entry is missing or malformed.
        """

        def span(key: str) -> tuple[int, int]:
            return int(raw[f"trained_{key}_min"]), int(raw[f"trained_{key}_max"])

        try:
            return cls(
                name=raw["name"],
                version=raw["version"],
                licence=raw["licence"],
                opset=raw["opset"],
                exporter=raw["exporter"],
                weights_sha256=raw["weights_sha256"],
                training_commit=raw["training_commit"],
                training_step=raw["training_step"],
                trained_dim=span("dim"),
                trained_context=span("context"),
                trained_modes=span("modes"),
                config=json.loads(raw["config"]),
            )
        except (KeyError, ValueError) as error:
            raise ModelError(
                f"{path} has no usable metadata ({type(error).__name__}: {error}): "
                "it was not written by discoformer-export, or by another version of it"
            ) from error


def load(
    path_or_name: str | os.PathLike[str] = DEFAULT_NAME, device: Device = "auto", threads: int | None = None
) -> "Model":
    """Loads a model.

    Args:
        path_or_name: Name of a released model, or a path to a folder (a string with a path separator, or a
            ``Path``).
        device: ``"cpu"``, ``"cuda"`` (an error where it cannot be had), or ``"auto"`` (CUDA where possible).
        threads: CPU threads; onnxruntime's own choice by default.

    Raises:
        ModelNotFoundError: No such model, or an incomplete folder.
        ModelError: The files do not fit together, or this runtime cannot run them.
        DeviceError: CUDA was asked for and cannot be had.
        MissingExtraError: onnxruntime is not installed.
    """
    return Model(find_folder(path_or_name), device, threads)


def estimate(X: Any, weights: Any = None, effective_size: float | None = None) -> Estimate:
    """Estimates the distribution behind a sample with the default model, loaded once and kept.

    See ``Model.estimate`` for the arguments and errors.
    """
    return _default_model().estimate(X, weights, effective_size)


class Model:
    """A loaded model; made by ``load``. It may be pickled, and used from several threads and after a fork.

    Attributes:
        folder: Where it was loaded from.
        metadata: What it is, and the ranges it was trained on.
        device: Where it runs, ``"cpu"`` or ``"cuda"``.
    """

    def __init__(self, folder: Path, device: Device = "auto", threads: int | None = None) -> None:
        self.folder = folder
        self._threads = threads
        self._open(device)

    def estimate(self, X: Any, weights: Any = None, effective_size: float | None = None) -> Estimate:
        """Encodes a context once, to be queried as often as wanted.

        Args:
            X: Array-like (N, D), data units: nested sequences, NumPy, ``__array__`` or DLPack, pandas, Arrow.
            weights: Array-like (N,), not negative, of any scale; rows of weight 0 count as absent.
            effective_size: How many independent points the rows are worth, where that is known better than
                Kish's ``(sum w)^2 / sum w^2`` (correlated draws, say).

        Raises:
            InputError: An argument is malformed or not finite.
            DegenerateDataError: A single row, a constant column, or collinear columns.

        Warns:
            RangeWarning: N or D is outside the ranges the model was trained on.
        """
        matrix = read_matrix("X", X)
        rows = len(matrix.values)
        points, w = present_rows(matrix.values, None if weights is None else read_weights(weights, rows))
        if effective_size is not None and not 1 <= effective_size < np.inf:
            raise InputError(f"effective_size must be finite and 1 or more, got {effective_size}")
        frame = fit_frame(points, w, effective_size, matrix.columns)
        outside = _outside(self.metadata, *points.shape)
        if outside:
            warnings.warn(" ".join(outside), RangeWarning, stacklevel=2)
        z = frame.to_frame(points)[None]
        components = fit_components(z, w[None], np.array([frame.effective_size]))
        diagnostics = Diagnostics(
            n=points.shape[0],
            dim=points.shape[1],
            effective_size=frame.effective_size,
            seed=frame.seed,
            shrinkage=frame.shrinkage,
            device=self.device,
            warnings=outside + _doubts(frame),
        )
        encoded = self._encode(frame, components, z, w)
        return Estimate(self, frame, encoded, diagnostics, matrix.columns)

    def query(self, queries: Floats, encoded: Mapping[str, Float32s]) -> tuple[Floats, Floats]:
        """Runs the query graph in chunks: what ``Estimate`` is made of, all in frame coordinates.

        Args:
            queries: Points (M, D).
            encoded: The encoded context, as an ``Estimate`` of this model holds it.

        Returns:
            Log-density (M,) and score (M, D).
        """
        count, dim = queries.shape
        if count == 0:
            return np.empty(0), np.empty((0, dim))
        _, session = self._sessions()
        context = on_device(session, encoded)
        size = min(_CHUNK, max(1, _PAIRS // encoded["log_weights"].shape[1]), 1 << (count - 1).bit_length())
        padded = np.zeros(
            (-(-count // size), size, dim), np.float32
        )  # equal shapes, or the memory arena grows
        padded.reshape(-1, dim)[:count] = queries
        chunks = [run(session, context | on_device(session, {"queries": chunk[None]})) for chunk in padded]
        log_density = np.concatenate([chunk["log_density"][0] for chunk in chunks])[:count]
        score = np.concatenate([chunk["score"][0] for chunk in chunks])[:count]
        return log_density.astype(np.float64), score.astype(np.float64)

    def _encode(self, frame: Frame, components: Components, z: Floats, w: Floats) -> dict[str, Float32s]:
        given = {
            "context": z,
            "log_weights": np.log(w)[None],
            "precision_root": frame.precision_root[None],
            "log_det_precision": np.array([frame.log_det_precision]),
            "effective_size": np.array([frame.effective_size]),
        } | {f"component_{name}": array for name, array in components._asdict().items()}
        arrays = {name: array.astype(np.float32) for name, array in given.items()}
        session, _ = self._sessions()
        return run(session, on_device(session, arrays)) | arrays

    def _open(self, device: Device) -> None:
        encode_path, query_path = (self.folder / name for name in _FILES)
        encode = open_session(encode_path, device, self._threads)
        query = open_session(query_path, device_of(encode), self._threads)
        _check_names(encode_path, encode, _GIVEN, set())
        encoded = {item.name for item in encode.get_outputs()}
        _check_names(query_path, query, _GIVEN | encoded | {"queries"}, {"log_density", "score"})
        first, second = (
            Metadata.parse(session.get_modelmeta().custom_metadata_map, path)
            for session, path in ((encode, encode_path), (query, query_path))
        )
        if first.weights_sha256 != second.weights_sha256:
            raise ModelError(
                f"encode.onnx and query.onnx in {self.folder} were made from different weights "
                f"({first.weights_sha256[:12]}, {second.weights_sha256[:12]}): export both again"
            )
        self._encoder, self._querier, self._process = encode, query, os.getpid()
        self.metadata = second
        self.device: Device = device_of(encode)

    def _sessions(self) -> tuple[Any, Any]:
        """The two sessions; opened anew after a fork, which they do not survive."""
        if self._process != os.getpid():
            self.__setstate__(self.__getstate__())
        return self._encoder, self._querier

    def __getstate__(self) -> dict[str, Any]:
        return {
            "folder": self.folder,
            "device": self.device,
            "threads": self._threads,
            "weights_sha256": self.metadata.weights_sha256,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.folder, self._threads = state["folder"], state["threads"]
        self._open(state["device"])
        if self.metadata.weights_sha256 != state["weights_sha256"]:
            raise ModelError(
                f"the model in {self.folder} has changed since it was loaded (weights "
                f"{state['weights_sha256'][:12]}, now {self.metadata.weights_sha256[:12]}): estimate again"
            )

    def __repr__(self) -> str:
        return f"Model({self.metadata.name!r}, version={self.metadata.version!r}, device={self.device!r})"


@cache
def _default_model() -> Model:
    return load()


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
        if all((folder / name).is_file() for name in _FILES):
            return folder
    found = "; ".join(f"{folder} {_describe(folder)}" for folder in candidates)
    raise ModelNotFoundError(
        f"no model {str(path_or_name)!r} ({' and '.join(_FILES)} are needed): {found}; {advice}"
    )


def _describe(folder: Path) -> str:
    if not folder.is_dir():
        return "is not a folder" if folder.exists() else "does not exist"
    return "holds " + (", ".join(sorted(item.name for item in folder.iterdir())) or "nothing")


def _check_names(path: Path, session: Any, known: set[str], wanted: set[str]) -> None:
    """Checks that a graph asks for nothing but ``known`` inputs, and gives the ``wanted`` outputs."""
    unknown = sorted({item.name for item in session.get_inputs()} - known)
    missing = sorted(wanted - {item.name for item in session.get_outputs()})
    if unknown or missing:
        raise ModelError(
            f"{path} does not fit this version of discoformer (unknown inputs {unknown}, missing outputs "
            f"{missing}): upgrade discoformer, or export the model again"
        )


def _outside(metadata: Metadata, n: int, dim: int) -> tuple[str, ...]:
    """One sentence for each trained range that a context of n rows and dim columns leaves."""
    sizes = (("rows", n, metadata.trained_context), ("columns", dim, metadata.trained_dim))
    return tuple(
        f"X has {size} {what}, outside the {low} to {high} that the model {metadata.name!r} was trained on: "
        "check the answer against another method."
        for what, size, (low, high) in sizes
        if not low <= size <= high
    )


def _doubts(frame: Frame) -> tuple[str, ...]:
    """One sentence for each way in which the frame is less than exact."""
    size, dim = frame.effective_size, len(frame.center)
    if frame.shrinkage > 0:
        return (
            f"The effective size {size:.4g} is below 4 x {dim} columns: correlations are shrunk by "
            f"{frame.shrinkage:.2g}, and the estimate depends on how the columns are chosen.",
        )
    if frame.seed == "standardised":
        return (
            "The frame was found from standardised columns, so the estimate depends on how these are chosen.",
        )
    return ()
