"""What the families like real tables are made of: closed forms, distribution functions, Jacobians."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from torch import Tensor

from discoformer_training.data.families import FAMILIES, LAWS
from discoformer_training.data.families.copulas import Archimedean, Clayton, Margins, gumbel
from discoformer_training.data.families.edges import EDGED, draw_checkerboard
from discoformer_training.data.families.laws import Law, LogNormal
from discoformer_training.data.families.manifolds import draw_manifolds
from discoformer_training.data.families.maps import Map
from discoformer_training.data.families.rounding import (
    SCORED,
    Atomic,
    draw_rounded,
    log_normal_between,
    spread,
)
from discoformer_training.data.families.structural import PARENTS, draw_structural
from discoformer_training.data.families.vines import Clayton as ClaytonPairs
from discoformer_training.data.families.vines import Frank, Share, draw_vine
from discoformer_training.data.randoms import normal, uniform

CHANCE = 1e-4  # of a false alarm


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normals(*shape: int, seed: int = 1) -> Tensor:
    return normal(*shape, generator=seeded(seed))


def among(low: float, high: float) -> Tensor:
    """Parameters of three densities with one coordinate."""
    return uniform(low, high, 3, 1, 1, generator=seeded(5))


def full(value: float, *shape: int) -> Tensor:
    return torch.full(shape, value, dtype=torch.float64)


def assert_follows(draws: Tensor, below: Callable[[np.ndarray], np.ndarray]) -> None:
    assert stats.kstest(draws.numpy(), below).pvalue > CHANCE


def assert_is_invertible(one: Map, x: Tensor) -> None:
    """The inverse undoes the map, and the log-determinant is that of the Jacobian."""
    z, log_det = one.inverse(x)
    torch.testing.assert_close(one.forward(z), x, rtol=1e-8, atol=1e-8)
    for b, i in ((0, 0), (1, 3), (2, 7)):
        jacobian = torch.autograd.functional.jacobian(lambda x: one.inverse(x)[0], x)[b, i, :, b, i]
        torch.testing.assert_close(
            log_det[b, i], torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-8, atol=1e-8
        )


# Structural equations


@pytest.mark.parametrize("dim", [1, 2, 5, 20])
def test_structural_equations_are_undone_and_have_their_jacobian(dim: int) -> None:
    for seed in range(4):
        equations = draw_structural(3, dim, seeded(seed)).maps[0]
        assert_is_invertible(equations, equations.forward(normals(3, 8, dim)))


def test_columns_depend_on_few_columns_before_them() -> None:
    for seed in range(8):
        equations = draw_structural(3, 12, seeded(seed)).maps[0]
        z = normals(3, 1, 12)
        by = torch.autograd.functional.jacobian(equations.forward, z)[0, 0, :, 0, 0]
        assert (by.diagonal() > 0).all()
        assert (by.triu(1) == 0).all()
        x = equations.forward(z)
        direct = torch.autograd.functional.jacobian(equations.inverse, x)[0][0, 0, :, 0, 0]
        counts = (direct != 0).sum(1) - 1
        assert counts.max() <= PARENTS
        assert counts.max() > 0


# Copulas


ARCHIMEDEAN = pytest.mark.parametrize(
    ("kind", "a"), [("clayton", 0.3), ("clayton", 4.0), ("gumbel", 0.25), ("gumbel", 0.8)]
)


def archimedean(kind: str, a: float, dim: int) -> tuple[Archimedean, Callable[[Tensor], Tensor]]:
    """The density of log w, and the chance psi(t) that w_1 > y_1, w_2 > y_2, .. with t their sum."""
    power = full(a, 1, 1)
    if kind == "clayton":
        return Archimedean(Clayton(power, dim), 1, dim), lambda t: (1 + t) ** -a
    return Archimedean(gumbel(power, dim), 1, dim), lambda t: (-(t**a)).exp()


@ARCHIMEDEAN
def test_archimedean_densities_are_mixed_derivatives_of_the_joint_survival(kind: str, a: float) -> None:
    for dim in (1, 2, 5):
        density, survival = archimedean(kind, a, dim)
        points = 2 * normals(1, 6, dim) - 1
        sums = points.exp().sum(-1).requires_grad_()
        derivative = survival(sums)
        for _ in range(dim):
            (derivative,) = torch.autograd.grad(derivative.sum(), sums, create_graph=True)
        expected = ((-1) ** dim * derivative).log() + points.sum(-1)
        torch.testing.assert_close(density.log_density_and_score(points)[0], expected, rtol=1e-8, atol=1e-8)


@ARCHIMEDEAN
@pytest.mark.parametrize("dim", [1, 2, 40])
def test_archimedean_draws_have_their_joint_survival(kind: str, a: float, dim: int) -> None:
    """All w are above y with the chance psi(D y), and the first one is with the chance psi(y)."""
    density, survival = archimedean(kind, a, dim)
    draws = density.sample(4000, generator=seeded(0))[0].exp()
    for values, count in ((draws[:, 0], 1), (draws.amin(-1), dim)):
        assert_follows(values, lambda y, count=count: 1 - survival(torch.as_tensor(count * y)).numpy())


def test_margins_are_increasing_maps_with_their_jacobian_and_empty_outside_the_support() -> None:
    margins = Margins(0.3 * normals(3, 1, 6), 0.8 + uniform(0, 1, 3, 1, 6, generator=seeded(3)), (2, 3, 1))
    z = 2 * normals(3, 8, 6)
    x = margins.forward(z)
    assert_is_invertible(margins, x)
    assert (margins.forward(z + 0.1) > x).all()
    outside = torch.tensor([0.0, 0.0, -1.0, 1.0, 1.0, 0.5], dtype=torch.float64).expand(3, 1, 6)
    assert margins.inverse(outside)[1].isneginf().all()
    assert margins.inverse(outside.abs())[1].isfinite().all()


# Vines


PAIRS = {
    "clayton": (ClaytonPairs, lambda u, v, t: (u**-t + v**-t - 1) ** (-1 / t)),
    "frank": (
        Frank,
        lambda u, v, t: -mpmath.log1p(mpmath.expm1(-t * u) * mpmath.expm1(-t * v) / mpmath.expm1(-t)) / t,
    ),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("t", [0.5, 5.0])
def test_conditionals_of_pairs_are_derivatives_of_the_copula_up_to_the_ends(kind: str, t: float) -> None:
    """By numerical derivatives of many digits, for u and v within 1e-12 of 0 and 1."""
    make, copula = PAIRS[kind]
    with mpmath.workdps(150):
        precise = partial(copula, t=mpmath.mpf(t))
        for logits in product([-28.0, -5.0, 0.3, 6.0, 27.0], repeat=2):
            at = [Share.of_logit(full(logit, 1, 1, 1)) for logit in logits]
            h, log_density = make(full(t, 1, 1, 1)).conditional(*at)
            place = tuple(1 / (1 + mpmath.exp(-mpmath.mpf(logit))) for logit in logits)
            given, both = (
                mpmath.diff(precise, place, order, h=mpmath.mpf(10) ** -60) for order in ((1, 0), (1, 1))
            )
            expected = [float(mpmath.log(value)) for value in (given, 1 - given, both)]
            found = [value.item() for value in (*h, log_density)]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", PAIRS)
def test_inverse_of_a_conditional(kind: str) -> None:
    pairs = PAIRS[kind][0](uniform(0.3, 12, 3, 1, 4, generator=seeded(0)))
    u, v = Share.of_logit(3 * normals(3, 50, 4)), Share.of_logit(3 * normals(3, 50, 4, seed=2))
    again = pairs.inverse(pairs.conditional(u, v)[0], u)
    for found, expected in zip(again, v, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_vines_are_undone_and_have_their_jacobian(dim: int) -> None:
    for seed in range(6):
        assert_is_invertible(draw_vine(3, dim, seeded(seed)), normals(3, 8, dim))


def test_columns_of_a_vine_are_logistic_and_dependent() -> None:
    for seed in range(3):
        z = uniform(0, 1, 1, 4000, 6, generator=seeded(9)).logit()
        x = draw_vine(1, 6, seeded(seed)).forward(z)[0]
        for column in x.T:
            assert_follows(column, stats.logistic.cdf)
        ranks = torch.as_tensor(stats.spearmanr(x.numpy()).statistic)
        assert (ranks[0, 1:].abs() > 0.08).all()


def test_vines_have_finite_answers_far_out() -> None:
    for seed in range(6):
        vine = draw_vine(3, 6, seeded(seed))
        x = (1e4 * normals(3, 20, 6)).requires_grad_()
        z, log_det = vine.inverse(x)
        (gradient,) = torch.autograd.grad(log_det.sum(), x)
        assert z.isfinite().all()
        assert log_det.isfinite().all()
        assert gradient.isfinite().all()


# Manifolds and scales


@pytest.mark.parametrize("dim", [2, 7])
def test_manifolds_agree_with_scipy(dim: int) -> None:
    for seed in range(3):
        density = draw_manifolds(1, dim, seeded(seed))
        points = density.sample(5, generator=seeded(1))
        covariances = density.steps.mT @ density.steps + density.variances[..., None, None] * torch.eye(dim)
        terms = [
            float(weight) + stats.multivariate_normal(mean, covariance).logpdf(points[0].numpy())
            for weight, mean, covariance in zip(
                density.log_weights[0], density.means[0], covariances[0], strict=True
            )
        ]
        found = density.log_density_and_score(points)[0][0]
        torch.testing.assert_close(found, torch.as_tensor(logsumexp(terms, axis=0)), rtol=1e-9, atol=1e-9)


def test_manifolds_are_far_thinner_than_long() -> None:
    for seed in range(6):
        density = draw_manifolds(2, 20, seeded(seed))
        count, rank = density.steps.shape[1:3]
        assert 200 <= count <= 1024
        assert rank in (1, 2)
        extent = density.means.std(1).mean(-1)
        assert (density.variances.sqrt().median(1).values < 0.4 * extent).all()


def test_clusters_have_scales_from_one_to_a_thousandth_and_weights_to_a_hundredth() -> None:
    widths, shares = [], []
    for seed in range(40):
        density = FAMILIES["scales"].draw(5, 3, seeded(seed))
        widths += [part.variances[:, 0].mean(-1).sqrt() for part in density.parts]
        shares.append(density.log_weights.amin(-1) - density.log_weights.amax(-1))
    ratio, share = torch.cat(widths), torch.cat(shares).exp()
    assert ratio.min() < 2e-3
    assert ratio.max() > 0.7
    assert share.min() < 0.02
    assert (share >= 0.01).all()


def test_spikes_are_narrower_than_their_gaps_on_a_line() -> None:
    fewest, most, broad = 99, 0, 0
    for seed in range(40):
        density = FAMILIES["spikes"].draw(5, 3, seeded(seed))
        assert (density.means[..., 1:] == 0).all()
        places, widths = density.means[:, 1:, 0], density.variances[:, 1:, 0].sqrt()
        assert (places.abs() < 3).all()
        gap = places.diff(dim=-1)
        assert (gap > 0).all()
        assert (widths[:, 1:] + widths[:, :-1] < 1.001 * gap).all()  # half of a gap at most
        torch.testing.assert_close(density.log_weights.exp().sum(-1), torch.ones(5, dtype=torch.float64))
        fewest, most = min(fewest, places.shape[1]), max(most, places.shape[1])
        broad += int((density.log_weights[:, 0] > -math.inf).all())
    assert fewest < 4
    assert most > 12
    assert 5 < broad < 35


# Rounded columns and atoms


@pytest.mark.parametrize("name", SCORED)
def test_normal_scores_give_the_distribution_function(name: str) -> None:
    law = LAWS[name](among)
    y = law.sample(3, 40, 1, generator=seeded(1)).requires_grad_()
    (slope,) = torch.autograd.grad(torch.special.ndtr(law.normal_score(y)).sum(), y)
    torch.testing.assert_close(slope, law.log_density_and_slope(y)[0].exp(), rtol=1e-9, atol=1e-12)


def test_chance_between_two_numbers_is_exact_in_both_tails() -> None:
    cases = [(-1.0, 2.0), (-30.0, -29.9), (29.9, 30.0), (-math.inf, -20.0), (5.0, math.inf), (-1e-3, 1e-3)]
    for low, high in cases:
        with mpmath.workdps(400):
            expected = mpmath.log(mpmath.ncdf(high) - mpmath.ncdf(low))
        found = log_normal_between(full(low, 1), full(high, 1))
        np.testing.assert_allclose(found.item(), float(expected), rtol=1e-11)
    assert log_normal_between(full(-math.inf, 1), full(-math.inf, 1)).isneginf()


@pytest.mark.parametrize("dim", [1, 2])
def test_density_of_a_rounded_point_is_the_mean_over_its_cell(dim: int) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(40)
    grid = torch.cartesian_prod(*[torch.as_tensor(nodes)] * dim).reshape(-1, dim) / 2
    weight = torch.cartesian_prod(*[torch.as_tensor(weights)] * dim).reshape(-1, dim).prod(-1) / 2**dim
    for seed in range(4):
        density = draw_rounded(3, dim, seeded(seed))
        points = density.sample(5, generator=seeded(1))
        around = points[:, :, None] + grid * density.step[:, :, None]
        values = density.smooth.log_density_and_score(around.flatten(1, 2))[0].exp().unflatten(1, (5, -1))
        found = density.log_density_and_score(points)[0].exp()
        torch.testing.assert_close(found, (values * weight).sum(-1), rtol=1e-8, atol=1e-10)


def test_rounded_columns_stay_in_the_cells_of_what_was_rounded_and_the_others_stay() -> None:
    density = draw_rounded(3, 6, seeded(2))
    smooth = density.smooth.sample(200, generator=seeded(1))
    points = density.sample(200, generator=seeded(1))
    rounded = (density.step > 0).expand_as(points)
    assert (~rounded).any()
    assert torch.equal(points[~rounded], smooth[~rounded])
    step = density.step.expand_as(points)[rounded]
    assert torch.equal((smooth[rounded] / step).round(), (points[rounded] / step).round())
    assert (points[rounded] != smooth[rounded]).all()


def test_equal_numbers_are_spread_over_equal_parts_of_their_cell() -> None:
    cells = torch.randint(-3, 4, (2, 500, 3), generator=seeded(0)).double()
    points = spread(cells, seeded(1))
    for b in range(2):
        for d in range(3):
            for cell in range(-3, 4):
                inside = points[b, cells[b, :, d] == cell, d] - cell + 0.5
                order = (inside.sort().values * len(inside)).floor()
                assert torch.equal(order, torch.arange(len(inside), dtype=torch.float64))
    both = points[0, (cells[0, :, :2] == 0).all(-1), :2]
    assert torch.corrcoef(both.T)[0, 1].abs() < 0.9  # the order differs from column to column


@pytest.mark.parametrize("limit", [-math.inf, 0.4])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_atoms_have_their_distribution_function(limit: float, share: float) -> None:
    law, at, width = LogNormal(full(0.6, 1, 1, 1)), 0.4, 0.01
    atomic = Atomic(law, *(full(value, 1, 1, 1) for value in (at, width, share, limit)))

    def below(y: Tensor) -> Tensor:
        chance, clipped = (torch.special.ndtr(law.normal_score(end))[0, 0] for end in (y, full(limit, 1)))
        moved = torch.special.ndtr((y - at) / width)
        return (share + (1 - share) * clipped) * moved + (1 - share) * (chance - clipped).clamp(min=0)

    draws = atomic.sample(1, 4000, 1, generator=seeded(1))
    assert_follows(draws.flatten(), lambda y: below(torch.as_tensor(y)).numpy())
    y = draws.flatten().requires_grad_()
    (slope,) = torch.autograd.grad(below(y).sum(), y)
    log_density, _ = atomic.log_density_and_slope(draws)
    torch.testing.assert_close(log_density.flatten().exp(), slope, rtol=1e-9, atol=1e-12)


def test_tables_with_atoms_have_them_at_one_place_in_all_clusters() -> None:
    """So some narrow cell holds many of the numbers of the first column, and its density is high."""
    for seed in range(6):
        density = FAMILIES["atoms"].draw(1, 3, seeded(seed))
        column = density.sample(2000, generator=seeded(1))[0, :, 0].sort().values
        assert (column[40:] - column[:-40]).min() < 0.03  # between 2 % of the numbers


# Edges


def distribution(name: str, law: Law, b: int) -> Callable[[np.ndarray], np.ndarray]:
    """The distribution function of density b of three."""
    if name == "pareto":
        return stats.lomax(law.index[b, 0, 0]).cdf
    limit = float(law.limit[b, 0, 0])
    if name in ("exponential", "gamma"):
        whole, most = stats.gamma(law.shape[b, 0, 0]).cdf, math.inf
    elif name == "arcsine":
        whole, most = stats.arcsine.cdf, 1 - limit
    else:
        one, other = (float(power[b, 0, 0]) for power in (law.law.low, law.law.high))
        whole, most = lambda y: 1 - (1 - np.asarray(y) ** one) ** other, 1 - limit
    return lambda y: (whole(y) - whole(limit)) / (whole(most) - whole(limit))


@pytest.mark.parametrize("name", EDGED)
def test_laws_with_edges_have_the_distribution_functions_of_scipy(name: str) -> None:
    law = EDGED[name](among)
    draws = law.sample(3, 4000, 1, generator=seeded(1))
    log_density, _ = law.log_density_and_slope(draws)
    for b in range(3):
        below = distribution(name, law, b)
        assert_follows(draws[b, :, 0], below)
        y = draws[b, :, 0].numpy()
        step = 1e-5 * np.minimum(y, 1)
        inner = (below(y - step) > 0) & (below(y + step) < 1)
        slope = (below(y + step) - below(y - step)) / (2 * step)
        np.testing.assert_allclose(log_density[b, :, 0].exp()[inner], slope[inner], rtol=1e-4)


def test_poles_are_cut_off_near_them_and_uniform_laws_are_even() -> None:
    gamma, uniform_law = EDGED["gamma"](among), EDGED["uniform"](among)
    draws = gamma.sample(3, 4000, 1, generator=seeded(1))
    assert (draws > gamma.limit).all()
    assert (draws.amin(1) < 1.1 * gamma.limit[:, 0]).all()
    log_density, slope = uniform_law.log_density_and_slope(uniform_law.sample(3, 9, 1, generator=seeded(1)))
    assert (log_density.abs() < 1e-12).all()
    assert (slope == 0).all()


def test_checkerboards_have_their_shares_on_half_of_the_squares() -> None:
    for seed in range(6):
        board = draw_checkerboard(2, seeded(seed)).own
        shares, n = board.log_shares.exp(), 4000
        side = shares.shape[1]
        torch.testing.assert_close(shares.sum((1, 2)), full(1, 2))
        assert ((shares > 0).sum((1, 2)) - side**2 / 2).abs().max() <= 0.5
        points = board.sample(n, generator=seeded(1))
        for b in range(2):
            square = (points[b].long() * torch.tensor([side, 1])).sum(-1)
            counts = square.bincount(minlength=side**2)
            expected = n * shares[b].flatten()
            assert (counts[expected == 0] == 0).all()
            some = expected > 0
            assert some.sum() == 1 or stats.chisquare(counts[some], expected[some]).pvalue > CHANCE
            log_density, score = board.log_density_and_score(points)
            assert torch.equal(log_density[b].exp(), shares[b].flatten()[square].log().exp())
            assert (score == 0).all()
