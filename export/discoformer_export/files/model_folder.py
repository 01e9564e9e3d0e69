"""The folder of a released model, made from checkpoints: weights, configuration, ONNX files, parity report.

A folder may hold two networks, of the kinds "heads" and "mixture". Each has its own files and its own entries
in config.json, and the export of one leaves those of the other as they are. Nothing is written unless every
graph passes. Each file is written atomically, and config.json, which records the hashes of the others, is
written last.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from safetensors import safe_open
from safetensors.torch import save

from discoformer.io.files import write_bytes
from discoformer.onnx.model_folder import CONFIG
from discoformer.onnx.weights import BASIS, FILE, MIXTURE_FILE
from discoformer_export.checks.parity import Parity, measure, measure_mixture, measure_raw, to_json
from discoformer_export.errors import ExportError
from discoformer_export.files.onnx_files import OPSET, mixture_to_onnx, to_onnx
from discoformer_export.files.raw_file import raw_file
from discoformer_export.graphs import operators
from discoformer_export.graphs.network import GRAPHS
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.basis import TENSOR
from discoformer_training.run.checkpoint import Progress, load_any_network, load_checkpoint
from discoformer_training.run.config import TrainConfig

REPORT, MIXTURE_REPORT = "parity.json", "mixture_parity.json"
FILES = {  # by the kind of network
    "heads": (*(f"{name}.onnx" for name in GRAPHS), FILE, BASIS, REPORT),
    "mixture": ("mixture.onnx", "discoformer.onnx", MIXTURE_FILE, MIXTURE_REPORT),
}


class Made(NamedTuple):
    """What an export has made of a network."""

    files: dict[str, bytes]  # by name
    entries: dict[str, object]  # of config.json
    report: list[Parity]


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
        name: name of the model, by which the runtime finds it. Default: that of the released model, or of
            the model in `out`, or the name of `out`.
        version: version of the model. Default: that of the released model, or of that in `out`, or "1".
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
    config, progress, tensors = load_checkpoint(checkpoint)
    known = FILES[config.network.kind]
    if unknown := set(only) - set(known):
        raise ExportError(
            f"only={sorted(unknown)} are no files of a network of the kind {config.network.kind!r}: choose "
            f"from {', '.join(known)}"
        )
    wanted = [file for file in known if not only or file in only]
    given = {"name": name, "version": version, "licence": licence, "training_commit": commit}
    about = {"name": out.resolve().name} | _released(out) | _released(checkpoint)
    about |= {key: value for key, value in given.items() if value is not None}
    network = load_any_network(checkpoint)
    if isinstance(network, MixtureNetwork):
        made = _made_of_mixture(network, about, config, progress, wanted, on_progress)
    else:
        made = _made_of_heads(network, checkpoint, about, config, progress, on_progress)
        if TENSOR in tensors:
            made.files[BASIS] = save({"basis": tensors[TENSOR].float().contiguous()})
    if failed := [parity for parity in made.report if not parity.passed]:
        raise ExportError(
            f"{len(failed)} of {len(made.report)} cases differ from PyTorch, nothing written; "
            f"first: {failed[0]}"
        )
    chosen = {file: made.files[file] for file in wanted if file in made.files}
    _write(chosen, out, made.entries, replaced=() if only else known)
    return made.report


def _made_of_heads(
    network: DiScoFormer,
    checkpoint: Path,
    about: Mapping[str, str],
    config: TrainConfig,
    progress: Progress,
    on_progress: Callable[[str], None],
) -> Made:
    weights, network_json = _weights(checkpoint, network)
    metadata = _metadata(about, config, progress, _sha256(weights)) | {"config": network_json}
    models = {}
    for name, graph in GRAPHS.items():
        on_progress(f"tracing {name}")
        models[name] = to_onnx(graph, network, metadata)
    on_progress("measuring parity")
    report = measure(models, network)
    files = {f"{name}.onnx": model.SerializeToString() for name, model in models.items()}
    files |= {FILE: weights, REPORT: _as_json(to_json(report))}
    return Made(files, {"model": _without_config(metadata), "training": _training(config, progress)}, report)


def _made_of_mixture(
    network: MixtureNetwork,
    about: Mapping[str, str],
    config: TrainConfig,
    progress: Progress,
    wanted: Sequence[str],
    on_progress: Callable[[str], None],
) -> Made:
    """Export the graphs of those that are wanted, for each takes minutes."""
    network_json, landmarks = network.config.to_json(), config.stream.landmarks
    weights = save(network.state_dict(), {"config": network_json})
    metadata = _metadata(about, config, progress, _sha256(weights), operators.OPSET) | {
        "config": network_json
    }
    files, report = {MIXTURE_FILE: weights}, []
    if "mixture.onnx" in wanted:
        on_progress("tracing mixture")
        model = mixture_to_onnx(network, metadata)
        files["mixture.onnx"] = model.SerializeToString()
        report += measure_mixture(model, network)
    if "discoformer.onnx" in wanted:
        on_progress("tracing discoformer")
        model = raw_file(network, landmarks, metadata)
        files["discoformer.onnx"] = model.SerializeToString()
        report += measure_raw(model, network, landmarks)
    files[MIXTURE_REPORT] = _as_json(to_json(report))
    about_mixture = {
        "version": metadata["version"],
        "training_step": progress.step,
        "training_commit": metadata["training_commit"],
        "weights_sha256": metadata["weights_sha256"],
        "training": _training(config, progress),
    }
    return Made(files, {"model": _without_config(metadata), "mixture": about_mixture}, report)


def _weights(checkpoint: Path, network: DiScoFormer) -> tuple[bytes, str]:
    """The file of the weights and the network's sizes, as JSON. A released model keeps both as they are."""
    if not checkpoint.is_dir():
        network_json = network.config.to_json()
        return save(network.state_dict(), {"config": network_json}), network_json
    with safe_open(checkpoint / FILE, "pt") as file:
        return (checkpoint / FILE).read_bytes(), file.metadata()["config"]


