"""The released model with effort "fast": the network that was trained, a density, exact symmetries."""

from pathlib import Path

import numpy as np
import pytest
import torch

import discoformer
from benchmarks.common.cells import cells_of, smoothed
from benchmarks.common.r_tables import load
from discoformer.onnx.names import Effort
from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.evaluation.cells import Cell, draw
from discoformer_training.evaluation.estimators import network_estimator
from discoformer_training.run.checkpoint import load_checkpoint, load_mixture_network

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "models" / "base" / "mixture.safetensors"


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


@pytest.mark.parametrize(
    "cell",
    [Cell("gmm", 1, 16), Cell("gmm", 2, 300), Cell("student3", 5, 1500), Cell("gmm", 45, 100)],
    ids=str,
)
def test_it_answers_like_the_network_of_the_checkpoint(model: discoformer.Model, cell: Cell) -> None:
    case = draw(cell, 0)
    landmarks = load_checkpoint(CHECKPOINT)[0].stream.landmarks
    expected = network_estimator(load_mixture_network(CHECKPOINT), landmarks)(case.context, case.queries)
    found = model.estimate(case.context, effort="fast").log_density_and_score(case.queries)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * (1 + np.abs(other).max()))


@pytest.mark.parametrize("n", [8, 100, 2000])
def test_it_integrates_to_one_in_one_dimension(model: discoformer.Model, n: int) -> None:
    x = np.random.default_rng(n).standard_t(3, size=(n, 1))
    p = model.estimate(x, effort="fast")
    u = np.linspace(-25, 25, 200_001)
    density = p.density(np.sinh(u)[:, None])
    assert np.trapezoid(density * np.cosh(u), u) == pytest.approx(1, abs=1e-5)
    assert p.normalization().log_integral == 0


@pytest.mark.parametrize(("n", "dim"), [(30, 3), (64, 5), (500, 2), (3000, 10)])
def test_affine_maps_and_permutations_are_exact(model: discoformer.Model, n: int, dim: int) -> None:
    generator = torch.Generator().manual_seed(n)
    sample = draw_mixtures(1, dim, generator=generator).sample(n + 50, generator=generator)[0].numpy()
    x, y = sample[:n], sample[n:]
    rng = np.random.default_rng(n)
    left, right = (np.linalg.qr(rng.normal(size=(dim, dim)))[0] for _ in range(2))
    linear = left * np.geomspace(0.01, 1, dim) @ right
    log_density, score = model.estimate(x, effort="fast").log_density_and_score(y)
    mapped = model.estimate(rng.permutation(x) @ linear + 7, effort="fast")
    found, slope = mapped.log_density_and_score(y @ linear + 7)
    np.testing.assert_allclose(found + np.linalg.slogdet(linear)[1], log_density, atol=2e-4)
    np.testing.assert_allclose(slope @ linear.T, score, atol=1e-4 * np.abs(score).max())


@pytest.mark.parametrize(("table", "split"), [("AER/Guns", 4), ("DAAG/spam7", 3)])
def test_best_is_not_behind_fast_where_the_network_is_astray(
    model: discoformer.Model, table: str, split: int
) -> None:
    points = load(table)
    if table == "DAAG/spam7":
        points = smoothed(cells_of(points), 0)
    rows = np.random.default_rng([0, split]).permutation(len(points))
    train, test = np.split(points[rows], [round(0.8 * len(points))])
    best, fast = (
        model.estimate(train, effort=effort).log_density(test).mean() for effort in ("best", "fast")
    )
    assert best > fast - 0.2  # nats; without the checks 11 and 2 nats behind


@pytest.mark.parametrize(("table", "split"), [("HSAUR/Forbes2000", 3), ("AER/Guns", 1)])
@pytest.mark.parametrize("effort", ["fast", "best"])
def test_a_mixture_that_is_astray_is_read_again_from_fewer_landmarks(
    model: discoformer.Model, table: str, split: int, effort: Effort
) -> None:
    points = load(table)
    rows = np.random.default_rng([0, split]).permutation(len(points))
    train, test = np.split(points[rows], [round(0.8 * len(points))])
    p, fewer = model.estimate(train, effort=effort), model.estimate(train, effort=effort, landmarks=400)
    assert p.diagnostics.landmarks <= 512
    assert abs(p.log_density(test).mean() - fewer.log_density(test).mean()) < 0.5  # nats; 12 and 50 before
    others = [np.random.default_rng(i).normal(size=train.shape) for i in range(2)]
    batched = model.estimate_batch([others[0], train, others[1]], effort=effort)
    assert batched[1].diagnostics.landmarks == p.diagnostics.landmarks
    np.testing.assert_allclose(batched[1].log_density(test), p.log_density(test), atol=1e-3)
    alone = model.estimate(others[1], effort=effort).log_density(others[1][:9])
    np.testing.assert_allclose(batched[2].log_density(others[1][:9]), alone, atol=1e-4)
