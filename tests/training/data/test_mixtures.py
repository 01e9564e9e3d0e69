"""Random Gaussian mixtures: exact answers against scipy and autograd, draws against the protocol."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from torch import Tensor

from discoformer_training.data.mixtures import (
    MEAN_RANGE,
    VARIANCE_RANGE,
    WEIGHT_RANGE,
    Mixtures,
    draw_mixtures,
)

FEW = settings(deadline=None, max_examples=8, derandomize=True)
DIMS = pytest.mark.parametrize("dim", [1, 2, 7, 100])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(dim: int, *, batch: int = 3, seed: int = 0, condition: float = 30.0, modes=(1, 10)) -> Mixtures:
    return draw_mixtures(batch, dim, modes=modes, affine_condition=condition, generator=seeded(seed))


def data_covariances(mixtures: Mixtures) -> Tensor:
    """Covariances (B, K, D, D) of the modes in data units, G^T diag(v) G."""
    linear = mixtures.linear[:, None]
    return linear.mT * mixtures.variances[:, :, None, :] @ linear


@DIMS
def test_log_density_agrees_with_scipy(dim):
    mixtures = draw(dim)
    points = 1.5 * mixtures.sample(20, generator=seeded(1))
    log_density, _ = mixtures.log_density_and_score(points)
    means, covariances = mixtures.means @ mixtures.linear, data_covariances(mixtures)
    for b in range(len(points)):
        weights = mixtures.log_weights[b]
        modes = [
            multivariate_normal(means[b, k], covariances[b, k]).logpdf(points[b].numpy()) + float(weights[k])
            for k in torch.nonzero(weights.isfinite()).flatten()
        ]
        expected = torch.as_tensor(logsumexp(modes, axis=0))
        torch.testing.assert_close(log_density[b], expected, rtol=1e-9, atol=1e-9)


@DIMS
def test_score_is_the_gradient_of_the_log_density(dim):
    mixtures = draw(dim)
    points = (1.5 * mixtures.sample(20, generator=seeded(1))).requires_grad_()
    log_density, score = mixtures.log_density_and_score(points)
    (gradient,) = torch.autograd.grad(log_density.sum(), points)
    torch.testing.assert_close(score, gradient, rtol=1e-8, atol=1e-8)


@DIMS
def test_score_of_one_gaussian_is_linear(dim):
    mixtures = draw(dim, modes=(1, 1))
    points = mixtures.sample(10, generator=seeded(1))
    away = points - mixtures.means @ mixtures.linear
    expected = -torch.linalg.solve(data_covariances(mixtures)[:, 0], away.mT).mT
    torch.testing.assert_close(mixtures.log_density_and_score(points)[1], expected, rtol=1e-9, atol=1e-9)


def test_density_integrates_to_one():
    mixtures = draw(1, batch=8)
    grid = torch.linspace(-60, 60, 40_001, dtype=torch.float64)[:, None].expand(8, -1, -1)
    density = mixtures.log_density_and_score(grid)[0].exp()
    total = torch.trapezoid(density, grid[..., 0])
    torch.testing.assert_close(total, torch.ones(8, dtype=torch.float64), rtol=1e-9, atol=0)


def test_far_points_have_finite_answers():
    mixtures = draw(5)
    log_density, score = mixtures.log_density_and_score(1e6 * mixtures.sample(10, generator=seeded(1)))
    assert log_density.isfinite().all()
    assert score.isfinite().all()


def test_absent_modes_count_for_nothing():
    mixtures = draw(3, batch=20)
    absent = mixtures.log_weights.isinf()
    assert absent.any()
    points = mixtures.sample(50, generator=seeded(1))
    elsewhere = torch.where(absent[..., None], torch.full_like(mixtures.means, 77.0), mixtures.means)
    moved = Mixtures(mixtures.log_weights, elsewhere, mixtures.variances, mixtures.linear)
    assert torch.equal(points, moved.sample(50, generator=seeded(1)))
    for ours, theirs in zip(
        mixtures.log_density_and_score(points), moved.log_density_and_score(points), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@FEW
@given(
    batch=st.integers(1, 6), dim=st.integers(1, 12), modes=st.tuples(st.integers(1, 4), st.integers(4, 10))
)
def test_draws_keep_to_the_published_ranges(batch, dim, modes):
    mixtures = draw_mixtures(batch, dim, modes=modes, generator=seeded(batch + 10 * dim))
    weights = mixtures.log_weights.exp()
    torch.testing.assert_close(weights.sum(-1), torch.ones(batch, dtype=torch.float64))
    present = weights > 0
    count = present.sum(-1)
    assert ((count >= modes[0]) & (count <= modes[1])).all()
    least = torch.where(present, weights, math.inf).amin(-1)
    assert (weights.amax(-1) / least <= WEIGHT_RANGE[1] / WEIGHT_RANGE[0]).all()
    assert mixtures.means.abs().max() <= MEAN_RANGE
    low, high = VARIANCE_RANGE
    assert ((mixtures.variances >= low) & (mixtures.variances <= high)).all()
    assert mixtures.means.shape == mixtures.variances.shape == (batch, modes[1], dim)
    identity = torch.eye(dim, dtype=torch.float64).expand(batch, dim, dim)
    torch.testing.assert_close(mixtures.linear @ mixtures.linear.mT, identity, rtol=0, atol=1e-12)


def test_every_number_of_modes_is_drawn():
    count = draw(2, batch=400).log_weights.isfinite().sum(-1)
    assert set(count.tolist()) == set(range(1, 11))


@pytest.mark.parametrize("dim", [1, 2, 30])
def test_affine_condition_bounds_the_condition_number_of_about_half_the_maps(dim):
    linear = draw(dim, batch=100, condition=30.0).linear
    condition = torch.linalg.cond(linear)
    assert condition.max() <= 30 * (1 + 1e-9)
    stretched = (linear @ linear.mT - torch.eye(dim, dtype=torch.float64)).abs().amax((1, 2)) > 1e-9
    assert 30 <= stretched.sum() <= 70


def test_sample_has_the_moments_of_the_mixture():
    n = 40_000
    mixtures = draw(3, batch=4)
    points = mixtures.sample(n, generator=seeded(1))
    weights = mixtures.log_weights.exp()
    means = mixtures.means @ mixtures.linear
    mean = (weights[..., None] * means).sum(1)
    away = means - mean[:, None]
    within = (weights[..., None, None] * data_covariances(mixtures)).sum(1)
    covariance = within + (weights[..., None] * away).mT @ away
    deviation = covariance.diagonal(dim1=1, dim2=2).sqrt()
    error = (points.mean(1) - mean) / deviation
    assert error.abs().max() < 5 / n**0.5
    scale = deviation[:, :, None] * deviation[:, None]
    apart = points - points.mean(1, keepdim=True)
    assert ((apart.mT @ apart / n - covariance) / scale).abs().max() < 0.05


def test_score_has_mean_zero_under_the_mixture():
    mixtures = draw(2, batch=4)
    _, score = mixtures.log_density_and_score(mixtures.sample(40_000, generator=seeded(1)))
    assert (score.mean(1) / score.std(1)).abs().max() < 5 / 40_000**0.5


def test_draws_and_samples_depend_on_the_generator_alone():
    first, again, other = draw(4, seed=5), draw(4, seed=5), draw(4, seed=6)
    for name in ("log_weights", "means", "variances", "linear"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.means, other.means)
    assert torch.equal(first.sample(9, generator=seeded(1)), again.sample(9, generator=seeded(1)))
    assert not torch.equal(first.sample(9, generator=seeded(1)), first.sample(9, generator=seeded(2)))
