"""The graphs of a model in onnxruntime: one reads a context as a mixture, two refine the mixture.

The graphs (float32; B data sets, N context points, M queries, D dimensions, K components, J components of
a coordinate, L layers, E scalars, C vectors)::

    mixture: context (B, N, D), log_weights (B, N), precision_root (B, D, D), log_det_precision (B,),
             effective_size (B,), all_points (B, A, D), all_log_weights (B, A)
             ->  mixture_log_weights (B, N + 1), mixture_means (B, N + 1, D),
                 mixture_scales (B, N + 1, D, D), mixture_freedom (B, N + 1)
    encode:  the first five inputs of mixture, component_log_scale (B, K), component_means (B, K, D),
             component_factors (B, K, D, D), component_freedom (B, K), product_axes (B, D, D),
             product_log_scale, product_means, product_factors, product_freedom (B, D, J),
             product_share (B,)
             ->  scalars (B, L, N, E), vectors (B, L, N, D, C), sample (B, G)
    query:   queries (B, M, D), the inputs and outputs of encode  ->  log_density (B, M), score (B, M, D)

All arrays are in frame coordinates; see ``base.frame`` and ``base.base``. A file may use only some of these
inputs, and is given only those. ``effort="fast"`` needs the mixture graph alone, ``effort="best"`` all three.
The files of each are checked and opened when they are first needed.

Another file answers without these (float64, data units; see ``names.RAW``)::

    raw:     context (B, N, D), queries (B, M, D), log_weights (B, N)  ->  log_density (B, M), score (B, M, D)

Memory of a run in 10 columns beside the weights, as onnxruntime allocates it on a GPU
(``python -m benchmarks.gpu``)::

    landmarks N    mixture, A = 16,384    encode    query, M = 1,024    query, M = 8,192
    1,024          1.0 GB                 50 MB     50 MB               0.4 GB
    4,096          4.2 GB                 0.7 GB    0.2 GB              1.3 GB
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.base.arrays import ArrayT, as_type, in_slices, library, with_rows
from discoformer.errors import ModelError, ModelNotFoundError
from discoformer.onnx.graph_files import GraphFiles
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.model_files import ModelFiles
from discoformer.onnx.names import ANSWERS, GRAPHS, MIXTURE, RAW, STATES, Effort
from discoformer.onnx.placement import Device, Placement
from discoformer.onnx.sessions import Float32s, on_device, run, shape_of, taken
from discoformer.onnx.shapes import SHAPES, check_shapes, sizes_of

CHUNK = 1024  # queries per run; each run computes the keys of all context points again
CUDA_CHUNK = 8192  # on a GPU, where starting the 700 kernels of a run takes longer than 1,024 queries


class Encoded:
    """A context that was read: the arrays that answers are computed from, by name.

    They are copied to the device once in each process.
    """

    def __init__(self, arrays: Mapping[str, Float32s]) -> None:
        self.arrays = dict(arrays)
        self._placed: tuple[Any, dict[str, Any]] | None = None

    def on_device(self, session: Any) -> dict[str, Any]:
        """Return the arrays that are inputs of a session, on its device."""
        if self._placed is None or self._placed[0] is not session:
            self._placed = session, on_device(session, self.arrays)
        return self._placed[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"arrays": self.arrays}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.arrays, self._placed = state["arrays"], None


class Graphs:
    """The graphs in a model folder.

    An instance is thread-safe, can be pickled, and works after a fork; see ``graph_files``.

    Attributes:
        source: The files of the model.
        placement: Where the sessions run.
        weights: Content of a safetensors file whose weights replace those in the files of ``effort="best"``,
            or None.
        main_effort: ``"best"`` if the folder has the files for it, else ``"fast"``.
    """

    def __init__(self, source: ModelFiles, placement: Placement, weights: bytes | None = None) -> None:
        self.source = source
        self.placement = placement
        self.weights = weights
        self._files: dict[Effort, GraphFiles] = {}
        self._raw: GraphFiles | None = None
        self.main_effort: Effort = "best" if has_files(source.folder, "best") else "fast"
        source.check_all(self.files(self.main_effort).metadata)

    @property
    def device(self) -> Device:
        """Device of the inputs and outputs: ``"cpu"``, ``"cuda"``, or such as ``"cuda:1"``."""
        return self.placement.device

    @property
    def folder(self) -> Path:
        """Folder of the files."""
        return self.source.folder

    @property
    def metadata(self) -> Metadata:
        """Metadata of the files of ``main_effort``."""
        return self.files(self.main_effort).metadata

    @property
    def sha256(self) -> str:
        """Hash of the files of ``main_effort``, after their weights are replaced."""
        return self.files(self.main_effort).sha256

    def files(self, effort: Effort) -> GraphFiles:
        """Return the files that an effort needs; they are read and checked at the first call.

        Raises:
            ModelError: A file is not safe to open, or the files do not fit together.
            ModelNotFoundError: The model has no such files.
        """
        if effort not in self._files:
            if missing := missing_files(self.folder, effort):
                advice = "use effort='fast', or " if has_files(self.folder, "fast") else ""
                raise ModelNotFoundError(
                    f"effort={effort!r} needs {' and '.join(missing)}, which {self.folder} lacks: {advice}"
                    "export the model again with discoformer-export"
                )
            weights = self.weights if effort == "best" else None
            found = GraphFiles(self.source, GRAPHS[effort], self.placement, weights)
            if effort == "best":
                self._check_refined(found.metadata)
            self._files.setdefault(effort, found)
        return self._files[effort]

    @property
    def raw(self) -> GraphFiles:
        """The file that answers raw data; it is read and checked at the first call.

        Raises:
            ModelError: It is not safe to open.
            ModelNotFoundError: The model has no such file.
        """
        if self._raw is None:
            if not self.source.exists(RAW.file):
                raise ModelNotFoundError(
                    f"{self.folder} lacks {RAW.file}: export the model again with discoformer-export"
                )
            self._raw = GraphFiles(self.source, (RAW,), self.placement)
        return self._raw

    def _check_refined(self, metadata: Metadata) -> None:
        """Check that heads refine the mixture network in the same folder."""
        held = self.files("fast").metadata.weights_sha256
        if metadata.mixture_sha256 != held:
            raise ModelError(
                f"encode.onnx and query.onnx in {self.folder} refine a mixture network of other weights "
                f"({metadata.mixture_sha256[:12]}) than mixture.onnx has ({held[:12]}): take the whole "
                "folder from its source again"
            )

    def open(self, effort: Effort) -> None:
        """Open the sessions that an effort needs; otherwise they are opened when they are first used."""
        for needed in ("fast", effort):
            self.files(needed).sessions()

    def opened(self) -> dict[str, Any]:
        """Return the sessions that are open, by the name of the file."""
        files = filter(None, (*self._files.values(), self._raw))
        return {name: session for some in files for name, session in some.opened().items()}

    def with_profiles(self, folder: Path) -> "Graphs":
        """Return the same graphs, whose sessions write profiles into a folder; see ``profiles``."""
        return Graphs(self.source, self.placement._replace(profiles=folder), self.weights)

    def with_weights(self, weights: bytes) -> "Graphs":
        """Return the same graphs with the weights of a safetensors file."""
        return Graphs(self.source, self.placement, weights)

    def mixture(self, given: Mapping[str, Float32s]) -> dict[str, Float32s]:
        """Run the mixture graph.

        Args:
            given: Its inputs by name; see the docstring of this module.

        Returns:
            Its outputs by name.
        """
        sizes = sizes_of(given)
        sizes["P"] = sizes["N"] + 1
        return _on_host(self.files("fast").sessions(sizes)[0], given, MIXTURE, sizes)

    def encode(self, given: Mapping[str, Float32s]) -> dict[str, Float32s]:
        """Run the encode graph; see ``mixture``."""
        sizes = sizes_of(given)
        return _on_host(self.files("best").sessions(sizes)[0], given, STATES, sizes)

    @property
    def chunk(self) -> int:
        """Most queries of a run."""
        return CHUNK if self.device == "cpu" else CUDA_CHUNK

    def answer(self, queries: ArrayT, encoded: Encoded) -> tuple[ArrayT, ArrayT]:
        """Answer any number of queries, in chunks. Arguments and results are those of ``query``."""
        return in_slices(lambda part: self.query(part, encoded), self.chunk, queries)

    def query(self, queries: ArrayT, encoded: Encoded) -> tuple[ArrayT, ArrayT]:
        """Answer one chunk of queries.

        Args:
            queries: Points (M, D) in the frame: a NumPy array, or a tensor on the device of the sessions.
            encoded: One encoded context.

        Returns:
            Log-density (M,) and score (M, D), in the frame, as arrays of the same kind.
        """
        count = len(queries)
        # Few different shapes keep the arena of onnxruntime small.
        padded = with_rows(as_type(queries, "float32")[None], 1 << (count - 1).bit_length())
        sizes = sizes_of(encoded.arrays | {"queries": padded})
        session = self.files("best").sessions(sizes)[1]
        values = run(session, encoded.on_device(session) | on_device(session, {"queries": padded}), ANSWERS)
        check_outputs(values, sizes)
        log_density, score = (taken(values[name], queries)[0, :count] for name in ANSWERS)
        return log_density, score

    def answer_raw(self, context: ArrayT, queries: ArrayT, log_weights: ArrayT) -> tuple[ArrayT, ArrayT]:
        """Read a sample and answer queries by one graph, in data units; all arrays of one kind, float64.

        Args:
            context: Points (N, D).
            queries: (M, D).
            log_weights: (N,) of the points, up to a constant.

        Returns:
            Log-density (M,) and score (M, D); NaN where the sample has no density.
        """
        given = {"context": context, "queries": queries, "log_weights": log_weights}
        given = {name: library(array).stack([array]) for name, array in given.items()}
        sizes = sizes_of(given)
        session = self.raw.sessions(sizes | {"A": len(context) + len(queries)})[0]
        values = run(session, on_device(session, given), ANSWERS)
        check_outputs(values, sizes, np.float64)
        log_density, score = (taken(values[name], queries)[0] for name in ANSWERS)
        return log_density, score


def _on_host(
    session: Any, given: Mapping[str, Float32s], names: Sequence[str], sizes: dict[str, int]
) -> dict[str, Float32s]:
    """Run a graph, and copy its outputs to the host."""
    values = run(session, on_device(session, given), names)
    check_outputs(values, sizes)
    return {name: value.numpy() for name, value in values.items()}


def check_outputs(
    values: Mapping[str, Any], sizes: dict[str, int], dtype: type[np.floating[Any]] = np.float32
) -> None:
    """Check the dtypes and shapes of the outputs of a graph.

    Raises:
        ModelError: One has another.
    """
    try:
        check_shapes({name: shape_of(value) for name, value in values.items()}, sizes, SHAPES, dtype)
    except ValueError as error:
        raise ModelError(
            f"a graph of the model gives {error}: export it again with discoformer-export"
        ) from error


def has_files(folder: Path, effort: Effort) -> bool:
    """Return whether a folder has the graph files that an effort needs."""
    return not missing_files(folder, effort)


def missing_files(folder: Path, effort: Effort) -> list[str]:
    """Return the names of the graph files that an effort needs, but a folder lacks."""
    graphs = GRAPHS["fast"] if effort == "fast" else (*GRAPHS["fast"], *GRAPHS["best"])
    return [graph.file for graph in graphs if not (folder / graph.file).is_file()]
