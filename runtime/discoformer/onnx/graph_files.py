"""Graph files that are opened together: they are checked at once, and opened when they are first needed.

Sessions can be neither pickled nor forked, so each process opens its own. It refuses files that have changed.
"""

import ctypes
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, TypeAlias
from weakref import WeakSet

from discoformer.errors import ModelError, ModelNotFoundError
from discoformer.onnx.header import checked_metadata
from discoformer.onnx.names import Graph
from discoformer.onnx.safety import check_files
from discoformer.onnx.sessions import Placement, open_sessions
from discoformer.onnx.weights import with_weights

Sessions: TypeAlias = tuple[Any, ...]  # of onnxruntime, one for each file


class GraphFiles:
    """Graph files of a model, and their sessions in this process.

    An instance is thread-safe, can be pickled, and works after a fork.

    Attributes:
        metadata: Metadata of the last file.
        sha256: Hash of all files, after their weights are replaced.
    """

    def __init__(
        self, folder: Path, graphs: Sequence[Graph], placement: Placement, weights: bytes | None = None
    ) -> None:
        """Read and check files; none is opened.

        Args:
            folder: Their folder.
            graphs: What they hold. All were made from the same weights.
            placement: Where the sessions run.
            weights: Content of a safetensors file whose weights replace those in the files, or None.

        Raises:
            ModelError: A file is not safe to open, or the files do not fit together.
            ModelNotFoundError: A file does not exist.
        """
        self._paths = [folder / graph.file for graph in graphs]
        self._placement = placement
        self._weights = weights
        self._opened: Sessions | None = None
        self._is_copy = False
        _Process.uses_onnxruntime = True
        files = self._read()
        check_files(files)
        files = self._patched(files)
        found = [checked_metadata(*file, graph) for file, graph in zip(files.items(), graphs, strict=True)]
        if len({metadata.weights_sha256 for metadata in found}) > 1:
            raise ModelError(
                f"{' and '.join(path.name for path in files)} in {folder} were made from different weights "
                f"({', '.join(metadata.weights_sha256[:12] for metadata in found)}): export both again"
            )
        self.metadata = found[-1]
        self.sha256 = _hash(files)
        _ALL.add(self)

    def sessions(self) -> Sessions:
        """Return the sessions of this process, one for each file.

        Raises:
            ModelError: The files have changed, or onnxruntime cannot run them.
            ModelNotFoundError: A file no longer exists.
        """
        if self._opened is None:
            with _Process.lock:
                if self._opened is None:
                    self._opened = self._shared() if self._is_copy else self._open()
        return self._opened

    def _shared(self) -> Sessions:
        """Return sessions that another copy of this object has opened in this process, or open new ones."""
        device, threads, options = self._placement
        key = (*self._paths, self.sha256, device, threads, *sorted(options.items()))
        if key not in _Process.copies:
            opened = self._open()
            while len(_Process.copies) >= _COPIES:
                del _Process.copies[next(iter(_Process.copies))]
            _Process.copies[key] = opened
        return _Process.copies[key]

    def _open(self) -> Sessions:
        files = self._patched(self._read())
        if (found := _hash(files)) != self.sha256:
            raise ModelError(
                f"the model in {self._paths[0].parent} has changed since it was loaded (SHA-256 of its files "
                f"{self.sha256[:12]}, now {found[:12]}): load it and estimate again"
            )
        _Process.uses_onnxruntime = True
        return open_sessions(files, self._placement)

    def _read(self) -> dict[Path, bytes]:
        try:
            return {path: path.read_bytes() for path in self._paths}
        except FileNotFoundError as error:
            raise ModelNotFoundError(f"{error.filename} does not exist: put the model back") from error

    def _patched(self, files: dict[Path, bytes]) -> dict[Path, bytes]:
        if self._weights is None:
            return files
        return {path: with_weights(content, self._weights, path) for path, content in files.items()}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None, "_is_copy": True}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _ALL.add(self)


def _hash(files: dict[Path, bytes]) -> str:
    return hashlib.sha256(b"".join(files.values())).hexdigest()


class _Process:
    """Sessions of this process."""

    lock = Lock()
    copies: ClassVar[dict[Any, Sessions]] = {}  # of unpickled files, kept for further copies
    uses_onnxruntime = False


_COPIES = 2  # greatest number of entries of `_Process.copies`
_ALL: WeakSet[GraphFiles] = WeakSet()


def _after_fork() -> None:
    """Drop the sessions of the parent in a child process, so that the child can exit.

    A session that is closed waits for its threads, and so does onnxruntime when the process exits. The child
    does not have these threads. Without this function, a child that exits by itself, such as a worker of a
    server, would hang or abort. The child exits like those of multiprocessing: without the exit handlers of C
    libraries.
    """
    for opened in filter(None, [*(files._opened for files in _ALL), *_Process.copies.values()]):
        for session in opened:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))  # so it is never closed
    for files in _ALL:
        files._opened, files._is_copy = None, True
    _Process.lock, _Process.copies = Lock(), {}
    libc = ctypes.CDLL(None)
    if _Process.uses_onnxruntime and hasattr(libc, "on_exit"):
        libc.on_exit(libc._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
