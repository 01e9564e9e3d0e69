"""Checkpoints: one safetensors file with everything that a run needs to continue exactly.

Tensors are named `network.<parameter>`, `average.<parameter>` and `optimizer.<slot>.<parameter>`, and
`proposal.<parameter>` for the mixture network that the heads refine. The metadata hold the configuration and
the progress as JSON, and the SHA-256 of the file. Files are replaced atomically.

The folder of a released model can be read as a checkpoint, too, and its mixture.safetensors as one of the
mixture network. It holds the averaged weights alone (weights.safetensors, mixture.safetensors,
adaptation.safetensors, config.json): enough to begin a new run or to export again, not to resume a run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor

from discoformer.errors import DiscoformerError
from discoformer.io.files import write_bytes
from discoformer.onnx.model_files import CONFIG
from discoformer.onnx.weights import BASIS, FILE, MIXTURE_FILE
from discoformer_training.nn.attention import Attend, attend_plain
from discoformer_training.nn.build import build_network
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.basis import TENSOR
from discoformer_training.run.config import TrainConfig

FORMAT = "discoformer-checkpoint-2"
_WITHOUT_HASH = "discoformer-checkpoint-1"  # the format before, without the hash
_SHA256 = "sha256"  # entry of the metadata: the hash of the file in which it is _NONE
_NONE = b"0" * 64


class CheckpointError(DiscoformerError, ValueError):
    """A file that is not a checkpoint of this project, or does not fit the run."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come, over all its parts."""

    step: int = 0  # optimiser steps taken
    tokens: int = 0  # context points and queries seen
    seconds: float = 0.0  # time spent training


def save_checkpoint(
    path: Path, config: TrainConfig, progress: Progress, tensors: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint atomically.

    Raises:
        CheckpointError: it cannot be written. The old file stays as it is.
    """
    metadata = {"format": FORMAT, "config": config.to_json(), "progress": json.dumps(asdict(progress))}
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    content = save(plain, metadata | {_SHA256: _NONE.decode()})
    content = content.replace(_NONE, hashlib.sha256(content).hexdigest().encode(), 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be written ({error}): the one before it, if any, is whole; free disk "
            "space and continue from that with --resume"
        ) from error


def load_checkpoint(path: Path) -> tuple[TrainConfig, Progress, dict[str, Tensor]]:
    """Read a checkpoint: a file written by discoformer-train, or the folder of a released model.

    A folder gives the tensors `average.<parameter>`, for heads `proposal.<parameter>`, and `adaptation.basis`
    if it has one. A folder without heads, and the file mixture.safetensors of any, give the mixture network.

    Args:
        path: the file or folder.

    Raises:
        CheckpointError: the file or folder is absent, or is not a checkpoint.
    """
    try:
        if path.is_dir():
            return _load_folder(path, with_heads=(path / FILE).is_file())
        if path.name == MIXTURE_FILE:
            return _load_folder(path.parent, with_heads=False)
        return _load_file(path)
    except CheckpointError:
        raise
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} has metadata of another version: {error!r}") from error


def _load_file(path: Path) -> tuple[TrainConfig, Progress, dict[str, Tensor]]:
    content = path.read_bytes()
    tensors = load(content)
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    if metadata.get("format") not in (FORMAT, _WITHOUT_HASH):
        raise CheckpointError(
            f"{path} has format {metadata.get('format')!r}, needed {FORMAT!r}: "
            "give a file written by discoformer-train"
        )
    if metadata["format"] == FORMAT:
        recorded = metadata[_SHA256].encode()
        if hashlib.sha256(content.replace(recorded, _NONE, 1)).hexdigest().encode() != recorded:
            raise CheckpointError(
                f"checkpoint {path} is damaged: its SHA-256 is not the one it records; take an older one"
            )
    return TrainConfig.from_json(metadata["config"]), Progress(**json.loads(metadata["progress"])), tensors


def _load_folder(folder: Path, *, with_heads: bool) -> tuple[TrainConfig, Progress, dict[str, Tensor]]:
    described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    about_mixture, mixture = described["mixture"], load_file(folder / MIXTURE_FILE)
    if with_heads:
        step = described["model"]["training_step"]
        settings = described["training"] | {"proposal": about_mixture["training"]["network"]}
        tensors = {f"average.{name}": tensor for name, tensor in load_file(folder / FILE).items()}
        tensors |= {f"proposal.{name}": tensor for name, tensor in mixture.items()}
        if (folder / BASIS).is_file():
            tensors[TENSOR] = load_file(folder / BASIS)["basis"]
    else:
        step, settings = about_mixture["training_step"], dict(about_mixture["training"])
        tensors = {f"average.{name}": tensor for name, tensor in mixture.items()}
    progress = Progress(int(step), settings.pop("tokens"), settings.pop("seconds"))
    return TrainConfig.from_json(json.dumps(settings)), progress, tensors


def load_network(path: Path, attend: Attend = attend_plain) -> DiScoFormer:
    """Build the network of a checkpoint, with its averaged weights, in evaluation mode.

    Raises:
        CheckpointError: it cannot be read, or holds a network of another kind.
    """
    network = load_any_network(path, attend)
    if not isinstance(network, DiScoFormer):
        raise CheckpointError(f"{path} holds a network of the kind 'mixture', needed the kind 'heads'")
    return network


def load_mixture_network(path: Path, attend: Attend = attend_plain) -> MixtureNetwork:
    """Build the mixture network of a checkpoint: that of its run, or the one whose base its heads refine.

    Raises:
        CheckpointError: the checkpoint cannot be read, or holds no mixture network.
    """
    config, _, tensors = load_checkpoint(path)
    of_heads = config.network.kind == "heads"
    network_config = config.proposal if of_heads else config.network
    if network_config is None:
        raise CheckpointError(
            f"{path} holds no mixture network: give a checkpoint of one with --mixture-from"
        )
    network = MixtureNetwork(network_config, attend)
    network.load_state_dict(with_prefix(tensors, "proposal." if of_heads else "average."))
    return network.eval()


def load_any_network(path: Path, attend: Attend = attend_plain) -> DiScoFormer | MixtureNetwork:
    """Do the same as `load_network` for any kind."""
    config, _, tensors = load_checkpoint(path)
    network = build_network(config.network, attend)
    network.load_state_dict(with_prefix(tensors, "average."))
    return network.eval()


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the tensors whose names begin with a prefix, and drop it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
