"""Graph files that are opened together: they are checked at once, and opened when they are first needed.

Sessions can be neither pickled nor forked, so each process opens its own. It refuses files that have changed.
"""

import ctypes
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, TypeAlias
from weakref import WeakSet

from discoformer.errors import ModelError
from discoformer.onnx.header import checked_metadata
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.model_files import ModelFiles, hash_of
from discoformer.onnx.names import GRAPHS, Graph
from discoformer.onnx.placement import Placement
from discoformer.onnx.safety import check_files
from discoformer.onnx.sessions import memory_for, open_sessions
from discoformer.onnx.weights import FILE, MIXTURE_FILE, check_weights, with_weights

Sessions: TypeAlias = tuple[Any, ...]  # of onnxruntime, one for each file


class GraphFiles:
    """Graph files of a model, and their sessions in this process.

    An instance is thread-safe, can be pickled, and works after a fork.

    Attributes:
        metadata: Metadata of the last file.
        sha256: Hash of all files, after their weights are replaced.
    """

    def __init__(
        self, source: ModelFiles, graphs: Sequence[Graph], placement: Placement, weights: bytes | None = None
    ) -> None:
        """Read and check files; none is opened.

        Args:
            source: The files of the model.
            graphs: What they hold. All were made from the same weights.
            placement: Where the sessions run.
            weights: Content of a safetensors file whose weights replace those in the files, or None.

        Raises:
            ModelError: A file differs from its record, is not safe to open, or the files do not fit together.
            ModelNotFoundError: A file does not exist.
        """
        self._source = source
        self._names = [graph.file for graph in graphs]
        self._placement = placement
        self._weights = weights
        self._opened: Sessions | None = None
        self._is_copy = False
        self._memory = memory_for({"B": 0, "N": 0, "D": 0})  # bound in bytes, unless the files are trusted
        _Process.uses_onnxruntime = True
        files = {source.folder / name: source.read(name) for name in self._names}
        check_files({path: content for path, content in files.items() if not source.is_known(path.name)})
        self.metadata = self._metadata_of(files, graphs)
        is_released = source.are_released(self.metadata, self._names)
        if not is_released:
            self._check_weights(files)
        self._is_trusted = is_released or source.is_trusted
        if weights is None:
            self.sha256 = _hash_of(source.sha256(name) for name in self._names)
        else:
            files = self._patched(files)
            self.metadata = self._metadata_of(files, graphs)
            self.sha256 = _hash_of(map(hash_of, files.values()))
        _ALL.add(self)

    def _metadata_of(self, files: Mapping[Path, bytes], graphs: Sequence[Graph]) -> Metadata:
        """Return the metadata of the last file, after a check that all were made from the same weights."""
        found = [checked_metadata(*file, graph) for file, graph in zip(files.items(), graphs, strict=True)]
        if len({metadata.weights_sha256 for metadata in found}) > 1:
            raise ModelError(
                f"{' and '.join(self._names)} in {self._source.folder} were made from different weights "
                f"({', '.join(metadata.weights_sha256[:12] for metadata in found)}): export both again"
            )
        return found[-1]

    def _check_weights(self, files: Mapping[Path, bytes]) -> None:
        """Compare the files with the weights in the same folder, if they are there."""
        name = FILE if self._names == [graph.file for graph in GRAPHS["best"]] else MIXTURE_FILE
        if not self._source.exists(name):
            return
        weights, wanted = self._source.read(name), self.metadata.weights_sha256
        if (found := hash_of(weights)) != wanted:
            raise ModelError(
                f"the weights in {self._source.folder / name} (SHA-256 {found[:12]}) are not those of the "
                f"graphs in the same folder ({wanted[:12]}): take the whole folder from its source again"
            )
        for path, content in files.items():
            check_weights(content, weights, path)

    def sessions(self, sizes: Mapping[str, int] | None = None) -> Sessions:
        """Return the sessions of this process, one for each file.

        Args:
            sizes: Of the inputs of a run, see ``shapes.SHAPES``; None if nothing is run yet.

        Raises:
            ModelError: The files have changed, or onnxruntime cannot run them.
            ModelNotFoundError: A file no longer exists.
        """
        needed = 0 if self._is_trusted or sizes is None else memory_for(sizes)
        opened = self._opened
        if opened is None or needed > self._memory:
            with _Process.lock:
                if self._opened is None or needed > self._memory:
                    self._memory = max(needed, self._memory)
                    self._opened = self._shared() if self._is_copy else self._open()
                opened = self._opened
        return opened

    def opened(self) -> dict[str, Any]:
        """Return the sessions that are open, by the name of the file."""
        return dict(zip(self._names, self._opened or (), strict=False))

    def _shared(self) -> Sessions:
        """Return sessions that another copy of this object has opened in this process, or open new ones."""
        key = (self._source.folder, *self._names, self.sha256, self._memory, repr(self._placement))
        if key not in _Process.copies:
            opened = self._open()
            while len(_Process.copies) >= _COPIES:
                del _Process.copies[next(iter(_Process.copies))]
            _Process.copies[key] = opened
        return _Process.copies[key]

    def _open(self) -> Sessions:
        again = {self._source.folder / name: self._source.read_again(name) for name in self._names}
        files = self._patched(again)
        if (found := _hash_of(map(hash_of, files.values()))) != self.sha256:
            raise ModelError(
                f"the model in {self._source.folder} has changed since it was loaded (SHA-256 of its files "
                f"{self.sha256[:12]}, now {found[:12]}): load it and estimate again"
            )
        _Process.uses_onnxruntime = True
        return open_sessions(files, self._placement, None if self._is_trusted else self._memory)

    def _patched(self, files: dict[Path, bytes]) -> dict[Path, bytes]:
        if self._weights is None:
            return files
        return {path: with_weights(content, self._weights, path) for path, content in files.items()}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None, "_is_copy": True}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _ALL.add(self)


def _hash_of(hashes: Iterable[str]) -> str:
    """Return one hash for several files."""
    return hash_of("".join(hashes).encode())


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
