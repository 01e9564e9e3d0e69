"""The product: a density of independent coordinates, along axes that turn with the points."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import t as student

from discoformer.base.frame import Frames, fit_frames
from discoformer.base.independent import (
    SUBSET,
    axes_of,
    coordinates_along,
    evaluate_product,
    no_product,
    product_of,
)
from discoformer.io.inputs import Floats

FEW = settings(deadline=None, max_examples=8, derandomize=True)


class Given(NamedTuple):
    """One context, as the functions take it."""

    points: Floats  # (1, N, D)
    weights: Floats  # (1, N)
    size: Floats  # (1,)
    root: Floats  # (1, D, D)


def read(z: Floats, weights: Floats | None = None, size: float | None = None) -> Given:
    """The points (N, D), centred, and the inverse root of their covariance."""
    w = np.ones(len(z)) if weights is None else weights
    w = w / w.sum()
    z = z - w @ z
    value, vector = np.linalg.eigh((z * w[:, None]).T @ z)
    size = 1 / np.sum(w**2) if size is None else size
    return Given(z[None], w[None], np.array([size]), ((vector * value**-0.5) @ vector.T)[None])


def axes_in(given: Given) -> Floats:
    axes: Floats = axes_of(*given)
    return axes


def sorted_along(given: Given) -> Floats:
    """The coordinates (D, N) of a context along its axes, each sorted, and the axes by their least value."""
    values = coordinates_along(axes_in(given), *given[:3])[0][..., 0]
    found: Floats = np.sort(values, axis=1)
    return found[np.argsort(found[:, 0])]


# The axes and the coordinates


@pytest.mark.parametrize("dim", [2, 5])
def test_the_axes_find_independent_coordinates_and_whiten_the_points(
    rng: np.random.Generator, dim: int
) -> None:
    sources = rng.laplace(size=(SUBSET + 500, dim))
    given = read(sources @ rng.normal(size=(dim, dim)))
    found = (given.points @ axes_in(given))[0]
    np.testing.assert_allclose(found.T @ found / len(found), np.eye(dim), atol=1e-9)
    match = np.abs(np.corrcoef(found.T, sources.T)[:dim, dim:])
    assert (match.max(axis=0) > 0.98).all()
    assert sorted(match.argmax(axis=0)) == [*range(dim)]


@FEW
@drawn(n=st.integers(12, 300), dim=st.integers(2, 4), seed=st.integers(0, 99))
def test_order_rotation_and_padding_do_not_change_the_coordinates(n: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.laplace(size=(n, dim))
    expected = sorted_along(read(z))
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    np.testing.assert_allclose(sorted_along(read(rng.permutation(z))), expected, atol=1e-6)
    np.testing.assert_allclose(sorted_along(read(z @ turn)), expected, atol=1e-6)
    padded = read(np.r_[z, 50 * rng.normal(size=(7, dim))], np.r_[np.ones(n), np.zeros(7)])
    np.testing.assert_allclose(axes_in(padded), axes_in(read(z)), atol=1e-6)


@pytest.mark.parametrize("n", [30, 3000])
def test_integer_weights_are_repetitions(rng: np.random.Generator, n: int) -> None:
    """Below the size of the subsets, and above."""
    z, times = rng.laplace(size=(n, 2)), rng.integers(1, 4, n)
    weighted = read(z, times.astype(float), float(times.sum()))
    repeated = read(np.repeat(z, times, axis=0))
    axes = axes_in(weighted)
    np.testing.assert_allclose(axes, axes_in(repeated), atol=1e-7)
    totals = []
    for given in (weighted, repeated):
        values, w, sizes = coordinates_along(axes, *given[:3])
        np.testing.assert_allclose(w.sum(-1), 1)
        np.testing.assert_allclose(sizes, [times.sum()] * 2)
        totals.append([(w[..., None] * values**k).sum(1) for k in (1, 2, 3)])
    np.testing.assert_allclose(*totals, rtol=1e-9, atol=1e-9)


def test_coordinates_are_those_of_each_data_set_in_turn(rng: np.random.Generator) -> None:
    z, axes = rng.normal(size=(2, 40, 3)), rng.normal(size=(2, 3, 3))
    w, size = rng.dirichlet(np.ones(40), 2), np.array([30.0, 20.0])
    values, weights, sizes = coordinates_along(axes, z, w, size)
    np.testing.assert_allclose(values[..., 0].reshape(2, 3, 40), np.einsum("bnd,bdk->bkn", z, axes))
    np.testing.assert_allclose(weights, np.repeat(w, 3, axis=0))
    np.testing.assert_array_equal(sizes, [30, 30, 30, 20, 20, 20])
    theirs = coordinates_along(*map(torch.as_tensor, (axes, z, w, size)))
    for found, expected in zip(theirs, (values, weights, sizes), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


# The density


def made(rng: np.random.Generator, dim: int, batch: int = 2) -> tuple[Floats, Frames[Floats], list[Floats]]:
    """Axes, frames of coordinates, and mixtures (B D, J) in them: log-weights, means, scales, freedom."""
    frames = fit_frames(5 + 3 * rng.normal(size=(batch * dim, 30, 1)))
    shape = (batch * dim, 6)
    mixtures = [
        np.log(rng.dirichlet(np.ones(6), batch * dim)),
        rng.normal(size=(*shape, 1)),
        np.exp(rng.normal(size=(*shape, 1, 1))),
        1 + np.exp(rng.normal(size=shape)),
    ]
    return rng.normal(size=(batch, dim, dim)), frames, mixtures


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_it_is_the_product_of_the_mixtures_of_its_coordinates_by_scipy(
    rng: np.random.Generator, dim: int
) -> None:
    """So it integrates to one: the determinants of the axes and of the frames are in it."""
    axes, frames, (log_weights, means, scales, freedom) = made(rng, dim)
    y = 3 * rng.normal(size=(2, 20, dim))
    coordinates = (y @ axes).mT.reshape(2 * dim, 20, 1)
    u = frames.to_frame(coordinates)  # (B D, M, 1)
    parts = student.logpdf(
        u, freedom[:, None], means[:, None, :, 0], np.sqrt(scales[:, None, :, 0, 0])
    ) + log_weights[:, None]  # fmt: skip
    each = logsumexp(parts, axis=-1) + frames.log_abs_det[:, None]
    expected = each.reshape(2, dim, 20).sum(1) + np.linalg.slogdet(axes)[1][:, None]
    found = evaluate_product(product_of(axes, frames, log_weights, means, scales, freedom), y)
    np.testing.assert_allclose(found.log_density, expected, rtol=1e-10)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_the_score_is_the_gradient(rng: np.random.Generator, dim: int) -> None:
    axes, frames, mixtures = made(rng, dim)
    product, y, step = product_of(axes, frames, *mixtures), 3 * rng.normal(size=(2, 30, dim)), 1e-5
    score = evaluate_product(product, y).score
    for j, e in enumerate(step * np.eye(dim)):
        ahead, behind = (evaluate_product(product, y + sign * e).log_density for sign in (1, -1))
        np.testing.assert_allclose(score[..., j], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


def test_pytorch_gives_the_same(rng: np.random.Generator) -> None:
    axes, frames, mixtures = made(rng, 3)
    y = 3 * rng.normal(size=(2, 30, 3))
    expected = evaluate_product(product_of(axes, frames, *mixtures), y)
    in_torch = Frames(**{name: torch.as_tensor(field) for name, field in vars(frames).items()})
    product = product_of(torch.as_tensor(axes), in_torch, *map(torch.as_tensor, mixtures))
    for found, wanted in zip(evaluate_product(product, torch.as_tensor(y)), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    given = read(rng.laplace(size=(80, 3)))
    np.testing.assert_allclose(axes_of(*map(torch.as_tensor, given)), axes_in(given), atol=1e-8)


def test_the_placeholder_of_no_product_is_finite_everywhere(rng: np.random.Generator) -> None:
    axes = rng.normal(size=(2, 5, 5))
    for field in evaluate_product(no_product(axes), 1e6 * rng.normal(size=(2, 9, 5))):
        assert np.isfinite(field).all()
