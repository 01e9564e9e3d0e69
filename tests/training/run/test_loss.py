"""The loss: zero at the truth, robust far from it, blind to nothing that is trained."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from discoformer.base.base import BASE, base_of
from discoformer_training.data.context import Context
from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.data.stream import StreamConfig, Task, draw_task
from discoformer_training.nn.attention import attend_blocked
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.loss import LEAST, STEP, LossConfig, task_loss

ALL = LossConfig(alpha=0.3, consistency=0.2, probed=1.0)
Answer = Callable[[Tensor], tuple[Tensor, Tensor]]


class Known(nn.Module):
    """Stands for a network: answers by a formula, whatever the context."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _context: Context, queries: Tensor) -> tuple[Tensor, Tensor]:
        return self.answer(queries)


def gaussian(y: Tensor) -> tuple[Tensor, Tensor]:
    """Answer for the standard Gaussian."""
    return -0.5 * (y.square().sum(-1) + y.shape[-1] * math.log(2 * math.pi)), -y


def make_task(truth: Answer, dim: int = 3, m: int = 20, size: float = 1000.0) -> Task:
    """Make a float64 task of a size: of 20 queries 12 are fresh, 3 seen, 5 off the support."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(2, m, dim, generator=generator, dtype=torch.float64)
    directions = torch.randn(2, m, dim, generator=generator, dtype=torch.float64)
    log_density, score = truth(queries)
    return Task(
        context=Context(
            *torch.zeros(4), torch.full((2,), size, dtype=torch.float64), base_of(*torch.zeros(len(BASE)))
        ),
        queries=queries,
        log_density=log_density,
        score=score,
        floor=torch.full_like(log_density, -math.inf),
        log_drawn=log_density[:, :12],
        directions=directions / directions.norm(dim=-1, keepdim=True),
        n_fresh=12,
        n_on_support=15,
    )


def rho(error: Tensor) -> Tensor:
    """The robust function of a squared error."""
    return 2 * ((1 + error).sqrt() - 1)


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_the_truth_costs_nothing(dim):
    """All of it for a Gaussian, for which central differences are exact."""
    loss = task_loss(Known(gaussian), make_task(gaussian, dim), ALL)
    assert set(loss) == {"density", "score", "consistency", "normalisation", "loss"}
    for name, value in loss.items():
        assert abs(value.item()) < 1e-12, name


def test_the_truth_of_a_drawn_task_costs_nothing(proposal):
    """Looked up at the queries; only consistency needs answers elsewhere."""
    task = draw_task(StreamConfig(dims=(3, 3), context_sizes=(40, 40), tokens=256), 0, 0, propose=proposal)

    def look_up(queries: Tensor) -> tuple[Tensor, Tensor]:
        extra = queries.shape[1] - task.queries.shape[1]
        return (
            torch.cat([task.log_density, torch.zeros(len(queries), extra)], 1),
            torch.cat([task.score, torch.zeros(len(queries), extra, 3)], 1),
        )

    loss = task_loss(Known(look_up), task, LossConfig())
    assert loss["density"].item() == 0
    assert loss["score"].item() == 0
    assert loss["consistency"].item() > 0


@pytest.mark.parametrize("log_integral", [-0.3, 0.2])
def test_the_integral_counts_and_its_error_does_not(log_integral):
    """The integral is exp(0.2), say, so L_Z is rho(0.2^2 / D): also for draws of another density."""

    def scaled(y: Tensor) -> tuple[Tensor, Tensor]:
        log_density, score = gaussian(y)
        return log_density + log_integral, score

    task = make_task(gaussian)
    loss = task_loss(Known(scaled), task, ALL)["normalisation"]
    torch.testing.assert_close(
        loss, rho(torch.tensor(log_integral**2 / 3, dtype=torch.float64)), rtol=1e-9, atol=0
    )

    generator = torch.Generator().manual_seed(1)
    m = 400_000
    queries = torch.randn(2, m, 2, generator=generator, dtype=torch.float64)
    queries[:, m // 2 :] *= 1.5  # imagined, of n_fresh draws as many
    fresh, _ = gaussian(queries)
    imagined = gaussian(queries / 1.5)[0] - 2 * math.log(1.5)
    wide = replace(
        task,
        queries=queries,
        log_density=fresh,
        score=-queries,
        floor=torch.full_like(fresh, -math.inf),
        log_drawn=torch.logaddexp(fresh, imagined) - math.log(2),
        directions=torch.nn.functional.normalize(queries, dim=-1),
        n_fresh=m // 2,
        n_on_support=m // 2,
    )
    loss = task_loss(Known(scaled), wide, replace(ALL, consistency=0.0))["normalisation"]
    assert loss.item() == pytest.approx(log_integral**2 / 2, rel=0.05)


@pytest.mark.parametrize(("size", "dim", "share"), [(20, 3, 0.2), (100, 3, 1), (100, 40, 0.25), (400, 40, 1)])
def test_the_integral_counts_where_the_density_is_known(size, dim, share):
    def scaled(y: Tensor) -> tuple[Tensor, Tensor]:
        log_density, score = gaussian(y)
        return log_density + 0.2, score

    loss = task_loss(Known(scaled), make_task(gaussian, dim, size=size), ALL)["normalisation"]
    expected = rho(torch.tensor((share * 0.2) ** 2 / dim, dtype=torch.float64))
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)


def test_consistency_of_a_smooth_density_is_small_however_wrong_it_is():
    """A mixture's exact score against central differences of its log-density, the truth being another one."""
    mixtures = draw_mixtures(2, 3, generator=torch.Generator().manual_seed(0))
    loss = task_loss(Known(mixtures.log_density_and_score), make_task(gaussian), ALL)
    assert loss["consistency"].item() < 1e-4
    assert loss["density"].item() > 0.1
    assert loss["score"].item() > 0.1


