"""Small networks, contexts and runs, shared by the tests of the training package.

Everything is float64 and drawn from fixed seeds. The fixtures are factories of session scope: they keep no
state, and so serve property tests too.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from discoformer.base.frame import Frames, fit_frames
from discoformer_training.data.context import Context, context_in_frame
from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.data.stream import StreamConfig, Task
from discoformer_training.nn.attention import Attend, attend_plain
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.nn.proposal import Proposal
from discoformer_training.run.checkpoint import Progress, load_mixture_network, save_checkpoint
from discoformer_training.run.config import TrainConfig

SMALL = NetworkConfig(
    blocks=2, scalars=16, channels=4, heads=2, head_scalars=4, head_channels=2, pairs=4, hidden=64, sample=8
)
OF_MIXTURE = replace(SMALL, kind="mixture", blocks=1, updates=1)
TRAINED = Path(__file__).parents[2] / "models" / "base" / "mixture.safetensors"


@pytest.fixture(scope="session")
def small() -> NetworkConfig:
    """Sizes of a small network with more than one of everything."""
    return SMALL


@pytest.fixture(scope="session")
def tiny_run() -> TrainConfig:
    """A run of heads whose steps take milliseconds."""
    network = replace(SMALL, blocks=1)
    stream = StreamConfig(dims=(1, 3), context_sizes=(8, 20), tokens=256)
    return TrainConfig(
        network=network, proposal=OF_MIXTURE, stream=stream, steps=20, warmup=5, average=0.9, seed=3
    )


@pytest.fixture(scope="session")
def make_network() -> Callable[..., DiScoFormer]:
    """Build networks whose every parameter is moved by noise: at the start the heads' are zero."""

    def make(
        config: NetworkConfig = SMALL, *, seed: int = 0, noise: float = 0.1, attend: Attend = attend_plain
    ) -> DiScoFormer:
        torch.manual_seed(seed)
        network = DiScoFormer(config, attend).double()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(noise * torch.randn_like(parameter))
        return network

    return make


@pytest.fixture(scope="session")
def make_mixture_network() -> Callable[..., MixtureNetwork]:
    """Build small mixture networks whose every parameter is moved by noise."""

    def make(*, seed: int = 0, noise: float = 0.1, attend: Attend = attend_plain) -> MixtureNetwork:
        torch.manual_seed(seed)
        network = MixtureNetwork(replace(SMALL, kind="mixture", updates=1), attend).double()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(noise * torch.randn_like(parameter))
        return network

    return make


@pytest.fixture(scope="session")
def mixture_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a small mixture network with its initial weights."""
    torch.manual_seed(0)
    tensors = {f"average.{name}": p for name, p in MixtureNetwork(OF_MIXTURE).named_parameters()}
    path = tmp_path_factory.mktemp("mixture") / "checkpoint.safetensors"
    save_checkpoint(path, TrainConfig(network=OF_MIXTURE), Progress(), tensors)
    return path


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory, tiny_run: TrainConfig, mixture_file: Path) -> Path:
    """The files of a released model that a checkpoint is read from: heads, and the mixture they refine."""
    folder = tmp_path_factory.mktemp("released")
    torch.manual_seed(1)
    save_file(DiScoFormer(tiny_run.network).state_dict(), folder / "weights.safetensors")
    save_file(load_mixture_network(mixture_file).state_dict(), folder / "mixture.safetensors")
    save_file({"basis": torch.ones(94, 3)}, folder / "adaptation.safetensors")
    seen = {"tokens": 12345, "seconds": 60}
    of_heads, of_mixture = (
        json.loads(config.to_json()) | seen
        for config in (replace(tiny_run, proposal=None), TrainConfig(network=OF_MIXTURE))
    )
    described = {
        "model": {"training_step": "20"},
        "training": of_heads,
        "mixture": {"training_step": 30, "training": of_mixture},
    }
    (folder / "config.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="session")
def proposal(mixture_file: Path) -> Proposal:
    """Makes bases by that network."""
    return Proposal(load_mixture_network(mixture_file))


@pytest.fixture(scope="session")
def trained_proposal() -> Proposal:
    """Makes bases by the trained mixture network."""
    return Proposal(load_mixture_network(TRAINED))


@pytest.fixture(scope="session")
def make_data() -> Callable[..., Tensor]:
    """Draw data sets (B, N, D) from Gaussian mixtures."""

    def make(batch: int, n: int, dim: int, *, seed: int = 0, condition: float = 1.0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        mixtures = draw_mixtures(batch, dim, affine_condition=condition, generator=generator)
        return mixtures.sample(n, generator=generator)

    return make


@pytest.fixture(scope="session")
def make_map() -> Callable[..., Tensor]:
    """Draw an invertible map (D, D) of a given condition number; a rotation or reflection for 1."""

    def make(dim: int, condition: float = 1.0, *, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn(2, dim, dim, generator=generator, dtype=torch.float64)
        left, right = torch.linalg.qr(normal).Q
        half = 0.5 * math.log(condition)
        stretch = torch.linspace(-half, half, dim, dtype=torch.float64).exp()
        return left * stretch @ right

    return make


@pytest.fixture(scope="session")
def read_context(proposal: Proposal) -> Callable[[Tensor], tuple[Context, Frames]]:
    """Bring data sets (B, N, D) to their frames, in float64. Their bases are exact to float32 only."""

    def read(data: Tensor) -> tuple[Context, Frames]:
        frame = fit_frames(data)
        points = frame.to_frame(data)
        context = Context(
            points,
            torch.zeros_like(points[..., 0]),
            frame.precision_root,
            frame.log_det_precision,
            frame.effective_size,
            context_in_frame(data, frame, propose=proposal).known_base.each(Tensor.double),
        )
        return context, frame

    return read


@pytest.fixture(scope="session")
def tensors() -> Callable[[Task], list[Tensor]]:
    """List every tensor of a task."""

    def every(task: Task) -> list[Tensor]:
        seen: list[Tensor] = []

        def see(tensor: Tensor) -> Tensor:
            seen.append(tensor)
            return tensor

        task.each(see)
        return seen

    return every


@pytest.fixture(scope="session")
def same(tensors: Callable[[Task], list[Tensor]]) -> Callable[[Task, Task], bool]:
    """Say whether two tasks are equal bit for bit."""

    def equal(one: Task, other: Task) -> bool:
        pairs = zip(tensors(one), tensors(other), strict=True)
        return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)

    return equal
