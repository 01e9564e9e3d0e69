"""The commands ``anomalies`` and ``entropy``: what comes out, where, and with which exit code."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import discoformer
from discoformer.anomalies import Reference, find_anomalies
from discoformer.cli import main
from discoformer.information import entropy
from discoformer.io.inputs import Floats

HEADER = ["a", "b", "p_value", "anomaly", "log_density", "push_a", "push_b"]


def run(command: str, folder: Path, *arguments: object) -> Result:
    return CliRunner().invoke(
        main, [command, "--model", str(folder), "--device", "cpu", *map(str, arguments)]
    )


def save(path: Path, values: Floats) -> Path:
    np.savetxt(path, values, fmt="%.17g", delimiter=",", header="a,b", comments="")
    return path


@pytest.fixture
def sample(rng: np.random.Generator) -> Floats:
    x = rng.normal(size=(60, 2))
    x[7] = 30, 0
    return x


def test_a_sample_against_itself(
    gaussian_folder: Path, gaussian: discoformer.Model, sample: Floats, tmp_path: Path
) -> None:
    result = run("anomalies", gaussian_folder, save(tmp_path / "data.csv", sample))
    assert result.exit_code == 0, result.output
    header, *cells = csv.reader(io.StringIO(result.stdout))
    found, expected = np.array(cells, float), find_anomalies(sample, model=gaussian)
    assert header == HEADER
    np.testing.assert_array_equal(found[:, :2], sample)
    np.testing.assert_allclose(found[:, 2], expected.p_values, rtol=1e-6)
    np.testing.assert_array_equal(found[:, 3], expected.found)
    np.testing.assert_allclose(found[:, 5:], expected.contributions, atol=1e-6)
    assert found[7, 3] == 1
    assert f"Anomalies: {expected.found.sum()} of 60 rows." in result.stderr


def test_new_rows_in_parquet_with_a_picture(
    gaussian_folder: Path, gaussian: discoformer.Model, sample: Floats, tmp_path: Path
) -> None:
    clean, data = sample[8:], save(tmp_path / "clean.csv", sample[8:])
    query, out, plot = save(tmp_path / "new.csv", sample[:8]), tmp_path / "out.parquet", tmp_path / "out.png"
    options = ("--fdr", 0.2, "--method", "split", "--out", out, "--plot", plot)
    result = run("anomalies", gaussian_folder, data, "--query", query, *options)
    assert result.exit_code == 0, result.output
    table = pq.read_table(out).to_pandas()
    expected = Reference(clean, method="split", model=gaussian).find(sample[:8], 0.2)
    assert list(table) == HEADER
    np.testing.assert_allclose(table["p_value"], expected.p_values)
    np.testing.assert_allclose(table["log_density"], expected.log_density, atol=1e-5)
    np.testing.assert_array_equal(table["anomaly"], expected.found)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_npy_in_and_json_lines_out(gaussian_folder: Path, sample: Floats, tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", sample)
    result = run("anomalies", gaussian_folder, tmp_path / "data.npy", "--format", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 60
    assert set(lines[7]) == {"x1", "x2", "p_value", "anomaly", "log_density", "push_x1", "push_x2"}
    assert lines[7]["push_x1"] > 0.8


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--fdr", 1), 2, "--fdr"),
        (("--query", "-"), 2, "cannot both be -"),
        (("--method", "split"), 2, "--method split needs --query"),
        (("--out", "x.csv", "--format", "jsonl"), 2, "does not fit --out"),
        (("--folds", 40), 1, "X must have 80 rows or more, 2 for each of 40 folds, got 60"),
        (("--columns", "a,c"), 1, "has no column c; it has a, b"),
    ],
)
def test_wrong_usage(
    gaussian_folder: Path, sample: Floats, tmp_path: Path, arguments: tuple[str], code: int, message: str
) -> None:
    data = "-" if "-" in arguments else save(tmp_path / "data.csv", sample)
    result = run("anomalies", gaussian_folder, data, *arguments)
    assert result.exit_code == code
    assert message in result.stderr


def test_names_that_would_collide(gaussian_folder: Path, sample: Floats, tmp_path: Path) -> None:
    path = save(tmp_path / "data.csv", sample)
    path.write_text(path.read_text().replace("a,b", "a,p_value", 1))
    result = run("anomalies", gaussian_folder, path)
    assert result.exit_code == 1
    assert "more than one column 'p_value'" in result.stderr


def test_entropy(gaussian_folder: Path, gaussian: discoformer.Model, sample: Floats, tmp_path: Path) -> None:
    path, expected = save(tmp_path / "data.csv", sample), entropy(sample, model=gaussian, seed=3)
    found = json.loads(run("entropy", gaussian_folder, path, "--json", "--seed", 3).stdout)
    assert found["value"] == pytest.approx(expected.value, abs=1e-5)
    assert found["bias_check"] == pytest.approx(expected.bias_check, abs=1e-5)
    assert (found["rows"], found["dim"], found["unit"]) == (60, 2, "nats")
    text = run("entropy", gaussian_folder, path, "--seed", 3).stdout
    assert text.startswith(f"entropy {found['value']:.6g} nats, standard error {found['standard_error']:.2g}")


def test_entropy_of_too_few_rows(gaussian_folder: Path, sample: Floats, tmp_path: Path) -> None:
    result = run("entropy", gaussian_folder, save(tmp_path / "data.csv", sample[:4]))
    assert result.exit_code == 1
    assert "X must have 10 rows or more" in result.stderr
    few = run("entropy", gaussian_folder, save(tmp_path / "data.csv", sample[:10]), "--folds", 5)
    assert few.exit_code == 0


@pytest.mark.parametrize("command", ["anomalies", "entropy"])
def test_a_constant_column_is_named(
    gaussian_folder: Path, sample: Floats, tmp_path: Path, command: str
) -> None:
    """Of the sample: not of the part of it that is estimated first."""
    sample[:, 1] = 3
    data = save(tmp_path / "data.csv", sample)
    result = run(command, gaussian_folder, data, "--no-allow-singular")
    assert result.exit_code == 1
    assert "'b'" in result.stderr
    assert "contexts" not in result.stderr


@pytest.mark.parametrize("command", ["anomalies", "entropy"])
def test_doubts_about_the_values_are_told(
    command: str, gaussian_folder: Path, sample: Floats, tmp_path: Path
) -> None:
    result = run(command, gaussian_folder, save(tmp_path / "data.csv", sample.round()))
    assert result.exit_code == 0, result.output
    assert "takes few values" in result.stderr
