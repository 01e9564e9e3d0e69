"""Write the folder of a model: its ONNX files with its current weights.

``config.json`` describes the model and records the hashes of all files, which are checked on loading.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from discoformer.errors import InputError
from discoformer.io.files import write_bytes
from discoformer.onnx.graphs import Graphs
from discoformer.onnx.names import GRAPHS, RAW
from discoformer.onnx.safety import check_files
from discoformer.onnx.weights import BASIS, FILE, MIXTURE_FILE, with_weights

CONFIG = "config.json"


def save_model(graphs: Graphs, out: Path, about: Mapping[str, Any]) -> None:
    """Write the folder of a model: each file atomically, the record of their hashes last.

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
    files = {path.name: _content(graphs, path) for path in sorted(graphs.folder.glob("*.onnx"))}
    kept = (FILE, BASIS, MIXTURE_FILE)
    files |= {name: (graphs.folder / name).read_bytes() for name in kept if (graphs.folder / name).exists()}
    if graphs.weights is not None:
        files[FILE] = graphs.weights
    files[CONFIG] = _config(graphs, files, about)
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG).unlink(missing_ok=True)
    for name, content in files.items():
        write_bytes(out / name, content)


def _content(graphs: Graphs, path: Path) -> bytes:
    """Return an ONNX file of a model with its current weights. The mixture network has weights of its own."""
    content = path.read_bytes()
    check_files({path: content})
    of_mixture = {graph.file for graph in (*GRAPHS["fast"], RAW)}
    if graphs.weights is None or path.name in of_mixture:
        return content
    return with_weights(content, graphs.weights, path)


def _config(graphs: Graphs, files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """Return the ``config.json`` of a model with the given files."""
    try:
        config = json.loads((graphs.folder / CONFIG).read_bytes())
    except FileNotFoundError:
        config = {}
    now = {"version": graphs.metadata.version, "weights_sha256": graphs.metadata.weights_sha256}
    config["model"] = config.get("model", {}) | {"name": graphs.metadata.name} | now
    config |= about
    config["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return (json.dumps(config, indent=2) + "\n").encode()
