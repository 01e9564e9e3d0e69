"""The frame of singular tables: which directions are lost, and that the others are kept as they are."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.base.frame import Frame, fit_frame
from discoformer.base.hull import HullFrame, fit_frame_or_hull, gradient_and_volume
from discoformer.errors import DegenerateDataError
from discoformer.io.inputs import Floats

SEEDS = st.integers(0, 2**32 - 1)
quick = settings(max_examples=15, deadline=None, derandomize=True)


def sample(rng: np.random.Generator, n: int, rank: int) -> Floats:
    """Heavy-tailed draws in two clusters, with dependent columns."""
    found = rng.standard_t(4, size=(n, rank)) + 3 * rng.integers(2, size=(n, 1))
    return found @ (rng.normal(size=(rank, rank)) + 2 * np.eye(rank))


def hull_of(points: Floats, weights: Floats | None = None) -> HullFrame:
    found = fit_frame_or_hull(points, weights)
    assert isinstance(found, HullFrame)
    return found


def gram(frame: Frame, points: Floats) -> Floats:
    z = frame.to_frame(points)
    return z @ z.T


def log_volume(matrix: Floats) -> float:
    """Half the log-determinant of ``matrix matrix^T``, in exact arithmetic."""
    rows = [[Fraction(float(value)) for value in row] for row in matrix]
    square = [[sum((a * b for a, b in zip(p, q, strict=True)), Fraction()) for q in rows] for p in rows]
    log = 0.0
    for k in range(len(square)):  # elimination
        pivot = square[k][k]
        log += 0.5 * (math.log(pivot.numerator) - math.log(pivot.denominator))
        for i in range(k + 1, len(square)):
            share = square[i][k] / pivot
            square[i] = [a - share * b for a, b in zip(square[i], square[k], strict=True)]
    return log


@quick
@given(SEEDS, st.integers(1, 8), st.integers(1, 6), st.integers(0, 2))
def test_the_frame_is_that_of_columns_that_span_the_hull(
    seed: int, rank: int, more: int, constants: int
) -> None:
    rng = np.random.default_rng(seed)
    x = sample(rng, 4 * rank + 40, rank)
    T = np.c_[np.eye(rank), rng.integers(-2, 3, (rank, more)), np.zeros((rank, constants))]
    whole = x @ T + rng.normal(size=T.shape[1])
    if constants == 0 and (np.abs(T[:, rank:]).sum(0) == 0).all():
        return
    ours, theirs = hull_of(whole), fit_frame(x)
    assert ours.rank == rank
    np.testing.assert_allclose(gram(ours, whole), gram(theirs, x), rtol=1e-7, atol=1e-7)
    assert ours.log_abs_det == pytest.approx(theirs.log_abs_det - log_volume(T), abs=1e-8)
    assert ours.log_det_precision == pytest.approx(theirs.log_det_precision, abs=1e-7)
    np.testing.assert_allclose(ours.to_data(ours.to_frame(whole)), whole, rtol=1e-9, atol=1e-9)
    assert not ours.is_off(whole).any()


@pytest.mark.parametrize("n", [20, 60, 300])
def test_a_constant_column_changes_nothing_at_any_size(rng: np.random.Generator, n: int) -> None:
    x = sample(rng, n, 25)
    whole = np.c_[x[:, :7], np.full(n, 0.1), x[:, 7:], np.zeros(n)]
    ours, theirs = hull_of(whole), fit_frame(x)
    np.testing.assert_allclose(ours.to_frame(whole), theirs.to_frame(x), rtol=1e-9, atol=1e-9)
    assert ours.log_abs_det == pytest.approx(theirs.log_abs_det, rel=1e-14)
    assert ours.shrinkage == theirs.shrinkage
    np.testing.assert_array_equal(ours.to_data(ours.to_frame(whole))[:, [7, -1]], whole[:, [7, -1]])


@pytest.mark.parametrize("n", [25, 60, 200])
def test_shifts_scales_and_permutations_of_columns(rng: np.random.Generator, n: int) -> None:
    """Exact where few rows are shrunk, too; the log-density changes by the change of the volume."""
    x = sample(rng, n, 12)
    x = np.c_[x, x[:, :3] @ [1, 2, -1], x[:, 0], x[:, 4] - x[:, 5], np.ones(n)]
    scale, order = 10 ** rng.uniform(-3, 3, 16), rng.permutation(16)
    moved = (x * scale + rng.normal(size=16))[:, order]
    ours, theirs = hull_of(x), hull_of(moved)
    np.testing.assert_allclose(gram(ours, x), gram(theirs, moved), rtol=1e-6, atol=1e-6)
    volume = log_volume(ours.inverse * scale) - log_volume(ours.inverse)
    assert theirs.log_abs_det == pytest.approx(ours.log_abs_det - volume, abs=1e-6)


@pytest.mark.parametrize(
    "scale", [[1e9, 1e-6, 1, 1e9, 1e-6], [1e-6, 1e9, 1, 1, 1e5], [1e-6, 1e-6, 1e9, 1e9, 1e9]]
)
def test_units_from_millionths_to_billions(rng: np.random.Generator, scale: list[float]) -> None:
    x = sample(rng, 300, 3)
    T = np.array([[1.0, 0, 0, 1, 1], [0, 1, 0, 0, 2], [0, 0, 1, 0, 3]]) * scale
    ours = hull_of(x @ T)
    assert ours.rank == 3
    assert ours.log_abs_det == pytest.approx(fit_frame(x).log_abs_det - log_volume(T), abs=1e-10)
    assert not ours.is_off(x @ T).any()
    for j in range(5):
        beside = x @ T + 1e-3 * scale[j] * (np.arange(5) == j)
        assert ours.is_off(beside).all()
    score = rng.normal(size=(4, 3))
    np.testing.assert_allclose(ours.score_to_frame(ours.score_to_data(score)), score, rtol=1e-8)


@quick
@given(SEEDS, st.integers(1, 10), st.integers(0, 10))
def test_gradient_and_volume(seed: int, rank: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    directions, spread = rng.normal(size=(rank, rank + more)), 10 ** rng.uniform(-2, 2, rank + more)
    gradient, volume = gradient_and_volume(directions, spread)
    np.testing.assert_allclose(gradient, np.linalg.pinv(directions * spread).T, rtol=1e-5, atol=1e-9)
    assert volume == pytest.approx(log_volume(directions * spread), abs=1e-7)


def test_the_score_is_along_the_hull(rng: np.random.Generator) -> None:
    x = sample(rng, 200, 3)
    whole = np.c_[x, x @ [1, -2, 0.5], np.ones(200)]
    frame = hull_of(whole)
    score = frame.score_to_data(rng.normal(size=(50, 3)))
    assert not frame.is_off(frame.center + score).any()
    np.testing.assert_array_equal(score[:, 4], 0)


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_float32(rng: np.random.Generator, offset: float) -> None:
    """A sum in float32 is collinear up to its rounding; far from 0, that is too coarse to be called so."""
    x = sample(rng, 500, 3).astype(np.float32)
    x += np.float32(offset * 100)
    whole = np.c_[x, x[:, 0] + x[:, 1], x[:, 2]]
    assert whole.dtype == np.float32
    frame = hull_of(whole.astype(float))
    assert frame.rank == (3 if offset == 0 else 4)
    assert not frame.is_off(whole).any()
    assert not frame.is_off(whole * np.float32(1.5)).any()
    assert frame.is_off(whole + np.float32(0.1) * (np.arange(5) == 4)).all()


@pytest.mark.parametrize("width", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "dim"), [(300, 3), (60, 20), (30, 50), (8, 8), (400, 45)])
def test_tables_that_are_not_singular_stay_as_they_are(
    rng: np.random.Generator, width: type, n: int, dim: int
) -> None:
    x = (rng.standard_t(2, size=(n, dim)) * 10 ** rng.uniform(-6, 9, dim)).astype(width).astype(float)
    ours, theirs = fit_frame_or_hull(x), fit_frame(x)
    assert type(ours) is Frame
    for name, value in vars(theirs).items():
        np.testing.assert_array_equal(getattr(ours, name), value)


def test_nearly_singular_tables_stay_as_they_are(rng: np.random.Generator) -> None:
    x = sample(rng, 300, 3)
    near = np.c_[x, x[:, 0] + 1e-5 * rng.normal(size=300)]
    assert fit_frame_or_hull(near).rank == 4
    assert hull_of(np.c_[near, x[:, 1]]).rank == 4


def test_few_rows_are_singular_only_if_they_span_less_than_they_could(rng: np.random.Generator) -> None:
    x = rng.normal(size=(20, 30))
    assert type(fit_frame_or_hull(x)) is Frame
    assert type(fit_frame_or_hull(np.repeat(x, 3, axis=0)[:25])) is Frame
    assert hull_of(x[:, :5] @ rng.normal(size=(5, 30))).rank == 5
    assert hull_of(np.c_[x, np.ones(20)]).rank == 30


def test_one_hot_blocks(rng: np.random.Generator) -> None:
    block = np.eye(3)[rng.permutation(np.arange(300) % 3)]
    whole = np.c_[rng.normal(size=(300, 2)), block]
    frame = hull_of(whole)
    assert frame.rank == 4
    assert not frame.is_off(whole).any()
    assert frame.is_off(whole + np.eye(5)[2]).all()
    assert "column 2, column 3, column 4 are linear combinations of others" in frame.describe(None)


def test_weights(rng: np.random.Generator) -> None:
    """Rows of weight 0 do not count: without them, a column is constant."""
    x = np.c_[sample(rng, 100, 2), np.r_[np.ones(80), rng.normal(size=20)]]
    weights = np.r_[rng.uniform(1, 2, 80), np.zeros(20)]
    frame = hull_of(x, weights)
    np.testing.assert_allclose(gram(frame, x), gram(fit_frame(x[:, :2], weights), x[:, :2]), rtol=1e-9)
    np.testing.assert_array_equal(frame.is_off(x), weights == 0)


def test_the_description_names_the_columns(rng: np.random.Generator) -> None:
    x = sample(rng, 100, 3)
    text = hull_of(np.c_[x, x[:, 0], np.ones(100)]).describe(["a", "b", "c", "d", "e"])
    assert "rank 3 of 5 columns" in text
    assert "column 4 ('e') is constant" in text
    assert "column 0 ('a'), column 3 ('d') are linear combinations of others" in text
    many = hull_of(np.c_[x, np.ones((100, 30))]).describe(None)
    assert "and 22 more are constant" in many


def test_what_has_no_hull(rng: np.random.Generator) -> None:
    with pytest.raises(DegenerateDataError, match="constant in all columns"):
        fit_frame_or_hull(np.ones((50, 3)))
    with pytest.raises(DegenerateDataError, match="2 rows"):
        fit_frame_or_hull(rng.normal(size=(1, 3)))
    for singular in (np.c_[np.ones(9), rng.normal(size=9)], rng.normal(size=(9, 1)) * [1, 2]):
        with pytest.raises(DegenerateDataError, match="allow_singular=True"):
            fit_frame(singular)