def _released(folder: Path) -> dict[str, str]:
    """The entries of a released model that are given by hand; none if this is not its folder."""
    model = _recorded(folder).get("model", {})
    return {key: model[key] for key in ("name", "version", "licence", "training_commit") if key in model}


def _recorded(folder: Path) -> dict[str, Any]:
    """The content of config.json, if there is one."""
    path = folder / CONFIG
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _metadata(
    about: Mapping[str, str],
    config: TrainConfig,
    progress: Progress,
    weights_sha256: str,
    opset: int = OPSET,
) -> dict[str, str]:
    stream = config.stream
    return {
        "name": about["name"],
        "version": about.get("version", "1"),
        "licence": about.get("licence", "MIT"),
        "opset": str(opset),
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


def _without_config(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key != "config"}


def _training(config: TrainConfig, progress: Progress) -> dict[str, object]:
    settings: dict[str, object] = json.loads(config.to_json())
    return settings | {"tokens": progress.tokens, "seconds": round(progress.seconds)}


def _write(
    files: Mapping[str, bytes], out: Path, entries: Mapping[str, object], replaced: Sequence[str]
) -> None:
    """Write files, and their hashes into config.json, which the runtime checks.

    Args:
        files: content by name.
        out: the folder.
        entries: entries of config.json. Others that it has remain, and so does that of the model if these
            files are of its mixture.
        replaced: names of files whose hashes are not kept.
    """
    recorded = _recorded(out)
    if "mixture" in entries and "model" in recorded:
        entries = {key: value for key, value in entries.items() if key != "model"}
    hashes = {name: hashed for name, hashed in recorded.pop("files", {}).items() if name not in replaced}
    hashes |= {name: _sha256(content) for name, content in files.items()}
    out.mkdir(parents=True, exist_ok=True)
    description = recorded | dict(entries) | {"files": hashes}
    for name, content in (dict(files) | {CONFIG: _as_json(description)}).items():
        write_bytes(out / name, content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _as_json(values: object) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
