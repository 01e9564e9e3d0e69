"""Rows far out: which are left out, what that is invariant to, what breaks it, and what stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discoformer.base.standardised import present_rows
from discoformer.io.inputs import Floats
from discoformer.table.outlying import FAR, Flags, outlying


def found(x: Floats, w: Floats | None = None) -> Flags:
    w = np.full(len(x), 1 / len(x)) if w is None else w / w.sum()
    return outlying(x, w, 1 / float(w @ w))


def affine(rng: np.random.Generator, dim: int) -> Floats:
    """A random map of condition 100, which mixes units."""
    left, right = (np.linalg.qr(rng.normal(size=(dim, dim)))[0] for _ in range(2))
    return left * np.geomspace(1, 100, dim) @ right


def contaminated(
    rng: np.random.Generator, how: str, n: int, dim: int, share: float, far: float = 1e6
) -> tuple[Floats, Flags]:
    """A normal sample, of which a share is far out: at a point, along a line, all around, or in a column."""
    x, out = rng.normal(size=(n, dim)), np.arange(n) < round(share * n)
    count = np.count_nonzero(out)
    if how == "column":
        x[out, 0] = far
    else:
        x[out] = {
            "point": far + rng.normal(size=(count, dim)),
            "line": far * rng.normal(size=dim) * rng.uniform(1, 3, size=(count, 1)),
            "around": far * rng.normal(size=(count, dim)),
        }[how]
    order = rng.permutation(n)
    return x[order] @ affine(rng, dim), out[order]


@pytest.mark.parametrize("dim", [1, 2, 5, 12])
@pytest.mark.parametrize("how", ["point", "line", "column", "around"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
def test_rows_far_out_are_found(rng: np.random.Generator, how: str, dim: int, share: float) -> None:
    x, out = contaminated(rng, how, 1000, dim, share)
    np.testing.assert_array_equal(found(x), out)


@pytest.mark.parametrize("share", [1e-4, 0.04])
@pytest.mark.parametrize("dim", [1, 8])
def test_of_many_rows_some_are_used(rng: np.random.Generator, dim: int, share: float) -> None:
    x, out = contaminated(rng, "line", 20_000, dim, share, 2e4)
    np.testing.assert_array_equal(found(x), out)
    w = rng.uniform(0.5, 1, len(x)) * np.where(out, 1, 0.9)
    np.testing.assert_array_equal(found(x, w), out)


@pytest.mark.parametrize("dim", [25, 40, 80])
def test_the_breakdown_along_a_line_falls_with_the_number_of_columns(
    rng: np.random.Generator, dim: int
) -> None:
    x, out = contaminated(rng, "line", 2000, dim, 0.8 / dim, 2e4)
    np.testing.assert_array_equal(found(x), out)
    assert not found(contaminated(rng, "line", 2000, dim, 2 / dim, 2e4)[0]).any()
    for how in ("point", "around"):
        x, out = contaminated(rng, how, 2000, dim, 0.04, 2e4)
        np.testing.assert_array_equal(found(x), out)


def test_more_than_a_few_rows_are_a_group(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1000, 2))
    x[:60] += 1e6
    assert not found(x).any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_outliers_of_several_sizes(rng: np.random.Generator, dtype: type) -> None:
    """Each hides the smaller ones; a value of 50 spreads, and columns of any units, stay."""
    x = rng.normal(size=(1000, 3)) * [1e-9, 1, 1e9]
    x[0, 1], x[1, 1], x[2:4, 1], x[4], x[5, 2] = 50, 1e4, 1e9, 1e30, -1e25
    np.testing.assert_array_equal(np.flatnonzero(found(x.astype(dtype).astype(float))), [1, 2, 3, 4, 5])


def test_the_greatest_numbers(rng: np.random.Generator) -> None:
    x = rng.normal(size=(100, 2)) * [1e-150, 1e150]
    x[0], x[1] = 1.7e308, [1e-140, -1.7e308]
    np.testing.assert_array_equal(np.flatnonzero(found(x)), [0, 1])


@given(
    seed=st.integers(0, 999),
    dim=st.integers(1, 8),
    freedom=st.sampled_from([2.0, 3.0, 300.0]),
    rows_out=st.integers(0, 12),
    far=st.sampled_from([10.0, 3e3, 1e5, 1e8]),
)
def test_affine_maps_and_the_order_of_rows_change_nothing(
    seed: int, dim: int, freedom: float, rows_out: int, far: float
) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.standard_t(freedom, size=(240, dim)), rng.uniform(0.2, 1, 240)
    x[:rows_out] += far * rng.normal(size=dim)
    out, order = found(x, w), rng.permutation(240)
    np.testing.assert_array_equal(found((x @ affine(rng, dim) + 1e3)[order], 7 * w[order]), out[order])


@given(seed=st.integers(0, 999), n=st.integers(40, 100), dim=st.integers(26, 60))
def test_few_rows_for_many_columns(seed: int, n: int, dim: int) -> None:
    """Without a covariance, ordinary rows stay and one at 1e6 goes, whatever the scales of the columns.

    With 20 rows, one draw in 140 hides the row.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim))
    assert not found(x).any()
    x[3] += 1e6 * rng.normal(size=dim)
    scaled = (x * np.geomspace(1e-6, 1e6, dim) + 1)[:, rng.permutation(dim)]
    for points in (x, scaled):
        np.testing.assert_array_equal(np.flatnonzero(found(points)), [3])


