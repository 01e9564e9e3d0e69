"""What the heads refine: a mixture, the same for both efforts, blended with a product of coordinates."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import discoformer
from discoformer.base.base import halves, share_of_product
from discoformer.base.independent import LANDMARKS, evaluate_product
from discoformer.fit import by_radius, points_of, read_sample
from discoformer.io.inputs import Floats


@pytest.fixture(scope="module")
def released() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


def skewed(rng: np.random.Generator, n: int, dim: int) -> Floats:
    """Draw points whose coordinates are independent along skew axes."""
    return rng.exponential(size=(n, dim)) @ (np.eye(dim) + 0.3 * rng.normal(size=(dim, dim)))


@pytest.mark.parametrize(("n", "dim"), [(2, 1), (40, 1), (9, 2), (60, 2), (200, 5), (1100, 2)])
def test_both_efforts_have_one_frame_and_one_mixture(
    gaussian: discoformer.Model, rng: np.random.Generator, n: int, dim: int
) -> None:
    x, w = skewed(rng, n, dim), rng.random(n) + 0.1
    fast, best = (gaussian.estimate(x, w, effort=effort) for effort in ("fast", "best"))  # type: ignore[arg-type]
    for name, value in vars(fast.frame).items():
        np.testing.assert_array_equal(value, getattr(best.frame, name))
    for one, other in zip(fast.components, best.components, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_each_coordinate_is_read_as_a_sample_of_its_own(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    x = skewed(rng, 150, 3)
    p = gaussian.estimate(x, rng.random(150) + 0.5)
    z, product = p.z, p.base.product
    u = z @ product.axes[0]
    alone = [
        gaussian.estimate(values[:, None], p.data.weights, landmarks=LANDMARKS, effort="fast")
        for values in u.T
    ]
    expected = sum(q.log_density(values[:, None]) for q, values in zip(alone, u.T, strict=True))
    found = evaluate_product(product, z[None]).log_density[0]
    np.testing.assert_allclose(found, expected + np.linalg.slogdet(product.axes[0])[1], atol=1e-4)


def test_the_share_is_found_on_two_halves(released: discoformer.Model) -> None:
    x = skewed(np.random.default_rng(3), 80, 3)
    p = released.estimate(x)
    seen, held_out = (half[0] for half in halves(p.z[None], p.data.weights[None], np.array([80.0])))
    q = released.estimate(seen)
    at = q.frame.to_frame(held_out)
    densities = q.mixture.answer(at)[0], evaluate_product(q.base.product, at[None]).log_density[0]
    share = share_of_product(*(log_density[None] for log_density in densities))
    np.testing.assert_allclose(p.base.product_share, share, atol=1e-3)
    assert 0.1 < share < 0.9


@pytest.mark.parametrize(("n", "dim"), [(400, 1), (15, 2), (39, 5)])
def test_few_points_and_one_dimension_have_no_product(
    released: discoformer.Model, rng: np.random.Generator, n: int, dim: int
) -> None:
    base = released.estimate(skewed(rng, n, dim)).base
    assert base.product_share == 0
    assert base.product.means.shape == (1, dim, 1)


def test_a_half_without_a_density_gives_no_product(released: discoformer.Model) -> None:
    """Half of the rows are constant in a column, so one of the halves may be, too."""
    x = np.random.default_rng(0).normal(size=(80, 2))
    x[:76, 1] = 0
    p = released.estimate(x)
    assert p.base.product_share >= 0
    assert np.isfinite(p.log_density(x)).all()


def test_heads_of_another_mixture_are_refused(other_folder: Callable[..., Path]) -> None:
    other = {"mixture_sha256": "f" * 64}
    said = (
        r"refine a mixture network of other weights \(ffffffffffff\) than mixture\.onnx has \(0123456789ab\)"
    )
    with pytest.raises(discoformer.ModelError, match=said):
        discoformer.load(other_folder(encode=other, query=other))


def test_heads_without_their_mixture_are_refused(gaussian_folder: Path, tmp_path: Path) -> None:
    for name in ("encode.onnx", "query.onnx"):
        shutil.copy(gaussian_folder / name, tmp_path)
    with pytest.raises(discoformer.ModelNotFoundError, match=r"mixture\.onnx is needed.* holds encode\.onnx"):
        discoformer.load(tmp_path)


SHAPES = [(2, 1), (3, 1), (9, 2), (20, 2), (24, 3), (40, 5), (60, 1), (120, 8), (300, 2), (600, 4)]


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_units_and_order_do_not_count(released: discoformer.Model, n: int, dim: int) -> None:
    rng = np.random.default_rng(n)
    x, y = skewed(rng, n, dim), skewed(rng, 9, dim)
    log_density, score = released.estimate(x).log_density_and_score(y)
    turn, shift = rng.normal(size=(dim, dim)) * 100 + 300 * np.eye(dim), 1e3 * rng.normal(size=dim)
    moved = released.estimate(rng.permutation(x) @ turn + shift).log_density_and_score(y @ turn + shift)
    np.testing.assert_allclose(moved[0] + np.linalg.slogdet(turn)[1], log_density, atol=1e-3)
    assert np.linalg.norm(moved[1] @ turn.T - score) < 1e-3 * np.linalg.norm(score)


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")
@pytest.mark.parametrize(("n", "dim"), SHAPES[:-2])
def test_weights_are_repetitions(released: discoformer.Model, n: int, dim: int) -> None:
    """With so few rows the frame uses the neighbourhoods of all."""
    rng = np.random.default_rng(n)
    x, y, counts = skewed(rng, n, dim), skewed(rng, 9, dim), rng.integers(1, 4, n)
    weighted = released.estimate(x, counts, n).log_density_and_score(y)
    repeated = released.estimate(np.repeat(x, counts, axis=0), effective_size=n).log_density_and_score(y)
    np.testing.assert_allclose(weighted[0], repeated[0], atol=1e-3)
    assert np.linalg.norm(weighted[1] - repeated[1]) < 1e-3 * np.linalg.norm(repeated[1])


def test_the_mixture_of_a_large_sample_is_fitted_to_points_that_stand_for_it(
    rng: np.random.Generator,
) -> None:
    """Memory is bounded. The points have the moments of the sample. The order of the rows does not matter."""
    x = rng.normal(size=(40_000, 2))
    points, weights = points_of(read_sample(x, None))
    assert points.shape == (16_384, 2)
    np.testing.assert_allclose(weights, 1 / 16_384)
    z = read_sample(x, None).z
    np.testing.assert_allclose(points.mean(0), z.mean(0), atol=0.03)
    np.testing.assert_allclose(np.cov(points.T), np.cov(z.T), atol=0.05)
    again, _ = points_of(read_sample(rng.permutation(x), None))
    np.testing.assert_array_equal(again, points)


def test_the_mixture_of_other_samples_is_fitted_to_all_rows(rng: np.random.Generator) -> None:
    sample = read_sample(rng.normal(size=(16_384, 1)), rng.random(16_384) + 0.1)
    points, weights = points_of(sample)
    order = by_radius(sample.z)
    np.testing.assert_array_equal(points, sample.z[order])
    np.testing.assert_allclose(weights, sample.data.weights[order], rtol=1e-12)
