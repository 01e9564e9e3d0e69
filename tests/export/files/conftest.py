"""A small mixture network, heads on it, their checkpoints, and the one folder that both are exported to."""

from pathlib import Path

import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from discoformer_export.cli import export
from discoformer_training.data.stream import StreamConfig
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.basis import TENSOR
from discoformer_training.run.checkpoint import Progress, save_checkpoint
from discoformer_training.run.config import TrainConfig

SIZES = {
    "blocks": 2,
    "scalars": 12,
    "channels": 3,
    "heads": 2,
    "head_scalars": 4,
    "head_channels": 1,
    "pairs": 4,
    "hidden": 48,
    "sample": 6,
}


def moved(network: nn.Module) -> nn.Module:
    """Move every parameter by noise: at the start some are zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


@pytest.fixture(scope="session")
def mixture_network() -> MixtureNetwork:
    """A small network. With other seeds float32 may lose all digits but three."""
    torch.manual_seed(3)
    return moved(MixtureNetwork(NetworkConfig(**SIZES, kind="mixture", readout=16, updates=1)))


@pytest.fixture(scope="session")
def network() -> DiScoFormer:
    """Small heads."""
    torch.manual_seed(0)
    return moved(DiScoFormer(NetworkConfig(**SIZES)))


@pytest.fixture(scope="session")
def mixture_checkpoint(mixture_network: MixtureNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run of the mixture network, which reads 600 landmarks."""
    path = tmp_path_factory.mktemp("mixture") / "checkpoint.safetensors"
    tensors = {f"average.{name}": tensor for name, tensor in mixture_network.state_dict().items()}
    config = TrainConfig(network=mixture_network.config, stream=StreamConfig(landmarks=600))
    save_checkpoint(path, config, Progress(step=7, tokens=700, seconds=1.0), tensors)
    return path


@pytest.fixture(scope="session")
def checkpoint(
    network: DiScoFormer, mixture_network: MixtureNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The checkpoint of a run of the heads, with a basis of adaptation."""
    path = tmp_path_factory.mktemp("heads") / "checkpoint.safetensors"
    tensors = {f"average.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"proposal.{name}": tensor for name, tensor in mixture_network.state_dict().items()}
    tensors |= {TENSOR: torch.ones(3, 2)}
    config = TrainConfig(network=network.config, proposal=mixture_network.config)
    save_checkpoint(path, config, Progress(step=9, tokens=900, seconds=2.0), tensors)
    return path


@pytest.fixture(scope="session")
def folder(mixture_checkpoint: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both networks: the mixture is exported first, then the heads."""
    out = tmp_path_factory.mktemp("models") / "small"
    of_mixture = [str(mixture_checkpoint), "--commit", "abc", "--model-version", "3"]
    for arguments in (of_mixture, [str(checkpoint), "--commit", "def"]):
        result = CliRunner().invoke(export, [*arguments, "--out", str(out)])
        assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="session")
def models(folder: Path) -> dict[str, onnx.ModelProto]:
    """The graphs of the folder, by name."""
    return {path.stem: onnx.load(path) for path in folder.glob("*.onnx")}
