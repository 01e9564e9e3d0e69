"""The benchmark on tables of R's packages: its tables, its command, and results that are kept."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import multivariate_normal

from benchmarks.accuracy import real_tables
from benchmarks.common import r_tables, report

MODEL = Path(__file__).parents[2] / "models" / "base"
SETTINGS = real_tables.SETTINGS


def run(out: Path, *options: str) -> str:
    arguments = [str(MODEL), "--out", str(out), "--table", "datasets/faithful", "--splits", "2", *options]
    done = CliRunner().invoke(real_tables.main, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_there_are_thirty_tables_and_more() -> None:
    assert len(set(r_tables.NAMES)) == len(r_tables.NAMES) >= 30
    assert set(real_tables.FLOWN) <= set(r_tables.NAMES)


@pytest.mark.parametrize("name", r_tables.NAMES)
def test_tables_are_numbers_of_a_size_to_learn_from(name: str) -> None:
    points = r_tables.load(name)
    assert 100 <= len(points) <= r_tables.MOST_ROWS
    assert 2 <= points.shape[1] <= 30
    assert np.isfinite(points).all()
    assert (np.ptp(points, axis=0) > 0).all()


def test_the_command(tmp_path: Path) -> None:
    output = run(tmp_path, "--method", "best", "--method", "fast", "--method", "EM, BIC")
    results = [real_tables.Result(**result) for result in report.read(tmp_path / "base_tables.json")]
    assert {(r.setting, r.split, r.method) for r in results} == {
        (setting, split, method)
        for setting in SETTINGS
        for split in (0, 1)
        for method in ("best", "fast", "EM, BIC")
    }
    assert (tmp_path / "base_tables.md").read_text(encoding="utf-8") in output
    train = r_tables.load("datasets/faithful")
    gaussian = multivariate_normal(train.mean(axis=0), np.cov(train.T)).logpdf(train).mean()
    worse = gaussian + np.log(train.std(axis=0)).sum()  # in standardised columns, like the results
    assert all(worse < r.log_likelihood < worse + 2 for r in results if r.setting == SETTINGS[1])
    assert all((r.log_integral == 0) == (r.method == "fast") for r in results if r.method != "EM, BIC")


def test_results_are_kept_until_they_are_wanted_again(tmp_path: Path) -> None:
    run(tmp_path, "--method", "EM, BIC")
    path = tmp_path / "base_tables.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    right = content["results"]["log_likelihood"]
    content["results"]["log_likelihood"] = [7.0] * len(right)
    path.write_text(json.dumps(content), encoding="utf-8")
    run(tmp_path, "--method", "EM, BIC", "--method", "KDE")
    found = report.read(path)
    assert {r["log_likelihood"] for r in found if r["method"] == "EM, BIC"} == {7.0}
    assert all(r["log_likelihood"] < 0 for r in found if r["method"] == "KDE")
    run(tmp_path, "--method", "EM, BIC", "--again", "EM, BIC")
    assert [r["log_likelihood"] for r in report.read(path) if r["method"] == "EM, BIC"] == right
    other = CliRunner().invoke(real_tables.main, [str(MODEL), "--out", str(tmp_path), "--seed", "1"])
    assert other.exit_code == 2
    assert "seed 0, not of 1" in other.output


def test_results_of_another_model_are_dropped_and_those_of_others_stay(tmp_path: Path) -> None:
    run(tmp_path, "--method", "fast", "--method", "KDE")
    path = tmp_path / "base_tables.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["weights_sha256"] = "other"
    content["results"]["log_likelihood"] = [7.0] * 8
    path.write_text(json.dumps(content), encoding="utf-8")
    run(tmp_path, "--method", "fast", "--method", "KDE")
    found = report.read(path)
    assert len(found) == 8
    assert {r["method"] for r in found if r["log_likelihood"] == 7.0} == {"KDE"}


def results_of(method: str, values: list[float | None]) -> list[real_tables.Result]:
    return [
        real_tables.Result("a/b", 2, 80, 20, SETTINGS[0], split, method, value, 1.0)
        for split, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "sign"),
    [
        ([1.0, 2.0, 3.0], [3.0, 4.1, 5.0], 1),
        ([1.0, 2.0, 3.0], [0.0, 0.9, 2.0], -1),
        ([1.0, 2.0, 3.0], [0.0, 2.0, 4.0], 0),
        ([1.0, 2.0, 3.0], [9.0, None, 9.0], -1),
        ([None, 2.0, 3.0], [9.0, 9.0, 9.0], 1),
        ([None, 2.0, 3.0], [9.0, 9.0, None], 0),
    ],
)
def test_who_is_ahead(ours: list[float | None], theirs: list[float | None], sign: int) -> None:
    found = real_tables.Difference(results_of("KDE", theirs), results_of("best", ours))
    assert found.sign == sign
    summary = real_tables.summary([*results_of("best", ours), *results_of("KDE", theirs)])
    counts = [cell.strip() for cell in summary.splitlines()[-1].split("|")[4:7]]
    assert counts == [str(int(sign == -1)), str(int(sign == 0)), "1 b" if sign == 1 else "0"]


def test_the_error_counts_the_overlap_of_splits() -> None:
    result = real_tables.Result("", 1, 80, 20, "", 0, "", 0.0, 0.0)
    found = real_tables.corrected_error(np.array([1.0, 3.0, 2.0, 2.0]), result)
    assert found == pytest.approx(np.sqrt((1 / 4 + 20 / 80) * 2 / 3))
