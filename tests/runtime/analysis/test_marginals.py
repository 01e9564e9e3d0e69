"""Marginals read the chosen columns of the whole sample, whatever its size, and so do the other analyses."""

import numpy as np
import pytest

import discoformer


@pytest.fixture(scope="module")
def released() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


def draw(n: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    means = rng.uniform(-3, 3, (4, dim))
    return means[rng.integers(4, size=n)] + rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) / 2


@pytest.mark.parametrize("n", [500, pytest.param(8192, marks=pytest.mark.slow)])
def test_a_marginal_is_the_estimate_of_the_columns(released: discoformer.Model, n: int) -> None:
    x = draw(n, 3)
    p, queries = released.estimate(x), x[:200, [2, 0]]
    expected = released.estimate(x[:, [2, 0]])
    found = p.marginal([2, 0])
    np.testing.assert_allclose(found.log_density(queries), expected.log_density(queries), atol=1e-3)
    assert found.diagnostics == expected.diagnostics
    assert not found.diagnostics.warnings


def test_a_marginal_keeps_weights_names_and_the_effective_size(released: discoformer.Model) -> None:
    pandas = pytest.importorskip("pandas")
    x, w = pandas.DataFrame(draw(300, 3), columns=["a", "b", "c"]), np.arange(300.0)
    found = released.estimate(x, w, effective_size=100).marginal(["c", "a"])
    expected = released.estimate(x[["c", "a"]], w, effective_size=100)
    assert found.columns == ("c", "a")
    np.testing.assert_allclose(
        found.log_density(x[["c", "a"]]), expected.log_density(x[["c", "a"]]), atol=1e-6
    )


@pytest.mark.slow
def test_the_sample_is_kept_whole(released: discoformer.Model) -> None:
    x = draw(6000, 2)
    p = released.estimate(x)
    assert p.diagnostics.landmarks == len(p.landmarks.points) < 6000
    order = np.lexsort(x.T[::-1])
    np.testing.assert_array_equal(p.data.points, x[order])
    np.testing.assert_allclose(p.data.weights, 1 / 6000)
    assert len(p.modes().labels) == 6000
