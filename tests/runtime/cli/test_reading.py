"""How commands read files: dialects, text columns, missing cells, and what they say about them on stderr."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import discoformer
from discoformer.cli import main

READING = ("adapt", "anomalies", "diagnose", "entropy", "estimate", "impute", "modes", "sample")


def run(folder: Path, command: str, *arguments: object) -> Result:
    """Run a command with a stand-in model."""
    options = ["--model", folder, "--device", "cpu", "--threads", "1"]
    return CliRunner().invoke(main, [command, *map(str, (*arguments, *options))])


def rows(result: Result) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The header and the numbers of the CSV on stdout."""
    assert result.exit_code == 0, result.output
    header, *cells = csv.reader(io.StringIO(result.stdout))
    return header, np.array(cells, dtype=np.float64)


@pytest.fixture
def frame(rng: np.random.Generator) -> pd.DataFrame:
    values = rng.normal(size=(60, 2)) * [1, 9] + [5, 0]
    return pd.DataFrame({"species": list("xyz") * 20, "a": values[:, 0], "b": values[:, 1]})


@pytest.fixture
def plain(frame: pd.DataFrame, tmp_path: Path) -> Path:
    """A file of numbers in the usual dialect."""
    frame[["a", "b"]].to_csv(tmp_path / "plain.csv", index=False)
    return tmp_path / "plain.csv"


def test_a_german_table(gaussian_folder: Path, frame: pd.DataFrame, plain: Path) -> None:
    path = plain.with_name("mixed.csv.gz")
    path.write_bytes(gzip.compress(frame.to_csv(sep=";", decimal=",", index=False).encode()))
    result = run(gaussian_folder, "estimate", path, "--query", path)
    expected, values = rows(run(gaussian_folder, "estimate", plain))
    header, found = rows(result)
    assert header == expected
    np.testing.assert_array_equal(found, values)
    assert result.stderr == (
        f"Warning: Left out 1 of 3 columns of {path}, which hold no numbers: 'species' (text).\n"
    )
    chosen = run(gaussian_folder, "estimate", path, "--columns", "species,a")
    assert chosen.exit_code == 1
    assert f"{path}, line 2: column 'species' holds 'x', which is not a finite number" in chosen.stderr


