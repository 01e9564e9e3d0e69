"""The true loss is that of the network moved, and the basis spans what data sets ask for."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from discoformer_training.data.stream import Task, draw_task
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.nn.proposal import Proposal
from discoformer_training.run import basis
from discoformer_training.run.basis import STREAM, _true_loss, learn_basis

pytestmark = pytest.mark.slow

SMALL = replace(STREAM, dims=(2, 3), context_sizes=(30, 40), query_range=(50, 50))
ENTRIES = (8 + 1) * (4 + 1) + 8 + 1  # of the score's part and the log-density's


@pytest.fixture(scope="module")
def network() -> DiScoFormer:
    torch.manual_seed(1)
    return DiScoFormer(NetworkConfig(blocks=1, scalars=8, channels=4, heads=2, sample=8)).double().eval()


@pytest.fixture(scope="module")
def task(proposal: Proposal) -> Task:
    return draw_task(replace(SMALL, dims=(3, 3)), 0, 0, propose=proposal).each(lambda tensor: tensor.double())


@torch.no_grad()
def loss_of(network: DiScoFormer, task: Task) -> Tensor:
    log_density, score = network(task.context, task.queries)
    off = (score - task.score).square().sum() / task.score.square().sum()
    error = log_density - task.log_density
    near = error.abs() < basis.OFF * 3**0.5
    return off + error[near].square().sum() / error.numel() / 3


def test_the_true_loss_is_that_of_the_network_whose_map_is_moved(network: DiScoFormer, task: Task) -> None:
    form, slope, at_zero = _true_loss(network, task)
    torch.testing.assert_close(at_zero, loss_of(network, task))
    x = 1e-3 * torch.randn(ENTRIES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta, eta = x[:-9].unflatten(0, (9, 5)), x[-9:]
    moved = DiScoFormer(network.config).double()
    moved.load_state_dict(network.state_dict())
    with torch.no_grad():
        moved.heads.linear.weight[0] += eta[:-1]
        moved.heads.linear.bias[0] += eta[-1]
        moved.heads.linear.weight[2:] += theta[:-1].mT
        moved.heads.linear.bias[2:] += theta[-1]
    torch.testing.assert_close(at_zero + 2 * slope @ x + x @ form @ x, loss_of(moved, task))


def test_the_basis_is_orthogonal_and_what_varies_most_comes_first(
    network: DiScoFormer, proposal: Proposal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(basis, "STREAM", SMALL)
    single = copy.deepcopy(network).float()
    learned = learn_basis(single, range(12), proposal, seed=3)
    assert learned.shape == (ENTRIES, 12)  # as many as there are data sets
    assert learned.isfinite().all()
    assert torch.equal(learned[:, :5], learn_basis(single, range(12), proposal, seed=3, size=5))
    losses = [_true_loss(single, draw_task(SMALL, 3, step, propose=proposal)) for step in range(12)]
    gram = learned.mT @ torch.stack([form for form, _, _ in losses]).mean(0) @ learned
    spread = gram.diagonal().sqrt()
    assert (spread.diff() < 0.1 * spread[:-1]).all()
    off = gram / spread / spread[:, None] - torch.eye(12, dtype=torch.float64)
    assert off.abs().max() < 0.2  # damping aside


def test_data_sets_ask_for_what_is_in_the_basis_and_it_helps(
    network: DiScoFormer, proposal: Proposal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One data set alone: a step along its one direction lowers its true loss, as any descent must."""
    monkeypatch.setattr(basis, "STREAM", SMALL)
    single = copy.deepcopy(network).float()
    (direction,) = learn_basis(single, [4], proposal, seed=3).mT
    form, slope, at_zero = _true_loss(single, draw_task(SMALL, 3, 4, propose=proposal))
    step = -direction * (direction @ slope) / (direction @ form @ direction)
    assert at_zero + 2 * slope @ step + step @ form @ step < 0.9 * at_zero
