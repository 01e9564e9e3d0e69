"""``discoformer modes``, ``impute`` and ``diagnose``, run on files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import discoformer
from discoformer.cli import main

BLOBS = np.repeat([[0.0, 0.0], [8.0, 1.0]], [40, 20], axis=0)


@pytest.fixture
def data(tmp_path: Path, rng: np.random.Generator) -> Path:
    frame = pd.DataFrame(rng.normal(size=(60, 2)) + BLOBS, columns=["a", "b"])
    frame.sample(frac=1, random_state=0).to_csv(tmp_path / "data.csv", index=False)
    return tmp_path / "data.csv"


def run(folder: Path, *arguments: object) -> Result:
    options = ["--model", str(folder), "--device", "cpu", "--threads", "1"]
    return CliRunner().invoke(main, [*map(str, arguments), *options])


def test_modes(kde_folder: Path, kde: discoformer.Model, data: Path, tmp_path: Path) -> None:
    result = run(kde_folder, "modes", data, "--out", tmp_path / "labels.csv")
    assert result.exit_code == 0, result.output
    assert "mode 0: 40 rows" in result.stderr
    assert "mode 1: 20 rows" in result.stderr
    given, found = pd.read_csv(data), pd.read_csv(tmp_path / "labels.csv")
    pd.testing.assert_frame_equal(found[["a", "b"]], given)
    assert found["label"].dtype == np.int64
    np.testing.assert_array_equal(found["label"], given["a"] > 4)
    np.testing.assert_allclose(found["log_density"], kde.estimate(given).log_density(given), atol=1e-5)


def test_modes_to_files_and_stdout(kde_folder: Path, data: Path, tmp_path: Path) -> None:
    files = "--out", tmp_path / "labels.parquet", "--modes", tmp_path / "modes.jsonl"
    result = run(kde_folder, "modes", data, *files, "--columns", "b,a")
    assert result.exit_code == 0, result.output
    assert "mode 0" not in result.stderr
    assert list(pd.read_parquet(tmp_path / "labels.parquet")) == ["b", "a", "label", "log_density"]
    modes = [json.loads(line) for line in (tmp_path / "modes.jsonl").read_text().splitlines()]
    assert [mode["rows"] for mode in modes] == [40, 20]
    assert modes[0]["prominence"] is None  # infinite
    one = run(kde_folder, "modes", data, "--prominence", 500, "--format", "jsonl")
    assert {json.loads(line)["label"] for line in one.stdout.splitlines()} == {0}


def test_modes_refuses_a_column_of_its_own_name(kde_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("label,x\n1,2\n2,4\n3,5\n")
    result = run(kde_folder, "modes", tmp_path / "data.csv")
    assert result.exit_code == 1
    assert "more than one column 'label'" in result.stderr
    (tmp_path / "data.csv").write_text("rows,x\n1,2\n2,4\n3,5\n")
    result = run(kde_folder, "modes", tmp_path / "data.csv", "--modes", tmp_path / "modes.csv")
    assert result.exit_code == 1
    assert "more than one column 'rows'" in result.stderr


def test_impute(gaussian_folder: Path, data: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(data, dtype=str)
    frame.loc[3, "a"] = ""
    frame.loc[5, "b"] = "NA"
    frame["note"] = "as it is"
    frame.to_csv(tmp_path / "holed.csv", index=False)
    result = run(gaussian_folder, "impute", tmp_path / "holed.csv", "--columns", "a,b")
    assert result.exit_code == 0, result.output
    assert "Filled in 2 cells in 2 rows, using 58 complete rows." in result.stderr
    lines = result.stdout.splitlines()
    given = (tmp_path / "holed.csv").read_text().splitlines()
    assert [i for i, (one, other) in enumerate(zip(lines, given, strict=True)) if one != other] == [4, 6]
    assert lines[4].endswith(f",{frame.loc[3, 'b']},as it is")
    drawn = run(gaussian_folder, "impute", tmp_path / "holed.csv", "--columns", "a,b", "--draw")
    assert drawn.stdout.splitlines()[4] != lines[4]


def test_impute_has_nothing_to_do_or_to_read_from(gaussian_folder: Path, data: Path, tmp_path: Path) -> None:
    result = run(gaussian_folder, "impute", data)
    assert result.stdout == data.read_text()
    assert "Nothing is missing in 60 rows" in result.stderr
    (tmp_path / "few.csv").write_text("a,b\n1,\n2,3\n,4\n")
    result = run(gaussian_folder, "impute", tmp_path / "few.csv")
    assert result.exit_code == 1
    assert "1 of the 3 rows of DATA are complete, but 2 or more are needed" in result.stderr
    result = run(gaussian_folder, "impute", data, "--out", tmp_path / "out.npy")
    assert result.exit_code == 2
    assert "--out must end in .csv or .tsv or .txt" in result.stderr


def test_diagnose(gaussian_folder: Path, data: Path, tmp_path: Path) -> None:
    result = run(gaussian_folder, "diagnose", data, "--out", tmp_path / "page.html", "--query", data)
    assert result.exit_code == 0, result.output
    assert "held-out likelihood, KDE" in result.stdout
    assert "reach" in result.stdout
    assert "Diagnosis of data.csv" in (tmp_path / "page.html").read_text(encoding="utf-8")
    found = json.loads(run(gaussian_folder, "diagnose", data, "--json").stdout)
    assert found["level"] in ("fine", "doubtful", "bad")
    assert found["held_out"]["ours"] == pytest.approx(found["held_out"]["gaussian"], abs=1e-3)


def test_usage(kde_folder: Path, data: Path, tmp_path: Path) -> None:
    for arguments in (
        ("diagnose", "-", "--query", "-"),
        ("modes", data, "--out", tmp_path / "a.csv", "--format", "jsonl"),
        ("modes", data, "--prominence", "-1"),
        ("diagnose", data, "--out", tmp_path / "a.txt"),
    ):
        assert run(kde_folder, *arguments).exit_code == 2
