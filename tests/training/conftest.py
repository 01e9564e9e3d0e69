"""Small networks, contexts and runs, shared by the tests of the training package.

Everything is float64 and drawn from fixed seeds. The fixtures are factories of session scope: they keep no
state, and so serve property tests too.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from discoformer.base.base import fit_base
from discoformer.base.frame import Frames, fit_frames
from discoformer_training.data.context import Context
from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.data.stream import StreamConfig, Task
from discoformer_training.nn.attention import Attend, attend_plain
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.config import TrainConfig

SMALL = NetworkConfig(
    blocks=2, scalars=16, channels=4, heads=2, head_scalars=4, head_channels=2, pairs=4, hidden=64, sample=8
)


@pytest.fixture(scope="session")
def small() -> NetworkConfig:
    """Sizes of a small network with more than one of everything."""
    return SMALL


@pytest.fixture(scope="session")
def tiny_run() -> TrainConfig:
    """A run whose steps take milliseconds."""
    network = replace(SMALL, blocks=1)
    stream = StreamConfig(dims=(1, 3), context_sizes=(8, 12), tokens=256)
    return TrainConfig(network=network, stream=stream, steps=20, warmup=5, average=0.9, seed=3)


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
def read_context() -> Callable[[Tensor], tuple[Context, Frames]]:
    """Bring data sets (B, N, D) to their frames, in float64."""

    def read(data: Tensor) -> tuple[Context, Frames]:
        frame = fit_frames(data)
        points = frame.to_frame(data)
        weights = torch.full_like(points[..., 0], 1 / points.shape[1])
        given = (
            points,
            weights,
            frame.effective_size,
            frame.precision_root,
            frame.log_det_precision,
        )
        context = Context(
            points,
            torch.zeros_like(weights),
            frame.precision_root,
            frame.log_det_precision,
            frame.effective_size,
            fit_base(*(tensor.numpy() for tensor in given)).each(torch.as_tensor),
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
