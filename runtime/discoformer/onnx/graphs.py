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
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.base.arrays import slices
from discoformer.errors import ModelError, ModelNotFoundError
from discoformer.io.inputs import Floats
from discoformer.onnx.graph_files import GraphFiles
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.model_files import ModelFiles
from discoformer.onnx.names import ANSWERS, GRAPHS, MIXTURE, STATES, Effort
from discoformer.onnx.sessions import Device, Float32s, find_placement, on_device, run
from discoformer.onnx.shapes import SHAPES, check_shapes, sizes_of

CHUNK = 1024  # queries per run; each run computes the keys of all context points again


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
        device: Device of the sessions, ``"cpu"`` or ``"cuda"``.
        threads: Number of CPU threads, or None for the default of onnxruntime.
        weights: Content of a safetensors file whose weights replace those in the files of ``effort="best"``,
            or None.
        main_effort: ``"best"`` if the folder has the files for it, else ``"fast"``.
    """

    def __init__(
        self,
        source: ModelFiles,
        device: Device,
        threads: int | None,
        options: Mapping[str, str] | None,
        weights: bytes | None = None,
    ) -> None:
        self.source = source
        self.threads = threads
        self.weights = weights
        self._placement = find_placement(device, threads, options)
        self.device = self._placement.device
        self._files: dict[Effort, GraphFiles] = {}
        self.main_effort: Effort = "best" if has_files(source.folder, "best") else "fast"
        source.check_all(self.files(self.main_effort).metadata)

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
            found = GraphFiles(self.source, GRAPHS[effort], self._placement, weights)
            if effort == "best":
                self._check_refined(found.metadata)
            self._files.setdefault(effort, found)
        return self._files[effort]

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

    def with_weights(self, weights: bytes) -> "Graphs":
        """Return the same graphs with the weights of a safetensors file."""
        return Graphs(self.source, self.device, self.threads, self._placement.options, weights)

    def mixture(self, given: Mapping[str, Float32s]) -> dict[str, Float32s]:
        """Run the mixture graph.

        Args:
            given: Its inputs by name; see the docstring of this module.

        Returns:
            Its outputs by name.
        """
        sizes = sizes_of(given)
        sizes["P"] = sizes["N"] + 1
        session = self.files("fast").sessions(sizes)[0]
        return checked(run(session, on_device(session, given)), MIXTURE, sizes)

    def encode(self, given: Mapping[str, Float32s]) -> dict[str, Float32s]:
        """Run the encode graph; see ``mixture``."""
        sizes = sizes_of(given)
        session = self.files("best").sessions(sizes)[0]
        return checked(run(session, on_device(session, given)), STATES, sizes)

    def answer(self, queries: Floats, encoded: Encoded) -> tuple[Floats, Floats]:
        """Answer any number of queries, in chunks. Arguments and results are those of ``query``."""
        log_density, score = np.empty(len(queries)), np.empty(queries.shape)
        for part in slices(len(queries), CHUNK):
            log_density[part], score[part] = self.query(queries[part], encoded)
        return log_density, score

    def query(self, queries: Floats, encoded: Encoded) -> tuple[Floats, Floats]:
        """Answer one chunk of queries.

        Args:
            queries: Points (M, D) in the frame.
            encoded: One encoded context.

        Returns:
            Log-density (M,) and score (M, D), in the frame.
        """
        count, dim = queries.shape
        # Few different shapes keep the arena of onnxruntime small.
        padded = np.zeros((1, 1 << (count - 1).bit_length(), dim), np.float32)
        padded[0, :count] = queries
        sizes = sizes_of(encoded.arrays | {"queries": padded})
        session = self.files("best").sessions(sizes)[1]
        answers = run(session, encoded.on_device(session) | on_device(session, {"queries": padded}))
        checked(answers, ANSWERS, sizes)
        log_density, score = answers["log_density"][0, :count], answers["score"][0, :count]
        return log_density.astype(np.float64), score.astype(np.float64)


def checked(arrays: dict[str, Float32s], names: Sequence[str], sizes: dict[str, int]) -> dict[str, Float32s]:
    """Return the outputs of a graph, after a check of their names, dtypes and shapes.

    Raises:
        ModelError: One is missing, or has another dtype or shape.
    """
    try:
        check_shapes({name: arrays[name] for name in names}, sizes, SHAPES, np.float32)
    except ValueError as error:
        raise ModelError(
            f"a graph of the model gives {error}: export it again with discoformer-export"
        ) from error
    return arrays


def has_files(folder: Path, effort: Effort) -> bool:
    """Return whether a folder has the graph files that an effort needs."""
    return not missing_files(folder, effort)


def missing_files(folder: Path, effort: Effort) -> list[str]:
    """Return the names of the graph files that an effort needs, but a folder lacks."""
    graphs = GRAPHS["fast"] if effort == "fast" else (*GRAPHS["fast"], *GRAPHS["best"])
    return [graph.file for graph in graphs if not (folder / graph.file).is_file()]
