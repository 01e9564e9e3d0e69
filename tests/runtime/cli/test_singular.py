"""Singular tables on the command line and in the scikit-learn adapters, which read them by default."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from discoformer import DataWarning, DegenerateDataError, Model
from discoformer.cli import main
from discoformer.io.inputs import Floats
from discoformer.sklearn import AnomalyDetector, DensityClusterer, DensityEstimator, DensityImputer


@pytest.fixture
def rows(rng: np.random.Generator) -> Floats:
    """Two columns, a copy of one, a combination and a constant."""
    x = rng.standard_t(5, size=(200, 2)) + 4 * rng.integers(2, size=(200, 1))
    return np.c_[x, x[:, 0], x @ [2, 1], np.zeros(200)] + 3


@pytest.fixture
def table(rows: Floats, tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    np.savetxt(path, rows, fmt="%.17g", delimiter=",", header="a,b,c,d,e", comments="")
    return path


@pytest.fixture
def log_density(kde: Model, rows: Floats) -> Floats:
    with pytest.warns(DataWarning, match="rank"):
        found: Floats = kde.estimate(rows, allow_singular=True).log_density(rows)
    return found


def run(command: str, folder: Path, *arguments: object) -> Result:
    return CliRunner().invoke(
        main, [command, "--model", str(folder), "--device", "cpu", *map(str, arguments)]
    )


def test_the_command_line_reads_singular_tables(kde_folder: Path, log_density: Floats, table: Path) -> None:
    result = run("estimate", kde_folder, table)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("rank 2 of 5 columns (column 4 ('e') is constant") == 1
    found = np.array([row[5] for row in csv.reader(io.StringIO(result.stdout))][1:], float)
    np.testing.assert_allclose(found, log_density, rtol=1e-6)
    refused = run("estimate", kde_folder, table, "--no-allow-singular")
    assert refused.exit_code == 1
    assert "constant in column 4 ('e')" in refused.stderr


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("sample", ["-n", 3]),
        ("modes", []),
        ("diagnose", []),
        ("anomalies", []),
        ("entropy", []),
        ("anomalies", ["--query"]),
    ],
)
def test_every_command(kde_folder: Path, table: Path, command: str, options: list[object]) -> None:
    arguments = [*options, table] if options == ["--query"] else options
    result = run(command, kde_folder, table, *arguments)
    assert result.exit_code == 0, result.output
    assert result.output.count("rank 2 of 5 columns") == 1
    refused = run(command, kde_folder, table, *arguments, "--no-allow-singular")
    assert refused.exit_code == 1
    assert "constant in column 4 ('e')" in refused.stderr


def test_imputation_on_the_command_line(kde_folder: Path, rows: Floats, table: Path) -> None:
    lines = table.read_text().splitlines()
    cells = lines[1].split(",")
    table.write_text("\n".join([lines[0], ",".join(["", *cells[1:4], ""]), *lines[2:]]))
    result = run("impute", kde_folder, table)
    assert result.exit_code == 0, result.output
    filled = next(row for number, row in enumerate(csv.reader(io.StringIO(result.stdout))) if number == 1)
    np.testing.assert_allclose(np.array(filled, float), rows[0], atol=1e-6)


def test_the_adapters_of_scikit_learn(kde_folder: Path, log_density: Floats, rows: Floats) -> None:
    options: dict[str, Any] = {"model": str(kde_folder), "device": "cpu"}
    with pytest.warns(DataWarning, match="rank"):
        estimator = DensityEstimator(**options).fit(rows)
    np.testing.assert_allclose(estimator.score_samples(rows), log_density)
    assert estimator.score_samples(rows[:1] + np.eye(5)[4])[0] == -np.inf
    with pytest.raises(DegenerateDataError, match="allow_singular=True"):
        DensityEstimator(allow_singular=False, **options).fit(rows)
    with pytest.warns(DataWarning, match="rank"):
        detector = AnomalyDetector(**options).fit(rows)
    np.testing.assert_array_equal(detector.predict(rows[:1] + 9 * np.eye(5)[:2]), -1)
    with pytest.warns(DataWarning, match="rank"):
        np.testing.assert_allclose(detector.p_values(rows[:1] + np.eye(5)[1]), 1 / 201)
    with pytest.warns(DataWarning, match="rank"):
        clusterer = DensityClusterer(**options).fit(rows)
    np.testing.assert_array_equal(clusterer.predict(rows + 1e-3 * np.eye(5)[4]), clusterer.labels_)
    gaps = np.where(np.arange(5) == 2, np.nan, rows)
    with pytest.warns(DataWarning, match="rank"):
        np.testing.assert_allclose(DensityImputer(**options).fit(rows).transform(gaps), rows, atol=1e-6)
