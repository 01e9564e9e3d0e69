"""Estimates of singular tables, on the affine hull of their rows, and their analyses."""

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal

import discoformer
from discoformer import DataWarning, DegenerateDataError, Estimate, InputError, Model
from discoformer.anomalies import Reference, find_anomalies
from discoformer.information import entropy
from discoformer.io.inputs import Floats
from discoformer.plots.density import save_figure

Effort = Literal["fast", "best"]
SEEDS = st.integers(0, 2**32 - 1)
EFFORTS: tuple[Effort, ...] = ("fast", "best")
T = np.array([[1.0, 0, 1, 2, 0], [0, 1, 0, 1, 0]])  # two columns, a copy of one, a combination, a constant
SPAN = [0, 1]  # columns of x @ T that span the hull
LOG_VOLUME = 0.5 * np.linalg.slogdet(T @ T.T)[1]


@pytest.fixture
def x(rng: np.random.Generator) -> Floats:
    """Two clusters with heavy tails."""
    return rng.standard_t(5, size=(200, 2)) @ [[1.0, 0.5], [0, 0.7]] + 4 * rng.integers(2, size=(200, 1))


def read(model: Model, data: Any, effort: Effort = "best", **options: Any) -> Estimate:
    with pytest.warns(DataWarning, match="rank"):
        return model.estimate(data, effort=effort, allow_singular=True, **options)


@pytest.mark.parametrize("effort", EFFORTS)
def test_the_density_is_that_of_columns_that_span_the_hull(kde: Model, x: Floats, effort: Effort) -> None:
    ours, theirs = read(kde, x @ T + 3, effort), kde.estimate(x, effort=effort)
    y = x[:30] * 1.3 + 0.1
    log_density, score = ours.log_density_and_score(y @ T + 3)
    expected, slope = theirs.log_density_and_score(y)
    np.testing.assert_allclose(log_density, expected - LOG_VOLUME, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(score @ T.T, slope, rtol=1e-4, atol=1e-4)  # the same slope along the hull
    assert (ours.diagnostics.rank, ours.diagnostics.dim) == (2, 5)
    assert (theirs.diagnostics.rank, theirs.diagnostics.dim) == (2, 2)


def test_the_gaussian_is_that_of_scipy(gaussian: Model, rng: np.random.Generator) -> None:
    """Density and volume are those of scipy.stats.multivariate_normal(allow_singular=True)."""
    data = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 6))
    data = np.c_[data, np.full(300, 2.0)]
    expected = multivariate_normal(data.mean(0), np.cov(data.T, bias=True), allow_singular=True)
    p = read(gaussian, data)
    np.testing.assert_allclose(p.log_density(data), expected.logpdf(data), rtol=1e-4, atol=1e-4)
    assert p.diagnostics.rank == expected.cov_object.rank == 3


