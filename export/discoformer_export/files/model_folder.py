"""A checkpoint becomes the folder of a released model: weights, configuration, ONNX files, parity report.

Nothing is written unless every graph passes; each file then appears atomically.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from safetensors.torch import save

from discoformer.onnx.weights import BASIS, FILE
from discoformer_export.checks.parity import Parity, measure, measure_raw, to_json
from discoformer_export.errors import ExportError
from discoformer_export.files.frame_file import frame_file
from discoformer_export.files.onnx_files import OPSET, to_onnx
from discoformer_export.files.raw_file import raw_file
from discoformer_export.graphs.network import GRAPHS
from discoformer_training.run.basis import TENSOR
from discoformer_training.run.checkpoint import load_checkpoint, load_network
from discoformer_training.run.config import TrainConfig


def release(
    checkpoint: Path,
    out: Path,
    *,
    name: str,
    version: str,
    licence: str = "MIT",
    commit: str = "unknown",
    say: Callable[[str], None] = lambda _: None,
) -> list[Parity]:
    """Export the averaged weights of a checkpoint into the folder `out`.

    Args:
        checkpoint: file written by discoformer-train.
        out: folder of the model, made if absent; files of the same names are replaced.
        name: name of the model, by which the runtime finds it.
        version: version of the model.
        licence: SPDX identifier.
        commit: commit of the code that trained it.
        say: called with a line at each stage.

    Returns:
        the parity of every graph at every size.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ExportError: an axis is not dynamic, or a graph differs from the network; nothing is written.
    """
    config, progress, tensors = load_checkpoint(checkpoint)
    network = load_network(checkpoint)
    weights = save(network.state_dict(), {"config": config.network.to_json()})
    stream = config.stream
    metadata = {
        "name": name,
        "version": version,
        "licence": licence,
        "opset": str(OPSET),
        "exporter": f"torch {torch.__version__}, onnx {onnx.__version__}",
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "training_commit": commit,
        "training_step": str(progress.step),
        "trained_dim_min": str(stream.dims[0]),
        "trained_dim_max": str(stream.dims[1]),
        "trained_context_min": str(stream.context_sizes[0]),
        "trained_context_max": str(stream.context_sizes[1]),
        "trained_modes_min": str(stream.modes[0]),
        "trained_modes_max": str(stream.modes[1]),
        "landmarks": str(stream.landmarks),
        "config": config.network.to_json(),
    }
    models = {}
    for graph_name, graph in GRAPHS.items():
        say(f"tracing {graph_name}")
        models[graph_name] = to_onnx(graph, network, metadata)
    say("measuring parity")
    report = measure(models, network)
    models["frame"] = frame_file(stream.landmarks, metadata)
    models["discoformer"] = raw_file(models["frame"], models["core"], metadata)
    report += measure_raw(models["discoformer"], network)
    failed = [parity for parity in report if not parity.passed]
    if failed:
        raise ExportError(
            f"{len(failed)} of {len(report)} cases differ from PyTorch, nothing written; first: {failed[0]}"
        )

    files = {f"{graph_name}.onnx": model.SerializeToString() for graph_name, model in models.items()}
    files[FILE] = weights
    if TENSOR in tensors:
        files[BASIS] = save({"basis": tensors[TENSOR].float().contiguous()})
    files["parity.json"] = _as_json(to_json(report))
    description = _description(config, metadata, progress.tokens, progress.seconds)
    hashes = {file_name: hashlib.sha256(content).hexdigest() for file_name, content in files.items()}
    files["config.json"] = _as_json(description | {"files": hashes})  # which the runtime checks
    out.mkdir(parents=True, exist_ok=True)
    for file_name, content in files.items():
        _write(out / file_name, content)
    return report


def _description(
    config: TrainConfig, metadata: dict[str, str], tokens: int, seconds: float
) -> dict[str, object]:
    known = {key: value for key, value in metadata.items() if key != "config"}
    return {
        "model": known,
        "training": json.loads(config.to_json()) | {"tokens": tokens, "seconds": round(seconds)},
    }


def _as_json(values: object) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)  # noqa: PTH105
