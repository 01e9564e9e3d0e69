"""Entropy, divergences, Fisher and mutual information: closed forms, invariances, valid errors."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import discoformer
from discoformer.analysis.folds import deal
from discoformer.errors import InputError
from discoformer.information import (
    Information,
    divergence,
    entropy,
    fisher,
    kl,
    mutual_information,
    relative_fisher,
)
from discoformer.io.inputs import Floats

pytestmark = pytest.mark.slow

NORMAL = 0.5 * np.log(2 * np.pi * np.e)


def near(found: Information, truth: float, floor: float = 0.0) -> bool:
    return abs(found.value - truth) < 4 * found.standard_error + floor


@pytest.mark.parametrize("dim", [1, 4])
def test_closed_forms_of_gaussians(gaussian: discoformer.Model, rng: np.random.Generator, dim: int) -> None:
    A = rng.normal(size=(dim, dim)) + 2 * np.eye(dim)
    x, y = rng.normal(size=(400, dim)) @ A, (1.5 * rng.normal(size=(400, dim)) + 0.5) @ A
    P = np.linalg.inv(A @ A.T)  # |s|^2 = z P z^T with z = x A^-1
    each = 0.5 * (1.25 / 2.25 - 1) + np.log(1.5)
    assert near(entropy(x, model=gaussian), dim * NORMAL + np.linalg.slogdet(A)[1])
    assert near(kl(x, y, model=gaussian), dim * each, 0.02)
    assert near(fisher(x, model=gaussian), np.trace(P))
    shift = np.full(dim, 0.5 / 2.25)
    truth = (1 - 1 / 2.25) ** 2 * np.trace(P) + shift @ P @ shift
    assert near(relative_fisher(x, y, model=gaussian), truth, 0.02 * truth)


def test_mutual_information_of_gaussians(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x, noise = rng.normal(size=(2, 400, 2))
    y = 0.6 * x + 0.8 * noise
    assert near(mutual_information(x, y, model=gaussian), -2 * np.log(0.8))
    assert near(mutual_information(x, noise, model=gaussian), 0)
    there, back = mutual_information(x, y, model=gaussian), mutual_information(y, x, model=gaussian)
    assert there.value == pytest.approx(back.value, abs=1e-5)


def test_what_a_fit_reads_from_its_own_rows_is_too_good(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    """A Gaussian fit of p parameters to n rows: each side is off by p / 2n, and the value is not."""
    found = [entropy(rng.normal(size=(60, 3)), model=gaussian) for _ in range(20)]
    held_out, in_sample, value = (
        np.mean([getattr(f, name) for f in found]) - 3 * NORMAL for name in ("held_out", "in_sample", "value")
    )
    expected = 9 / 2 / 48  # 3 means and 6 covariances, 48 rows read
    assert held_out == pytest.approx(expected, abs=0.09)
    assert in_sample == pytest.approx(-expected, abs=0.09)
    assert abs(value) < 0.09
    assert np.mean([f.bias_check for f in found]) == pytest.approx(expected, abs=0.03)


def test_the_standard_error_is_that_of_many_samples(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    entropies, divergences = [], []
    for _ in range(20):
        x, y = rng.normal(size=(100, 1)), rng.normal(size=(50, 1)) + 1
        entropies.append(entropy(x, model=gaussian))
        divergences.append(kl(x, y, model=gaussian))
    for found in (entropies, divergences):  # 16 % is the error of the right side
        said = np.mean([f.standard_error for f in found])
        assert said == pytest.approx(np.std([f.value for f in found]), rel=0.5)


def test_the_kernel_density_stand_in_too(kde: discoformer.Model, rng: np.random.Generator) -> None:
    """The bandwidth is fixed, so the log-density is that of the blurred data."""
    x = rng.normal(size=(300, 1))
    found = entropy(x, model=kde)
    assert NORMAL - 0.1 < found.held_out < NORMAL + 0.2
    assert found.in_sample < found.held_out


FUNCTIONS: dict[str, Callable[..., Information]] = {
    "entropy": lambda x, y, **options: entropy(x, **options),
    "kl": kl,
    "mutual_information": mutual_information,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("stand_in", ["gaussian", "kde"])
def test_units(name: str, stand_in: str, rng: np.random.Generator, request: pytest.FixtureRequest) -> None:
    """Entropy grows by the log-determinant; divergences stay."""
    model = request.getfixturevalue(stand_in)
    x, y = rng.normal(size=(2, 60, 2))
    A = (rng.normal(size=(2, 2)) + 2 * np.eye(2)) * [1e-4, 1e4]
    before, after = (FUNCTIONS[name](a, b, model=model) for a, b in ((x, y), (x @ A + 1, y @ A + 1)))
    change = np.linalg.slogdet(A)[1] if name == "entropy" else 0
    assert after.value == pytest.approx(before.value + change, abs=2e-3)
    assert after.standard_error == pytest.approx(before.standard_error, abs=2e-3)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_fisher_information_has_units(
    gaussian: discoformer.Model, rng: np.random.Generator, scale: float
) -> None:
    x, y = rng.normal(size=(2, 60, 2))
    for function, samples in ((fisher, (x,)), (relative_fisher, (x, y))):
        before = function(*samples, model=gaussian)
        after = function(*(scale * z for z in samples), model=gaussian)
        assert after.value == pytest.approx(before.value / scale**2, rel=2e-3, abs=2e-3 / scale**2)


@settings(max_examples=8, deadline=None)
@given(n=st.integers(10, 40), dim=st.integers(1, 6))
def test_the_divergence_is_that_of_a_linear_score(gaussian: discoformer.Model, n: int, dim: int) -> None:
    rng = np.random.default_rng([n, dim])
    x = (rng.normal(size=(n + dim, dim))) * np.geomspace(0.1, 10, dim)
    p = gaussian.estimate(x)
    jacobian = p.score(np.eye(dim)) - p.score(np.zeros((1, dim)))
    np.testing.assert_allclose(divergence(p, x), np.trace(jacobian), rtol=2e-3)


def test_few_directions_have_the_right_mean(
    gaussian: discoformer.Model, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("discoformer.information.DIRECTIONS", 2)
    x = rng.normal(size=(2000, 4)) * [0.5, 1, 2, 4]
    p = gaussian.estimate(x)
    found = divergence(p, x)
    truth = np.trace(p.score(np.eye(4)) - p.score(np.zeros((1, 4))))
    assert found.std() > 0.1
    assert abs(found.mean() - truth) < 4 * found.std() / np.sqrt(2000)


def test_seeds_and_folds(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 2))
    assert entropy(x, model=gaussian) == entropy(x, model=gaussian, seed=0)
    assert entropy(x, model=gaussian) != entropy(x, model=gaussian, seed=1)
    assert np.ptp(np.bincount(deal(53, 5, 0))) == 1
    assert entropy(x, model=gaussian, folds=2).held_out > entropy(x, model=gaussian, folds=2).in_sample


def test_the_released_model_beats_a_gaussian_fit(
    rng: np.random.Generator, gaussian: discoformer.Model
) -> None:
    """Two clusters: the entropy by a Gaussian is too great by 0.3 nats."""
    x = rng.normal(size=(300, 1)) + 2.5 * rng.choice([-1, 1], (300, 1))
    truth = NORMAL + np.log(2) - 0.0166  # by quadrature
    found = entropy(x)
    assert near(found, truth)
    assert abs(entropy(x, model=gaussian).value - truth) > 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "^folds must be a whole number, 2 or more, got 1"),
        ({"folds": 2.0}, "^folds must be a whole number"),
        ({"seed": -1}, "^seed must be a whole number, 0 or more, got -1"),
        ({"folds": 6}, "^X must have 12 rows or more, 2 for each of 6 folds, got 10"),
    ],
)
def test_options_are_checked(
    gaussian: discoformer.Model, rng: np.random.Generator, options: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        entropy(rng.normal(size=(10, 1)), model=gaussian, **options)


def test_columns_go_by_name(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x, y = (pd.DataFrame(rng.normal(size=(20, 2)) * [1, 5], columns=["a", "b"]) for _ in range(2))
    assert kl(x, y[["b", "a"]].assign(note="-"), model=gaussian) == kl(x, y, model=gaussian)


def test_samples_must_fit(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x: Floats = rng.normal(size=(20, 2))
    with pytest.raises(InputError, match=r"^X and Y must have the same number of columns, got 2 and 1"):
        kl(x, x[:, :1], model=gaussian)
    with pytest.raises(InputError, match=r"^X and Y must have the same number of rows, .* got 20 and 15"):
        mutual_information(x, x[:15], model=gaussian)
    with pytest.raises(
        InputError, match=r"^Y must have the columns 'a', 'b', but lacks 'b': it has 'a', 'c'"
    ):
        kl(pd.DataFrame(x, columns=["a", "b"]), pd.DataFrame(x, columns=["a", "c"]), model=gaussian)
    with pytest.raises(InputError, match=r"^Y must be finite"):
        kl(x, np.where(x > 0, np.nan, x), model=gaussian)
