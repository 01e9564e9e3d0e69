"""Landmarks stand for the whole context, whatever its order; weights count as repetitions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import discoformer
from discoformer.base.landmarks import take_landmarks
from discoformer.io.inputs import Floats

FEW = settings(deadline=None, max_examples=30, derandomize=True)


def take(z: Floats, weights: Floats | None = None, size: float | None = None, most: int = 50) -> Any:
    """Landmarks of one context (N, D), without the axis of data sets."""
    w = np.ones(len(z)) if weights is None else weights
    w = w / w.sum()
    size = 1 / np.sum(w**2) if size is None else size
    points, counts = take_landmarks(z[None], w[None], np.array([size]), most)
    return points[0], counts[0]


def test_all_are_taken_where_they_are_few(rng: np.random.Generator) -> None:
    z, w = rng.normal(size=(50, 2)), rng.random(50)
    points, counts = take(z, w)
    np.testing.assert_array_equal(points, z)
    np.testing.assert_allclose(counts, w / w.sum() * (w.sum() ** 2 / (w**2).sum()))


def test_they_are_evenly_spaced_in_the_ranks_of_the_radius(rng: np.random.Generator) -> None:
    z = rng.normal(size=(5000, 3))
    points, counts = take(z)
    assert counts == pytest.approx(1)
    radius = np.sort(np.linalg.norm(z, axis=1))
    ranks = np.searchsorted(radius, np.linalg.norm(points, axis=1) - 1e-12)
    np.testing.assert_allclose(np.sort(ranks), (np.arange(50) + 0.5) * 100, atol=1.5)


@FEW
@given(n=st.integers(210, 400), seed=st.integers(0, 99))
def test_the_order_and_the_rotation_of_the_context_do_not_matter(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, w = rng.normal(size=(n, 2)), rng.random(n) + 0.1
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    order = rng.permutation(n)
    points, counts = take(z, w)
    again, counts_again = take((z @ turn)[order], w[order])
    np.testing.assert_allclose(again, points @ turn, atol=1e-12)
    np.testing.assert_allclose(counts_again, counts)


@FEW
@given(seed=st.integers(0, 99))
def test_weights_are_repetitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, repeats = rng.normal(size=(300, 2)), rng.integers(1, 5, 300)
    points, counts = take(z, repeats.astype(float), size=200)
    again, counts_again = take(np.repeat(z, repeats, axis=0), size=200)
    np.testing.assert_array_equal(np.unique(points, axis=0), np.unique(again, axis=0))
    assert counts.sum() == pytest.approx(counts_again.sum())


def test_pytorch_takes_the_same(rng: np.random.Generator) -> None:
    z, w = rng.normal(size=(2, 400, 3)), rng.random((2, 400)) + 0.1
    w /= w.sum(1, keepdims=True)
    size = 1 / np.square(w).sum(1)
    ours = take_landmarks(*map(torch.as_tensor, (z, w, size)), 60)
    for got, want in zip(ours, take_landmarks(z, w, size, 60), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)


def test_those_of_a_batch_are_taken_as_if_alone(rng: np.random.Generator) -> None:
    z, present = rng.normal(size=(3, 90, 2)), np.arange(90) < np.array([[90], [40], [70]])
    w, size = present / present.sum(axis=1, keepdims=True), present.sum(axis=1) * 1.0
    found = take_landmarks(z, w, size, 60)
    for b, kept in enumerate(present):
        alone = take_landmarks(z[[b]][:, kept], w[[b]][:, kept], size[[b]], 60)
        points, counts = (field[0] for field in alone)
        rows = found[1][b] > 0
        np.testing.assert_allclose(found[0][b, rows], points)
        np.testing.assert_allclose(found[1][b, rows], counts)
    for got, want in zip(take_landmarks(*map(torch.as_tensor, (z, w, size)), 60), found, strict=True):
        np.testing.assert_allclose(got, want)


@pytest.mark.slow
def test_the_network_reads_landmarks_and_says_so(kde: discoformer.Model, rng: np.random.Generator) -> None:
    """The stand-in is a KDE of what it reads: of 1000 landmarks, not far from that of all 4000 points."""
    x, y = rng.normal(size=(4000, 2)), rng.normal(size=(100, 2))
    whole, some = kde.estimate(x), kde.estimate(x, landmarks=1000)
    assert (whole.diagnostics.landmarks, some.diagnostics.landmarks) == (4000, 1000)
    assert some.diagnostics.effective_size == whole.diagnostics.effective_size
    assert not np.array_equal(some.log_density(y), whole.log_density(y))
    np.testing.assert_allclose(some.density(y), whole.density(y), atol=0.03)
    for wrong in (0, -3, 10.5, True):
        with pytest.raises(
            discoformer.InputError, match=rf"landmarks must be a whole number, 1 or more, got {wrong}"
        ):
            kde.estimate(x, landmarks=wrong)  # type: ignore[arg-type]


def test_points_that_are_worth_more_are_read_once(kde: discoformer.Model, rng: np.random.Generator) -> None:
    p = kde.estimate(rng.normal(size=(100, 2)), effective_size=10_000)
    assert p.diagnostics.landmarks == 100
    assert len(np.unique(p.encoded.arrays["context"][0], axis=0)) == 100
    np.testing.assert_allclose(np.exp(p.encoded.arrays["log_weights"]), 0.01, rtol=0.02)


def test_by_default_they_are_as_many_as_in_training_and_more_are_a_doubt(
    other_folder: Callable[..., Path], rng: np.random.Generator
) -> None:
    model = discoformer.load(other_folder(query={"landmarks": "50"}), "cpu")
    x = rng.normal(size=(90, 2))
    by_default = model.estimate(x).diagnostics
    assert by_default.landmarks == model.metadata.landmarks == 50
    assert by_default.warnings == ()
    assert "reads 60 rows, more than the 50" in model.estimate(x, landmarks=60).diagnostics.warnings[0]
