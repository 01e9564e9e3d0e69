"""Muon over stacks of matrices takes the steps of PyTorch's own, and keeps the same state."""

from functools import partial

import pytest
import torch
from torch.optim import Muon

from discoformer_training.run.muon import StackedMuon

SHAPES = [(3, 8), (8, 3), (3, 8), (4, 4), (1, 5), (6, 1)]
SETTINGS = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9}


def run(kind: type[Muon], device: str, steps: int = 5) -> tuple[list[torch.Tensor], Muon]:
    generator = torch.Generator().manual_seed(0)
    matrices = [
        torch.nn.Parameter(torch.randn(shape, generator=generator).to(device)) for shape in [*SHAPES, (2, 2)]
    ]
    kinds = {Muon: partial(Muon, adjust_lr_fn="match_rms_adamw"), StackedMuon: StackedMuon}
    optimizer = kinds[kind](matrices, **SETTINGS)
    for _ in range(steps):
        for matrix in matrices[:-1]:  # the last has no gradient
            matrix.grad = torch.randn(matrix.shape, generator=generator).to(device)
        optimizer.step()
    return [matrix.detach() for matrix in matrices], optimizer


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
    ],
)
def test_steps_and_state_are_those_of_one_matrix_at_a_time(device):
    stacked, own = run(StackedMuon, device)
    single, reference = run(Muon, device)
    start, _ = run(Muon, device, steps=0)
    for one, other, before in zip(stacked, single, start, strict=True):
        assert (one - other).norm() <= 0.02 * (other - before).norm()  # bfloat16 has three digits
    kept = [optimizer.state_dict()["state"] for optimizer in (own, reference)]
    torch.testing.assert_close(*kept)


def test_a_zero_gradient_only_decays():
    matrix = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = StackedMuon([matrix], **SETTINGS)
    matrix.grad = torch.zeros(3, 2)
    optimizer.step()
    torch.testing.assert_close(matrix.detach(), torch.full((3, 2), 1 - 0.02 * 0.1))
