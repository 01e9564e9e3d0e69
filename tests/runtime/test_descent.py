"""The loss is the quadratic it is said to be, and its minimum the truth where that is within reach."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.descent import (
    Part,
    Quadratic,
    changes,
    descend,
    make_part,
    probes,
    quadratic,
    strides_of,
)
from discoformer.inputs import Floats
from discoformer_training.readout import Read

SIGMA = 1.1  # of the truth, where the network believes in 1


def believed(z: Floats) -> Read:
    """A network that believes in a standard normal, with scalars (|z|^2 / 2, 1) and the vector z."""
    half = 0.5 * np.square(z).sum(1)
    log_density = -half - 0.5 * z.shape[1] * np.log(2 * np.pi)
    return Read(log_density, -z, np.stack([half, np.ones(len(z))], 1), z[:, :, None])


def part(rng: np.random.Generator, m: int, dim: int, directions: int, sigma: float = SIGMA) -> Part:
    points = sigma * rng.normal(size=(m, dim))
    u, v = (np.linalg.qr(rng.normal(size=(n, dim, directions)))[0].transpose(2, 0, 1) for n in (m, 4 * m))
    draws = 1.3 * rng.normal(size=(4 * m, dim))
    log_c = -0.5 * np.square(draws / 1.3).sum(1) - dim * np.log(1.3 * np.sqrt(2 * np.pi))
    return make_part(believed(probes(points, u)), believed(draws), np.full(m, 1 / m), u, v, log_c)


@pytest.mark.parametrize(("dim", "directions"), [(1, 1), (3, 3), (3, 2)])
def test_the_minimum_is_the_truth(rng: np.random.Generator, dim: int, directions: int) -> None:
    found = quadratic(part(rng, 8000, dim, directions), float(dim), prior=0.0)
    x = np.linalg.solve(found.form + 1e-9 * np.eye(len(found.slope)), -found.slope)
    z = rng.normal(size=(500, dim))
    score = -z + x[0] * z * believed(z).scalars[:, :1] + x[1] * z
    assert np.square(score + z / SIGMA**2).sum() < 0.1 * np.square(z / SIGMA**2 - z).sum()
    slope_of_log_density = dim**0.5 * x[2] - 1  # times z
    assert slope_of_log_density == pytest.approx(-(SIGMA**-2), abs=0.05)


def test_changes_are_those_of_the_losses(rng: np.random.Generator) -> None:
    """Without the consistency, the mean change is the quadratic, up to the third order of exp."""
    one = part(rng, 300, 2, 2)
    x = 1e-3 * rng.normal(size=(5, one.along.shape[-1]))
    whole = quadratic(one, 2.0, prior=0.0)
    agreement = quadratic(
        one._replace(
            along=0 * one.along,
            divergence=0 * one.divergence,
            ratios=0 * one.ratios,
            log_density=0 * one.log_density,
        ),
        2.0,
        prior=0.0,
    )
    rest = whole.without(agreement)
    expected = x @ rest.slope + 0.5 * np.einsum("tn,nk,tk->t", x, rest.form, x)
    found = changes(one, x, 2.0)
    np.testing.assert_allclose(
        (found.implicit + found.likelihood) @ one.weights, expected, rtol=1e-3, atol=1e-9
    )


@pytest.mark.parametrize(("dim", "directions"), [(1, 1), (3, 3), (40, 2)])
def test_what_was_answered_before_is_kept_at_the_draws(
    rng: np.random.Generator, dim: int, directions: int
) -> None:
    """The prior's part of the form is the mean square change of both heads there."""
    one, scale = part(rng, 4000, dim, directions), 2.0
    more, less = (quadratic(one, scale, prior) for prior in (1.0, 0.0))
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


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 12), seed=st.integers(0, 1000))
def test_no_step_raises_the_loss(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n + 3, n)) * 10.0 ** rng.uniform(-3, 3, n)
    loss = Quadratic(root.T @ root, rng.normal(size=n))
    basis = rng.normal(size=(n, max(1, n // 2)))
    path = descend(loss, strides_of(loss, basis), 10, 30)
    values = path @ loss.slope + 0.5 * np.einsum("tn,nk,tk->t", path, loss.form, path)
    assert np.all(np.diff(values) <= 1e-9 * np.abs(values).max())
    assert values[0] == 0
    off_basis = path[:11] - path[:11] @ np.linalg.pinv(basis).T @ basis.T
    np.testing.assert_allclose(off_basis, 0, atol=1e-6 * (1e-9 + np.abs(path[:11]).max()))


def test_of_a_share_of_the_points_steps_are_as_long(rng: np.random.Generator) -> None:
    root = rng.normal(size=(8, 5))
    loss, basis = Quadratic(root.T @ root, rng.normal(size=5)), rng.normal(size=(5, 2))
    part = Quadratic(0.8 * loss.form, 0.8 * loss.slope)
    strides = strides_of(loss, basis)
    whole, others = descend(loss, strides, 2, 9), descend(part, strides.for_share(0.8), 2, 9)
    np.testing.assert_allclose(others, whole, rtol=1e-9)


def test_the_map_is_linear_in_the_network(rng: np.random.Generator) -> None:
    """A change of the parameters changes the network's answers as the features say."""
    import torch

    import discoformer
    from discoformer.adaptation import moved, network_of_graphs, weights_of
    from discoformer_training.readout import read

    torch.manual_seed(0)
    estimate: Any = discoformer.load(device="cpu", threads=1).estimate(rng.gamma(2, size=(60, 3)))
    graphs, encoded = estimate.model.graphs, SimpleNamespace(arrays=estimate._encoded.arrays)
    at = rng.normal(size=(15, 3))
    before = read(network_of_graphs(graphs), encoded.arrays, at)
    n, channels = before.scalars.shape[1], before.vectors.shape[2]
    x = 0.01 * rng.normal(size=n * (channels + 1))
    after = read(network_of_graphs(graphs.with_weights(moved(weights_of(graphs), x))), encoded.arrays, at)
    theta, eta = x[: n * channels].reshape(n, channels), x[n * channels :]
    added = np.einsum("ij,jc,idc->id", before.scalars, theta, before.vectors)
    np.testing.assert_allclose(after.score, before.score + added, atol=2e-4)
    np.testing.assert_allclose(
        after.log_density, before.log_density + 3**0.5 * before.scalars @ eta, atol=2e-4
    )
