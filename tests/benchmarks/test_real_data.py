"""The benchmarks on real data: their data, their estimators, and the commands on the smallest of the sets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import gaussian_kde, multivariate_normal
from sklearn.metrics import roc_auc_score

import discoformer
from benchmarks.accuracy import anomalies, real_data
from benchmarks.common import data_sets, estimators, report

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "base"
WRITTEN = ROOT / "docs" / "real_data"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "unit"), [([3, 5, 800], 1), ([0.3, 2, 0.3], 0.1), ([1.0039, 7], 1e-4), ([-0.25, 0.3], 0.01)]
)
def test_the_last_place_of_a_column(values: list[float], unit: float) -> None:
    assert data_sets.last_place(np.array(values)) == pytest.approx(unit)


@pytest.mark.parametrize("name", list(data_sets.LOADERS))
def test_noise_is_what_rounding_takes_away(name: str) -> None:
    raw = np.asarray(data_sets.LOADERS[name]().data, dtype=float)
    raw = raw[:, np.ptp(raw, axis=0) > 0]
    found = data_sets.load(name).points
    assert found.shape == raw.shape
    for column, noisy in zip(raw.T, found.T, strict=True):
        places = round(-np.log10(data_sets.last_place(column)))
        np.testing.assert_allclose(np.round(noisy, places), column, rtol=0, atol=1e-3 * 10.0**-places)
        assert len(np.unique(noisy)) == len(noisy)
    np.testing.assert_array_equal(found, data_sets.load(name).points)


def test_leaving_one_out(rng: np.random.Generator) -> None:
    points, bandwidths = rng.normal(size=30), np.array([0.3, 1.0])
    found = estimators.leave_one_out(points[:, None], bandwidths)
    for bandwidth, mean in zip(bandwidths, found, strict=True):
        each = []
        for i, point in enumerate(points):
            others = np.delete(points, i)
            each.append(gaussian_kde(others, bw_method=bandwidth / others.std(ddof=1)).logpdf(point))
        assert mean == pytest.approx(np.mean(each))


def test_the_kde_chooses_its_coordinates(rng: np.random.Generator) -> None:
    train, test = np.split(rng.normal(size=(400, 2)) @ [[1.0, 0.99], [0.0, 0.1]], 2)
    found = estimators.kde(train, test, 0).mean()
    assert found > gaussian_kde(train.T, bw_method=1.5).logpdf(test.T).mean()
    truth = multivariate_normal(np.zeros(2), np.array([[1.0, 0.99], [0.99, 0.99**2 + 0.01]])).logpdf(test)
    assert found == pytest.approx(truth.mean(), abs=0.3)


def test_the_flow_is_a_density_and_learns(rng: np.random.Generator) -> None:
    train, test = np.split(rng.exponential(size=(600, 2)) * [1.0, 100.0], 2)
    axis = (np.arange(120) + 0.5) / 12 - 1
    grid = np.stack(np.meshgrid(axis, 100 * axis), axis=-1).reshape(-1, 2)
    found = estimators.flow(train, np.concatenate([test, grid]), seed=0)
    assert np.exp(found[len(test) :]).sum() * 100 / 12**2 == pytest.approx(1, abs=0.05)
    assert found[: len(test)].mean() > estimators.gaussian(train, test, 0).mean() + 0.2


def test_the_error_counts_the_overlap_of_splits() -> None:
    result = real_data.Result("", 1, 80, 20, 0, "", 0.0, 0.0)
    found = real_data.corrected_error(np.array([1.0, 3.0, 2.0, 2.0]), result)
    assert found == pytest.approx(np.sqrt((1 / 4 + 20 / 80) * 2 / 3))


def test_the_command_on_held_out_likelihood(tmp_path: Path) -> None:
    options = ["--data", "linnerud", "--dim", "2", "--splits", "2", "--few-splits", "1", "--seed", "3"]
    done = CliRunner().invoke(real_data.main, [str(MODEL), "--out", str(tmp_path), *options])
    assert done.exit_code == 0, done.output
    results = report.read(tmp_path / "base.json")
    assert len(results) == 2 * (2 * 5 + 1)
    assert (tmp_path / "base.md").read_text(encoding="utf-8") in done.output
    points = data_sets.principal("linnerud", data_sets.load("linnerud", 3).points, None)
    rows = np.random.default_rng([3, 1]).permutation(20)
    train, test = points[rows[:16]], points[rows[16:]]
    expected = multivariate_normal(train.mean(axis=0), np.cov(train.T, bias=True)).logpdf(test).mean()
    (found,) = (r for r in results if (r["dim"], r["split"], r["estimator"]) == (3, 1, "one Gaussian"))
    assert found["log_likelihood"] == pytest.approx(expected, abs=1e-3)


def test_the_adapted_network_stands_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_data, "others", lambda _: {})  # which take longer
    found = [*real_data.measure(discoformer.load(MODEL, device="cpu", threads=1), ["iris"], [2], 2, 1, 0)]
    plain, adapted = (
        [r for r in found if (r.dim, r.estimator) == (2, name)]
        for name in (real_data.OURS, real_data.ADAPTED)
    )
    assert [r.split for r in adapted] == [0]
    assert abs(adapted[0].log_likelihood - plain[0].log_likelihood) < 0.5
    line = next(line for line in real_data.table(found).splitlines() if line.startswith("| iris, 2,"))
    assert f"{adapted[0].log_likelihood - plain[0].log_likelihood:+.3f}" in line.split("|")[3]
    unknown = [r if r.estimator != real_data.ADAPTED else replace(r, effective_samples=9.0) for r in found]
    line = next(line for line in real_data.table(unknown).splitlines() if line.startswith("| iris, 2,"))
    assert not line.split("|")[3].strip()


def test_the_command_on_anomalies(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        anomalies.main, [str(MODEL), "--out", str(tmp_path), "--task", "wine", "--splits", "1"]
    )
    assert done.exit_code == 0, done.output
    results = report.read(tmp_path / "base_anomalies.json")
    assert {(r["detector"], r["normal"]) for r in results} == {
        (detector, normal) for detector in anomalies.detectors(None) for normal in (0, 1, 2)
    }
    points, labels = data_sets.load("wine")
    rows = np.random.default_rng([0, 0, 2]).permutation(48)
    train, kept = points[labels == 2][rows[:38]], points[labels == 2][rows[38:]]
    test = np.concatenate([kept, points[labels != 2]])
    density = multivariate_normal(train.mean(axis=0), np.cov(train.T, bias=True))
    area = roc_auc_score(np.arange(len(test)) < len(kept), density.logpdf(test))
    (found,) = (r["area"] for r in results if (r["detector"], r["normal"]) == ("one Gaussian", 2))
    assert found == pytest.approx(area, abs=1e-3)
    assert min(r["area"] for r in results if r["detector"] == "DiScoFormer") > 0.9


@pytest.mark.parametrize(("script", "name"), [(real_data, "base"), (anomalies, "base_anomalies")])
def test_the_tables_are_those_of_the_results(script: object, name: str) -> None:
    results = [script.Result(**result) for result in report.read(WRITTEN / f"{name}.json")]
    assert script.table(results) in (WRITTEN / f"{name}.md").read_text(encoding="utf-8")
