"""Diagnosis: correct figures where a closed form is known, and a finding where something is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde, multivariate_normal

import discoformer
from discoformer.analysis.consistency import consistency_of
from discoformer.analysis.diagnosis import VERDICTS
from discoformer.analysis.findings import LEVELS, _level, condition_finding
from discoformer.analysis.held_out import (
    HeldOut,
    fit_folds,
    gaussian_log_density,
    hold_out,
    jackknife,
    kernel_log_density,
    mean_and_error,
    standard_error,
    stein_of,
)
from discoformer.errors import DataWarning, InputError
from discoformer.io.inputs import Floats
from discoformer.plots.diagnosis import save_report
from discoformer.table.cells import few_valued

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(kde: discoformer.Model) -> discoformer.Diagnosis:
    """Diagnosis of a sample without faults."""
    return kde.estimate(np.random.default_rng(1).normal(size=(60, 2))).diagnose()


def levels(found: discoformer.Diagnosis) -> dict[str, str]:
    return {finding.name: finding.level for finding in found.findings}


def equal(n: int) -> Floats:
    return np.full(n, 1 / n)


def test_the_gaussian_fit_of_a_gaussian_is_fine(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    p = gaussian.estimate(rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3)) * [1e6, 1, 1e-3])
    found = p.diagnose()
    assert found.level == "fine"
    assert found.verdict.startswith("Trust it: ")
    assert set(levels(found).values()) == {"fine"}
    assert found.held_out is not None
    np.testing.assert_allclose(found.held_out.ours, found.held_out.gaussian, atol=1e-4)
    assert found.consistency.residual.max() < 1e-3
    assert str(found).count("\n") == len(found.findings)
    text = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert text["level"] == "fine"
    assert len(text["findings"]) == len(found.findings)


def test_a_gaussian_on_two_clusters_is_found_out(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(120, 2)) + np.repeat([[0, 0], [9, 0]], 60, axis=0)
    found = gaussian.estimate(x).diagnose()
    assert levels(found)["held-out likelihood, KDE"] != "fine"
    assert found.level != "fine"
    ours = discoformer.load("base", device="cpu", threads=1).estimate(x).diagnose()
    assert levels(ours)["held-out likelihood, KDE"] == "fine"


def test_bad_data_are_found_out(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, 3))
    x[:, 1] = np.round(x[:, 1])
    x[:, 2] = x[:, 0] + 1e-4 * x[:, 2]
    found = gaussian.estimate(pd.DataFrame(x, columns=["a", "b", "c"])).diagnose()
    assert levels(found)["few-valued columns"] == "doubtful"
    assert "column 1 ('b')" in str(found)
    assert levels(found)["condition"] == "doubtful"
    with pytest.warns(DataWarning, match="160 of 200 rows of X repeat others"):
        repeated = gaussian.estimate(np.repeat(x[:40, :1], 5, axis=0)).diagnose()
    assert levels(repeated)["repeated rows"] == "bad"
    assert repeated.verdict.startswith("Do not trust it")
    few = gaussian.estimate(rng.normal(size=(9, 4))).diagnose()
    assert levels(few)["size"] == "doubtful"
    assert "take 16 rows or more" in str(few)


def test_a_sample_too_poor_to_split_is_bad(gaussian: discoformer.Model) -> None:
    x = np.array([[0.0], [0.0], [0.0], [0.0], [1.0]])
    found = gaussian.estimate(x).diagnose()
    assert found.held_out is None
    assert levels(found)["held-out likelihood"] == "bad"
    assert json.dumps(found.as_dict(), allow_nan=False)


def test_queries_beyond_the_sample(kde: discoformer.Model, rng: np.random.Generator) -> None:
    p = kde.estimate(rng.normal(size=(100, 2)))
    found = p.diagnose([[0.0, 0.0], [9.0, 9.0]])
    assert levels(found)["reach"] == "doubtful"
    assert "1 of 2 queries" in str(found)
    assert found.log_density.shape == (2,)
    with pytest.raises(InputError, match="Y must have 2 columns"):
        p.diagnose([[1.0]])
    with pytest.raises(InputError, match="seed must be"):
        p.diagnose(seed=-1)


def test_disagreement_is_measured_right(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    p = gaussian.estimate(rng.normal(size=(300, 4)) * [1, 10, 100, 1000])
    z = rng.normal(size=(40, 4))
    wrong = rng.normal(size=4)

    class Off:
        """The same density, with a constant added to the score."""

        effort = "best"

        def answer_in_frame(self, z: Floats) -> tuple[Floats, Floats]:
            log_density, score = p.answer_in_frame(z)
            return log_density, score + wrong

    found = consistency_of(Off(), z, 3000, 0)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.residual, np.sqrt(np.mean(wrong**2)), rtol=0.05)
    assert consistency_of(p, z, 5, 0).residual.max() < 2e-3


def test_consistency_has_the_form_of_the_queries(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x = pd.DataFrame(rng.normal(size=(100, 2)), columns=["a", "b"])
    p = kde.estimate(x)
    found = p.consistency(x)
    assert isinstance(found, pd.Series)
    assert found.max() < 0.02
    np.testing.assert_allclose(p.consistency(x[:3]), found[:3], atol=1e-3)
    with pytest.raises(InputError, match="directions must be a whole number, 1 or more"):
        p.consistency(x, directions=0)


def test_simple_methods_are_those_of_scipy(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(80, 2)) * [1, 50], equal(80)
    y = rng.normal(size=(9, 2)) * [1, 50]
    fit = multivariate_normal(x.mean(axis=0), np.cov(x.T, bias=True))
    np.testing.assert_allclose(gaussian_log_density(x, w, 80.0, y), fit.logpdf(y))
    for simple in (gaussian_log_density, kernel_log_density):
        for unit in (1e-170, 1e170):
            moved = simple(x * unit, w, 80.0, y * unit) + 2 * np.log(unit)
            np.testing.assert_allclose(moved, simple(x, w, 80.0, y), rtol=1e-9)
    one = x[:, :1]
    kernel = gaussian_kde(one.T, bw_method=80 ** (-1 / 5) * np.sqrt(79 / 80))
    np.testing.assert_allclose(kernel_log_density(one, w, 80.0, y[:, :1]), kernel.logpdf(y[:, :1].T))


def test_held_out_points_have_not_been_seen(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 2))
    p = gaussian.estimate(x)
    folds = fit_folds(p, seed=3)
    assert (np.sum([fold.test for fold in folds], axis=0) == 1).all()
    points = p.data.points
    for test, found in folds:
        assert found.diagnostics.n == 60 - test.sum()
        np.testing.assert_allclose(found.frame.center, points[~test].mean(axis=0), atol=1e-6)
    held_out = hold_out(p, folds)
    in_sample = p.log_density(points)
    assert held_out.ours.mean() < in_sample.mean()


def test_of_many_points_some_are_asked_as_if_all_were(
    gaussian: discoformer.Model, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = gaussian.estimate(rng.normal(size=(90, 2)), rng.random(90))
    folds = fit_folds(p, seed=1)
    whole = hold_out(p, folds)
    monkeypatch.setattr("discoformer.analysis.held_out.ASKED", 31)
    some = hold_out(p, folds)
    assert len(some.ours) == 31
    assert some.weights.sum() == pytest.approx(1)
    rows = [np.flatnonzero((whole.points == point).all(axis=1)).item() for point in some.points]
    for name in ("ours", "kde", "gaussian", "score"):
        np.testing.assert_allclose(getattr(some, name), getattr(whole, name)[rows], rtol=1e-5, atol=1e-6)


def test_the_jackknife_is_that_of_a_mean(rng: np.random.Generator) -> None:
    parts = rng.normal(size=(2000, 5, 40))  # draws of 5 parts of 40 points
    without = (parts.sum(axis=(1, 2))[:, None] - parts.sum(axis=2)) / 160
    assert np.mean(jackknife(without.T) ** 2) == pytest.approx(1 / 200, rel=0.1)


def test_the_standard_error_falls_with_the_rows(
    gaussian: discoformer.Model, rng: np.random.Generator
) -> None:
    x, at = rng.normal(size=(640, 1)), np.linspace(-2, 2, 9)[:, None]
    few, many = (gaussian.estimate(x[:n]) for n in (40, 640))
    errors = [standard_error(fit_folds(p, 0), at).mean() for p in (few, many)]
    assert 1.5 < errors[0] / errors[1] < 12  # 4 on average


def test_stein_identities(rng: np.random.Generator) -> None:
    z = rng.normal(size=(4000, 3))
    filler = np.zeros(len(z))
    right = stein_of(HeldOut(equal(len(z)), filler, filler, filler, z, -z))
    assert right.size < 0.02
    assert abs(right.trace + 1) < 4 * right.trace_error < 0.1
    wrong = stein_of(HeldOut(equal(len(z)), filler, filler, filler, z, -1.5 * z + [0.4, 0, 0]))
    assert wrong.trace == pytest.approx(-1.5, abs=0.1)
    assert wrong.size == pytest.approx(np.sqrt((0.4**2 + 3 * 0.5**2) / 12), rel=0.2)


def test_weighted_mean_and_error(rng: np.random.Generator) -> None:
    values = rng.normal(size=(50, 2, 3))
    mean, error = mean_and_error(values, equal(50))
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_allclose(error, values.std(axis=0) / np.sqrt(50))


def test_few_valued_columns(rng: np.random.Generator) -> None:
    x = np.c_[rng.normal(size=400), rng.integers(0, 19, 400), rng.integers(0, 1000, 400)].astype(np.float32)
    assert few_valued(x.astype(float)) == [1]
    assert few_valued(x * 1e6 + 1e3) == [1]


@pytest.mark.parametrize("suffix", [".html", ".pdf"])
def test_a_report(plain: discoformer.Diagnosis, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"page{suffix}"
    save_report(path, plain, "Of <this>")
    data = path.read_bytes()
    starts = {".html": b"<!doctype html>", ".pdf": b"%PDF"}
    assert data.startswith(starts[suffix])
    if suffix == ".html":
        assert "Of &lt;this&gt;" in data.decode()
        assert all(finding.text.split("'")[0] in data.decode() for finding in plain.findings)


def test_a_report_of_a_poor_sample(gaussian: discoformer.Model, tmp_path: Path) -> None:
    found = gaussian.estimate(np.array([[0.0], [0.0], [0.0], [0.0], [1.0]])).diagnose()
    save_report(tmp_path / "page.png", found, "Poor")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_the_level_is_that_of_the_worst(plain: discoformer.Diagnosis) -> None:
    for worst in LEVELS:
        findings = (discoformer.Finding("made up", worst, "0", "Nothing."), *plain.findings[:2])
        found = replace(plain, findings=findings)
        assert found.level == worst
        assert found.verdict == VERDICTS[worst]


def test_what_is_no_number_is_bad() -> None:
    assert [_level(value, (1, 2)) for value in (0.5, 1, 2, np.nan)] == ["fine", "doubtful", "bad", "bad"]


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_units_do_not_matter_for_the_condition(
    gaussian: discoformer.Model, rng: np.random.Generator, unit: float
) -> None:
    x = rng.normal(size=(60, 2))
    assert condition_finding(gaussian.estimate(x * unit)) == condition_finding(gaussian.estimate(x))


def test_no_queries_are_not_diagnosed(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="Y must have 1 row or more"):
        gaussian.estimate(rng.normal(size=(60, 2))).diagnose(np.empty((0, 2)))
