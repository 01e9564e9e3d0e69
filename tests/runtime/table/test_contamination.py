"""Contaminated samples: the estimate of the other rows, plain warnings, and every entry point alike."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.stats import multivariate_normal

import discoformer
from discoformer.anomalies import Reference, find_anomalies
from discoformer.cli import main
from discoformer.errors import DataWarning
from discoformer.information import entropy
from discoformer.io.inputs import Floats
from discoformer.onnx.names import Effort
from discoformer.sklearn import AnomalyDetector, DensityEstimator, DensityImputer

FAR = "Left out {} of {} rows of X"
SHAPE = np.array([[1.0, 0.5], [0.0, 2.0]])  # of the clean rows: x = z SHAPE


@pytest.fixture
def clean(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(400, 2)) @ SHAPE


@pytest.fixture
def dirty(clean: Floats) -> Floats:
    return np.insert(clean, [30, 100, 100], [[1e6, -3e7], [-5e5, 2e6], [3e6, -4e7]], axis=0)  # 30, 101, 102


def estimated(model: discoformer.Model, x: Any, match: str, **options: Any) -> discoformer.Estimate:
    with pytest.warns(DataWarning, match=match):
        return model.estimate(x, **options)


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_the_estimate_is_that_of_the_other_rows(
    kde: discoformer.Model, clean: Floats, dirty: Floats, effort: Effort
) -> None:
    p, other = estimated(kde, dirty, FAR.format(3, 403), effort=effort), kde.estimate(clean, effort=effort)
    lowered = other.log_density(clean) + np.log1p(-3 / 403)
    np.testing.assert_allclose(p.log_density(clean), lowered, rtol=1e-14)
    np.testing.assert_array_equal(p.score(clean), other.score(clean))
    np.testing.assert_array_equal(p.data.points, other.data.points)
    assert p.diagnostics.left_out == pytest.approx(3 / 403)
    assert (p.diagnostics.n, p.diagnostics.effective_size) == (400, pytest.approx(400))
    assert p.log_density(dirty[[30, 101]]).max() < p.log_density(clean).min() - 10
    assert p.normalization().log_integral == other.normalization().log_integral


def test_nothing_changes_where_nothing_is_found(kde: discoformer.Model, clean: Floats) -> None:
    found = kde.estimate(clean).diagnostics
    assert (found.left_out, found.copied, found.tied, found.codes, found.warnings) == (0, 0, 0, "", ())


def test_rows_are_numbered_as_the_user_counts_them(kde: discoformer.Model, dirty: Floats) -> None:
    """Rows of weight zero and rows with missing values come before the rows far out."""
    w = np.ones(403)
    w[:20] = 0
    frame = pd.DataFrame(dirty, columns=["a", "b"])
    frame.loc[[21, 50], "a"] = np.nan
    with pytest.warns(DataWarning) as caught:
        kde.estimate(frame, w)
    texts = [str(warning.message) for warning in caught]
    assert texts[0] == "Left out 2 of 403 rows of X, which have missing values."
    assert texts[1].startswith("Left out 3 of 381 rows of X")
    assert "rows 30, 101, 102, with values far from the others in column 0 ('a'), column 1 ('b')" in texts[1]
    assert caught[1].filename == __file__


def test_copies_count_once(kde: discoformer.Model, clean: Floats, rng: np.random.Generator) -> None:
    copied = np.tile(clean, (3, 1))
    p, once = estimated(kde, copied, r"800 of 1200 rows of X repeat others \(rows "), kde.estimate(clean)
    assert p.diagnostics.effective_size == pytest.approx(400)
    assert p.diagnostics.copied == pytest.approx(2 / 3)
    np.testing.assert_allclose(p.log_density(clean), once.log_density(clean), atol=1e-4)
    given = kde.estimate(copied, effective_size=1200)
    assert given.diagnostics.effective_size == 1200
    assert not given.diagnostics.warnings


def test_codes_are_told(kde: discoformer.Model, clean: Floats) -> None:
    clean[[5, 7, 9, 11], 1] = -999
    p = estimated(kde, clean, r"codes for missing values: -999 in column 1 \(rows 5, 7, 9, 11\)\. Replace")
    assert p.diagnostics.left_out == 0
    assert p.diagnostics.codes == "-999 in column 1 (rows 5, 7, 9, 11)"


def test_ties_that_nothing_explains(kde: discoformer.Model, clean: Floats) -> None:
    rounded = clean.round(1)
    assert not kde.estimate(rounded).diagnostics.tied
    p = estimated(kde, np.repeat(rounded, 2, axis=0), "repeat others .* pass rounding", rounding=None)
    assert p.diagnostics.tied >= 0.5
    assert p.diagnostics.effective_size == pytest.approx(800)


def test_a_given_effective_size_falls_with_the_rows(kde: discoformer.Model, dirty: Floats) -> None:
    p = estimated(kde, dirty, "Left out", effective_size=100)
    assert p.diagnostics.effective_size == pytest.approx(100 * 400 / 403)


@pytest.mark.parametrize("fill", [1e20, 1e38, 1.7e308])
@pytest.mark.parametrize("effort", ["fast", "best"])
def test_fill_values_of_any_size(kde: discoformer.Model, clean: Floats, fill: float, effort: Effort) -> None:
    dirty = clean.copy()
    dirty[[4, 8, 15], 1] = fill
    with pytest.warns(DataWarning) as caught:
        p = kde.estimate(dirty, effort=effort)
    assert [str(warning.message)[:12] for warning in caught] == ["Left out 3 o", "X has values"]
    log_density, score = p.log_density_and_score(dirty)
    assert np.isfinite(log_density).all()
    assert np.isfinite(score).all()
    assert set(np.argsort(log_density)[:3]) == {4, 8, 15}


@pytest.mark.filterwarnings("ignore::discoformer.errors.DataWarning")
def test_marginals_and_conditionals_know_the_share(mixture: discoformer.Model, dirty: Floats) -> None:
    p = mixture.estimate(dirty, effort="fast")
    log_share, at = np.log1p(-3 / 403), np.linspace(-2, 2, 5)[:, None]
    for marginal in (p.marginal(0, method="mixture"), p.marginal(0)):
        assert marginal.frame.log_share == pytest.approx(log_share)
        assert marginal.diagnostics.left_out == pytest.approx(3 / 403)
    low, high = -1e3, 1e3
    y = np.linspace(low, high, 400_001)[:, None]
    conditional = p.conditional({0: 0.3})
    assert np.exp(conditional.log_density(y)).sum() * (high - low) / 400_000 == pytest.approx(1, abs=1e-3)
    joint = p.log_density(np.c_[np.full(5, 0.3), at]) - p.marginal(0, method="mixture").log_density([[0.3]])
    np.testing.assert_allclose(conditional.log_density(at), joint, atol=1e-5)
    other = mixture.estimate(np.delete(dirty, [30, 101, 102], axis=0), effort="fast")
    assert p.entropy() == other.entropy()


@pytest.mark.filterwarnings("ignore::discoformer.errors.DataWarning")
def test_saved_and_loaded(kde: discoformer.Model, dirty: Floats, tmp_path: Path) -> None:
    p = kde.estimate(np.r_[dirty, dirty[:200]])
    p.save(tmp_path / "p.npz")
    again = discoformer.load_estimate(tmp_path / "p.npz", kde)
    assert again.diagnostics == p.diagnostics
    np.testing.assert_array_equal(again.log_density(dirty), p.log_density(dirty))
    assert again.refit(dirty).diagnostics.left_out == pytest.approx(3 / 403)  # without a warning


def test_batches_say_in_which_sample(kde: discoformer.Model, clean: Floats, dirty: Floats) -> None:
    with pytest.warns(DataWarning, match=r"^contexts\[1\]: Left out 3 of 403 rows of X") as caught:
        _, p = kde.estimate_batch([clean, dirty])
    assert len(caught) == 1
    assert p.diagnostics.left_out == pytest.approx(3 / 403)


@pytest.mark.slow
def test_estimators_of_scikit_learn(kde_folder: Path, dirty: Floats) -> None:
    with pytest.warns(DataWarning, match="Left out 3 of 403"):
        estimator = DensityEstimator(kde_folder, device="cpu").fit(dirty)
    assert set(np.argsort(estimator.score_samples(dirty))[:3]) == {30, 101, 102}
    with pytest.warns(DataWarning, match="Left out 3 of 403"):
        detector = AnomalyDetector(0.01, kde_folder, device="cpu").fit(dirty)
    assert set(np.flatnonzero(detector.predict(dirty) < 0)) >= {30, 101, 102}
    dirty[[0, 50], 0] = np.nan
    with pytest.warns(DataWarning, match="Left out 3 of 401 rows of X, .*: rows 30, 101, 102"):
        DensityImputer(kde_folder, device="cpu").fit(dirty)


@pytest.mark.slow
@pytest.mark.parametrize("far", [1e6, 1e30])
def test_contaminated_references_and_anomalies(
    mixture: discoformer.Model, clean: Floats, rng: np.random.Generator, far: float
) -> None:
    """A reference warns once, by the rows of the user. In a sample, rows far out are what is looked for."""
    clean[[3, 77, 200]] = far * np.array([[1, 0], [2, 1], [-5, 3]])
    with pytest.warns(DataWarning, match="rows 3, 77, 200") as caught:
        reference = Reference(clean, model=mixture)
    assert len(caught) == 1
    p_values = reference.p_values(np.r_[[[far, far], [30.0, 30.0]], rng.normal(size=(50, 2)) @ SHAPE])
    assert p_values[:2].max() <= 4 / 401  # the rows far out may lie farther out than these
    assert p_values[2:].mean() == pytest.approx(0.5, abs=0.2)
    found = find_anomalies(clean, model=mixture)
    assert found.found[[3, 77, 200]].all()
    np.testing.assert_array_equal(found.contributions[3] > 0.9, [True, False])


@pytest.mark.slow
def test_information_is_about_the_other_rows(
    gaussian: discoformer.Model, clean: Floats, dirty: Floats
) -> None:
    with pytest.warns(DataWarning, match="rows 30, 101, 102"):
        found = entropy(dirty, model=gaussian)
    truth = multivariate_normal(np.zeros(2), SHAPE.T @ SHAPE).entropy()
    assert found.value == pytest.approx(truth, abs=4 * found.standard_error)


@pytest.mark.slow
def test_estimate_and_diagnose_agree(kde: discoformer.Model, clean: Floats, dirty: Floats) -> None:
    coded = clean.copy()
    coded[[5, 7, 9, 11], 1] = -999
    twice = np.repeat(clean[:150], 2, axis=0)
    for x, doubtful, options in (
        (clean, set(), {}),
        (dirty, {"rows far out"}, {}),
        (coded, {"codes"}, {}),
        (twice, {"repeated rows"}, {}),
        (twice.round(1), {"repeated rows"}, {"rounding": None}),
        (np.r_[dirty, dirty], {"rows far out", "repeated rows"}, {}),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            p = kde.estimate(x, **options)
        assert len(caught) == len(doubtful)
        assert all(str(warning.message) in p.diagnostics.warnings for warning in caught)
        levels = {f.name: f.level for f in p.diagnose().findings}
        told = {name for name in ("rows far out", "codes", "repeated rows") if levels[name] != "fine"}
        assert told == doubtful


def test_the_command_line_tells_once(kde_folder: Path, dirty: Floats, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    pd.DataFrame(dirty, columns=["a", "b"]).to_csv(path, index=False)
    options = ["--model", str(kde_folder), "--device", "cpu"]
    found = CliRunner().invoke(main, ["estimate", str(path), *options, "--format", "jsonl"])
    assert found.exit_code == 0, found.output
    assert found.stderr.count("Left out 3 of 403 rows of X") == 1
    assert "rows 30, 101, 102, with values far" in found.stderr
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert set(np.argsort([row["log_density"] for row in rows])[:3]) == {30, 101, 102}


@pytest.mark.slow
@pytest.mark.parametrize("effort", ["fast", "best"])
@pytest.mark.parametrize("dim", [2, 5])
def test_the_released_model_on_contaminated_samples(
    rng: np.random.Generator, dim: int, effort: Effort
) -> None:
    """Rows far out cost at most 0.01 nats^2; copies cost nothing against each row once."""
    model = discoformer.load("base", device="cpu", threads=1)
    shape = rng.normal(size=(dim, dim))
    x, y = (rng.normal(size=(n, dim)) @ shape for n in (1000, 300))
    truth = multivariate_normal(np.zeros(dim), shape.T @ shape).logpdf(y)

    def error(sample: Floats) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            found: Floats = model.estimate(sample, effort=effort).log_density(y)
        return float(np.mean((found - truth) ** 2))

    pure, ten, one, sentinel = error(x), x.copy(), x.copy(), x.copy()
    ten[:10], one[0], sentinel[:10, 0] = 1e6, 1e8, 1e6
    for dirty in (ten, one, sentinel):
        assert error(dirty) < pure + 0.01
    assert error(np.repeat(x[:300], 20, axis=0)) == pytest.approx(error(x[:300]), rel=0.02, abs=2e-3)
