"""The loss is the stated quadratic, and its minimum is the truth if the map can represent it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.analysis.adaptation_losses import (
    FLATTEST,
    NOISE,
    Part,
    PartLoss,
    Quadratic,
    Read,
    changes,
    descend,
    first_move,
    make_part,
    mean_loss,
    part_loss,
    probes,
    strides_of,
    with_answers,
)
from discoformer.io.inputs import Floats

SIGMA = 1.1  # standard deviation of the truth; the network answers as if it were 1


def believed(z: Floats) -> Read:
    """A network that answers a standard normal, with scalars (|z|^2 / 2, 1) and the vector z."""
    half = 0.5 * np.square(z).sum(1)
    log_density = -half - 0.5 * z.shape[1] * np.log(2 * np.pi)
    return Read(log_density, -z, np.stack([half, np.ones(len(z))], 1), z[:, :, None])


def part(rng: np.random.Generator, m: int, dim: int, directions: int, sigma: float = SIGMA) -> Part:
    points = sigma * rng.normal(size=(m, dim))
    u, v = (np.linalg.qr(rng.normal(size=(n, dim, directions)))[0].transpose(2, 0, 1) for n in (m, 4 * m))
    draws = 1.3 * rng.normal(size=(4 * m, dim))
    log_c = -0.5 * np.square(draws / 1.3).sum(1) - dim * np.log(1.3 * np.sqrt(2 * np.pi))
    return make_part(believed(probes(points, u)), believed(draws), np.full(m, 1 / m), u, v, log_c)


def loss_of(one: Part, scale: float) -> Quadratic:
    """Loss of a part, without the weight of the model's own answers."""
    return part_loss(one, np.eye(one.along.shape[-1]), scale).loss


@pytest.mark.parametrize(("dim", "directions"), [(1, 1), (3, 3), (3, 2)])
def test_the_minimum_is_the_truth(rng: np.random.Generator, dim: int, directions: int) -> None:
    found = loss_of(part(rng, 8000, dim, directions), float(dim))
    x = np.linalg.solve(found.form + 1e-9 * np.eye(len(found.slope)), -found.slope)
    z = rng.normal(size=(500, dim))
    score = -z + x[0] * z * believed(z).scalars[:, :1] + x[1] * z
    assert np.square(score + z / SIGMA**2).sum() < 0.1 * np.square(z / SIGMA**2 - z).sum()
    slope_of_log_density = dim**0.5 * x[2] - 1  # times z
    assert slope_of_log_density == pytest.approx(-(SIGMA**-2), abs=0.05)


def test_changes_are_those_of_the_losses(rng: np.random.Generator) -> None:
    """Without consistency, the mean change equals the quadratic, up to third order of exp."""
    one = part(rng, 300, 2, 2)
    x = 1e-3 * rng.normal(size=(5, one.along.shape[-1]))
    whole = loss_of(one, 2.0)
    agreement = loss_of(
        one._replace(
            along=0 * one.along,
            divergence=0 * one.divergence,
            ratios=0 * one.ratios,
            log_density=0 * one.log_density,
        ),
        2.0,
    )
    expected = whole.at(x) - agreement.at(x)
    found = changes(one, x, 2.0)
    np.testing.assert_allclose(
        (found.implicit + found.likelihood) @ one.weights, expected, rtol=1e-3, atol=1e-9
    )


@pytest.mark.parametrize(("dim", "directions"), [(1, 1), (3, 3), (40, 2)])
def test_what_was_answered_before_is_kept_at_the_draws(
    rng: np.random.Generator, dim: int, directions: int
) -> None:
    """The form of the prior is the mean square change of both heads at the draws."""
    one, scale = part(rng, 4000, dim, directions), 2.0
    said = part_loss(one, np.eye(4), scale)
    more, less = (with_answers(said, prior) for prior in (1.0, 0.0))
    np.testing.assert_array_equal(more.slope, less.slope)
    x = np.array([0.3, 0.7, 0.2, -0.1])
    z = 1.3 * np.random.default_rng(1).normal(size=(100_000, dim))
    half = 0.5 * np.square(z).sum(1)
    score = (0.3 * half + 0.7)[:, None] * z
    log_density = dim**0.5 * (0.2 * half - 0.1)
    wanted = np.square(score).sum(1).mean() / scale + np.square(log_density).mean() / dim
    assert x @ (more.form - less.form) @ x == pytest.approx(wanted, rel=0.1)


