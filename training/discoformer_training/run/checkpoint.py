"""Checkpoints: one safetensors file with all a run needs to continue exactly, and its configuration inside.

Tensors are named `network.<parameter>`, `average.<parameter>`, `optimizer.<slot>.<parameter>`; the metadata
holds the configuration and the progress as JSON. Files appear atomically: a kill leaves the old or the new.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from discoformer_training.nn.attention import Attend, attend_plain
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.config import TrainConfig

FORMAT = "discoformer-checkpoint-1"


class CheckpointError(ValueError):
    """A file that is not a checkpoint of this project, or not one that fits."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come, over all its parts."""

    step: int = 0  # optimiser steps taken
    tokens: int = 0  # context points and queries seen
    seconds: float = 0.0  # time spent training


def save_checkpoint(
    path: Path, config: TrainConfig, progress: Progress, tensors: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint atomically."""
    metadata = {"format": FORMAT, "config": config.to_json(), "progress": json.dumps(asdict(progress))}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, partial, metadata)
    os.replace(partial, path)  # noqa: PTH105


def load_checkpoint(path: Path) -> tuple[TrainConfig, Progress, dict[str, Tensor]]:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file is absent or not a checkpoint.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {metadata.get('format')!r}, needed {FORMAT!r}: "
            "give a file written by discoformer-train"
        )
    try:
        config = TrainConfig.from_json(metadata["config"])
        progress = Progress(**json.loads(metadata["progress"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} has metadata of another version: {error!r}") from error
    return config, progress, tensors


def load_network(path: Path, attend: Attend = attend_plain) -> DiScoFormer:
    """Build the network of a checkpoint, with its averaged weights, in evaluation mode."""
    config, _, tensors = load_checkpoint(path)
    network = DiScoFormer(config.network, attend)
    network.load_state_dict(with_prefix(tensors, "average."))
    return network.eval()


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the tensors whose names begin with a prefix, and drop it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
