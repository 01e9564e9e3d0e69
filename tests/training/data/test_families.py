"""Families of densities: exact answers against autograd and quadrature, draws against their densities."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_t
from torch import Tensor

from discoformer_training.data.families import FAMILIES, LAWS, Affine, draw_density, draw_students, placed
from discoformer_training.data.families.curves import draw_closed, draw_curves
from discoformer_training.data.families.maps import Bent, Coupling, Map, Radial, Rotation, draw_maps
from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.data.randoms import gamma

FEW = settings(deadline=None, max_examples=10, derandomize=True)
EDGED = {"atoms", "edges", "checkerboard"}  # densities that jump: no identity of Stein's
MANY = {
    "groups",
    "clusters",
    "ring",
    "spirals",
    "curves",
    "structural",
    "edges",
    "checkerboard",
}  # any law in
BOUNDED = (
    {"gamma", "log_normal", "softplus_normal", "beta", "logit_normal", "copulas", "vines"} | MANY | EDGED
)
REACH = dict.fromkeys({"gumbel", "funnel"} | MANY, 20.0) | {"structural": 2.0, "copulas": 2.0}
CASES = [
    pytest.param(name, dim, id=f"{name}-{dim}")
    for name, family in FAMILIES.items()
    for dim in (1, 2, 5, 30)
    if dim >= family.least_dim
]
SMOOTH = [case for case in CASES if case.values[0] not in EDGED]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(name: str, dim: int, *, batch: int = 3, seed: int = 0) -> Affine:
    return draw_density(name, batch, dim, affine_condition=30.0, generator=seeded(seed))


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_score_is_the_gradient_of_the_log_density(name: str, dim: int) -> None:
    density = draw(name, dim)
    points = density.sample(50, generator=seeded(1)).requires_grad_()
    log_density, score = density.log_density_and_score(points)
    even = 0 * points.sum()  # a graph, even if the density is constant where it is not 0
    (gradient,) = torch.autograd.grad(log_density.sum() + even, points)
    assert log_density.isfinite().all()
    size = gradient.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-9)  # 0 for even densities
    torch.testing.assert_close(score / size, gradient / size, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_answers_carry_no_graph_and_do_not_depend_on_one(name: str, dim: int) -> None:
    density = draw(name, dim)
    points = density.sample(20, generator=seeded(1))
    answers = density.log_density_and_score(points)
    assert not any(answer.requires_grad for answer in answers)
    watched = density.log_density_and_score(points.clone().requires_grad_())
    for answer, other in zip(answers, watched, strict=True):
        assert torch.equal(answer, other.detach())


@pytest.mark.parametrize(("name", "dim"), SMOOTH)
def test_draws_agree_with_the_score(name: str, dim: int) -> None:
    """By Stein's identity, E[h(x) u . s(x) + u . grad h(x)] = 0, for bounded h along random directions u."""
    density, n = draw(name, dim), 4000
    points = density.sample(n, generator=seeded(1))
    _, score = density.log_density_and_score(points)
    own = torch.linalg.solve(density.linear, points - density.center[:, None], left=False)
    own_score = score @ density.linear.mT
    directions = torch.randn(3, dim, 4, generator=seeded(2), dtype=torch.float64)
    directions = directions / directions.norm(dim=1, keepdim=True)
    for offset in (-1.0, 0.0, 1.5):
        h = (own @ directions + offset).tanh()  # (B, n, 4)
        terms = h * (own_score @ directions) + 1 - h.square()
        assert (terms.mean(1).abs() < 5 * terms.std(1) / n**0.5).all()


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_densities_and_draws_depend_on_the_generator_alone(name: str, dim: int) -> None:
    points = draw(name, dim, seed=5).sample(7, generator=seeded(1))
    assert points.shape == (3, 7, dim)
    assert points.dtype == torch.float64
    assert torch.equal(points, draw(name, dim, seed=5).sample(7, generator=seeded(1)))
    assert not torch.equal(points, draw(name, dim, seed=6).sample(7, generator=seeded(1)))
    assert not torch.equal(points, draw(name, dim, seed=5).sample(7, generator=seeded(2)))
    assert len({*points[:, 0, 0].tolist()}) == 3


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_far_points_have_an_answer(name: str, dim: int) -> None:
    density = draw(name, dim)
    away = density.sample(50, generator=seeded(1)) - density.center[:, None]
    reach = REACH.get(name, 1e5)  # the steep sides overflow
    log_density, score = density.log_density_and_score(density.center[:, None] + reach * away)
    assert score.isfinite().all()
    outside = log_density.isneginf()
    assert (log_density.isfinite() | outside).all()
    assert name in BOUNDED or not outside.any()


