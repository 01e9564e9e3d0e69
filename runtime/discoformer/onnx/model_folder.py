"""Write the folder of a model: its ONNX files with its current weights.

``config.json`` describes the model and records the hashes of all files, which are checked on loading.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from discoformer.errors import InputError
from discoformer.io.files import atomic
from discoformer.onnx.graphs import Graphs
from discoformer.onnx.model_files import CONFIG, FILES
from discoformer.onnx.names import GRAPHS, RAW
from discoformer.onnx.weights import BASIS, FILE, MIXTURE_FILE, with_weights


def save_model(graphs: Graphs, out: Path, about: Mapping[str, Any]) -> None:
    """Write the folder of a model.

    All files are written before the first is renamed, and the record of their hashes is renamed last. So a
    full disk leaves an old model as it is. If the process is killed between two renames, the folder has no
    record, and is not loaded.

    Args:
        graphs: The model.
        out: The folder. It is created if it does not exist. Files of the same names are replaced.
        about: Further entries of ``config.json``.

    Raises:
        InputError: ``out`` is the folder of the model itself.
        OSError: A file cannot be written.
    """
    if out.resolve() == graphs.folder.resolve():
        raise InputError(
            f"out must not be the folder of the model itself, which other estimates read, got {out}: choose "
            "another folder"
        )
    names = [name for name in FILES if name.endswith(".onnx") and graphs.source.exists(name)]
    files = {name: _content(graphs, name) for name in names}
    kept = (FILE, BASIS, MIXTURE_FILE)
    files |= {name: graphs.source.read(name) for name in kept if graphs.source.exists(name)}
    if graphs.weights is not None:
        files[FILE] = graphs.weights
    files = {CONFIG: _config(graphs, files, about)} | files
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as written:  # which renames the first file last
        for name, content in files.items():
            file = written.enter_context(atomic(out / name))
            file.write(content)
            file.flush()
        (out / CONFIG).unlink(missing_ok=True)


def _content(graphs: Graphs, name: str) -> bytes:
    """Return an ONNX file of a model with its current weights. The mixture network has weights of its own."""
    content = graphs.source.read(name)
    of_mixture = {graph.file for graph in (*GRAPHS["fast"], RAW)}
    if graphs.weights is None or name in of_mixture:
        return content
    return with_weights(content, graphs.weights, graphs.folder / name)


def _config(graphs: Graphs, files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """Return the ``config.json`` of a model with the given files."""
    config = graphs.source.read_config() if graphs.source.exists(CONFIG) else {}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    recorded = config.get("files")
    if isinstance(recorded, dict) and not about and hashes.items() <= recorded.items():
        return graphs.source.read_again(CONFIG)  # nothing has changed, so it stays what was released
    metadata, known = graphs.metadata, config.get("model")
    now = {"name": metadata.name, "version": metadata.version, "weights_sha256": metadata.weights_sha256}
    config |= {"model": (known if isinstance(known, dict) else {}) | now, **about, "files": hashes}
    return (json.dumps(config, indent=2) + "\n").encode()