@settings(max_examples=10, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.sampled_from(EFFORTS))
def test_any_columns_that_span_the_hull(
    kde: Model, seed: int, rank: int, more: int, constants: int, effort: Effort
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_t(5, size=(80, rank))
    map_ = np.c_[np.eye(rank), rng.integers(1, 4, (rank, more)), np.zeros((rank, constants))]
    data, order = (x @ map_ + rng.normal(size=map_.shape[1])), rng.permutation(map_.shape[1])
    found = read(kde, data[:, order], effort).log_density(data[:, order])
    log_volume = 0.5 * np.linalg.slogdet(map_ @ map_.T)[1]
    expected = kde.estimate(x, effort=effort).log_density(x) - log_volume
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("effort", EFFORTS)
def test_shifts_scales_and_permutations(kde: Model, x: Floats, effort: Effort) -> None:
    scale, order = np.array([2.0, 1e6, 1e-3, 5, 1]), np.array([3, 0, 4, 2, 1])
    p, q = read(kde, x @ T, effort), read(kde, ((x @ T + 7) * scale)[:, order], effort)
    moved = 0.5 * np.linalg.slogdet((T * scale) @ (T * scale).T)[1]
    expected = p.log_density(x @ T) + LOG_VOLUME - moved
    y = ((x @ T + 7) * scale)[:, order]
    np.testing.assert_allclose(q.log_density(y), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        q.score(y) @ (T * scale)[:, order].T, p.score(x @ T) @ T.T, rtol=1e-3, atol=1e-3
    )


def test_queries_off_the_hull(kde: Model, x: Floats) -> None:
    p, y = read(kde, x @ T + 3), np.repeat((x @ T + 3)[:1], 6, axis=0)
    beside = y + np.r_[np.zeros((1, 5)), 1e-3 * np.eye(5)]
    log_density, score = p.log_density_and_score(beside)
    assert np.isfinite(log_density[0])
    np.testing.assert_array_equal(log_density[1:], -np.inf)
    np.testing.assert_array_equal(score[1:], 0)
    np.testing.assert_array_equal(p.density(beside)[1:], 0)
    np.testing.assert_array_equal(p.log_density(beside, method="normalized")[1:], -np.inf)
    np.testing.assert_array_equal(p.log_density(beside, method="sd_kde")[1:], -np.inf)
    np.testing.assert_array_equal(p.consistency(beside) < np.inf, True)
    np.testing.assert_allclose(p.log_density(y + 1e-8 * np.eye(5)[1]), log_density[0], atol=1e-5)


def test_queries_far_out(kde: Model, x: Floats) -> None:
    p = read(kde, x @ T + 3)
    far = np.array([[1e6, 0], [1e200, 1], [1e307, 1e307]]) @ T + 3
    for found in p.log_density_and_score(far):
        assert np.isfinite(found).all()
    np.testing.assert_array_equal(p.log_density(far + 1e307 * np.eye(5)[4]), -np.inf)


def test_the_score_stays_on_the_hull(kde: Model, x: Floats) -> None:
    p = read(kde, x @ T + 3)
    assert np.isfinite(p.log_density(x @ T + 3 + 0.1 * p.score(x @ T + 3))).all()


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_float32(kde: Model, x: Floats, offset: float) -> None:
    """Queries in float32 are on the hull of a sample in float64, and the other way round."""
    data = (x @ T)[:, [0, 1, 2, 4]] + offset + 0.1
    narrow = data.astype(np.float32)
    for sample, queries in ((narrow, narrow), (narrow, narrow.astype(float)), (data, narrow)):
        found = read(kde, sample).log_density(queries)
        assert found.dtype == queries.dtype
        assert np.isfinite(found).all()
        assert (read(kde, sample).log_density(queries + np.float32(0.5) * np.eye(4)[3]) == -np.inf).all()


def test_without_allow_singular_it_is_an_error_that_names_the_option(kde: Model, x: Floats) -> None:
    for data in (x @ T, np.c_[x, np.ones(200)], np.c_[x, x[:, 0]]):
        with pytest.raises(DegenerateDataError, match="allow_singular=True"):
            kde.estimate(data)
        with pytest.raises(DegenerateDataError, match=r"contexts\[0\].*allow_singular=True"):
            kde.estimate_batch([data])
    with pytest.raises(DegenerateDataError, match="all columns"):
        kde.estimate(np.ones((50, 3)), allow_singular=True)


@pytest.mark.parametrize(("n", "dim"), [(200, 3), (30, 50), (60, 20)])
@pytest.mark.parametrize("effort", EFFORTS)
def test_other_tables_answer_as_without_it(
    kde: Model, rng: np.random.Generator, n: int, dim: int, effort: Effort
) -> None:
    data = rng.standard_t(3, size=(n, dim))
    p, q = (kde.estimate(data, effort=effort, allow_singular=allow) for allow in (True, False))
    for one, other in zip(p.answer(data), q.answer(data), strict=True):
        np.testing.assert_array_equal(one, other)
    assert p.diagnostics == q.diagnostics
    assert p.diagnostics.rank == dim


def test_the_warning_names_the_columns_and_stands_in_the_diagnostics(kde: Model, x: Floats) -> None:
    data = pd.DataFrame(x @ T, columns=list("abcde"))
    with pytest.warns(
        DataWarning, match=r"rank 2 of 5 columns \(column 4 \('e'\) is constant; .*linear comb"
    ):
        p = kde.estimate(data, allow_singular=True)
    assert any("rank 2 of 5 columns" in text for text in p.diagnostics.warnings)


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_batch(kde: Model, x: Floats, effort: Effort) -> None:
    contexts = [x @ T, x, x[:150] @ T, np.c_[x, np.ones(200)]]
    with pytest.warns(DataWarning, match="rank"):
        found = kde.estimate_batch(contexts, effort=effort, allow_singular=True)
    assert [p.diagnostics.rank for p in found] == [2, 2, 2, 2]
    for p, context in zip(found, contexts, strict=True):
        alone = kde.estimate(x, effort=effort) if context is x else read(kde, context, effort)
        np.testing.assert_allclose(p.log_density(context), alone.log_density(context), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sample", [True, False])
@pytest.mark.parametrize("effort", EFFORTS)
def test_saved_estimates(kde: Model, x: Floats, tmp_path: Path, effort: Effort, sample: bool) -> None:
    p, y = read(kde, x @ T, effort), np.r_[x @ T, x @ T + np.eye(5)[1]]
    p.save(tmp_path / "p", sample=sample)
    for q in (discoformer.load_estimate(tmp_path / "p", kde), pickle.loads(pickle.dumps(p))):
        for one, other in zip(p.answer(y), q.answer(y), strict=True):
            np.testing.assert_array_equal(one, other)
        assert q.diagnostics.rank == 2
        assert q.refit(x @ T).is_singular


@pytest.mark.parametrize("effort", EFFORTS)
def test_draws_modes_and_integral(kde: Model, x: Floats, effort: Effort) -> None:
    p, flat = read(kde, x @ T + 3, effort), kde.estimate(x, effort=effort)
    drawn = p.sample(300)
    assert np.isfinite(p.log_density(drawn)).all()
    np.testing.assert_array_equal(drawn[:, 4], 3)
    if effort == "best":
        assert np.isfinite(p.log_density(p.sample(20, "diffusion", steps=4))).all()
    else:
        assert p.entropy().entropy == pytest.approx(flat.entropy().entropy + LOG_VOLUME, abs=0.1)
    assert p.normalization().log_integral == pytest.approx(0, abs=0.1)
    ours, theirs = p.modes(), flat.modes()
    np.testing.assert_allclose(ours.points, theirs.points @ T + 3, atol=1e-3)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert np.isfinite(ours.log_density).all()


@pytest.mark.parametrize("effort", EFFORTS)
def test_diagnose(kde: Model, x: Floats, effort: Effort) -> None:
    p = read(kde, x @ T + 3, effort)
    found, flat = p.diagnose(), kde.estimate(x, effort=effort).diagnose()
    assert found.held_out is not None
    assert flat.held_out is not None
    np.testing.assert_allclose(
        np.sort(found.held_out.gaussian), np.sort(flat.held_out.gaussian) - LOG_VOLUME, atol=0.2
    )
    assert np.isfinite(found.log_density).all()
    findings = {finding.name: finding for finding in found.findings}
    assert "rank 2 of 5" in findings["condition"].value
    off = p.diagnose(x @ T + 3 + np.eye(5)[4])
    assert {finding.name: finding.level for finding in off.findings}["reach"] == "bad"


def test_a_sample_that_is_singular_without_a_fold(kde: Model, x: Floats) -> None:
    """Nothing can be held out of a table whose rank hangs on one row."""
    data = np.c_[x, np.arange(200) == 0]
    found = kde.estimate(data, allow_singular=True, rounding=None).diagnose()
    assert found.held_out is None


def test_marginals(kde: Model, x: Floats) -> None:
    p, flat = read(kde, x @ T + 3, "fast"), kde.estimate(x, effort="fast")
    y = x[:20] @ T + 3
    both = p.marginal([0, 2], method="mixture")
    assert both.diagnostics.rank == 1
    expected = flat.marginal(0, method="mixture").log_density(x[:20, :1])
    np.testing.assert_allclose(both.log_density(y[:, [0, 2]]), expected - 0.5 * np.log(2), atol=1e-4)
    alone = p.marginal([3, 1], method="mixture")
    assert not alone.is_singular
    np.testing.assert_allclose(
        alone.log_density(y[:, [3, 1]]), flat.log_density(x[:20]) - np.log(2), rtol=1e-4, atol=1e-4
    )
    missing = np.where(np.arange(5) == 1, np.nan, y)
    others = p.marginal([0, 2, 3, 4], "mixture").log_density(y[:, [0, 2, 3, 4]])
    np.testing.assert_array_equal(p.log_density(missing, missing="marginal"), others)
    with pytest.warns(DataWarning, match="rank 1 of 2"):
        assert p.marginal([0, 2]).diagnostics.rank == 1


@pytest.mark.parametrize("effort", EFFORTS)
def test_conditionals(kde: Model, x: Floats, effort: Effort) -> None:
    """Given a, its copy is known, and of b and the combination only b is free."""
    p, flat = read(kde, x @ T + 3, effort), kde.estimate(x, effort=effort)
    a = float(x[5, 0])
    ours, theirs = p.conditional({0: a + 3, 4: 3.0}), flat.conditional({0: a})
    y = np.c_[np.full(40, a), np.linspace(-3, 6, 40)]
    log_density, score = ours.log_density_and_score((y @ T + 3)[:, 1:4])
    expected, slope = theirs.log_density_and_score(y[:, 1:])
    tolerance = 1e-4 if effort == "fast" else 0.05  # f(a) is estimated
    np.testing.assert_allclose(log_density, expected - 0.5 * np.log(2), atol=tolerance)
    np.testing.assert_allclose(score[:, 0] + score[:, 2], slope[:, 0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(score[:, 0], score[:, 2], atol=1e-5)
    np.testing.assert_allclose(ours.mean()[[1]], [a + 3], atol=1e-6)
    np.testing.assert_allclose(ours.mean()[0] - 3, theirs.mean(), atol=tolerance)
    drawn = ours.sample(500)
    np.testing.assert_allclose(drawn[:, 2], 2 * a + drawn[:, 0] - 3 + 3, atol=1e-6)
    assert abs(drawn[:, 0].mean() - 3 - theirs.mean()[0]) < 4 * drawn[:, 0].std() / np.sqrt(500)
    beside = (y @ T + 3)[:, 1:4] + [0, 0.1, 0]
    np.testing.assert_array_equal(ours.log_density(beside), -np.inf)


def test_a_conditional_integrates_to_one_along_its_line(kde: Model, x: Floats) -> None:
    """Given the combination, the others move along a line in three columns, of constant speed sqrt(6)."""
    total = float(x[0] @ T[:, 3])
    found = read(kde, x @ T[:, :4], "fast").conditional({3: total})

    def along(t: float) -> float:
        y = np.array([[t, total - 2 * t, t]])
        return float(found.density(y)[0]) * np.sqrt(6)

    assert quad(along, -60, 60, points=[-5, 0, 5], limit=400)[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("effort", EFFORTS)
def test_given_features_that_determine_the_others(kde: Model, x: Floats, effort: Effort) -> None:
    p, row = read(kde, x @ T + 3, effort), (x[:1] @ T + 3)[0]
    found = p.conditional({0: row[0], 3: row[3]})
    np.testing.assert_allclose(found.mean(), row[[1, 2, 4]], atol=1e-6)
    np.testing.assert_allclose(found.sample(3), np.repeat(row[None, [1, 2, 4]], 3, axis=0), atol=1e-6)
    assert found.log_density(row[None, [1, 2, 4]])[0] == pytest.approx(0, abs=1e-5)
    assert found.log_density(row[None, [1, 2, 4]] + 1)[0] == -np.inf
    with pytest.raises(InputError, match="no point of the affine hull"):
        p.conditional({0: 1.0, 2: 2.0})
    with pytest.raises(InputError, match="no point of the affine hull"):
        p.conditional({4: 2.0})


@pytest.mark.parametrize("effort", EFFORTS)
def test_imputation(kde: Model, x: Floats, effort: Effort) -> None:
    """What present entries determine is filled in exactly; the rest as from columns that span the hull."""
    p, rows = read(kde, x @ T + 3, effort), x[:6] @ T + 3
    gaps = rows.copy()
    gaps[0, [0, 4]] = gaps[1, 3] = gaps[2, [2, 1]] = np.nan
    np.testing.assert_allclose(p.impute(gaps), rows, atol=1e-6)
    np.testing.assert_allclose(p.impute(gaps, 2), np.stack([rows, rows]), atol=1e-6)
    gaps[:3], gaps[3:, [1, 3]] = np.nan, np.nan
    filled = p.impute(gaps, samples=4096)
    expected = kde.estimate(x, effort=effort).impute(np.c_[x[3:6, 0], np.full(3, np.nan)], samples=4096)
    np.testing.assert_allclose(filled[3:], expected @ T + 3, atol=0.05)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[:3, 2], filled[:3, 0])


def test_probabilities_of_boxes(kde: Model, x: Floats) -> None:
    p, flat = read(kde, x @ T + 3, "fast"), kde.estimate(x, effort="fast")
    low, high = np.array([-1.0, -2]), np.array([2.0, 3])
    expected = flat.box_probability(low, high)
    wide = np.full(5, np.inf)
    found = p.box_probability(np.r_[low + 3, -wide[2:]], np.r_[high + 3, wide[2:4], 3.0])
    assert found.probability == pytest.approx(expected.probability, abs=5e-3)
    dependent = p.box_probability(np.r_[low + 3, -wide[2:]], np.r_[high + 3, 4.0, 9, 3], samples=2**15)
    inside = flat.sample(2**15)
    share = (
        ((inside > low) & (inside < high) & (inside[:, :1] < 1) & ((inside @ T)[:, 3:4] < 6)).all(1).mean()
    )
    assert dependent.probability == pytest.approx(share, abs=5 * (dependent.standard_error + 1e-3))
    one = flat.box_probability([-1.0, -np.inf], [2.0, np.inf])
    exact = p.box_probability(np.r_[2.0, -wide[1:]], np.r_[5.0, wide[1:]])
    assert exact.probability == pytest.approx(one.probability, abs=1e-6)
    assert exact.standard_error == 0
    assert p.box_probability(np.r_[-wide[:4], 3.5]).probability == 0
    assert p.box_probability(np.r_[-wide[:4], 2.5]).probability == 1


def test_new_rows_off_the_hull_have_the_smallest_p_value(kde: Model, x: Floats) -> None:
    rows = x @ T + 3
    with pytest.warns(DataWarning, match="rank"):
        reference = Reference(rows, model=kde)
    beside = np.tile(rows[reference.estimate.log_density(rows).argmax()], (3, 1))
    beside[:2] += [[0, 0, 0, 0, 1], [0, -2, 0, 0, 0]]
    np.testing.assert_allclose(reference.p_values(beside)[:2], 1 / 201)
    found = reference.find(beside)
    np.testing.assert_array_equal(found.found, [True, True, False])
    np.testing.assert_allclose(found.contributions[0], [0, 0, 0, 0, 1], atol=1e-9)
    assert (
        found.contributions[1, 1] < 0 < found.contributions[1, 3]
    )  # too low for a combination, that is too high
    np.testing.assert_allclose(np.abs(found.contributions).sum(1), 1)
    assert np.isfinite(found.contributions).all()
    with pytest.raises(DegenerateDataError, match="allow_singular"):
        Reference(rows, model=kde, allow_singular=False)


def test_a_row_that_alone_leaves_the_hull_of_the_others_is_an_anomaly(kde: Model, x: Floats) -> None:
    """The table is regular, but without that row it is not."""
    data = np.c_[x, np.ones(200)]
    data[17, 2] = 2
    with pytest.warns(DataWarning, match="rank 2 of 3"):
        found = find_anomalies(data, model=kde, rounding=None)
    assert found.found[17]
    assert found.log_density[17] == -np.inf
    assert found.found.sum() < 20
    np.testing.assert_allclose(found.contributions[17], [0, 0, 1], atol=1e-6)
    assert np.isfinite(found.p_values).all()


def test_more_columns_than_trained(kde: Model, x: Floats) -> None:
    """What counts is the rank."""
    wide = x @ np.random.default_rng(0).normal(size=(2, 120))
    p = read(kde, wide)
    assert not any("trained on" in text for text in p.diagnostics.warnings)


def test_pixels_that_are_never_lit(kde: Model, rng: np.random.Generator) -> None:
    """Like the tables of digits of ADBench: many columns constant, and in new rows some of them are not."""
    image = np.zeros((300, 64))
    image[:, 10:40] = rng.gamma(1.0, size=(300, 30)) * rng.integers(2, size=(300, 30))
    p = read(kde, image, "fast")
    assert p.diagnostics.rank == 30
    assert np.isfinite(p.log_density(image)).all()
    new = image[:5].copy()
    new[:2, 0] = 1
    np.testing.assert_array_equal(np.isinf(p.log_density(new)), [True, True, False, False, False])


def test_columns_that_add_up_with_others_beside(kde: Model, rng: np.random.Generator) -> None:
    """Like the table cardio of ADBench: standardised columns, one of them the difference of two others."""
    x = rng.gamma(2.0, size=(300, 12))
    data = np.c_[x, x[:, 11] - x[:, 10]]
    data = (data - data.mean(0)) / data.std(0)
    p = read(kde, data, "fast")
    assert p.diagnostics.rank == 12
    assert np.isfinite(p.log_density(data)).all()
    assert "column 10, column 11, column 12 are linear combinations" in p.diagnostics.warnings[0]


def test_the_entropy_is_that_on_the_hull(kde: Model, x: Floats) -> None:
    with pytest.warns(DataWarning, match="rank"):
        found = entropy(x @ T, model=kde, allow_singular=True)
    assert found.value == pytest.approx(entropy(x, model=kde).value + LOG_VOLUME, abs=0.05)
    alone = np.c_[x, np.arange(200) == 0]
    with (
        pytest.warns(DataWarning, match="rank"),
        pytest.raises(DegenerateDataError, match="off the affine hull"),
    ):
        entropy(alone, model=kde, allow_singular=True, rounding=None)


@pytest.mark.parametrize("data", ["a table", "a plane"])
def test_the_picture_shows_the_rows(kde: Model, x: Floats, tmp_path: Path, data: str) -> None:
    rows = x @ T if data == "a table" else np.c_[x[:, 0], 2 * x[:, 0]]
    save_figure(tmp_path / "p.png", read(kde, rows), rows, list("abcde")[: rows.shape[1]])
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
