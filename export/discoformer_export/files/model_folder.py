"""The folder of a released model, made from checkpoints: weights, configuration, ONNX files, parity report.

A folder holds a network of the kind "mixture", and may hold one of the kind "heads", which refines it. Each
has its own files and its own entries in config.json, and the export of one leaves those of the other as they
are. The mixture network is exported first. Nothing is written unless every graph passes. Each file is written
atomically, and config.json, which records the hashes of the others, is written last.
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
from discoformer.onnx.model_files import CONFIG
from discoformer.onnx.weights import BASIS, FILE, MIXTURE_FILE
from discoformer_export.checks.parity import Parity, measure, measure_mixture, measure_raw, to_json
from discoformer_export.errors import ExportError
from discoformer_export.files.onnx_files import mixture_to_onnx, to_onnx
from discoformer_export.files.raw_file import raw_file
from discoformer_export.graphs import operators
from discoformer_export.graphs.network import GRAPHS
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.basis import TENSOR
from discoformer_training.run.checkpoint import (
    Progress,
    load_checkpoint,
    load_mixture_network,
    load_network,
)
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
        checkpoint: file written by discoformer-train, folder of a released model, or its mixture.safetensors.
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
        ExportError: an axis is not dynamic, a graph differs from the network, `only` names a file that an
            export does not make, or `out` does not hold the mixture network that the heads refine. Nothing is
            written.
    """
    config, progress, tensors = load_checkpoint(checkpoint)
    kind = config.network.kind
    known = FILES[kind]
    if unknown := set(only) - set(known):
        raise ExportError(
            f"only={sorted(unknown)} are no files of a network of the kind {kind!r}: choose from "
            f"{', '.join(known)}"
        )
    wanted = [file for file in known if not only or file in only]
    given = {"name": name, "version": version, "licence": licence, "training_commit": commit}
    about = {"name": out.resolve().name} | _released(out, kind, ("name", "version"))
    source = checkpoint.parent if checkpoint.name == MIXTURE_FILE else checkpoint
    about |= _released(source, kind, tuple(given))
    about |= {key: value for key, value in given.items() if value is not None}
    if kind == "mixture":
        network = load_mixture_network(checkpoint)
        made = _made_of_mixture(network, about, config, progress, wanted, on_progress)
    else:
        about["mixture_sha256"] = _mixture_sha256(checkpoint, out)
        made = _made_of_heads(checkpoint, about, config, progress, on_progress)
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


def _mixture_sha256(checkpoint: Path, out: Path) -> str:
    """The hash of the mixture network that heads refine.

    Raises:
        ExportError: `out` does not hold that network.
    """
    sha256 = _sha256(_mixture_weights(load_mixture_network(checkpoint)))
    if _recorded(out).get("mixture", {}).get("weights_sha256") != sha256:
        raise ExportError(
            f"{out} does not hold the mixture network that the heads in {checkpoint} refine: export that "
            "first, to the same folder"
        )
    return sha256


def _made_of_heads(
    checkpoint: Path,
    about: Mapping[str, str],
    config: TrainConfig,
    progress: Progress,
    on_progress: Callable[[str], None],
) -> Made:
    network = load_network(checkpoint)
    weights, network_json = _weights(checkpoint, network)
    metadata = _metadata(about, config, progress, _sha256(weights)) | {
        "config": network_json,
        "mixture_sha256": about["mixture_sha256"],
    }
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
    weights, landmarks = _mixture_weights(network), config.stream.landmarks
    metadata = _metadata(about, config, progress, _sha256(weights)) | {"config": network.config.to_json()}
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


def _mixture_weights(network: MixtureNetwork) -> bytes:
    return save(network.state_dict(), {"config": network.config.to_json()})


def _weights(checkpoint: Path, network: DiScoFormer) -> tuple[bytes, str]:
    """The file of the weights and the network's sizes, as JSON. A released model keeps both as they are."""
    if not checkpoint.is_dir():
        network_json = network.config.to_json()
        return save(network.state_dict(), {"config": network_json}), network_json
    with safe_open(checkpoint / FILE, "pt") as file:
        return (checkpoint / FILE).read_bytes(), file.metadata()["config"]


def _released(folder: Path, kind: str, keys: Sequence[str]) -> dict[str, str]:
    """Those of these entries that the folder of a released model has for its network of this kind."""
    recorded = _recorded(folder)
    model = recorded.get("model", {}) | (recorded.get("mixture", {}) if kind == "mixture" else {})
    return {key: model[key] for key in keys if key in model}


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
) -> dict[str, str]:
    stream = config.stream
    return {
        "name": about["name"],
        "version": about.get("version", "1"),
        "licence": about.get("licence", "MIT"),
        "opset": str(operators.OPSET),
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
    """Write files, and the hashes of all but the reports into config.json, which the runtime checks.

    Args:
        files: content by name.
        out: the folder.
        entries: entries of config.json. Others that it has remain. So does "model" if these files are of the
            mixture, and the folder has heads.
        replaced: names of files whose hashes are not kept.
    """
    recorded = _recorded(out)
    if "mixture" in entries and "training" in recorded:
        entries = {key: value for key, value in entries.items() if key != "model"}
    hashes = {name: hashed for name, hashed in recorded.pop("files", {}).items() if name not in replaced}
    reports = (REPORT, MIXTURE_REPORT)
    hashes |= {name: _sha256(content) for name, content in files.items() if name not in reports}
    out.mkdir(parents=True, exist_ok=True)
    description = recorded | dict(entries) | {"files": hashes}
    for name, content in (dict(files) | {CONFIG: _as_json(description)}).items():
        write_bytes(out / name, content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _as_json(values: object) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
