"""The base: a blend of mixture and product, whose share is found on two halves of the sample."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from discoformer.base import base as module
from discoformer.base.base import (
    BASE,
    DOUBT,
    LEAST_SHARE,
    TEMPERATURE,
    Base,
    evaluate_base,
    halves,
    share_of_product,
)
from discoformer.base.independent import IndependentMixture, evaluate_product
from discoformer.base.mixture import Components, evaluate
from discoformer.io.inputs import Floats

FEW = settings(deadline=None, max_examples=15, derandomize=True)


@pytest.fixture
def make_base(rng: np.random.Generator) -> Callable[..., Base[Floats]]:
    """Draw a base of one context, with K = 5 components and J = 4 of each coordinate."""

    def make(dim: int, share: float) -> Base[Floats]:
        factors = np.tril(0.3 * rng.normal(size=(1, 5, dim, dim)), -1) + np.eye(dim)
        positive = [np.exp(rng.normal(size=shape)) for shape in ((1, 5), (1, dim, 4), (1, dim, 4))]
        components = Components(rng.normal(size=(1, 5)), rng.normal(size=(1, 5, dim)), factors, positive[0])
        places = (rng.normal(size=(1, dim, 4)) for _ in range(2))
        product = IndependentMixture(rng.normal(size=(1, dim, dim)), *places, *positive[1:])
        return Base(components, product, np.array([share]))

    return make


@pytest.mark.parametrize("share", [0.0, LEAST_SHARE, 0.3, 0.9, 1 - LEAST_SHARE])
@pytest.mark.parametrize("dim", [1, 3])
def test_it_is_the_blend_of_both_and_its_score_the_gradient(
    rng: np.random.Generator, make_base: Callable[..., Base[Floats]], dim: int, share: float
) -> None:
    base, y = make_base(dim, share), 3 * rng.normal(size=(1, 30, dim))
    found = evaluate_base(base, y)
    of_components, of_product = evaluate(base.components, y), evaluate_product(base.product, y)
    parts = (1 - share) * np.exp(of_components.log_density), share * np.exp(of_product.log_density)
    np.testing.assert_allclose(np.exp(found.log_density), sum(parts), rtol=1e-9)
    np.testing.assert_allclose(found.product_share, parts[1] / sum(parts), rtol=1e-9)
    np.testing.assert_array_equal(found.share, of_components.share)
    np.testing.assert_array_equal(found.square, of_components.square)
    step = 1e-5
    for j, e in enumerate(step * np.eye(dim)):
        ahead, behind = (evaluate_base(base, y + sign * e).log_density for sign in (1, -1))
        np.testing.assert_allclose(found.score[..., j], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, LEAST_SHARE, 0.5, 1 - LEAST_SHARE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_it_is_finite_though_the_product_has_lighter_tails(
    rng: np.random.Generator, make_base: Callable[..., Base[Floats]], share: float, dtype: type
) -> None:
    """In 20 dimensions by thousands of nats, which no exponential can hold."""
    base = make_base(20, share)
    light = base.product._replace(freedom=20 + base.product.freedom)
    base = base._replace(product=light).each(lambda field: field.astype(dtype))
    y = np.geomspace(1, 1e6, 50)[:, None] * rng.normal(size=(1, 50, 20))
    gap = evaluate(base.components, y).log_density - evaluate_product(base.product, y).log_density
    assert gap.max() > 1000
    for field in evaluate_base(base, y.astype(dtype)):
        assert np.isfinite(field).all()


def test_pytorch_gives_the_same_and_arrays_come_back_by_name(
    rng: np.random.Generator, make_base: Callable[..., Base[Floats]]
) -> None:
    base, y = make_base(3, 0.4), rng.normal(size=(1, 30, 3))
    given = base.to_inputs()
    assert tuple(given) == BASE
    assert Base.from_inputs(given).to_inputs() == given
    theirs = evaluate_base(base.each(torch.as_tensor), torch.as_tensor(y))
    for found, expected in zip(theirs, evaluate_base(base, y), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


# The halves


def equal_halves(z: Floats) -> tuple[Floats, Floats]:
    """The halves of one context (N, D)."""
    n = len(z)
    seen, held_out = halves(z[None], np.full((1, n), 1 / n), np.array([float(n)]))
    return seen[0], held_out[0]


@FEW
@given(n=st.integers(8, 1500), dim=st.integers(1, 4), seed=st.integers(0, 99))
def test_halves_are_disjoint_and_do_not_depend_on_the_order(n: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, dim))
    seen, held_out = equal_halves(z)
    assert len(seen) == len(held_out) == min(n // 2, module.HALF)
    assert len(np.unique(np.r_[seen, held_out], axis=0)) == 2 * len(seen)
    for found, expected in zip(equal_halves(rng.permutation(z)), (seen, held_out), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_halves_take_turns_in_the_ranks_of_the_radius(rng: np.random.Generator) -> None:
    z = rng.normal(size=(400, 3))
    ranked = z[np.argsort(np.linalg.norm(z, axis=1))]
    seen, held_out = equal_halves(z)
    np.testing.assert_array_equal(seen, ranked[::2])
    np.testing.assert_array_equal(held_out, ranked[1::2])


@FEW
@given(n=st.integers(8, 300), seed=st.integers(0, 99))
def test_weights_of_rows_in_halves_are_repetitions(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, times = rng.normal(size=(n, 2)), rng.integers(0, 4, n)
    size = np.array([float(max(2, times.sum()))])
    weighted = halves(z[None], (times / times.sum())[None], size)
    repeated = np.repeat(z, times, axis=0)
    equal = np.full((1, len(repeated)), 1 / len(repeated))
    for found, expected in zip(weighted, halves(repeated[None], equal, size), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_least_size_of_a_batch_decides_and_pytorch_takes_the_same(rng: np.random.Generator) -> None:
    z, w, size = rng.normal(size=(2, 90, 2)), np.full((2, 90), 1 / 90), np.array([90.0, 33.0])
    expected = halves(z, w, size)
    assert expected[0].shape == expected[1].shape == (2, 16, 2)
    for found, wanted in zip(halves(*map(torch.as_tensor, (z, w, size))), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


# The share of the product


def test_the_share_follows_the_likelihood_ratio(rng: np.random.Generator) -> None:
    log_mixture = rng.normal(size=(40, 30))
    log_product = log_mixture + np.linspace(-0.5, 0.5, 40)[:, None] + 0.1 * rng.normal(size=(40, 30))
    gain = (log_product - log_mixture).sum(1)
    expected = expit((gain - DOUBT) / TEMPERATURE)
    np.testing.assert_allclose(share_of_product(log_mixture, log_product), expected, atol=1e-6)
    assert share_of_product(log_mixture, log_mixture)[0] < 0.5  # without a gain, the mixture counts more


def test_a_product_that_is_worse_everywhere_has_no_share_and_one_that_is_better_nearly_all() -> None:
    log_mixture = np.zeros((4, 30))
    gain = np.array([-np.inf, -5.0, 5.0, 1e4])[:, None]
    np.testing.assert_array_equal(
        share_of_product(log_mixture, log_mixture + gain), [0, 0, 1 - LEAST_SHARE, 1 - LEAST_SHARE]
    )


def test_the_shares_of_a_batch_are_those_of_each_and_of_pytorch(rng: np.random.Generator) -> None:
    log_mixture, log_product = rng.normal(size=(2, 3, 40)) * np.array([1.0, 2, 3])[:, None]
    shares = share_of_product(log_mixture, log_product)
    for b in range(3):
        np.testing.assert_allclose(share_of_product(log_mixture[[b]], log_product[[b]]), shares[[b]])
    theirs = share_of_product(*map(torch.as_tensor, (log_mixture, log_product)))
    np.testing.assert_allclose(theirs, shares, rtol=1e-12)
