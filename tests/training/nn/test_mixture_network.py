"""The mixture network: closed forms, exact invariances, and the estimators that it contains.

Everything is float64, where not said otherwise.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, multivariate_t
from torch import Tensor

from discoformer.base.mixture import components_of
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer_training.data.context import Context
from discoformer_training.nn.attention import attend_blocked, attend_plain
from discoformer_training.nn.blocks import ABSENT
from discoformer_training.nn.mixture_network import LEAST_SHARE, Mixture, MixtureNetwork, student_peak

FEW = settings(deadline=None, max_examples=10, derandomize=True)
DIMS = pytest.mark.parametrize("dim", [1, 2, 3, 10, 40])


@pytest.fixture(scope="module")
def network(make_mixture_network) -> MixtureNetwork:
    return make_mixture_network()


def drawn_mixture(count: int, dim: int, seed: int = 0) -> Mixture:
    """Two random mixtures of scale matrices "isotropic plus rank 3"."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(2, count, *shape, generator=generator, dtype=torch.float64)

    directions, isotropic = normal(3, dim), 0.1 + normal().square()
    scales = isotropic[..., None, None] * torch.eye(dim, dtype=torch.float64) + directions.mT @ directions
    return Mixture(normal().log_softmax(-1), normal(dim), scales, 1 + (2 * normal()).exp())


