"""The released models, as a user meets it: sane answers, and the invariances that the README promises."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import discoformer
from discoformer.base.base import evaluate_base
from discoformer.errors import DataWarning
from discoformer.io.inputs import Floats
from discoformer.io.tables import read_table
from discoformer.onnx.names import Effort
from discoformer_training.evaluation.cells import Cell, draw
from discoformer_training.evaluation.estimators import checkpoint_estimator

IRIS = Path(__file__).parents[1] / "data" / "iris_petals.csv"


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load(device="cpu", threads=1)


@pytest.fixture
def mixture(rng: np.random.Generator) -> Floats:
    """300 points of a mixture in three dimensions."""
    means = rng.uniform(-3, 3, (3, 3))
    return means[rng.integers(3, size=300)] + rng.normal(size=(300, 3)) * [0.5, 0.8, 1.0]


def test_a_gaussian_sample(model: discoformer.Model, rng: np.random.Generator) -> None:
    root = np.array([[2.0, 0.0], [1.5, 0.5]])
    x, y = (rng.normal(size=(n, 2)) @ root.T + 10 for n in (1000, 500))
    white = np.linalg.solve(root, (y - 10).T)
    truth = -0.5 * np.square(white).sum(axis=0) - np.log(2 * np.pi) - np.linalg.slogdet(root)[1]
    slope = -np.linalg.solve(root.T, white).T
    log_density, score = model.estimate(x).log_density_and_score(y)
    assert np.mean(np.square(log_density - truth)) < 0.2
    assert np.sum(np.square(score - slope)) < 0.3 * np.sum(np.square(slope))


def test_the_density_integrates_to_about_one(model: discoformer.Model, rng: np.random.Generator) -> None:
    x = np.r_[rng.normal(-2, 0.5, 300), rng.normal(2, 1, 300)][:, None]
    grid = np.linspace(-10, 10, 2001)[:, None]
    assert model.estimate(x).density(grid).sum() * 0.01 == pytest.approx(1, abs=0.2)


def test_affine_maps(model: discoformer.Model, mixture: Floats, rng: np.random.Generator) -> None:
    matrix = (rng.normal(size=(3, 3)) + 2 * np.eye(3)) * [1e-3, 1.0, 1e5]
    log_density, score = model.estimate(mixture).log_density_and_score(mixture)
    mapped = mixture @ matrix + 3
    log_mapped, score_mapped = model.estimate(mapped).log_density_and_score(mapped)
    np.testing.assert_allclose(log_mapped, log_density - np.linalg.slogdet(matrix)[1], atol=1e-3)
    error = np.linalg.norm(score_mapped @ matrix.T - score) / np.linalg.norm(score)
    assert error < 1e-4


def test_rows_in_any_order(model: discoformer.Model, mixture: Floats, rng: np.random.Generator) -> None:
    y = mixture[:50] + 0.1
    order = rng.permutation(50)
    log_density, score = model.estimate(mixture).log_density_and_score(y)
    log_again, score_again = model.estimate(rng.permutation(mixture)).log_density_and_score(y[order])
    np.testing.assert_allclose(log_again, log_density[order], atol=1e-3)
    assert np.linalg.norm(score_again - score[order]) < 1e-4 * np.linalg.norm(score)


def test_rows_of_a_lattice_in_any_order(model: discoformer.Model, rng: np.random.Generator) -> None:
    """Where ties abound, answers are the same to the last bit."""
    x = rng.integers(4, size=(200, 2)).astype(float)
    log_density, score = model.estimate(x).log_density_and_score(x[:20] + 0.3)
    log_again, score_again = model.estimate(rng.permutation(x)).log_density_and_score(x[:20] + 0.3)
    np.testing.assert_array_equal(log_again, log_density)
    np.testing.assert_array_equal(score_again, score)


def test_an_outlier_does_no_harm_to_the_rest(model: discoformer.Model, mixture: Floats) -> None:
    y = mixture[:50] + 0.1
    alone = model.estimate(mixture).log_density(y)
    with pytest.warns(DataWarning, match="Left out 1 of 301 rows"):
        joined = model.estimate(np.r_[mixture, [[1e3, -1e3, 1e3]]]).log_density(y)
    assert np.abs(joined - alone).max() < 0.01


def test_queries_do_not_see_each_other(model: discoformer.Model, mixture: Floats) -> None:
    p = model.estimate(mixture)
    y = np.tile(mixture, (5, 1)) + np.linspace(0, 1, 1500)[:, None]  # two chunks, the last one padded
    log_density, score = p.log_density_and_score(y)
    for some in (slice(0, 1), slice(700, 707), slice(1400, None)):
        np.testing.assert_allclose(p.log_density(y[some]), log_density[some], atol=1e-4)
        np.testing.assert_allclose(p.score(y[some]), score[some], atol=1e-3)


def test_integer_weights_are_repetitions(
    model: discoformer.Model, mixture: Floats, rng: np.random.Generator
) -> None:
    repeats = rng.integers(0, 4, 300)
    weighted = model.estimate(mixture, repeats, effective_size=300).log_density_and_score(mixture)
    repeated = model.estimate(np.repeat(mixture, repeats, axis=0), effective_size=300)
    log_density, score = repeated.log_density_and_score(mixture)
    np.testing.assert_allclose(weighted[0], log_density, atol=1e-3)
    assert np.linalg.norm(weighted[1] - score) < 1e-3 * np.linalg.norm(score)


def test_far_queries_are_finite_and_unlikely(model: discoformer.Model, mixture: Floats) -> None:
    p = model.estimate(mixture)
    y = np.outer(10.0 ** np.arange(2, 11), [1.0, -1.0, 0.5])
    log_density, score = p.log_density_and_score(y)
    assert np.isfinite(score).all()
    assert (np.diff(log_density) < 0).all()


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")
@pytest.mark.parametrize(("n", "dim"), [(2, 1), (10, 3), (30, 20), (20, 60), (40, 100)])
def test_few_points_give_finite_answers(
    model: discoformer.Model, rng: np.random.Generator, n: int, dim: int
) -> None:
    x = rng.normal(size=(n, dim))
    log_density, score = model.estimate(x).log_density_and_score(x + 0.1)
    assert np.isfinite(log_density).all()
    assert np.isfinite(score).all()


def test_petals(model: discoformer.Model) -> None:
    x = read_table(IRIS).values
    p = model.estimate(x)
    held_in = p.log_density(x)
    gaussian = -0.5 * (np.linalg.slogdet(2 * np.pi * np.cov(x.T))[1] + 2)
    assert held_in.mean() > gaussian  # two clusters are better than one
    assert p.log_density([[3.0, 0.8]])[0] < held_in.mean() - 1  # the gap between them


FAMILIES: dict[str, Callable[[np.random.Generator, int, int], Floats]] = {
    "normal": lambda rng, n, dim: rng.normal(size=(n, dim)),
    "uniform": lambda rng, n, dim: rng.uniform(size=(n, dim)),
    "student": lambda rng, n, dim: rng.normal(size=(n, dim)) / np.sqrt(rng.chisquare(3, (n, 1)) / 3),
    "lognormal": lambda rng, n, dim: np.exp(rng.normal(size=(n, dim))),
    "exponential": lambda rng, n, dim: rng.exponential(size=(n, dim)),
    "mixture": lambda rng, n, dim: (
        rng.uniform(-3, 3, (4, dim))[rng.integers(4, size=n)] + 0.7 * rng.normal(size=(n, dim))
    ),
}


@pytest.mark.parametrize(("n", "dim"), [(8, 1), (300, 1), (1500, 2), (40, 3), (500, 3), (200, 10), (60, 20)])
@pytest.mark.parametrize("family", FAMILIES)
def test_beyond_the_outermost_point_the_density_falls_as_its_base_does_and_the_score_is_its_slope(
    model: discoformer.Model, family: str, n: int, dim: int
) -> None:
    """Along every ray, the slope to 1 % of the score."""
    rng = np.random.default_rng(n)
    p = model.estimate(FAMILIES[family](rng, n, dim))
    radius = np.linalg.norm(p.frame.to_frame(p.landmarks.points), axis=1).max()
    rays = rng.normal(size=(10, 1, dim))
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    lengths = radius * np.r_[np.geomspace(1.003, 4, 40), np.geomspace(4.2, 1e6, 40)]
    points, step = (lengths[:, None] * rays).reshape(-1, dim), 1e-3
    log_density, score = p.answer_in_frame(points)
    change = np.diff(log_density.reshape(10, -1))
    of_base = np.diff(evaluate_base(p.base, points[None]).log_density.reshape(10, -1))
    assert (change < 0)[of_base < -1e-3].all()
    assert (of_base < 0).mean() > 0.99
    ahead, behind = (p.answer_in_frame((1 + sign * step) * points)[0] for sign in (1, -1))
    length = np.linalg.norm(points, axis=1)
    error = np.abs((ahead - behind) / (2 * step * length) - (score * points).sum(1) / length)
    rounding = 1e-6 * np.abs(log_density) / (step * length)
    assert (error < 0.01 * np.linalg.norm(score, axis=1) + rounding).all()


@pytest.mark.parametrize("effort", ["best", "fast"])
@pytest.mark.parametrize("dim", [1, 2, 10, 30])
def test_density_falls_and_score_points_inward_along_every_far_ray(
    model: discoformer.Model, rng: np.random.Generator, dim: int, effort: Effort
) -> None:
    means = rng.uniform(-3, 3, (4, dim))
    x = means[rng.integers(4, size=200)] + 0.7 * rng.normal(size=(200, dim))
    p = model.estimate(x, effort=effort)
    direction = rng.normal(size=(16, 1, dim))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    radius = np.geomspace(10, 1e6, 50)[:, None] * np.sqrt(dim)
    in_frame = radius * direction  # (16, 50, D)
    y = p.frame.center + in_frame.reshape(-1, dim) @ np.linalg.inv(p.frame.linear)
    log_density, score = p.log_density_and_score(y)
    outward = (direction @ np.linalg.inv(p.frame.linear)).repeat(50, axis=1).reshape(-1, dim)
    assert (np.diff(log_density.reshape(16, 50), axis=1) < 0).all()
    assert (np.sum(score * outward, axis=1) < 0).all()


@pytest.mark.parametrize("effort", ["best", "fast"])
@pytest.mark.parametrize("dim", [2, 7])
def test_tails_follow_affine_maps(
    model: discoformer.Model, rng: np.random.Generator, dim: int, effort: Effort
) -> None:
    x = np.exp(rng.normal(size=(200, dim)))
    y = 10 ** rng.uniform(0.5, 6, (40, 1)) * rng.normal(size=(40, dim))
    matrix = rng.normal(size=(dim, dim)) + 2 * np.eye(dim)
    expected, slope = model.estimate(x, effort=effort).log_density_and_score(y)
    p = model.estimate(rng.permutation(x) @ matrix - 5, effort=effort)
    found, score = p.log_density_and_score(y @ matrix - 5)
    np.testing.assert_allclose(found, expected - np.linalg.slogdet(matrix)[1], rtol=1e-5, atol=1e-3)
    size = np.linalg.norm(slope, axis=1, keepdims=True)
    np.testing.assert_allclose(score @ matrix.T / size, slope / size, atol=2e-3)


def test_tails_do_not_depend_on_absent_rows_or_the_batch(
    model: discoformer.Model, rng: np.random.Generator
) -> None:
    short, long = rng.standard_t(3, size=(60, 2)), rng.normal(size=(80, 2))
    y = 30 * rng.normal(size=(20, 2))
    expected = [model.estimate(x).log_density_and_score(y) for x in (short, long)]
    padded = np.r_[short, [[1e3, 1e3]]]
    alone = model.estimate(padded, weights=np.r_[np.ones(60), 0])
    found = [p.log_density_and_score(y) for p in model.estimate_batch([short, long])]
    for got, wanted in zip([alone.log_density_and_score(y), *found], [expected[0], *expected], strict=True):
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "cell", [Cell("gmm", 2, 16), Cell("student3", 5, 200), Cell("gumbel", 10, 40)], ids=str
)
def test_it_answers_like_the_networks_of_the_checkpoints_also_far_out(
    model: discoformer.Model, cell: Cell
) -> None:
    case = draw(cell, 0)
    queries = case.queries[:60] * np.geomspace(1, 1e3, 60)[:, None]
    expected = checkpoint_estimator(model.folder)(case.context, queries)
    found = model.estimate(case.context).log_density_and_score(queries)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3 * (1 + np.abs(other).max()))


def test_metadata(model: discoformer.Model) -> None:
    assert model.metadata.name == model.folder.name
    assert model.metadata.trained_dim[0] == 1


def _far_apart(rng: np.random.Generator) -> Floats:
    return np.r_[rng.normal(size=(200, 2)), rng.normal([1000, 0], size=(200, 2))]


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: load_diabetes().data,  # one column is binary, others are rounded
        lambda rng: np.c_[rng.normal(size=500), rng.integers(0, 2, 500)],
        lambda rng: np.c_[rng.normal(size=500), rng.integers(0, 2, 500) + 1e-3 * rng.normal(size=500)],
        lambda rng: rng.integers(0, 4, (100, 2)).astype(float),
        _far_apart,
    ],
    ids=["diabetes", "binary", "jittered", "lattice", "far apart"],
)
def test_the_network_keeps_near_its_base_on_data_unlike_its_training(
    model: discoformer.Model, rng: np.random.Generator, draw: Callable[[np.random.Generator], Floats]
) -> None:
    """Without the taming of each vector by its own length it went off by 1e6 nats."""
    x = draw(rng)
    p = model.estimate(x)
    base = evaluate_base(p.base, p.frame.to_frame(x)[None])
    off = p.log_density(x) - p.frame.log_density_to_data(base.log_density[0])
    assert np.median(np.abs(off)) < 4
    assert np.abs(off).max() < 300
