"""Modes: at the peaks, reached by ascent only, with the prominence that saddles give, in any units."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import discoformer
from discoformer.analysis.ascent import Footing, ascend, climb_of
from discoformer.analysis.saddles import pairs_of, prominences, saddle_heights
from discoformer.errors import InputError
from discoformer.io.inputs import Floats

CENTERS = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 7.0]])


def blobs(rng: np.random.Generator, n: int = 80) -> tuple[Floats, Floats]:
    labels = np.repeat(np.arange(3), [n, n // 2, n // 4])
    return CENTERS[labels] + 0.7 * rng.normal(size=(len(labels), 2)), labels


def ring(z: Floats) -> Footing:
    """Four equal bumps, 0.6 nats high, on a ring of radius 1."""
    x, y = z.T
    r, angle = np.hypot(x, y) + 1e-9, np.arctan2(y, x)
    height = -50 * (r - 1) ** 2 + 0.3 * np.cos(4 * angle)
    outward = (-100 * (r - 1))[:, None] * z / r[:, None]
    around = (-1.2 * np.sin(4 * angle) / r)[:, None] * np.c_[-y, x] / r[:, None]
    return Footing(height, 0.01 * (outward + around), np.zeros(len(z)))


def test_the_mode_of_a_gaussian_is_its_mean(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, 3)) * [1e6, 1, 1e-3] + [0, 50, 0]
    p = gaussian.estimate(x)
    found = p.modes()
    np.testing.assert_allclose((found.points[0] - x.mean(axis=0)) / x.std(axis=0), 0, atol=5e-3)
    np.testing.assert_allclose(found.log_density, p.log_density(found.points), atol=1e-4)
    assert found.prominence.tolist() == [np.inf]
    assert found.labels.tolist() == [0] * 200


def test_clusters_of_the_kernel_stand_in(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, labels = blobs(rng)
    p = kde.estimate(pd.DataFrame(x, columns=["a", "b"]))
    found = p.modes(pd.DataFrame(x, columns=["a", "b"]), prominence=1.0)
    assert len(found.points) == 3
    np.testing.assert_array_equal(found.labels, labels)  # the bigger a blob, the higher its mode
    np.testing.assert_allclose(found.points, CENTERS, atol=0.6)
    assert (np.diff(found.log_density) < 0).all()
    slope = np.abs(p.score(found.points)) * x.std(axis=0)
    assert slope.max() < 0.1


def test_modes_do_not_depend_on_what_is_labelled(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, labels = blobs(rng)
    p = kde.estimate(x)
    whole, few = p.modes(x, 1.0), p.modes(x[::-20], 1.0)
    np.testing.assert_array_equal(few.points, whole.points)
    np.testing.assert_array_equal(few.labels, labels[::-20])
    assert p.modes(prominence=1.0).labels.shape == (len(x),)


def test_order_and_units(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, _ = blobs(rng)
    order = rng.permutation(len(x))
    linear = np.array([[2e4, 1e3], [-0.5, 1.0]])
    found = kde.estimate(x).modes(x)
    other = kde.estimate(x[order] @ linear).modes(x[order] @ linear)
    np.testing.assert_array_equal(other.labels, found.labels[order])
    np.testing.assert_allclose(other.points @ np.linalg.inv(linear), found.points, atol=0.02)
    np.testing.assert_allclose(other.prominence, found.prominence, atol=0.02)


def test_prominence_is_that_of_a_grid(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x = np.r_[rng.normal(-2, 1, 200), rng.normal(2, 1, 100)][:, None]
    p = kde.estimate(x)
    found = p.modes(prominence=0.1)
    line = np.linspace(found.points[1, 0], found.points[0, 0], 4001)[:, None]
    assert len(found.points) == 2
    assert found.prominence[1] == pytest.approx(found.log_density[1] - p.log_density(line).min(), abs=5e-3)
    merged = p.modes(x, prominence=found.prominence[1] + 0.01)
    np.testing.assert_array_equal(merged.points, found.points[:1])
    assert set(merged.labels.tolist()) == {0}
    again = found.merged(found.prominence[1] + 0.01)
    assert all(np.array_equal(one, other) for one, other in zip(again, merged, strict=True))
    assert len(p.modes(x, prominence=0).points) >= 2


def test_no_step_descends(rng: np.random.Generator) -> None:
    x, _ = blobs(rng)
    p = discoformer.load("base", device="cpu", threads=1).estimate(x)
    climb, starts = climb_of(p), p.frame.to_frame(np.r_[x, 5 * rng.normal(size=(40, 2))])
    ends = ascend(climb, starts)
    gained = climb(ends).log_density - climb(starts).log_density
    assert gained.min() > -0.02  # what merging in a cell may cost
    assert np.quantile(climb(ends).slope, 0.9) < 0.02
    arrived: list[tuple[int, int]] = []
    ascend(climb, starts, lambda done, count: arrived.append((done, count)))
    assert arrived[-1] == (len(starts), len(starts))


def test_passes_follow_a_curve() -> None:
    peaks = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    pairs = pairs_of(peaks)
    assert len(pairs) == 6
    heights = saddle_heights(ring, peaks, pairs)
    beside = np.abs(np.diff(pairs, axis=1)[:, 0]) != 2
    np.testing.assert_allclose(heights[beside], -0.3, atol=0.02)  # though the segment sinks to -4.6
    lost, _ = prominences(np.full(4, 0.3), pairs, heights)
    np.testing.assert_allclose(lost, [np.inf, 0.6, 0.6, 0.6], atol=0.02)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**31))
def test_prominence_is_the_best_way_to_a_higher_mode(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    heights = -np.sort(-rng.normal(size=count))
    pairs = pairs_of(rng.normal(size=(count, 2)))
    passes = heights[pairs].min(axis=1) - rng.exponential(size=len(pairs))
    way = np.full((count, count), -np.inf)
    way[pairs[:, 0], pairs[:, 1]] = way[pairs[:, 1], pairs[:, 0]] = passes
    for k in range(count):
        way = np.maximum(way, np.minimum(way[:, k, None], way[k]))
    expected = [np.inf] + [heights[i] - way[i, :i].max() for i in range(1, count)]
    lost, behind = prominences(heights, pairs, passes)
    np.testing.assert_allclose(lost, expected)
    assert (behind[1:] < np.arange(1, count)).all()


def test_bad_input(kde: discoformer.Model, rng: np.random.Generator) -> None:
    p = kde.estimate(blobs(rng)[0])
    for prominence in (-1, np.inf, np.nan, True):
        with pytest.raises(InputError, match="prominence must be finite and 0 nats or more"):
            p.modes(prominence=prominence)
    with pytest.raises(InputError, match="Y must have 2 columns"):
        p.modes([[1.0]])


def test_no_rows_have_no_labels(kde: discoformer.Model, rng: np.random.Generator) -> None:
    found = kde.estimate(blobs(rng)[0]).modes(np.empty((0, 2)))
    assert len(found.points) == 3
    assert found.labels.shape == (0,)
