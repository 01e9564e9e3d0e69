"""The integral of an estimated density: correct where it is known, the same in any units and order."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest, multivariate_t

import discoformer
from discoformer.analysis.normalization import normalization_of
from discoformer.base.mixture import ABSENT, WIDE_SHARE, Components, broadened, draw, evaluate
from discoformer.errors import InputError
from discoformer.io.inputs import Floats

WEIGHTS = np.array([0.3, 0.7])


def mixture(dim: int, rng: np.random.Generator, apart: float = 1.0) -> Components:
    """Two Student-t distributions, with heavy and with light tails, and an absent component."""
    means, freedom = apart * rng.normal(size=(3, dim)), np.array([3.5, 40.0, 5.0])
    factors = np.tril(rng.normal(size=(3, dim, dim)) / dim, -1) + np.eye(dim) * rng.uniform(0.5, 2, dim)
    peaks = [
        multivariate_t(mean, np.linalg.inv(factor.T @ factor), df).logpdf(mean)
        for mean, factor, df in zip(means, factors, freedom, strict=True)
    ]
    log_scale = np.r_[np.log(WEIGHTS) + peaks[:2], ABSENT]
    return Components(log_scale[None], means[None], factors[None], freedom[None])


def log_density(components: Components, points: Floats) -> Floats:
    found: Floats = evaluate(components, points[None]).log_density[0]
    return found


@pytest.mark.parametrize("dim", [1, 2, 30])
def test_draws_follow_the_mixture(dim: int, rng: np.random.Generator) -> None:
    components = mixture(dim, rng, apart=1e6)
    points = draw(components, 4000, rng)
    nearest = np.abs(points[:, None, 0] - components.means[0, :, 0]).argmin(axis=1)
    np.testing.assert_allclose(np.bincount(nearest, minlength=3) / 4000, [*WEIGHTS, 0], atol=0.03)
    for k in (0, 1):
        offset = (points[nearest == k] - components.means[0, k]) @ components.precision_factors[0, k].T
        ratio = np.square(offset).sum(axis=1) / dim
        assert kstest(ratio, "f", (dim, components.freedom[0, k])).pvalue > 1e-3


@pytest.mark.parametrize("dim", [1, 2, 30])
def test_the_proposal_is_a_density_that_holds_the_components(dim: int, rng: np.random.Generator) -> None:
    components = mixture(dim, rng)
    proposal, points = broadened(components), draw(components, 500, rng)
    excess = log_density(proposal, points) - log_density(components, points)
    assert excess.min() >= np.log(1 - WIDE_SHARE) - 1e-9
    backward = normalization_of(lambda z: log_density(proposal, z), proposal, 4096, seed=0)
    assert abs(backward.log_integral) < 1e-9  # because the target is the proposal
    assert backward.effective_samples == pytest.approx(4096)


@pytest.mark.parametrize("dim", [1, 2, 30])
def test_a_known_integral_is_found(dim: int, rng: np.random.Generator) -> None:
    components = mixture(dim, rng)
    found = normalization_of(lambda z: log_density(components, z) + 0.75, broadened(components), 4096, seed=1)
    assert abs(found.log_integral - 0.75) < 4 * found.standard_error < 0.1
    assert 1000 < found.effective_samples <= 4096


def test_the_standard_error_is_that_of_many_seeds(rng: np.random.Generator) -> None:
    components, other = mixture(2, rng), mixture(2, rng)
    runs = [
        normalization_of(lambda z: log_density(other, z), broadened(components), 500, seed)
        for seed in range(200)
    ]
    found, errors, _ = np.array(runs).T
    assert errors.mean() == pytest.approx(found.std(), rel=0.3)
    assert found.mean() == pytest.approx(0, abs=4 * found.std() / np.sqrt(200) + found.var())


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_gaussian_stand_in_has_integral_one(
    gaussian: discoformer.Model, rng: np.random.Generator, dim: int
) -> None:
    x = rng.normal(size=(400, dim)) @ (rng.normal(size=(dim, dim)) + 3 * np.eye(dim)) * 1e4
    found = gaussian.estimate(x).normalization()
    assert abs(found.log_integral) < 4 * found.standard_error < 0.2
    assert found.effective_samples > 1000


def test_the_kernel_density_stand_in_has_integral_one(
    kde: discoformer.Model, rng: np.random.Generator
) -> None:
    found = kde.estimate(np.r_[rng.normal(-6, 1, 100), rng.exponential(size=200)][:, None]).normalization()
    assert abs(found.log_integral) < 4 * found.standard_error < 0.1


def test_the_integral_of_the_released_model_is_that_of_a_grid(rng: np.random.Generator) -> None:
    p = discoformer.load("base", device="cpu", threads=1).estimate(rng.normal(size=(40, 1)))
    found = p.normalization()
    integral = p.density(np.linspace(-50, 50, 5001)[:, None]).sum() * 0.02
    assert abs(found.log_integral - np.log(integral)) < 4 * found.standard_error + 1e-3
    assert found.standard_error < 0.02


def test_the_normalized_density_has_integral_one(rng: np.random.Generator) -> None:
    p = discoformer.load("base", device="cpu", threads=1).estimate(rng.exponential(size=(300, 1)))
    grid = np.linspace(-20, 60, 8001)[:, None]
    integral = p.density(grid, method="normalized").sum() * 0.01
    assert integral == pytest.approx(1, abs=4 * p.normalization().standard_error + 1e-3)
    log_density, y = p.log_density(grid[:9].astype(np.float32), method="normalized"), grid[:9]
    assert log_density.dtype == np.float32
    np.testing.assert_allclose(
        log_density, p.log_density(y) - p.normalization().log_integral, atol=1e-3, rtol=1e-5
    )


def test_order_units_and_seeds(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.standard_t(5, size=(200, 3))
    p = kde.estimate(x)
    found = p.normalization(samples=1000)
    assert found == p.normalization(samples=1000, seed=0)
    assert found == kde.estimate(x[::-1]).normalization(samples=1000)
    scaled = kde.estimate(x * [1e-6, 1.0, 1e6] + 7).normalization(samples=1000)
    np.testing.assert_allclose(scaled, found, rtol=1e-3, atol=1e-4)
    other = p.normalization(samples=1000, seed=1)
    assert other != found
    assert abs(other.log_integral - found.log_integral) < 5 * (other.standard_error + found.standard_error)


def test_a_saved_estimate_has_the_same(
    kde: discoformer.Model, rng: np.random.Generator, tmp_path: Path
) -> None:
    p = kde.estimate(rng.normal(size=(50, 2)))
    p.save(tmp_path / "fitted")
    loaded = discoformer.load_estimate(tmp_path / "fitted", kde)
    assert loaded.normalization(samples=100) == p.normalization(samples=100)


@pytest.mark.parametrize("arguments", [{"samples": 1}, {"samples": 2.5}, {"seed": -1}, {"seed": "a"}])
def test_arguments_are_checked(
    gaussian: discoformer.Model, rng: np.random.Generator, arguments: dict[str, object]
) -> None:
    (name, value), *_ = arguments.items()
    with pytest.raises(InputError, match=f"^{name} must be a whole number.* or more, got {value!r}"):
        gaussian.estimate(rng.normal(size=(20, 1))).normalization(**arguments)  # type: ignore[arg-type]