def one_dimensional(name: str) -> tuple[Affine, Tensor, Tensor]:
    """Densities on a line, and a grid on which they are known, fine at the centre and long."""
    density = draw(name, 1, batch=4)
    own = torch.linspace(-16, 16, 100_001, dtype=torch.float64).sinh() / 10
    grid = density.center + own * density.linear[:, 0].abs()  # (B, n)
    return density, grid, density.log_density_and_score(grid[..., None])[0].exp()


# Edges and narrow clusters need a grid of their own.
LINE = [name for name, family in FAMILIES.items() if family.least_dim == 1 and name not in EDGED | {"scales"}]


@pytest.mark.parametrize("name", LINE)
def test_density_on_a_line_integrates_to_one(name: str) -> None:
    _, grid, values = one_dimensional(name)
    total = torch.trapezoid(values, grid)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", LINE)
def test_draws_on_a_line_follow_the_density(name: str) -> None:
    """Kolmogorov's statistic at the level 1e-4 for each of four densities."""
    density, grid, values = one_dimensional(name)
    mass = torch.cumulative_trapezoid(values, grid)
    n = 4000
    draws = density.sample(n, generator=seeded(1))[..., 0]
    for x, at, below in zip(draws, grid, mass, strict=True):
        chance = below[torch.searchsorted(at, x.contiguous()).clamp(1, len(at) - 1) - 1].sort().values
        steps = torch.arange(1, n + 1, dtype=torch.float64) / n
        assert torch.maximum((chance - steps).abs(), (chance - steps + 1 / n).abs()).max() < 2.23 / n**0.5


PLANE = ["ring", "spirals", "curves", "banana", "funnel", "warped", "student", "clusters", "thin", "groups"]
PLANE += ["copulas", "vines", "rounded"]


@pytest.mark.parametrize("name", PLANE)
def test_density_in_the_plane_integrates_to_one(name: str) -> None:
    own = FAMILIES[name].draw(1, 2, seeded(3))
    if name in ("spirals", "curves"):  # of one width, and short
        axis = torch.linspace(-6, 6, 241, dtype=torch.float64)
        weight = torch.full_like(axis, 12 / 240)
    else:
        stretched = torch.linspace(-6.7, 6.7, 401, dtype=torch.float64)
        axis = stretched.sinh() / 8
        weight = stretched.cosh() / 8 * (13.4 / 400)
    grid = torch.cartesian_prod(axis, axis)[None]
    weights = torch.outer(weight, weight).flatten()
    log_density = torch.cat([own.log_density_and_score(part)[0] for part in grid.split(10_000, 1)], 1)
    total = (log_density.exp() * weights).sum(1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=2e-3, atol=0)


def test_closed_curves_are_smooth_bands_of_even_mass() -> None:
    """Gaussians one after the other are as far apart along a curve, and less than twice their width."""
    curves = draw_closed(50, seeded(0))
    gaps = (curves.means - curves.means.roll(1, 1)).norm(dim=-1)
    assert (gaps.max(1).values < 2 * curves.variances[:, 0, 0].sqrt()).all()
    assert (gaps.quantile(0.1, 1) > 0.9 * gaps.quantile(0.9, 1)).all()
    torch.testing.assert_close(curves.log_weights.exp().sum(1), torch.ones(50, dtype=torch.float64))


def test_mass_along_curves_is_uneven() -> None:
    for seed in range(8):
        weights = draw_curves(50, seeded(seed)).log_weights
        torch.testing.assert_close(weights.exp().sum(1), torch.ones(50, dtype=torch.float64))
        assert (weights.std(1) > 0).all()
        assert 0.3 < weights.std(1).mean() < 1.5


@pytest.mark.parametrize("dim", [1, 2, 5, 30])
def test_student_agrees_with_scipy(dim: int) -> None:
    density = draw_students(2, dim, seeded(0))
    points = density.sample(20, generator=seeded(1))
    log_density, _ = density.log_density_and_score(points)
    for b in range(2):
        law = multivariate_t(density.means[b, 0], density.scales[b, 0].diag(), float(density.freedom[b, 0]))
        expected = torch.as_tensor(law.logpdf(points[b].numpy()))
        torch.testing.assert_close(log_density[b], expected, rtol=1e-9, atol=1e-9)


def test_students_have_the_freedom_asked_for() -> None:
    assert (draw_students(5, 2, seeded(0), freedom=(3, 3)).freedom == 3).all()
    some = draw_students(500, 2, seeded(0)).freedom
    assert 2 <= some.min() < 2.1
    assert 29 < some.max() <= 30


@pytest.mark.parametrize("shape", [1.0, 2.5, 15.0])
def test_gamma_numbers_have_their_moments(shape: float) -> None:
    n = 40_000
    draws = gamma(torch.full((n,), shape, dtype=torch.float64), seeded(0))
    assert (draws > 0).all()
    assert abs(draws.mean() - shape) < 5 * (shape / n) ** 0.5
    third = ((draws - shape) ** 3).mean() / shape**1.5  # 2 / sqrt(shape)
    assert abs(third - 2 / shape**0.5) < 0.25