def answered(network: MixtureNetwork, context: Context, queries: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return network(context, queries)


def assert_same(found, expected, tolerance: float = 1e-8) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


# Closed forms


@DIMS
def test_the_mixture_is_that_of_scipy(dim):
    mixture = drawn_mixture(5, dim)
    points = 2 * torch.randn(2, 7, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, _ = mixture.log_density_and_score(points)
    for b in range(2):
        parts = [
            w + np.atleast_1d(multivariate_t.logpdf(points[b].numpy(), m, S, df=f))
            for w, m, S, f in zip(*(field[b].numpy() for field in mixture), strict=True)
        ]
        np.testing.assert_allclose(found[b], logsumexp(parts, axis=0), rtol=1e-9, atol=1e-9)


@DIMS
def test_the_score_is_the_gradient_of_the_log_density(dim):
    points = torch.randn(2, 6, dim, dtype=torch.float64, requires_grad=True)
    log_density, score = drawn_mixture(4, dim).log_density_and_score(points)
    (slope,) = torch.autograd.grad(log_density.sum(), points)
    assert_same([score], [slope])


@DIMS
@pytest.mark.parametrize("count", [1, 30])
def test_the_runtime_answers_like_the_network(dim, count):
    """In float32, up to 1e-5 of a nat and of the greatest score; also far out."""
    mixture = drawn_mixture(count, dim, seed=2)
    points = torch.randn(300, dim, dtype=torch.float64) * torch.linspace(0.1, 50, 300)[:, None]
    log_density, score = mixture.log_density_and_score(points.expand(2, -1, -1))
    for b in range(2):
        answers = MixtureAnswers(components_of(*(field[b].numpy() for field in mixture)))
        found, slope = answers.answer(points.numpy())
        np.testing.assert_allclose(found, log_density[b], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(slope, score[b], atol=1e-5 * score[b].abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [1, 2, 17, 100])
def test_the_peak_of_a_student_t_is_exact_in_either_precision(dtype, dim):
    freedom = torch.tensor([1.0, 1.3, 2, 7, 50, 1e3, 1e6], dtype=torch.float64)
    half = (freedom + dim) / 2
    exact = half.lgamma() - (freedom / 2).lgamma() - dim / 2 * (math.pi * freedom).log()
    found = student_peak(freedom.to(dtype), dim).double()
    torch.testing.assert_close(
        found, exact, rtol=0, atol=1e-9 if dtype == torch.float64 else 2e-7 * (3 + dim)
    )


@pytest.mark.parametrize("n", [2, 5, 60])
def test_the_density_integrates_to_one_in_one_dimension(network, setting, n):
    """By the trapezoidal rule in asinh(y), which reaches the heavy tails."""
    context, _ = setting(1, n, 1, 1)
    u = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    log_density, _ = answered(network, context, u.sinh()[None, :, None])
    assert torch.trapezoid(log_density[0].exp() * u.cosh(), u).item() == pytest.approx(1, abs=1e-6)


# Exact invariances


@FEW
@given(dim=st.sampled_from([1, 2, 3, 10, 40]), n=st.integers(2, 40))
def test_rotations_and_reflections_turn_the_score_and_keep_the_density(network, setting, make_map, dim, n):
    context, queries = setting(2, n, 7, dim, seed=n)
    turn = make_map(dim, seed=n)
    turned = context._replace(
        points=context.points @ turn, precision_root=turn.mT @ context.precision_root @ turn
    )
    log_density, score = answered(network, context, queries)
    assert_same(answered(network, turned, queries @ turn), (log_density, score @ turn))


@FEW
@given(dim=st.integers(1, 8), n=st.integers(2, 40))
def test_the_order_of_the_context_does_not_matter(network, setting, dim, n):
    context, queries = setting(2, n, 5, dim, seed=n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(n))
    shuffled = context._replace(points=context.points[:, order])
    assert_same(answered(network, shuffled, queries), answered(network, context, queries))


@pytest.mark.parametrize("seed", range(3))
def test_integer_weights_are_repetitions(network, setting, seed):
    context, queries = setting(1, 12, 7, 3, seed=seed)
    times = torch.randint(1, 5, (12,), generator=torch.Generator().manual_seed(seed))
    repeated = context._replace(
        points=context.points.repeat_interleave(times, 1),
        log_weights=torch.zeros(1, int(times.sum()), dtype=torch.float64),
    )
    weighted = context._replace(log_weights=times.double().log()[None])
    assert_same(answered(network, weighted, queries), answered(network, repeated, queries))


@pytest.mark.parametrize("absent", [-math.inf, ABSENT, 10 * ABSENT])
def test_padding_equals_absence(network, setting, absent):
    context, queries = setting(2, 15, 6, 3)
    junk = 20 * torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    padded = context._replace(
        points=torch.cat([junk, context.points], 1),
        log_weights=torch.cat([torch.full((2, 9), absent, dtype=torch.float64), context.log_weights], 1),
    )
    assert_same(answered(network, padded, queries), answered(network, context, queries))


def test_landmarks_as_tokens_read_all_points(network, setting):
    """The other points count; in any order, and repeated as often as their weights say."""
    context, queries = setting(1, 30, 6, 3)
    few = context._replace(points=context.points[:, :10], log_weights=context.log_weights[:, :10])
    all_points = {"all_points": context.points, "all_log_weights": context.log_weights}
    found = answered(network, few._replace(**all_points), queries)
    assert (found[0] - answered(network, few, queries)[0]).abs().max() > 1e-4
    repeated = {
        "all_points": context.points.flip(1).repeat_interleave(2, 1),
        "all_log_weights": context.log_weights.repeat(1, 2),
    }
    assert_same(answered(network, few._replace(**repeated), queries), found)


def test_blocked_attention_gives_the_same_mixture_and_gradient(make_mixture_network, setting):
    context, queries = setting(2, 30, 8, 3)
    found = []
    for attend in (attend_plain, attend_blocked):
        network = make_mixture_network(attend=attend)
        log_density, score = network(context, queries)
        (log_density.sum() + score.square().sum()).backward()
        found.append([log_density, score, *(p.grad for p in network.parameters())])
    assert_same(found[0], found[1])


# Estimators that the network contains


def kde_network(network: MixtureNetwork, bandwidth: float) -> MixtureNetwork:
    """Set the weights of a network so that it is the Gaussian KDE of a bandwidth, in the frame.

    The kernels of the statistics are flat, so that their variance s is that of the sample. The hidden layer
    passes log s on, far up where GELU is the identity, and the first isotropic part becomes bandwidth^2.
    """
    head, far = network.components, 50.0
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        head.kernels.bandwidth.bias.fill_(-1e3)
        scalars = head.norm.normalized_shape[0]
        head.hidden.weight[0, scalars] = 1.0  # log s of the first kernel
        head.hidden.bias[0] = far
        head.out.bias[1] = 1e3  # the most degrees of freedom
        isotropic, share = head.out.bias[2 + head.channels + head.heads :].chunk(2)
        share.fill_(-1e3)
        isotropic[1:] = -1e3
        isotropic[0] = 2 * math.log(bandwidth) + far
        head.out.weight[2 + head.channels + head.heads, 0] = -1.0
        network.broad.read.bias[0] = -1e3  # no broad component
        network.updates[0].out.bias[2:] = -1e3  # no update
        network.updates[0].out.bias[4] = 0.0
    return network


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_gaussian_kde_is_a_special_case(make_mixture_network, setting, dim):
    """Of a million degrees of freedom, and of the bandwidth wanted and the least second isotropic part."""
    context, queries = setting(1, 40, 9, dim)
    points, bandwidth = context.points[0].numpy(), 0.4
    found, _ = answered(kde_network(make_mixture_network(noise=0.0), bandwidth), context, queries)
    variance = bandwidth**2 + math.exp(-LEAST_SHARE) * points.var(0).mean()
    kernels = [
        multivariate_normal.logpdf(queries[0].numpy(), point, variance * np.eye(dim)) for point in points
    ]
    np.testing.assert_allclose(found[0], logsumexp(kernels, axis=0) - math.log(40), atol=2e-4)
