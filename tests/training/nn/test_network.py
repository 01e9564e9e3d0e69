"""The network: symmetries exact up to rounding, and a base that is a density."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_t
from torch import Tensor

from discoformer.base.base import Base, evaluate_base
from discoformer.base.independent import evaluate_product
from discoformer.base.mixture import ABSENT as ABSENT_COMPONENT
from discoformer.base.mixture import Components
from discoformer_training.data.context import Context
from discoformer_training.nn.attention import attend_blocked
from discoformer_training.nn.blocks import ABSENT, normalise_log_weights
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.network import DiScoFormer

FEW = settings(deadline=None, max_examples=10, derandomize=True)
DIMS = pytest.mark.parametrize("dim", [1, 2, 7, 100])
Answers = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def network(make_network) -> DiScoFormer:
    """A network in which every path carries something."""
    return make_network()


@pytest.fixture(scope="module")
def answer_data(network, read_context):
    """Answer in data units at points (B, N + M, D), of which the first N are the context."""

    def answer(points: Tensor, n: int) -> Answers:
        context, frame = read_context(points[:, :n])
        log_density, score = network(context, frame.to_frame(points[:, n:]))
        return log_density + frame.log_abs_det[:, None], frame.score_to_data(score)

    return answer


def assert_same(ours: Answers, theirs: Answers, tolerance: float = 1e-10) -> None:
    """Assert that answers agree, relative to the greatest of each kind."""
    for one, other in zip(ours, theirs, strict=True):
        size = max(1.0, float(other.detach().abs().max()))
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * size)


def gradient(network: DiScoFormer, context: Context, queries: Tensor) -> Answers:
    """Log-density (B, M) and its gradient (B, M, D) by autograd."""
    queries = queries.clone().requires_grad_()
    log_density, _ = network(context, queries)
    return log_density.detach(), torch.autograd.grad(log_density.sum(), queries)[0]


def without_residual(network: DiScoFormer, gamma: float = 1.0) -> DiScoFormer:
    """Leave of the heads gamma times the base."""
    with torch.no_grad():
        for parameter in (network.heads.linear.weight, network.heads.linear.bias, network.heads.out.weight):
            parameter.zero_()
        network.heads.gamma.fill_(gamma)
    return network


# Symmetries


@FEW
@given(n=st.integers(2, 30), m=st.integers(1, 9), dim=st.integers(1, 12))
def test_order_of_the_context_does_not_matter(network, setting, n, m, dim):
    context, queries = setting(2, n, m, dim)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(n))
    shuffled = context._replace(points=context.points[:, order], log_weights=context.log_weights[:, order])
    assert_same(network(shuffled, queries), network(context, queries))


def test_sizes_beyond_the_greatest_count_as_the_greatest(network, setting):
    context, queries = setting(2, 20, 5, 3)

    def at_size(size: float) -> Answers:
        sizes = torch.full_like(context.effective_size, size)
        answers: Answers = network(context._replace(effective_size=sizes), queries)
        return answers

    greatest = network.config.greatest_size
    assert_same(at_size(8 * greatest), at_size(greatest), tolerance=0)
    assert not torch.allclose(at_size(greatest / 8)[0], at_size(greatest)[0], rtol=1e-3)


@FEW
@given(
    n=st.integers(2, 30), dim=st.integers(1, 12), chosen=st.lists(st.integers(0, 8), min_size=1, max_size=12)
)
def test_queries_never_see_each_other(network, setting, n, dim, chosen):
    """Reordered, dropped, repeated: each query keeps its answer."""
    context, queries = setting(2, n, 9, dim)
    log_density, score = network(context, queries)
    assert_same(network(context, queries[:, chosen]), (log_density[:, chosen], score[:, chosen]))


def test_no_queries_give_no_answers(network, setting):
    context, queries = setting(2, 12, 3, 2)
    log_density, score = network(context, queries[:, :0])
    assert log_density.shape == (2, 0)
    assert score.shape == (2, 0, 2)


def test_data_sets_of_a_batch_never_see_each_other(network, setting):
    context, queries = setting(3, 20, 5, 4)
    log_density, score = network(context, queries)
    for b in range(3):
        alone = network(context.each(lambda field, b=b: field[b : b + 1]), queries[b : b + 1])
        assert_same(alone, (log_density[b : b + 1], score[b : b + 1]))


def turned_base(base: Base, turn: Tensor) -> Base:
    own, product = base.components, base.product
    scales = torch.linalg.inv(own.precision_factors.mT @ own.precision_factors)
    root = torch.linalg.cholesky(turn.mT @ scales @ turn)
    components = own._replace(means=own.means @ turn, precision_factors=torch.linalg.inv(root))
    return base._replace(components=components, product=product._replace(axes=turn.mT @ product.axes))


@FEW
@given(dim=st.sampled_from([1, 2, 3, 10, 40]), n=st.integers(2, 40))
def test_rotations_and_reflections_turn_the_score_and_keep_the_density(network, setting, make_map, dim, n):
    context, queries = setting(2, n, 7, dim, seed=n)
    turn = make_map(dim, seed=n)
    turned = context._replace(
        points=context.points @ turn,
        precision_root=turn.mT @ context.precision_root @ turn,
        base=turned_base(context.base, turn),
    )
    log_density, score = network(context, queries)
    assert_same(network(turned, queries @ turn), (log_density, score @ turn))


@pytest.mark.parametrize("condition", [1.0, 30.0])
@pytest.mark.parametrize("size", [(1, 8), (1, 50), (2, 8), (5, 20), (5, 64), (10, 40), (10, 128)])
def test_affine_maps_of_the_data_shift_the_density_and_map_the_score(
    answer_data, make_data, make_map, size, condition
):
    """In data units, for N >= 4 D: log f(y M + b) = log f(y) - log|det M|, s(y M + b) = s(y) M^-T.

    The base is made in float32.
    """
    dim, n = size
    data, linear = make_data(2, n + 9, dim), make_map(dim, condition)
    log_density, score = answer_data(data, n)
    moved_density, moved_score = answer_data(data @ linear + 10, n)
    shift = torch.linalg.slogdet(linear).logabsdet
    assert_same((moved_density + shift, moved_score @ linear.mT), (log_density, score), 5e-4)


@FEW
@given(dim=st.integers(1, 60), n=st.integers(2, 40))
def test_shifting_and_scaling_features_is_exact_at_every_size(answer_data, make_data, dim, n):
    """Too few points for their dimension included."""
    data = make_data(1, n + 5, dim)
    scale = torch.logspace(-3, 6, dim, dtype=torch.float64)
    log_density, score = answer_data(data, n)
    moved_density, moved_score = answer_data((data + 2) * scale, n)
    assert_same((moved_density + scale.log().sum(), moved_score * scale), (log_density, score), 1e-7)


# Weights, sizes, dimensions


@DIMS
def test_the_same_weights_serve_every_dimension(network, setting, dim):
    before = {name: tensor.shape for name, tensor in network.state_dict().items()}
    log_density, score = network(*setting(2, 24, 5, dim))
    assert log_density.shape == (2, 5)
    assert score.shape == (2, 5, dim)
    assert log_density.isfinite().all()
    assert score.isfinite().all()
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == before


@pytest.mark.parametrize("seed", range(3))
def test_integer_weights_are_repetitions(network, setting, seed):
    context, queries = setting(1, 12, 7, 3, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    times = torch.randint(1, 5, (12,), generator=generator)
    repeated = context._replace(
        points=context.points.repeat_interleave(times, 1),
        log_weights=torch.zeros(1, int(times.sum()), dtype=torch.float64),
    )
    weighted = context._replace(log_weights=times.double().log()[None])
    assert_same(network(weighted, queries), network(repeated, queries))


@FEW
@given(constant=st.floats(-5000, 5000))
def test_log_weights_count_up_to_a_constant(network, setting, constant):
    context, queries = setting(2, 12, 5, 3)
    log_weights = torch.linspace(-2, 1, 12, dtype=torch.float64).expand(2, -1)
    shifted = context._replace(log_weights=log_weights + constant)
    assert_same(network(shifted, queries), network(context._replace(log_weights=log_weights), queries), 1e-9)


@pytest.mark.parametrize("absent", [-math.inf, ABSENT, 10 * ABSENT])
@pytest.mark.parametrize("place", ["front", "back"])
def test_padding_equals_absence(network, setting, absent, place):
    context, queries = setting(2, 15, 6, 3)
    junk = 20 * torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = [(context.points, context.log_weights), (junk, torch.full((2, 9), absent, dtype=torch.float64))]
    if place == "front":
        parts.reverse()
    points, log_weights = (torch.cat(tensors, 1) for tensors in zip(*parts, strict=True))
    padded = context._replace(points=points, log_weights=log_weights)
    assert_same(network(padded, queries), network(context, queries))
    assert_same(encoded_answers(network, padded, queries), network(context, queries))


def test_normalised_weights_sum_to_one_and_stay_finite():
    log_weights = torch.tensor([[0.0, 3.0, -math.inf, -2e4], [5.0, 5.0, 5.0, 5.0]], dtype=torch.float64)
    found = normalise_log_weights(log_weights)
    assert (found >= ABSENT).all()
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(2, dtype=torch.float64))


def encoded_answers(network: DiScoFormer, context: Context, queries: Tensor) -> Answers:
    encoded = network.encode(context)
    return network.query(queries, encoded, context.log_weights, context.precision_root, context.base)


@FEW
@given(blocks=st.integers(1, 3), sizes=st.tuples(st.integers(2, 20), st.integers(1, 7), st.integers(1, 9)))
def test_encode_then_query_equals_forward(make_network, small, setting, blocks, sizes):
    network = make_network(replace(small, blocks=blocks))
    context, queries = setting(2, *sizes)
    n = sizes[0]
    context = context._replace(log_weights=torch.linspace(-1, 1, n, dtype=torch.float64).expand(2, -1))
    assert_same(encoded_answers(network, context, queries), network(context, queries))


def test_blocked_attention_gives_the_same_network_and_the_same_gradients(make_network, setting):
    context, queries = setting(2, 20, 7, 3)
    plain, blocked = make_network(), make_network(attend=attend_blocked)
    assert_same(blocked(context, queries), plain(context, queries))
    for one in (plain, blocked):
        log_density, score = one(context, queries)
        (log_density.square().sum() + score.square().sum()).backward()
    for ours, theirs in zip(blocked.parameters(), plain.parameters(), strict=True):
        size = max(1.0, float(theirs.grad.abs().max()))
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-9 * size)


@DIMS
def test_context_points_may_be_queries(network, setting, dim):
    context, _ = setting(2, 20, 1, dim)
    log_density, score = network(context, context.points)
    assert log_density.isfinite().all()
    assert score.isfinite().all()
    lone = network(context, context.points[:, 3:4])
    assert_same(lone, (log_density[:, 3:4], score[:, 3:4]))


def test_float32_is_close_to_float64(make_network, setting):
    context, queries = setting(2, 40, 20, 5)
    network = make_network()
    expected = network(context, queries)
    narrow = network.float()(context.each(torch.Tensor.float), queries.float())
    assert narrow[0].dtype == narrow[1].dtype == torch.float32
    assert_same((narrow[0].double(), narrow[1].double()), expected, 1e-4)


def test_config_goes_through_json(small):
    for config in (
        NetworkConfig(),
        small,
        replace(small, taming_radius=math.inf, trust_radius=math.inf, residual_bound=math.inf),
    ):
        assert NetworkConfig(**json.loads(config.to_json())) == config


# Far from the context


def along_rays(network: DiScoFormer, context: Context, radius: Tensor) -> Answers:
    """Log-density and outward part of the score, (8, R), along 8 rays at radii r = |y| / sqrt(D), (R,)."""
    dim = context.points.shape[-1]
    rays = torch.randn(8, 1, dim, generator=torch.Generator().manual_seed(dim), dtype=torch.float64)
    rays = rays / rays.norm(dim=-1, keepdim=True)
    with torch.no_grad():
        log_density, score = network(context, (dim**0.5 * radius[:, None] * rays).reshape(1, -1, dim))
    return log_density.reshape(8, -1), (score.reshape(8, -1, dim) * rays).sum(-1)


@pytest.mark.parametrize("dim", [1, 2, 7, 30, 100])
@pytest.mark.parametrize("seed", range(3))
def test_density_falls_along_every_ray_far_out(make_network, setting, dim, seed):
    """Of a small network with moderate weights, from r = 50 to a million: finite, and lower at every step."""
    network = make_network(seed=seed, noise=0.05)
    context, _ = setting(1, 40, 1, dim, seed=seed)
    log_density, slope = along_rays(
        network, context, torch.logspace(math.log10(50), 6, 60, dtype=torch.float64)
    )
    assert log_density.isfinite().all()
    assert slope.isfinite().all()
    assert (log_density.diff(dim=1) < 0).all()


@pytest.mark.parametrize("dim", [1, 2, 7, 30, 100])
@pytest.mark.parametrize("seed", range(3))
def test_base_falls_along_every_ray_beyond_the_components(make_network, setting, dim, seed):
    """Whatever the weights, so long as gamma is positive; its score points inward."""
    network = without_residual(make_network(seed=seed, noise=0.3), gamma=0.5)
    context, _ = setting(1, 40, 1, dim, seed=seed)
    log_density, slope = along_rays(network, context, torch.logspace(1.5, 6, 60, dtype=torch.float64))
    assert log_density.isfinite().all()
    assert (log_density.diff(dim=1) < 0).all()
    assert (slope < 0).all()


# The base


def base_by_scipy(network: DiScoFormer, context: Context, queries: Tensor) -> np.ndarray:
    """Log-density (M,) of the base at queries (1, M, D): a mixture of Student-t distributions."""
    freedom, log_square_scale, logit = network.base.student(network.encode(context).sample)[0].tolist()
    dim = queries.shape[-1]
    shape = math.exp(log_square_scale) * np.eye(dim)
    origin = multivariate_t(np.zeros(dim), shape, 1 + math.log1p(math.exp(freedom)))
    parts = [origin.logpdf(queries[0].numpy()) - math.log1p(math.exp(-logit))]
    share = context.base.product_share[0].item()
    log_share = -math.log1p(math.exp(logit)) + math.log1p(-share)
    for log_scale, mean, factor, nu in zip(
        *(field[0].numpy() for field in context.base.components), strict=True
    ):
        component = multivariate_t(mean, np.linalg.inv(factor.T @ factor), nu)
        log_weight = log_scale - component.logpdf(mean) + log_share
        parts.append(component.logpdf(queries[0].numpy()) + log_weight)
    product = evaluate_product(context.base.product, queries).log_density[0].numpy()
    if share:
        parts.append(product - math.log1p(math.exp(logit)) + math.log(share))
    return logsumexp(parts, axis=0)


@pytest.mark.parametrize("dim", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("seed", range(3))
def test_base_is_a_mixture_of_student_t_distributions(make_network, setting, dim, seed):
    network = without_residual(make_network(seed=seed, noise=0.3))
    context, queries = setting(1, 9 * dim + 4, 20, dim, seed=seed)
    with torch.no_grad():
        log_density = network(context, queries)[0][0]
        expected = base_by_scipy(network, context, queries)
    np.testing.assert_allclose(log_density.numpy(), expected, rtol=1e-8, atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_base_integrates_to_one_on_the_line(make_network, setting, seed):
    network = without_residual(make_network(seed=seed, noise=0.3))
    context, _ = setting(1, 40, 1, 1, seed=seed)
    t = torch.linspace(-40, 40, 20_001, dtype=torch.float64)
    with torch.no_grad():
        log_density = network(context, t.sinh()[None, :, None])[0][0]
    assert abs(torch.trapezoid(log_density.exp() * t.cosh(), t).item() - 1) < 1e-6


def test_absent_components_say_nothing(make_network, setting):
    """A data set with fewer components than its batch, filled up with rubbish, answers as if alone."""
    network = make_network()
    context, queries = setting(2, 30, 6, 3)
    own = context.base.components
    rubbish = Components(*(torch.cat([field, 1 + field[:, :1].abs()], 1) for field in own))
    log_scale = torch.cat([own.log_scale, torch.full((2, 1), ABSENT_COMPONENT, dtype=torch.float64)], 1)
    filled = context.base._replace(components=rubbish._replace(log_scale=log_scale))
    padded = context._replace(base=filled)
    assert_same(network(padded, queries), network(context, queries))


@DIMS
def test_base_score_is_the_gradient_of_its_log_density(make_network, setting, dim):
    network = without_residual(make_network(noise=0.3), gamma=0.7)
    context, queries = setting(2, 30, 8, dim)
    queries = torch.cat([queries, 20 * queries, torch.zeros_like(queries[:, :1])], 1)
    log_density, score = network(context, queries)
    assert_same((log_density, score), gradient(network, context, queries))


def test_with_its_initial_weights_the_network_is_its_base_and_a_small_student_t(small, setting):
    torch.manual_seed(0)
    network = DiScoFormer(small).double()
    context, queries = setting(1, 60, 20, 3)
    assert 0 < context.base.product_share < 1
    with torch.no_grad():
        log_density = network(context, queries)[0][0]
        np.testing.assert_allclose(log_density, base_by_scipy(network, context, queries), rtol=1e-8)
        logit = network.base.student(network.encode(context).sample)[:, 2]
        assert logit.sigmoid() < 0.05
        network.base.student.weight[2] = 0
        network.base.student.bias[2] = -1e3
        base = evaluate_base(context.base, queries)
        assert_same(network(context, queries), (base.log_density, base.score), 1e-14)


def test_heads_need_a_base(network, setting):
    context, queries = setting(1, 20, 5, 3)
    with pytest.raises(ValueError, match="pass a proposal"):
        network(context._replace(base=None), queries)