# Maps


def some_maps(dim: int) -> list[Map]:
    return [*draw_maps(3, dim, seeded(0))]


@FEW
@given(dim=st.sampled_from([1, 2, 3, 8]), scale=st.floats(0.01, 30))
def test_maps_are_undone_by_their_inverses(dim: int, scale: float) -> None:
    z = scale * torch.randn(3, 20, dim, generator=seeded(1), dtype=torch.float64)
    for one in some_maps(dim):
        torch.testing.assert_close(one.inverse(one.forward(z))[0], z, rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_log_determinants_are_those_of_the_jacobians(dim: int) -> None:
    kinds = set()
    for one in some_maps(dim):
        kinds.add(type(one))
        x = torch.randn(3, 1, dim, generator=seeded(1), dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda x, one=one: one.inverse(x)[0], x)
        blocks = torch.stack([jacobian[b, 0, :, b, 0] for b in range(3)])
        expected = torch.linalg.slogdet(blocks).logabsdet
        torch.testing.assert_close(one.inverse(x)[1][:, 0], expected, rtol=1e-9, atol=1e-9)
    assert kinds == ({Bent, Radial} if dim == 1 else {Bent, Radial, Rotation, Coupling})


def test_a_warped_density_is_not_the_one_it_was() -> None:
    density = draw("warped", 2)
    points = density.sample(200, generator=seeded(1))
    assert isinstance(density, Affine)
    moved = Affine(density.own.own, density.linear, density.center).log_density_and_score(points)[0]
    assert (density.log_density_and_score(points)[0] - moved).std() > 0.1


# What the families are


def test_outliers_lie_beyond_what_a_gaussian_would_give() -> None:
    points = draw("outliers", 5, batch=20).sample(5000, generator=seeded(1))
    own = points - points.median(1, keepdim=True).values
    radius = own.norm(dim=-1)
    far = (radius > 5 * radius.median(1, keepdim=True).values).double().mean(1)
    assert (far > 0.002).double().mean() > 0.5
    assert (far < 0.12).all()


def test_thin_densities_have_little_variance_in_some_direction() -> None:
    density = draw("thin", 5, batch=10)
    for sheet in density.own.parts:
        spread = sheet.variances[:, 0].amin(-1) / sheet.variances[:, 0].amax(-1)
        assert (spread < 0.3).all()
        assert (spread > 1e-5).all()


def test_rings_are_empty_in_the_middle() -> None:
    density = FAMILIES["ring"].draw(50, 2, seeded(0))
    log_density, score = density.log_density_and_score(torch.zeros(50, 1, 2, dtype=torch.float64))
    rim = torch.stack([density.radius, torch.zeros_like(density.radius)], -1)
    assert (density.log_density_and_score(rim)[0] > log_density + 1).all()
    assert (score == 0).all()


def test_placing_is_an_affine_map_of_the_density() -> None:
    own = draw_mixtures(2, 3, generator=seeded(0))
    density = placed(own, 2, 3, 30.0, seeded(1))
    points = own.sample(5, generator=seeded(2))
    there = points @ density.linear + density.center[:, None]
    torch.testing.assert_close(density.sample(5, generator=seeded(2)), there)
    change = density.log_density_and_score(there)[0] - own.log_density_and_score(points)[0]
    expected = -torch.linalg.det(density.linear).abs().log()
    torch.testing.assert_close(change, expected[:, None].expand_as(change))
    assert density.center.std() > 0.5


def test_every_law_is_a_family_and_skew_ones_are_mirrored_as_often_as_not() -> None:
    assert LAWS.keys() <= FAMILIES.keys()
    density = draw("gumbel", 1, batch=200)
    upward = (density.linear[:, 0, 0] > 0).double().mean()
    assert abs(upward - 0.5) < 5 * 0.5 / math.sqrt(200)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.has_parts])
def test_a_law_that_is_held_out_does_not_come_in_as_a_part(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[str] = set()
    for law, make in LAWS.items():
        spy = partial(lambda among, law, make: used.add(law) or make(among), law=law, make=make)
        monkeypatch.setitem(LAWS, law, spy)
    for seed in range(20):
        draw_density(name, 1, 5, parts=["beta", "gamma", "sinh_arcsinh"], generator=seeded(seed))
    some = {"sinh_arcsinh"} if name in ("rounded", "atoms") else {"beta", "gamma", "sinh_arcsinh"}
    assert used == some
    for seed in range(200):
        draw_density(name, 1, 5, generator=seeded(seed))
    assert used >= {"rounded": some, "atoms": some | {"log_normal"}}.get(name, some | {"laplace", "gumbel"})