def test_consistency_sees_a_score_that_is_not_the_slope():
    """By the formula: D ((S - grad T) . u)^2 / c for a score off by a constant vector."""
    off = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)

    def wrong(y: Tensor) -> tuple[Tensor, Tensor]:
        log_density, score = gaussian(y)
        return log_density, score + off

    task = make_task(gaussian)
    scale = task.score[:, :12].square().sum(-1).mean(1, keepdim=True)
    expected = rho(3 * (task.directions @ off).square() / scale).mean()
    torch.testing.assert_close(task_loss(Known(wrong), task, ALL)["consistency"], expected)


def test_score_error_of_a_uniform_density_is_relative_to_the_least_size():
    def even(y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(y[..., 0]), torch.zeros_like(y)

    def wrong(y: Tensor) -> tuple[Tensor, Tensor]:
        return even(y)[0], torch.full_like(y, 0.2)

    expected = rho(torch.tensor(3 * 0.2**2 / (3 * LEAST), dtype=torch.float64))
    task = replace(make_task(even), n_on_support=20)
    torch.testing.assert_close(task_loss(Known(wrong), task, ALL)["score"], expected)


def test_only_the_probed_share_is_asked_twice_more():
    asked = []

    def remember(y: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(y)
        return gaussian(y)

    task = make_task(gaussian)
    task_loss(Known(remember), task, LossConfig(probed=0.25))
    torch.testing.assert_close(asked[0][:, :20], task.queries)
    stride = STEP * task.directions[:, :5]
    torch.testing.assert_close(asked[0][:, 20:25], task.queries[:, :5] + stride)
    torch.testing.assert_close(asked[0][:, 25:], task.queries[:, :5] - stride)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_density_error_is_per_root_dimension_robust_and_relative_off_the_support(size):
    def wrong(y: Tensor) -> tuple[Tensor, Tensor]:
        log_density, score = gaussian(y)
        return log_density + size, score

    task = make_task(gaussian)
    depth = task.log_density - task.log_density[:, :12].mean(1, keepdim=True)
    depth[:, :15] = 0
    expected = rho(size**2 / (3 + depth.square())).mean()
    torch.testing.assert_close(task_loss(Known(wrong), task, ALL)["density"], expected)


def test_below_the_floor_of_an_imagined_query_nothing_counts_and_above_it_the_whole_error_does():
    task = make_task(gaussian)
    floor = task.floor.clone()
    floor[:, -1] = task.log_density[:, -1]  # the truth is at or below the floor
    task = replace(task, floor=floor)

    def off_by(nats: float, slope: float = 0.0) -> dict[str, Tensor]:
        def answer(queries: Tensor) -> tuple[Tensor, Tensor]:
            log_density, score = gaussian(queries)
            log_density[:, 19] += nats
            score[:, 19] += slope
            return log_density, score

        return task_loss(Known(answer), task, replace(ALL, consistency=0.0))

    assert off_by(-1e6, 1e6)["loss"].item() < 1e-12
    expected = rho(torch.tensor(100.0**2 / 3)).item() / 20
    assert off_by(100.0)["density"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_score_error_is_relative_to_the_fresh_scores_and_robust(size):
    def wrong(y: Tensor) -> tuple[Tensor, Tensor]:
        log_density, score = gaussian(y)
        return log_density, score + size

    task = make_task(gaussian)
    square = task.score.square().sum(-1)
    scale = square[:, :12].mean(1, keepdim=True).repeat(1, 20)
    scale[:, 15:] += square[:, 15:]
    expected = rho(3 * size**2 / scale).mean()
    torch.testing.assert_close(task_loss(Known(wrong), task, ALL)["score"], expected)


def test_one_wild_answer_weighs_as_its_size_and_not_as_its_square():
    def loss_with_one_off_by(size: float) -> float:
        def wrong(y: Tensor) -> tuple[Tensor, Tensor]:
            log_density, score = gaussian(y)
            log_density[0, 0] += size
            return log_density, score

        return task_loss(Known(wrong), make_task(gaussian), ALL)["density"].item()

    assert loss_with_one_off_by(2e6) / loss_with_one_off_by(1e6) == pytest.approx(2, rel=1e-3)
    assert loss_with_one_off_by(2e-3) / loss_with_one_off_by(1e-3) == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize(("alpha", "consistency"), [(0.0, 0.0), (1.0, 0.5), (0.3, 2.0)])
def test_the_loss_is_the_weighted_sum_of_its_terms(make_network, alpha, consistency, proposal):
    task = draw_task(StreamConfig(dims=(3, 3), context_sizes=(40, 40), tokens=256), 0, 0, propose=proposal)
    with torch.no_grad():
        loss = task_loss(make_network().float(), task, LossConfig(alpha=alpha, consistency=consistency))
    expected = alpha * loss["density"] + (1 - alpha) * loss["score"] + consistency * loss["consistency"]
    expected = expected + LossConfig().normalisation * loss["normalisation"]
    torch.testing.assert_close(loss["loss"], expected)


@pytest.mark.parametrize("term", ["loss", "score", "consistency"])
def test_gradient_reaches_every_parameter(make_network, term, proposal):
    """Even of single terms; only the density's stops short of the last vectors."""
    network = make_network(attend=attend_blocked).float()
    task = draw_task(StreamConfig(dims=(3, 3), context_sizes=(40, 40), tokens=256), 0, 0, propose=proposal)
    task_loss(network, task, LossConfig())[term].backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("dim", [1, 50])
def test_an_untrained_network_can_learn(small, dim, proposal):
    """Though its heads start at zero, the gradient of each reading is there."""
    torch.manual_seed(0)
    network = DiScoFormer(small, attend_blocked)
    task = draw_task(
        StreamConfig(dims=(dim, dim), context_sizes=(40, 40), tokens=256), 0, 0, propose=proposal
    )
    task_loss(network, task, LossConfig())["loss"].backward()
    for parameter in (network.heads.linear.weight, network.heads.out.weight):
        assert (parameter.grad.abs().amax(1) > 0).all()


def test_gradient_is_that_of_the_plain_attention(make_network, proposal):
    task = draw_task(StreamConfig(dims=(3, 3), context_sizes=(40, 40), tokens=256), 0, 0, propose=proposal)
    gradients = []
    for network in (make_network().float(), make_network(attend=attend_blocked).float()):
        task_loss(network, task, LossConfig())["loss"].backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[0].norm()
