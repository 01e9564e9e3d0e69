"""The two graphs of a model in onnxruntime. A context is encoded once, then queried in chunks.

The graphs (float32; B data sets, N context points, M queries, D dimensions, K components, J components of
a coordinate, L layers, E scalars, C vectors)::

    encode:  context (B, N, D), log_weights (B, N), precision_root (B, D, D), log_det_precision (B,),
             effective_size (B,), component_log_scale (B, K), component_means (B, K, D),
             component_factors (B, K, D, D), component_freedom (B, K), product_axes (B, D, D),
             product_log_scale, product_means, product_factors, product_freedom (B, D, J),
             product_log_odds (B,)
             ->  scalars (B, L, N, E), vectors (B, L, N, D, C), sample (B, G)
    query:   queries (B, M, D), the inputs and outputs of encode  ->  log_density (B, M), score (B, M, D)

All arrays are in frame coordinates; see ``base.frame`` and ``base.base``. A file may use only some of these
inputs, and is given only those.
"""

import ctypes
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, NamedTuple
from weakref import WeakSet

import numpy as np

from discoformer.base.arrays import slices
from discoformer.errors import ModelError, ModelNotFoundError
from discoformer.io.inputs import Floats
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.names import ANSWERS, CONTEXT, STATES
from discoformer.onnx.safety import check_files
from discoformer.onnx.sessions import Device, Float32s, device_of, on_device, open_pair, run
from discoformer.onnx.weights import with_weights

FILES = ("encode.onnx", "query.onnx")
CHUNK = 1024  # queries per run; each run computes the keys of all context points again


class Encoded:
    """An encoded context: the arrays that the query graph needs, by name.

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

    An instance is thread-safe, can be pickled, and works after a fork. Sessions can be neither pickled nor
    forked, so each process opens its own when it first needs them. It refuses files that have changed.

    Attributes:
        folder: Folder of the files.
        metadata: Metadata of the files.
        device: Device of the sessions, ``"cpu"`` or ``"cuda"``.
        threads: Number of CPU threads, or None for the default of onnxruntime.
        weights: Content of a safetensors file whose weights replace those in the files, or None.
        sha256: Hash of both files, after their weights are replaced.
    """

    def __init__(
        self,
        folder: Path,
        device: Device,
        threads: int | None,
        options: Mapping[str, str] | None,
        weights: bytes | None = None,
    ) -> None:
        self.folder = folder
        self.threads = threads
        self.weights = weights
        self._options = options
        self._opened: _Opened | None = self._open(device)
        self.metadata = self._opened.metadata
        self.sha256 = self._opened.sha256
        self.device = device_of(self._opened.encode)
        _ALL.add(self)

    def with_weights(self, weights: bytes) -> "Graphs":
        """Return the same graphs with the weights of a safetensors file."""
        return Graphs(self.folder, self.device, self.threads, self._options, weights)

    def encode(self, given: Mapping[str, Float32s]) -> dict[str, Float32s]:
        """Encode contexts.

        Args:
            given: Inputs of the encode graph, by name; see the docstring of this module.

        Returns:
            The outputs of the encode graph, by name.
        """
        session = self._sessions().encode
        return run(session, on_device(session, given))

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
        session = self._sessions().query
        answers = run(session, encoded.on_device(session) | on_device(session, {"queries": padded}))
        log_density, score = answers["log_density"][0, :count], answers["score"][0, :count]
        return log_density.astype(np.float64), score.astype(np.float64)

    def _sessions(self) -> "_Opened":
        """Return the sessions of this process."""
        if self._opened is None:
            with _Process.lock:
                if self._opened is None:
                    self._opened = self._shared()
        return self._opened

    def _shared(self) -> "_Opened":
        """Return sessions that another copy of this object has opened in this process, or open new ones."""
        options = tuple(sorted((self._options or {}).items()))
        key = (self.folder, self.sha256, self.device, self.threads, options)
        if key not in _Process.copies:
            opened = self._open(self.device)
            if opened.sha256 != self.sha256:
                raise ModelError(
                    f"the model in {self.folder} has changed since it was loaded (SHA-256 of its files "
                    f"{self.sha256[:12]}, now {opened.sha256[:12]}): load it and estimate again"
                )
            while len(_Process.copies) >= _COPIES:
                del _Process.copies[next(iter(_Process.copies))]
            _Process.copies[key] = opened
        return _Process.copies[key]

    def _open(self, device: Device) -> "_Opened":
        encode_path, query_path = (self.folder / name for name in FILES)
        try:
            encode_file, query_file = encode_path.read_bytes(), query_path.read_bytes()
        except FileNotFoundError as error:
            raise ModelNotFoundError(f"{error.filename} no longer exists: put the model back") from error
        _Process.has_opened = True
        files = {encode_path: encode_file, query_path: query_file}
        check_files(files)
        if self.weights is not None:
            files = {path: with_weights(content, self.weights, path) for path, content in files.items()}
        encode, query = open_pair(files, device, self.threads, self._options)
        _check_names(encode_path, encode, {*CONTEXT}, {*STATES})
        _check_names(query_path, query, {*CONTEXT, *STATES, "queries"}, {*ANSWERS})
        first, second = (
            Metadata.parse(session.get_modelmeta().custom_metadata_map, path)
            for session, path in ((encode, encode_path), (query, query_path))
        )
        if first.weights_sha256 != second.weights_sha256:
            raise ModelError(
                f"encode.onnx and query.onnx in {self.folder} were made from different weights "
                f"({first.weights_sha256[:12]}, {second.weights_sha256[:12]}): export both again"
            )
        return _Opened(encode, query, second, hashlib.sha256(b"".join(files.values())).hexdigest())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        _ALL.add(self)


class _Opened(NamedTuple):
    """Both files, opened in a process."""

    encode: Any  # onnxruntime sessions
    query: Any
    metadata: Metadata
    sha256: str  # of both files


class _Process:
    """Sessions of this process."""

    lock = Lock()
    copies: ClassVar[dict[Any, _Opened]] = {}  # of unpickled graphs, kept for further copies
    has_opened = False


_COPIES = 2  # greatest number of models whose sessions are kept in `_Process.copies`
_ALL: WeakSet[Graphs] = WeakSet()


def _after_fork() -> None:
    """Drop the sessions of the parent in a child process, so that the child can exit.

    A session that is closed waits for its threads, and so does onnxruntime when the process exits. The child
    does not have these threads. Without this function, a child that exits by itself, such as a worker of a
    server, would hang or abort. The child exits like those of multiprocessing: without the exit handlers of C
    libraries.
    """
    for opened in filter(None, [*(graphs._opened for graphs in _ALL), *_Process.copies.values()]):
        for session in (opened.encode, opened.query):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))  # so it is never closed
    for graphs in _ALL:
        graphs._opened = None
    _Process.lock, _Process.copies = Lock(), {}
    libc = ctypes.CDLL(None)
    if _Process.has_opened and hasattr(libc, "on_exit"):
        libc.on_exit(libc._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _check_names(path: Path, session: Any, known: set[str], wanted: set[str]) -> None:
    """Check that a graph has no inputs other than ``known``, and has the ``wanted`` outputs."""
    unknown = sorted({item.name for item in session.get_inputs()} - known)
    missing = sorted(wanted - {item.name for item in session.get_outputs()})
    if unknown or missing:
        raise ModelError(
            f"{path} does not fit this version of discoformer (unknown inputs {unknown}, missing outputs "
            f"{missing}): upgrade discoformer, or export the model again"
        )
