"""The command line: what comes out, where, and with which exit code."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import discoformer
from discoformer.cli import main
from discoformer.tables import read_table

IRIS = Path(__file__).parents[1] / "data" / "iris_petals.csv"
PETALS = ["petal_length_cm", "petal_width_cm"]


def run(folder: Path, *arguments: object) -> Result:
    """Runs ``discoformer estimate`` with a stand-in model."""
    return CliRunner().invoke(main, ["estimate", "--model", str(folder), *map(str, arguments)])


def rows(result: Result) -> tuple[list[str], np.ndarray]:
    """Header and numbers of the CSV on stdout."""
    assert result.exit_code == 0, result.output
    header, *cells = csv.reader(io.StringIO(result.stdout))
    return header, np.array(cells, dtype=np.float64)


def test_estimate_at_the_points_themselves(kde_folder: Path, kde: discoformer.Model) -> None:
    header, values = rows(run(kde_folder, IRIS))
    assert header == [*PETALS, "log_density", "density", *(f"score_{name}" for name in PETALS)]
    x = read_table(IRIS).values
    log_density, score = kde.estimate(x).log_density_and_score(x)
    np.testing.assert_allclose(
        values, np.column_stack([x, log_density, np.exp(log_density), score]), rtol=1e-6
    )


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_output_files(kde_folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    result = run(kde_folder, IRIS, "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    _, values = rows(run(kde_folder, IRIS))
    np.testing.assert_array_equal(read_table(out).values, values)


def test_queries_go_by_name(kde_folder: Path, tmp_path: Path) -> None:
    query = tmp_path / "q.csv"
    query.write_text("petal_width_cm,note,petal_length_cm\n0.2,hello,1.4\n")
    header, values = rows(run(kde_folder, IRIS, "--query", query))
    assert header[:2] == PETALS
    np.testing.assert_allclose(values[0], rows(run(kde_folder, IRIS))[1][0], atol=1e-5)


def test_files_without_names(kde_folder: Path, tmp_path: Path) -> None:
    data, query = tmp_path / "x.npy", tmp_path / "q.csv"
    np.save(data, np.random.default_rng(0).normal(size=(60, 1)).astype(np.float32))
    query.write_text("0\n1\n")
    header, values = rows(run(kde_folder, data, "--query", query))
    assert header == ["x1", "log_density", "density", "score_x1"]
    assert values.shape == (2, 4)


def test_grid(kde_folder: Path) -> None:
    _, values = rows(run(kde_folder, IRIS, "--grid", "--columns", "petal_width_cm"))
    assert values.shape == (512, 4)
    assert np.trapezoid(values[:, 2], values[:, 0]) == pytest.approx(0.9, abs=0.1)
    _, values = rows(run(kde_folder, IRIS, "--grid"))
    assert values.shape == (128**2, 6)


def test_weights(kde_folder: Path, tmp_path: Path) -> None:
    weighted, x = tmp_path / "w.csv", read_table(IRIS).values
    w = np.arange(150) % 3
    np.savetxt(weighted, np.c_[w, x], delimiter=",", header="w,a,b", comments="")
    header, values = rows(run(kde_folder, weighted, "--weights", "w"))
    assert header[:2] == ["a", "b"]
    expected = discoformer.load(kde_folder).estimate(x, w).log_density(x)
    np.testing.assert_allclose(values[:, 2], expected, atol=1e-5)
    header, _ = rows(run(kde_folder, weighted, "--weights", "w", "--columns", "b"))
    assert header == ["b", "log_density", "density", "score_b"]


@pytest.mark.parametrize("columns", [1, 2, 5])
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plots(kde_folder: Path, tmp_path: Path, columns: int, suffix: str) -> None:
    data, plot = tmp_path / "x.npy", tmp_path / f"plot{suffix}"
    np.save(data, np.random.default_rng(0).normal(size=(60, columns)))
    result = run(kde_folder, data, "--plot", plot)
    assert result.exit_code == 0, result.output
    assert plot.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")


def test_doubts_are_said_on_stderr(kde_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "few.csv"
    data.write_text("a,b\n1,2\n2,1\n4,4\n")
    result = run(kde_folder, data)
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: The effective size 3 is below 4 x 2 columns")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nosuch.csv"], 2, "does not exist"),
        ([IRIS, "--grid", "--query", IRIS], 2, "exclude each other"),
        ([IRIS, "--out", "out.txt"], 2, "must end in one of .csv, .npy, .parquet"),
        ([IRIS, "--plot", "plot.csv"], 2, "must end in one of .png"),
        ([IRIS, "--threads", "0"], 2, "--threads"),
        ([IRIS, "--columns", "petal"], 1, "has no column petal; it has petal_length_cm, petal_width_cm"),
        ([IRIS, "--weights", "w"], 1, "no column 'w'"),
        ([IRIS, "--model", "nosuch"], 1, "no model 'nosuch'"),
        ([IRIS, "--device", "cuda"], 1, "device='cuda' cannot be had"),
        ([IRIS, "--out", "no/such/folder.csv"], 1, "No such file or directory"),
    ],
)
def test_errors(kde_folder: Path, arguments: list[object], code: int, message: str) -> None:
    result = run(kde_folder, *arguments)
    assert result.exit_code == code
    assert message in result.stderr.replace("\n", " ")
    assert result.stdout == ""


def test_errors_name_columns(kde_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "x.csv"
    data.write_text("a,b\n1,2\n2,2\n4,2\n")
    result = run(kde_folder, data)
    assert (result.exit_code, "constant in column 1 ('b')" in result.stderr) == (1, True)
    three = tmp_path / "x.npy"
    np.save(three, np.random.default_rng(0).normal(size=(60, 3)))
    assert "--grid needs 1 or 2 columns, got 3" in run(kde_folder, three, "--grid").stderr


def test_info(kde_folder: Path) -> None:
    result = CliRunner().invoke(main, ["info", "--model", str(kde_folder), "--device", "cpu"])
    assert result.exit_code == 0
    for said in (
        discoformer.__version__,
        "stand-in 0.0.1",
        str(kde_folder),
        "2 to 8192",
        "CPUExecutionProvider",
    ):
        assert said in result.stdout


def test_help_and_version() -> None:
    assert discoformer.__version__ in CliRunner().invoke(main, ["--version"]).stdout
    assert "--weights COLUMN" in CliRunner().invoke(main, ["estimate", "--help"]).stdout
