"""The folder of a released model, made from a checkpoint: weights, configuration, ONNX files, parity report.

Nothing is written unless every graph passes. Each file is written atomically, and config.json, which records
the hashes of the others, is written last.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx
import torch
from safetensors import safe_open
from safetensors.torch import save

from discoformer.io.files import write_bytes
from discoformer.onnx.model_folder import CONFIG
from discoformer.onnx.weights import BASIS, FILE
from discoformer_export.checks.parity import Parity, measure, measure_raw, to_json
from discoformer_export.errors import ExportError
from discoformer_export.files.frame_file import frame_file
from discoformer_export.files.onnx_files import OPSET, to_onnx
from discoformer_export.files.raw_file import raw_file
from discoformer_export.graphs.network import GRAPHS
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.basis import TENSOR
from discoformer_training.run.checkpoint import Progress, load_checkpoint, load_network
from discoformer_training.run.config import TrainConfig

REPORT = "parity.json"
FILES = (*(f"{name}.onnx" for name in (*GRAPHS, "frame", "discoformer")), FILE, BASIS, REPORT)


def release(
    checkpoint: Path,
    out: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    licence: str | None = None,
    commit: str | None = None,
    only: Sequence[str] = (),
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Parity]:
    """Export the averaged weights of a checkpoint into the folder `out`.

    Args:
        checkpoint: file written by discoformer-train, or folder of a released model.
        out: folder of the model, made if absent. Files of the same names are replaced.
        name: name of the model, by which the runtime finds it. Default: that of the released model, or the
            name of `out`.
        version: version of the model. Default: that of the released model, or "1".
        licence: SPDX identifier. Default: that of the released model, or "MIT".
        commit: commit of the code that trained it. Default: that of the released model, or "unknown".
        only: names of the files to write. Others that `out` records keep their place. Default: all files.
        on_progress: called with one line at the start of each stage.

    Returns:
        The parity of every graph at every size.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ExportError: an axis is not dynamic, a graph differs from the network, or `only` names a file that an
            export does not make. Nothing is written.
    """
    if unknown := set(only) - set(FILES):
        raise ExportError(f"only={sorted(unknown)} are no files of a model: choose from {', '.join(FILES)}")
    config, progress, tensors = load_checkpoint(checkpoint)
    network = load_network(checkpoint)
    weights, network_json = _weights(checkpoint, network)
    given = {"name": name, "version": version, "licence": licence, "training_commit": commit}
    about = {"name": out.resolve().name} | _released(checkpoint)
    about |= {key: value for key, value in given.items() if value is not None}
    metadata = _metadata(about, config, progress, _sha256(weights)) | {"config": network_json}
    models, report = _graphs(network, metadata, config.stream.landmarks, on_progress)
    files = {f"{graph_name}.onnx": model.SerializeToString() for graph_name, model in models.items()}
    files[FILE] = weights
    if TENSOR in tensors:
        files[BASIS] = save({"basis": tensors[TENSOR].float().contiguous()})
    files[REPORT] = _as_json(to_json(report))
    chosen = {file: content for file, content in files.items() if not only or file in only}
    _write(chosen, out, _description(config, metadata, progress), keep_others=bool(only))
    return report


def _weights(checkpoint: Path, network: DiScoFormer) -> tuple[bytes, str]:
    """The file of the weights and the network's sizes, as JSON. A released model keeps both as they are."""
    if not checkpoint.is_dir():
        network_json = network.config.to_json()
        return save(network.state_dict(), {"config": network_json}), network_json
    with safe_open(checkpoint / FILE, "pt") as file:
        return (checkpoint / FILE).read_bytes(), file.metadata()["config"]


def _released(checkpoint: Path) -> dict[str, str]:
    """The entries of a released model that are given by hand; none for a checkpoint that is a file."""
    if not checkpoint.is_dir():
        return {}
    model = json.loads((checkpoint / CONFIG).read_text(encoding="utf-8"))["model"]
    return {key: model[key] for key in ("name", "version", "licence", "training_commit")}


def _metadata(
    about: Mapping[str, str], config: TrainConfig, progress: Progress, weights_sha256: str
) -> dict[str, str]:
    stream = config.stream
    return {
        "name": about["name"],
        "version": about.get("version", "1"),
        "licence": about.get("licence", "MIT"),
        "opset": str(OPSET),
        "exporter": f"torch {torch.__version__}, onnx {onnx.__version__}",
        "weights_sha256": weights_sha256,
        "training_commit": about.get("training_commit", "unknown"),
        "training_step": str(progress.step),
        "trained_dim_min": str(stream.dims[0]),
        "trained_dim_max": str(stream.dims[1]),
        "trained_context_min": str(stream.context_sizes[0]),
        "trained_context_max": str(stream.context_sizes[1]),
        "trained_modes_min": str(stream.modes[0]),
        "trained_modes_max": str(stream.modes[1]),
        "landmarks": str(stream.landmarks),
    }


def _graphs(
    network: DiScoFormer, metadata: Mapping[str, str], landmarks: int, on_progress: Callable[[str], None]
) -> tuple[dict[str, onnx.ModelProto], list[Parity]]:
    """Export every graph, and compare it with the network.

    Raises:
        ExportError: an axis is not dynamic, or a graph differs from the network.
    """
    models = {}
    for name, graph in GRAPHS.items():
        on_progress(f"tracing {name}")
        models[name] = to_onnx(graph, network, metadata)
    on_progress("measuring parity")
    report = measure(models, network)
    models["frame"] = frame_file(landmarks, metadata)
    models["discoformer"] = raw_file(models["frame"], models["core"], metadata)
    report += measure_raw(models["discoformer"], network)
    failed = [parity for parity in report if not parity.passed]
    if failed:
        raise ExportError(
            f"{len(failed)} of {len(report)} cases differ from PyTorch, nothing written; first: {failed[0]}"
        )
    return models, report


def _description(config: TrainConfig, metadata: Mapping[str, str], progress: Progress) -> dict[str, object]:
    return {
        "model": {key: value for key, value in metadata.items() if key != "config"},
        "training": json.loads(config.to_json())
        | {"tokens": progress.tokens, "seconds": round(progress.seconds)},
    }


def _write(files: dict[str, bytes], out: Path, description: dict[str, object], *, keep_others: bool) -> None:
    """Write the files of a model, and their hashes into config.json, which the runtime checks."""
    recorded: dict[str, str] = {}
    if keep_others and (out / CONFIG).is_file():
        recorded = json.loads((out / CONFIG).read_text(encoding="utf-8"))["files"]
    hashes = recorded | {name: _sha256(content) for name, content in files.items()}
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (files | {CONFIG: _as_json(description | {"files": hashes})}).items():
        write_bytes(out / name, content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _as_json(values: object) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
