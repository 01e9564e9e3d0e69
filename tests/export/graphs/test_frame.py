"""The frame of the graph is that of the runtime, up to a rotation, and chooses the same points."""

import numpy as np
import pytest
import torch

from discoformer.base.frame import fit_frame
from discoformer.base.landmarks import evenly_spaced as of_runtime
from discoformer.base.local_scatter import most_used
from discoformer_export.graphs.frame import Frames, fit_frames
from discoformer_export.graphs.frame import most_used as of_graph
from discoformer_export.graphs.indexing import ascending, evenly_spaced, few_of, present_first

SIZES = [  # N, D: few for their columns, more than the rounds read, and above the dimension of two starts
    (2, 1),
    (3, 2),
    (50, 2),
    (300, 5),
    (1024, 10),
    (3000, 3),
    (60, 20),
    (150, 30),
    (900, 45),
    (100, 50),
]


def clusters(n: int, dim: int, seed: int = 0) -> np.ndarray:
    """Three clusters in units that differ by a factor of a thousand."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-3, 3, (3, dim))
    points = means[rng.integers(3, size=n)] + 0.7 * rng.normal(size=(n, dim))
    return points @ (np.eye(dim) + rng.normal(size=(dim, dim)) / dim**0.5) * np.geomspace(1, 1e3, dim) + 5


def weights_of(n: int, kind: str, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "equal":
        return np.ones(n)
    return rng.gamma(0.7, size=n) * ((np.arange(n) % 5 > 0) | (n < 10)) + 1e-3 * (n < 10)


def fitted(points: np.ndarray, weights: np.ndarray) -> Frames:
    w = torch.from_numpy(weights / weights.sum())[None]
    return fit_frames(torch.from_numpy(points)[None], w, 1 / w.square().sum(-1))


@pytest.mark.parametrize(("n", "dim"), SIZES)
@pytest.mark.parametrize("kind", ["equal", "weights"])
def test_it_is_the_frame_of_the_runtime_but_for_a_rotation(n: int, dim: int, kind: str) -> None:
    points, weights = clusters(n, dim), weights_of(n, kind)
    expected, found = fit_frame(points, weights), fitted(points, weights)
    linear = found.linear[0].numpy()
    rotation = np.linalg.solve(expected.linear, linear)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(dim), atol=1e-8)
    turned = rotation.T @ expected.precision_root @ rotation
    np.testing.assert_allclose(found.precision_root[0], turned, atol=1e-8 * abs(turned).max())
    np.testing.assert_allclose(found.inverse[0].numpy() @ linear, np.eye(dim), atol=1e-8)
    assert float(found.log_abs_det) == pytest.approx(expected.log_abs_det, abs=1e-8)
    assert float(found.log_det_precision) == pytest.approx(expected.log_det_precision, abs=1e-8)
    np.testing.assert_allclose(found.z[0], (points - found.center[0].numpy()) @ linear, atol=1e-9)


def test_data_sets_of_a_batch_do_not_influence_each_other() -> None:
    """Neither do absent points, of which the second data set has many."""
    one, other = clusters(120, 3, 2), clusters(20, 3, 3)
    points = np.stack([one, np.concatenate([other, np.tile(other[:1], (100, 1))])])
    weights = np.stack([np.full(120, 1 / 120), np.r_[np.full(20, 1 / 20), np.zeros(100)]])
    both = fit_frames(*map(torch.from_numpy, (points, weights)), torch.tensor([120.0, 20.0]).double())
    for b, alone in enumerate((fitted(one, np.ones(120)), fitted(other, np.ones(20)))):
        for name in ("center", "linear", "log_abs_det", "precision_root", "log_det_precision"):
            torch.testing.assert_close(getattr(both, name)[b], getattr(alone, name)[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", range(1, 101))
def test_the_rounds_read_as_many_points_as_in_the_runtime(dim: int) -> None:
    assert of_graph(dim) == most_used(dim)


@pytest.mark.parametrize("column", [np.full(40, 7.0), np.arange(40.0)])
def test_data_without_a_density_give_nan(column: np.ndarray) -> None:
    points = np.c_[np.arange(40.0), column, clusters(40, 1)]  # constant, or the same as the first
    found = fitted(points, np.ones(40))
    assert found.linear.isnan().all()
    assert found.log_abs_det.isnan().all()


def test_one_point_gives_nan() -> None:
    assert fitted(np.ones((1, 2)), np.ones(1)).linear.isnan().all()


def test_duplicates_do_not_break_the_rounds() -> None:
    """Where only duplicates are near each other, a round leaves the coordinates as they are."""
    points = np.repeat(clusters(8, 2), 40, axis=0)
    expected, found = fit_frame(points), fitted(points, np.ones(len(points)))
    assert float(found.log_abs_det) == pytest.approx(expected.log_abs_det, abs=1e-6)


@pytest.mark.parametrize("kind", ["equal", "weights", "ties"])
@pytest.mark.parametrize(("n", "count"), [(5, 5), (100, 7), (1024, 256), (999, 500)])
def test_evenly_spaced_points_are_those_of_the_runtime(n: int, count: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    radius = rng.permutation(n).astype(float)
    weights = np.round(rng.gamma(1, size=n), 1) + 0.1 if kind == "ties" else weights_of(n, kind)
    w = torch.from_numpy(weights / weights.sum())[None]
    order = ascending(torch.from_numpy(radius)[None])[1]
    found = evenly_spaced(order, w, torch.arange(count), count)
    np.testing.assert_array_equal(found, of_runtime(radius[None], w.numpy(), count))


def test_all_points_that_are_present_come_first_and_in_order() -> None:
    w = torch.tensor([[0.0, 0.5, 0.0, 0.5], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)
    assert present_first(w)[0, :2].tolist() == [1, 3]
    assert present_first(w)[1].tolist() == [0, 1, 2, 3]
    index, weights = few_of(torch.arange(4).expand(2, 4), w, torch.tensor([False, True]), 2, 3)
    assert index[0, :2].tolist() == [1, 3]
    assert weights.tolist() == [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]
