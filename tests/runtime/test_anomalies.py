"""Anomalies: valid p-values, the procedure of Benjamini and Hochberg, and the contributions of columns."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

import discoformer
from discoformer.analysis.typicality import Typicality
from discoformer.anomalies import (
    Anomalies,
    Method,
    Reference,
    benjamini_hochberg,
    contributions_of,
    find_anomalies,
    tail_p_values,
)
from discoformer.errors import InputError
from discoformer.information import entropy
from discoformer.plots.anomalies import save_anomalies

pytestmark = pytest.mark.slow


@given(
    p=st.lists(st.floats(0, 1), min_size=1, max_size=30), fdr=st.floats(0.01, 0.99), repeats=st.integers(1, 3)
)
def test_the_procedure_is_scipys(p: list[float], fdr: float, repeats: int) -> None:
    p_values = np.repeat(p, repeats)
    adjusted = false_discovery_control(p_values)
    clear = np.abs(adjusted - fdr) > 1e-12  # ties would be decided by rounding
    np.testing.assert_array_equal(benjamini_hochberg(p_values, fdr)[clear], (adjusted <= fdr)[clear])


@pytest.mark.parametrize("fdr", [0, 1, -0.1, np.nan])
def test_rates_are_checked(gaussian: discoformer.Model, rng: np.random.Generator, fdr: float) -> None:
    with pytest.raises(InputError, match=r"^fdr must be between 0 and 1, got"):
        benjamini_hochberg(np.ones(2), fdr)
    with pytest.raises(InputError, match=r"^fdr must be between 0 and 1, got"):
        find_anomalies(rng.normal(size=(20, 1)), fdr, model=gaussian)


@pytest.mark.parametrize("method", ["cross", "split"])
def test_p_values_of_normal_rows_are_uniform(
    gaussian: discoformer.Model, rng: np.random.Generator, method: Method
) -> None:
    """One new row for each of many samples, so that the p-values are independent."""
    p = [
        Reference(rng.normal(size=(20, 1)), method=method, model=gaussian, folds=2).p_values([[rng.normal()]])
        for _ in range(40)
    ]
    for level in (0.2, 0.5, 0.8):
        assert np.mean(np.concatenate(p) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 40)
    assert np.mean(np.concatenate(p) <= 0.5) > 0.2


def test_the_formula(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(7, 2)) * 2
    half = np.random.default_rng(3).permutation(40) % 2
    typicality = Typicality(gaussian.estimate(x[half == 1], effort="fast"))
    low = typicality(x[half == 0]) <= typicality(y)[:, None]
    found = Reference(x, method="split", model=gaussian, seed=3).p_values(y)
    np.testing.assert_allclose(found, (1 + low.sum(axis=1)) / 21)


def test_new_anomalies_are_found_and_the_column_blamed(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 3))
    y = x[:40].copy()
    rows, columns = np.arange(36, 40), np.array([0, 1, 2, 0])
    sign = np.array([1, -1, 1, -1])
    y[rows, columns] += 12 * sign * x.std(axis=0)[columns]
    found = Reference(x, model=gaussian).find(y, fdr=0.2)
    assert found.found[36:].all()
    np.testing.assert_array_equal(np.abs(found.contributions[36:]).argmax(axis=1), columns)
    np.testing.assert_array_equal(np.sign(found.contributions[rows, columns]), sign)
    np.testing.assert_allclose(np.abs(found.contributions).sum(axis=1), 1)
    np.testing.assert_allclose(found.log_density, gaussian.estimate(x, effort="fast").log_density(y))


def test_the_push_is_the_gain_of_one_column(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    """For a Gaussian: the gain in log-density if one column moves to its expected value given the others."""
    x = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3))
    p, y = gaussian.estimate(x), 3 * x[:1]
    score = p.score(y)
    precision = -(p.score(np.eye(3)) - p.score(np.zeros((1, 3))))
    moved = y + np.diag(score[0] / np.diag(precision))
    gain = p.log_density(moved) - p.log_density(y)
    np.testing.assert_allclose(np.abs(contributions_of(p, score)[0]), gain / gain.sum(), atol=2e-3)
    assert not contributions_of(p, np.zeros((2, 3))).any()
    for unit in (1e-170, 1e170):
        tiny = gaussian.estimate(x * unit)
        np.testing.assert_allclose(
            contributions_of(tiny, tiny.score(y * unit)), contributions_of(p, score), rtol=1e-6
        )


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(4, 60))
def test_p_values_of_a_tail_fall_with_typicality_and_have_no_unit(seed: int, rows: int) -> None:
    typicality = np.random.default_rng(seed).standard_t(3, rows)
    p = tail_p_values(typicality)
    assert ((p > 0) & (p <= 1)).all()
    assert (np.diff(p[np.argsort(typicality)]) > 0).all()
    np.testing.assert_allclose(tail_p_values(3 * typicality - 7), p, rtol=1e-6)


def test_p_values_of_an_exponential_tail_are_uniform_up_to_its_heavier_form(rng: np.random.Generator) -> None:
    p = np.array([tail_p_values(-rng.exponential(size=300)) for _ in range(200)])
    for level in (0.05, 0.01, 1e-3):
        assert 0.1 * level < np.mean(p <= level) <= 1.1 * level
    assert np.mean([benjamini_hochberg(row, 0.1).any() for row in p]) < 0.1


def test_a_tenth_of_the_rows_may_be_anomalies(rng: np.random.Generator) -> None:
    typicality = -np.r_[rng.exponential(size=270), 60 + 9 * rng.exponential(size=30)]
    np.testing.assert_array_equal(benjamini_hochberg(tail_p_values(typicality), 0.05), np.arange(300) >= 270)


def test_rows_off_the_hull_have_p_value_0_and_equal_rows_their_rank() -> None:
    np.testing.assert_array_equal(tail_p_values(np.r_[np.arange(20.0), -np.inf]) == 0, np.arange(21) == 20)
    np.testing.assert_array_equal(tail_p_values(np.zeros(9)), np.ones(9))
    np.testing.assert_array_equal(tail_p_values(np.full(9, -np.inf)), np.ones(9))


def test_a_sample_is_held_against_itself(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(150, 2)) * [1e-3, 1e3]
    x[:5, 1] += np.array([9e3, 1e4, -1e4, 2e4, 1.2e4])
    said: list[str] = []
    found = find_anomalies(x, 0.1, model=gaussian, on_progress=said.append)
    assert found.found[:5].all()
    assert found.found[5:].sum() <= 3
    np.testing.assert_array_equal(np.abs(found.contributions[:5]).argmax(axis=1), 1)
    np.testing.assert_array_equal(np.sign(found.contributions[:5, 1]), [1, 1, -1, 1, 1])
    assert said[0] == "round 1: 0 of 150 rows left out"
    again = find_anomalies(x, 0.1, model=gaussian)
    np.testing.assert_array_equal(found.p_values, again.p_values)


def test_one_anomaly_is_found_among_many_rows(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    """At this rate, a single p-value must be below the weight of one draw."""
    x = rng.normal(size=(700, 2))
    x[300] = 9
    np.testing.assert_array_equal(np.flatnonzero(find_anomalies(x, 0.01, model=gaussian).found), 300)


@pytest.mark.parametrize("family", ["normal", "lognormal", "standard_t", "exponential"])
def test_hardly_anything_is_found_in_clean_samples(rng: np.random.Generator, family: str) -> None:
    base, found = discoformer.load("base", device="cpu", threads=1), []
    for seed in range(5):
        shape = {"df": 3} if family == "standard_t" else {}
        x = getattr(rng, family)(size=(300, 2), **shape)
        found.append(find_anomalies(x, 0.1, model=base, seed=seed).found.sum())
    assert np.mean(found) < 1


def test_columns_go_by_name(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x = pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"])
    reference = Reference(x, model=gaussian)
    found = reference.find(x).contributions
    assert found.shape == (30, 2)
    np.testing.assert_array_equal(reference.find(x[["b", "a"]].assign(note="-")).contributions, found)
    with pytest.raises(InputError, match=r"^Y must have the columns 'a', 'b', but lacks 'b'"):
        reference.find(x[["a"]])
    with pytest.raises(InputError, match=r"^method must be 'cross' or 'split', got 'full'"):
        Reference(x, method="full", model=gaussian)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^X must have 4 rows or more, 2 for each of 2 folds, got 3"):
        Reference(x[:3], model=gaussian)


@pytest.mark.parametrize("dim", [1, 3])
def test_the_picture(tmp_path: Path, rng: np.random.Generator, dim: int) -> None:
    found = Anomalies(
        rng.uniform(size=20), np.arange(20) < 3, rng.normal(size=20), np.full((20, dim), 1 / dim)
    )
    save_anomalies(tmp_path / "found.svg", found, rng.normal(size=(20, dim)), 0.1)
    text = (tmp_path / "found.svg").read_text()
    assert text.startswith("<?xml")
    assert len(text) > 10_000


def test_other_models_than_a_model_are_refused(rng: np.random.Generator) -> None:
    x: Any = rng.normal(size=(60, 2))
    model: Any = "base"
    for ask in (find_anomalies, Reference, entropy):
        with pytest.raises(InputError, match=r"model must be what discoformer.load gives, .* got 'base'"):
            ask(x, model=model)


def test_rates_and_prominences_that_are_no_numbers(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    x, wrong = rng.normal(size=(60, 2)), cast(Any, "a")
    with pytest.raises(InputError, match="fdr must be between 0 and 1, got 'a'"):
        Reference(x, model=gaussian).find(x, fdr=wrong)
    with pytest.raises(InputError, match="prominence must be finite and 0 nats or more, got 'a'"):
        gaussian.estimate(x).modes(prominence=wrong)