@pytest.mark.parametrize(("n", "dim"), [(100, 1), (10_000, 1), (1000, 3), (10_000, 10), (100, 20)])
def test_heavy_tails_stay(n: int, dim: int) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        radial = rng.normal(size=(n, dim)) / np.sqrt(rng.chisquare(3, size=(n, 1)) / 3)
        for x in (radial, rng.standard_t(3, size=(n, dim)), rng.lognormal(size=(n, dim))):
            assert not found(x).any()


def test_a_long_tail_without_a_gap_stays() -> None:
    x = np.r_[np.linspace(-1, 1, 1000), np.geomspace(1, 1e9, 40)][:, None]
    assert not found(x).any()
    x[-1] *= 20
    np.testing.assert_array_equal(np.flatnonzero(found(x)), [1039])


@pytest.mark.parametrize(("width", "weight"), [(1e-3, 0.9), (1e-3, 0.5), (1e-5, 0.9), (1e-9, 0.9)])
def test_two_clusters_of_very_different_widths_stay(
    rng: np.random.Generator, width: float, weight: float
) -> None:
    narrow = np.arange(1000) < 1000 * weight
    assert not found(np.where(narrow[:, None], width, 1) * rng.normal(size=(1000, 3)) + narrow[:, None]).any()


def test_columns_whose_central_part_is_constant(rng: np.random.Generator) -> None:
    """Zeros in 97 % of a column tell no scale, whether the column stands alone or is mixed with others."""
    x = rng.normal(size=(1000, 3))
    x[:, 1] = np.where(rng.random(1000) < 0.97, 0, rng.gamma(1, size=1000))
    mixed = (x @ np.linalg.qr(rng.normal(size=(3, 3)))[0]).astype(np.float32).astype(float)
    for points in (x, mixed, x[:, :2], np.zeros((1000, 2)), np.c_[x, np.ones(1000)]):
        assert not found(points).any()
    x[7] = 1e6
    np.testing.assert_array_equal(np.flatnonzero(found(x)), [7])


@pytest.mark.parametrize(("n", "dim"), [(20, 1), (30, 1), (1000, 1), (100, 5), (30, 20), (1000, 3)])
def test_columns_of_zeros_with_few_other_values(n: int, dim: int) -> None:
    """The few values near zero tell no scale of the others."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        zeros = np.where(rng.random((n, dim)) < 0.97, 0, rng.exponential(size=(n, dim)))
        assert not found(zeros).any()
        assert not found(zeros * rng.exponential(size=(n, dim)) @ affine(rng, dim)).any()


def test_singular_tables(rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, 2))
    x = np.c_[x, x.sum(axis=1), 3 - x[:, 0]]
    assert not found(x).any()
    x[11] += 1e6 * np.array([1, 2, 3, -1])  # on the hull
    x[12, 2] = 1e6  # off the hull
    np.testing.assert_array_equal(np.flatnonzero(found(x)), [11, 12])


def test_weights_are_shares(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(200, 2)), np.ones(200)
    x[:30] = 1e7
    assert not found(x, w).any()
    w[:30] = 0.1
    np.testing.assert_array_equal(found(x, w), np.arange(200) < 30)
    repeats = rng.integers(1, 5, 200)
    np.testing.assert_array_equal(
        found(np.repeat(x, repeats, axis=0), np.repeat(w / repeats, repeats)),
        np.repeat(np.arange(200) < 30, repeats),
    )


@pytest.mark.parametrize("n", [2, 3, 5, 19])
def test_of_few_rows_none_is_left_out(rng: np.random.Generator, n: int) -> None:
    x = rng.normal(size=(n, 2))
    x[0] = 1e9
    assert not found(x).any()


def test_how_far_is_far() -> None:
    """The central three quarters of evenly spaced rows have a known radius."""
    x = np.r_[np.linspace(-1, 1, 1001), 0.0][:, None]
    for distance, out in ((0.5 * FAR, False), (2 * FAR, True)):
        x[-1] = 0.75 * distance
        assert found(x)[-1] == out
        assert not found(x)[:-1].any()


def test_sorted_rows_are_what_the_sample_has(rng: np.random.Generator) -> None:
    x = rng.normal(size=(100, 2))
    x[40, 0] = -1e8
    points, w = present_rows(x, None)
    np.testing.assert_array_equal(np.flatnonzero(found(points, w)), [0])
