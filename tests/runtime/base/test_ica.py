"""The axes: found where coordinates are independent, and turning with the points wherever they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.base.ica import independent_axes, through_farthest
from discoformer.io.inputs import Floats

FEW = settings(deadline=None, max_examples=8, derandomize=True)


def white(points: Floats, weights: Floats) -> Floats:
    """Points (N, D) of mean 0 and unit covariance."""
    centered = points - weights @ points
    root = np.linalg.cholesky((centered * weights[:, None]).T @ centered)
    found: Floats = np.linalg.solve(root, centered.T).T
    return found


def axes_of(x: Floats, weights: Floats | None = None, size: float | None = None) -> Floats:
    """Of one data set of white points (N, D)."""
    weights = np.full(len(x), 1 / len(x)) if weights is None else weights / weights.sum()
    sizes = np.array([1 / np.square(weights).sum() if size is None else size])
    found: Floats = independent_axes(x[None], weights[None], sizes)[0]
    return found


def some_turn(rng: np.random.Generator, dim: int) -> Floats:
    found: Floats = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return found


LAWS = {
    "Laplace": lambda rng, size: rng.laplace(size=size),
    "uniform": lambda rng, size: rng.uniform(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size),
    "Student-t": lambda rng, size: rng.standard_t(3, size=size),
}


@pytest.mark.parametrize("dim", [2, 5, 12])
@pytest.mark.parametrize("law", LAWS)
def test_axes_of_independent_coordinates_are_found(rng: np.random.Generator, law: str, dim: int) -> None:
    sources = LAWS[law](rng, (4000, dim))
    x = white(sources @ rng.normal(size=(dim, dim)), np.full(4000, 1 / 4000))
    found = x @ axes_of(x)
    match = np.abs(np.corrcoef(found.T, sources.T)[:dim, dim:])
    assert (match.max(axis=0) > 0.95).all()
    assert sorted(match.argmax(axis=0)) == [*range(dim)]


@FEW
@given(n=st.integers(12, 200), dim=st.integers(1, 8), gaussian=st.booleans(), seed=st.integers(0, 99))
def test_axes_turn_with_the_points_and_do_not_see_their_order(
    n: int, dim: int, gaussian: bool, seed: int
) -> None:
    """Where nothing tells one axis from another too: rounding errors do not grow."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim)) if gaussian else rng.laplace(size=(n, dim))
    x = white(x, np.full(n, 1 / n)) if n > dim else x
    axes, turn = axes_of(x), some_turn(rng, dim)
    np.testing.assert_allclose(axes.T @ axes, np.eye(dim), atol=1e-10)
    np.testing.assert_allclose(turn @ axes_of(x @ turn), axes, atol=1e-7)
    np.testing.assert_allclose(axes_of(rng.permutation(x)), axes, atol=1e-7)


@FEW
@given(n=st.integers(20, 80), dim=st.integers(1, 4), seed=st.integers(0, 99))
def test_integer_weights_are_repetitions_and_points_of_weight_zero_absent(
    n: int, dim: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 4, n)
    x = white(rng.laplace(size=(n, dim)), times / times.sum())
    weighted, repeated = axes_of(x, times.astype(float), n), axes_of(np.repeat(x, times, axis=0), size=n)
    np.testing.assert_allclose(weighted, repeated, atol=1e-7)


def test_the_climb_begins_at_the_farthest_points() -> None:
    x = np.array([[[3.0, 0.0], [0.0, 2.0], [2.0, 1.0], [9.0, 9.0]]])
    weights = np.array([[0.3, 0.3, 0.4, 0.0]])
    np.testing.assert_allclose(through_farthest(x, weights)[0], np.eye(2))