def test_consistent_heads_have_no_mismatch(rng: np.random.Generator) -> None:
    one = part(rng, 50, 3, 3)
    np.testing.assert_allclose(one.own_mismatch, 0, atol=1e-10)
    x = np.array([0, 0.7, 0.7 / 3**0.5, 0.2])  # S + 0.7 z, T + 0.7 |z|^2 / 2 + constant
    np.testing.assert_allclose(one.mismatch @ x, 0, atol=1e-10)
    apart = np.array([0, 0.7, 0, 0.2])  # S + 0.7 z alone: off by 0.7 z
    off = 0.7**2 * np.square(one.own).sum(0) / 2.0
    expected = np.stack([0 * off, 0 * off, off])
    found = changes(one, np.stack([0 * x, x, apart]), 2.0).mismatch
    np.testing.assert_allclose(found, expected, atol=1e-9)


APART = 1e6  # mismatch of heads that disagree completely


def said(rng: np.random.Generator, n: int, r: int, m: int) -> tuple[PartLoss, Floats]:
    """A loss of m points in n entries of very different curvatures, and a basis (n, r)."""
    root, basis = rng.normal(size=(n + 3, n)) * 10.0 ** rng.uniform(-2, 2, n), rng.normal(size=(n, r))
    slopes, weights = rng.normal(size=(m, n)) + rng.normal(size=n), rng.uniform(0.5, 1.5, m)
    weights /= weights.sum()
    loss = Quadratic(root.T @ root, weights @ slopes)
    return PartLoss(loss, np.eye(n), slopes @ basis, np.full(m, APART), weights), basis


sizes = {"n": st.integers(1, 12), "m": st.integers(1, 40), "seed": st.integers(0, 1000)}