def test_options_of_text_files(gaussian_folder: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    path, values = tmp_path / "t.csv", rng.normal(size=(30, 1)).round(3)
    path.write_text("ä\n" + "".join(f"{value}\n".replace(".", ",") for value in values[:, 0]), "latin-1")
    arguments = (gaussian_folder, "estimate", path, "--encoding", "latin-1", "--decimal", ",")
    header, found = rows(run(*arguments))
    assert header[0] == "ä"
    np.testing.assert_array_equal(found[:, :1], values)
    refused = run(*arguments, "--no-header")
    assert refused.exit_code == 1
    assert "line 1: column 1 holds 'ä', which is not a finite number" in refused.stderr
    assert "must be text in utf-8" in run(gaussian_folder, "estimate", path).stderr


def test_years_as_names(gaussian_folder: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame(rng.normal(size=(30, 2)), columns=["2020", "2021"]).to_csv(path, index=False)
    result = run(gaussian_folder, "estimate", path)
    header, found = rows(result)
    assert (header[:2], len(found)) == (["2020", "2021"], 30)
    told = "(2020, 2021) looks like column names, and is read as column names: pass --no-header if"
    assert result.stderr.count(told) == 1
    for option, count in (("--header", 30), ("--no-header", 31)):
        result = run(gaussian_folder, "estimate", path, option)
        assert len(rows(result)[1]) == count
        assert "looks like" not in result.stderr


def test_rows_with_missing_cells(
    mixture_folder: Path, mixture: discoformer.Model, frame: pd.DataFrame, tmp_path: Path
) -> None:
    data, complete = frame[["a", "b"]].copy(), frame[["a", "b"]].drop(index=[3, 7])
    data.loc[3, "a"] = data.loc[7, "b"] = np.nan
    path = tmp_path / "t.csv"
    data.to_csv(path, index=False, na_rep="NA")
    told = f"Warning: Left out 2 of 60 rows of {path}, which have missing values.\n"
    p = mixture.estimate(complete, effort="fast")
    result = run(mixture_folder, "estimate", path, "--query", path, "--effort", "fast")
    found = rows(result)[1]
    assert result.stderr == told * 2  # of the sample and of the queries
    np.testing.assert_array_equal(found[:, :2], complete)
    np.testing.assert_allclose(found[:, 2], p.log_density(complete), rtol=1e-12)
    stopped = run(mixture_folder, "estimate", path, "--missing", "error")
    assert (stopped.exit_code, stopped.stdout) == (1, "")
    assert f"{path}, line 5: column 'a' has a missing cell" in stopped.stderr
    result = run(mixture_folder, "estimate", path, "--effort", "fast", "--missing", "marginal")
    found = rows(result)[1]
    assert result.stderr == told.replace("rows of", "rows of the sample")
    np.testing.assert_array_equal(found[:, :2], data)
    np.testing.assert_allclose(found[:, 2], p.log_density(data, missing="marginal"), rtol=1e-12)
    np.testing.assert_array_equal(np.isnan(found[[3, 7], 4:]), [[True, False], [False, True]])
    asked = run(
        mixture_folder, "estimate", path, "--query", path, "--effort", "fast", "--missing", "marginal"
    )
    np.testing.assert_array_equal(rows(asked)[1], found)
    best = run(mixture_folder, "estimate", path, "--missing", "marginal")
    assert best.exit_code == 2
    assert "--missing marginal needs --effort fast" in best.stderr


def test_rows_without_a_weight(gaussian_folder: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    data = frame[["a", "b"]].assign(w=1.0)
    data.loc[4, "w"] = np.nan
    data.to_csv(tmp_path / "t.csv", index=False)
    header, found = rows(run(gaussian_folder, "estimate", tmp_path / "t.csv", "--weights", "w"))
    assert header[:2] == ["a", "b"]
    np.testing.assert_array_equal(found[:, :2], frame[["a", "b"]].drop(index=4))


@pytest.mark.parametrize("command", ["modes", "anomalies", "entropy", "sample"])
def test_every_command_drops_and_counts(
    gaussian_folder: Path, frame: pd.DataFrame, plain: Path, command: str
) -> None:
    frame.loc[60] = ["x", None, 0.5]
    path = plain.with_name("holed.csv")
    frame.to_csv(path, index=False)
    arguments = ("-n", "5") if command == "sample" else ()
    result = run(gaussian_folder, command, path, *arguments)
    assert result.stdout == run(gaussian_folder, command, plain, *arguments).stdout
    assert "'species' (text)" in result.stderr
    assert f"Left out 1 of 61 rows of {path}" in result.stderr


def test_imputation_keeps_text_and_dialect(
    gaussian_folder: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.loc[3, "a"] = np.nan
    text = frame.to_csv(sep=";", decimal=",", index=False)
    (tmp_path / "t.csv").write_text(text)
    result = run(gaussian_folder, "impute", tmp_path / "t.csv", "--out", tmp_path / "out.tsv")
    assert result.exit_code == 0, result.output
    pairs = zip(text.splitlines(), (tmp_path / "out.tsv").read_text().splitlines(), strict=True)
    [(before, after)] = [pair for pair in pairs if pair[0] != pair[1]]
    assert [before.split(";")[k] == after.split(";")[k] for k in range(3)] == [True, False, True]
    assert "," in after.split(";")[1]


@pytest.mark.parametrize("command", READING)
def test_every_command_that_reads_has_the_options(command: str) -> None:
    shown = CliRunner().invoke(main, [command, "--help"]).stdout
    for option in ("--encoding", "--header / --no-header", "--decimal"):
        assert option in shown
    assert ("--missing [drop|error" in shown) == (command != "impute")