@settings(deadline=None, max_examples=25)
@given(**sizes)
def test_no_step_raises_the_loss(n: int, m: int, seed: int) -> None:
    one, basis = said(np.random.default_rng(seed), n, max(1, n // 2), m)
    path = descend(one.loss, first_move(one, basis), strides_of(one.loss), 30)
    values = one.loss.at(path)
    assert path.shape == (31, n)
    assert np.all(np.diff(values) <= 1e-9 * np.abs(values).max())
    assert values[0] == 0
    off_basis = path[1] - basis @ np.linalg.lstsq(basis, path[1])[0]
    np.testing.assert_allclose(off_basis, 0, atol=1e-6 * (1e-9 + np.abs(path[1]).max()))


@settings(deadline=None, max_examples=25)
@given(**sizes)
def test_the_first_move_is_the_expectation_given_the_slope(n: int, m: int, seed: int) -> None:
    """Mean of x given b = - A x + e, by conditioning the joint normal distribution of x and b."""
    one, basis = said(np.random.default_rng(seed), n, n, m + 1)
    form, slope = basis.T @ one.loss.form @ basis, one.weights @ one.slopes
    noise = np.square(one.weights) @ np.square(one.slopes - slope).sum(1)
    variance = slope @ slope / np.trace(form @ form)
    of_slope = variance * form @ form + NOISE * noise / n * np.eye(n)
    expected = -basis @ (variance * form @ np.linalg.solve(of_slope, slope))
    np.testing.assert_allclose(
        first_move(one, basis), expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max()
    )


def test_without_noise_the_first_move_goes_to_the_minimum_within_the_basis(rng: np.random.Generator) -> None:
    form = np.diag([1.0, 2.0, 4.0, 3.0])
    slope, basis = rng.normal(size=4), rng.normal(size=(4, 2))
    one = PartLoss(
        Quadratic(form, slope), form, np.tile(slope @ basis, (9, 1)), np.ones(9), np.full(9, 1 / 9)
    )
    expected = -basis @ np.linalg.solve(basis.T @ form @ basis, basis.T @ slope)
    np.testing.assert_allclose(first_move(one, basis), expected, rtol=1e3 * FLATTEST)


def test_the_noisier_the_slope_the_shorter_the_first_move(rng: np.random.Generator) -> None:
    one, basis = said(rng, 6, 4, 50)
    mean = one.weights @ one.slopes
    lengths = []
    for factor in (0.0, 0.5, 1.0, 3.0, 100.0):
        noisier = one._replace(slopes=mean + factor * (one.slopes - mean))
        lengths.append(np.linalg.norm(np.linalg.lstsq(basis, first_move(noisier, basis))[0]))
    assert np.all(np.diff(lengths) < 0)
    assert lengths[-1] < 0.01 * lengths[0]


def test_the_closer_the_heads_the_shorter_the_first_move(rng: np.random.Generator) -> None:
    one, basis = said(rng, 6, 4, 50)
    points = 1 / np.square(one.weights).sum()
    moves = [
        first_move(one._replace(mismatch=np.full(50, worth / points)), basis) for worth in (1e3, 1, 0.3, 0)
    ]
    lengths = [np.linalg.norm(np.linalg.lstsq(basis, move)[0]) for move in moves]
    assert np.all(np.diff(lengths) < 0)
    assert lengths[-1] < 1e-6 * lengths[0]
    np.testing.assert_allclose(moves[0], first_move(one, basis), rtol=1e-6)


def test_the_first_move_does_not_depend_on_the_unit_of_the_loss(rng: np.random.Generator) -> None:
    one, basis = said(rng, 6, 4, 50)
    other = one._replace(loss=Quadratic(1e6 * one.loss.form, 1e6 * one.loss.slope), slopes=1e6 * one.slopes)
    np.testing.assert_allclose(first_move(other, basis), first_move(one, basis), rtol=1e-9)


def test_where_there_is_no_slope_or_no_curvature_nothing_moves(rng: np.random.Generator) -> None:
    one, basis = said(rng, 3, 2, 5)
    flat = one._replace(loss=Quadratic(np.zeros((3, 3)), one.loss.slope))
    for still in (one._replace(slopes=np.zeros((5, 2))), flat):
        np.testing.assert_array_equal(first_move(still, basis), np.zeros(3))


def test_parts_together_say_what_all_points_say(rng: np.random.Generator) -> None:
    whole = part(rng, 60, 3, 3)
    cuts = [slice(0, 10), slice(10, 60)]
    parts = [
        whole._replace(
            weights=whole.weights[cut],
            **{name: getattr(whole, name)[:, cut] for name in ("along", "own", "mismatch", "own_mismatch")},
            **{name: getattr(whole, name)[cut] for name in ("divergence", "log_density")},
        )
        for cut in cuts
    ]
    basis = rng.normal(size=(4, 2))
    one = mean_loss([part_loss(one, basis, 2.0) for one in parts])
    other = part_loss(whole, basis, 2.0)
    assert one.weights.sum() == pytest.approx(1)
    for ours, theirs in zip((*one.loss, *one[1:]), (*other.loss, *other[1:]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    alone = mean_loss([part_loss(parts[0], basis, 2.0)])  # weights of sum 1, whatever the share of the part
    assert alone.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(alone.weights @ alone.slopes, basis.T @ alone.loss.slope, rtol=1e-9)


def test_the_map_is_linear_in_the_network(rng: np.random.Generator) -> None:
    """A change of the parameters changes the network's answers as the features predict."""
    import torch

    import discoformer
    from discoformer.analysis.adaptation_map import moved
    from discoformer.analysis.torch_network import network_of, weights_of
    from discoformer_training.nn.readout import read

    torch.manual_seed(0)
    estimate: Any = discoformer.load(device="cpu", threads=1).estimate(rng.gamma(2, size=(60, 3)))
    graphs, encoded = estimate.model.graphs, SimpleNamespace(arrays=estimate.encoded.arrays)
    at = rng.normal(size=(15, 3))
    before = read(network_of(graphs), encoded.arrays, at)
    n, channels = before.scalars.shape[1], before.vectors.shape[2]
    x = 0.01 * rng.normal(size=n * (channels + 1))
    after = read(network_of(graphs.with_weights(moved(weights_of(graphs), x))), encoded.arrays, at)
    theta, eta = x[: n * channels].reshape(n, channels), x[n * channels :]
    added = np.einsum("ij,jc,idc->id", before.scalars, theta, before.vectors)
    np.testing.assert_allclose(after.score, before.score + added, atol=2e-4)
    np.testing.assert_allclose(
        after.log_density, before.log_density + 3**0.5 * before.scalars @ eta, atol=2e-4
    )


def test_beyond_the_outermost_point_the_tail_is_linear_in_the_map(rng: np.random.Generator) -> None:
    """The log-density, and the score across the rays; and the runtime answers alike."""
    import torch

    import discoformer
    from discoformer.analysis.adaptation_map import moved
    from discoformer.analysis.torch_network import network_of, read, weights_of
    from discoformer.base.tails import across

    torch.manual_seed(0)
    p: Any = discoformer.load(device="cpu", threads=1).estimate(rng.gamma(2, size=(60, 3)))
    graphs, at = p.model.graphs, 1e3 * rng.normal(size=(15, 3))  # where the slope is that of the base
    before = read(network_of(graphs), p.encoded.arrays, at)
    for found, expected in zip(before[:2], p.answer_in_frame(at), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    n, channels = before.scalars.shape[1], before.vectors.shape[2]
    theta, eta = 0.01 * rng.normal(size=(n, channels)), 0.01 * rng.normal(size=n)
    changes_of = np.r_[theta.ravel(), 0 * eta], np.r_[0 * theta.ravel(), eta]
    weights = [moved(weights_of(graphs), x) for x in changes_of]
    score, log_density = (read(network_of(graphs.with_weights(w)), p.encoded.arrays, at) for w in weights)
    added = np.einsum("ij,jc,idc->id", before.scalars, theta, before.vectors)
    np.testing.assert_allclose(across(score.score - before.score, at), added, atol=2e-3 * np.abs(added).max())
    np.testing.assert_array_equal(log_density.score, before.score)
    expected = before.log_density + 3**0.5 * before.scalars @ eta
    np.testing.assert_allclose(log_density.log_density, expected, atol=2e-4)
