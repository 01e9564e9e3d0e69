"""The command line: what comes out, where, and with which exit code."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import discoformer
from discoformer.cli import main
from discoformer.cli.answers import answer_columns, answers
from discoformer.errors import InputError
from discoformer.io import readers
from discoformer.io.readers import Rows
from discoformer.io.tables import read_table

IRIS = Path(__file__).parents[2] / "data" / "iris_petals.csv"
PETALS = ["petal_length_cm", "petal_width_cm"]


FORMATS = (".csv", ".npy", ".parquet")


def run(folder: Path, *arguments: object, stdin: str | None = None) -> Result:
    """Runs ``discoformer estimate`` with a stand-in model."""
    return CliRunner().invoke(main, ["estimate", "--model", str(folder), *map(str, arguments)], input=stdin)


def rows(result: Result) -> tuple[list[str], np.ndarray]:
    """Header and numbers of the CSV on stdout."""
    assert result.exit_code == 0, result.output
    header, *cells = csv.reader(io.StringIO(result.stdout))
    return header, np.array(cells, dtype=np.float64)


def start(folder: Path, *arguments: object, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Starts ``discoformer estimate`` in a process of its own, reading and writing blocks of 4 rows."""
    code = "import discoformer.io.readers as r; r.BLOCK = 4; from discoformer.cli import main; main()"
    command = [sys.executable, "-c", code, "estimate", "--model", folder, "--threads", "1", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen([*map(str, command)], stdin=pipe, stdout=pipe, stderr=stderr, bufsize=0)


def save(path: Path, values: npt.NDArray[np.generic], names: Sequence[str]) -> Path:
    """Writes a matrix by the means of others."""
    if path.suffix == ".csv":
        np.savetxt(path, values, fmt="%.17g", delimiter=",", header=",".join(names), comments="")
    elif path.suffix == ".npy":
        np.save(path, values)
    else:
        pq.write_table(pa.table(list(values.T), names=list(names)), path)
    return path


def read(path: Path, suffix: str) -> npt.NDArray[np.float64]:
    """Reads a file of the format that the suffix names, by the means of others."""
    if suffix == ".csv":
        return np.loadtxt(path, delimiter=",", skiprows=1)
    if suffix == ".jsonl":
        return np.array([[*json.loads(line).values()] for line in path.read_text().splitlines()])
    return np.load(path) if suffix == ".npy" else pq.read_table(path).to_pandas().to_numpy()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "BLOCK", 4)


@pytest.fixture
def nameless(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A context without column names, for which queries may have any."""
    path = tmp_path / "nameless.npy"
    np.save(path, rng.normal(size=(60, 2)))
    return path


def test_estimate_at_the_points_themselves(kde_folder: Path, kde: discoformer.Model) -> None:
    header, values = rows(run(kde_folder, IRIS))
    assert header == [*PETALS, "log_density", "density", *(f"score_{name}" for name in PETALS)]
    x = read_table(IRIS).values
    log_density, score = kde.estimate(x).log_density_and_score(x)
    np.testing.assert_allclose(
        values, np.column_stack([x, log_density, np.exp(log_density), score]), rtol=1e-6
    )


@pytest.mark.parametrize("suffix", [*FORMATS, ".jsonl"])
def test_output_files(kde_folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    result = run(kde_folder, IRIS, "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        "Rounded values are spread over cells as wide as their step: petal_length_cm 0.1, petal_width_cm "
        "0.1. Use --rounding none to read them as they are.\n"
    )
    _, values = rows(run(kde_folder, IRIS))
    np.testing.assert_array_equal(read(out, suffix), values)
    assert [item.name for item in tmp_path.iterdir()] == [out.name]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("given", "wanted"), [(".csv", ".parquet"), (".npy", ".csv"), (".parquet", ".npy")])
def test_files_in_blocks_are_answered_as_at_once_in_their_order(
    gaussian_folder: Path,
    gaussian: discoformer.Model,
    nameless: Path,
    rng: np.random.Generator,
    given: str,
    wanted: str,
) -> None:
    y = rng.normal(size=(23, 2))
    query, out = save(nameless.with_name(f"q{given}"), y, "ab"), nameless.with_name(f"out{wanted}")
    assert run(gaussian_folder, nameless, "--query", query, "--out", out).exit_code == 0
    log_density, score = gaussian.estimate(np.load(nameless)).log_density_and_score(y)
    np.testing.assert_allclose(
        read(out, wanted), np.column_stack([y, log_density, np.exp(log_density), score]), rtol=1e-5
    )


@pytest.mark.parametrize("suffix", FORMATS)
def test_queries_without_rows(gaussian_folder: Path, nameless: Path, suffix: str) -> None:
    query = save(nameless.with_name(f"q{suffix}"), np.empty((0, 2)), "ab")
    header, values = rows(run(gaussian_folder, nameless, "--query", query))
    assert (header[:2], values.size) == (["x1", "x2"], 0)


def test_stdin(kde_folder: Path) -> None:
    text = IRIS.read_text()
    header, values = rows(run(kde_folder, "-", stdin=text))
    assert header[:2] == PETALS
    for result in (
        run(kde_folder, IRIS, "--query", "-", stdin=text),
        run(kde_folder, "-", "--query", IRIS, stdin=text),
    ):
        np.testing.assert_array_equal(rows(result)[1], values)


def test_json_lines(kde_folder: Path) -> None:
    header, values = rows(run(kde_folder, IRIS))
    lines = run(kde_folder, IRIS, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [dict(zip(header, row, strict=True)) for row in values]


def test_a_density_that_overflows(gaussian_folder: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    data = tmp_path / "small.npy"
    np.save(data, (rng.normal(size=(60, 2)) * 1e-20).astype(np.float32))
    for form, missing in (("csv", ",inf,"), ("jsonl", '"density": null')):
        line = run(gaussian_folder, data, "--format", form).stdout.splitlines()[-1]
        assert missing in line


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("suffix", [*FORMATS, ".jsonl"])
def test_a_bad_row_leaves_the_answers_before_it(gaussian_folder: Path, tmp_path: Path, suffix: str) -> None:
    query, out = tmp_path / "q.csv", tmp_path / f"out{suffix}"
    query.write_text("".join(["a,b\n", *(f"{i},1\n" for i in range(10)), "10,oops\n", "11,1\n"]))
    data = save(tmp_path / "data.csv", np.random.default_rng(0).normal(size=(60, 2)), "ab")
    result = run(gaussian_folder, data, "--query", query, "--out", out)
    assert result.exit_code == 1
    assert f"{query}, line 12: column 'b' holds 'oops'" in result.stderr
    (partial,) = tmp_path.glob(f"{out.name}.*.partial")
    assert f"Stopped after 10 rows of answers, kept in {partial}" in result.stderr
    kept = read(partial, suffix)
    np.testing.assert_array_equal(kept[:, :2], [[i, 1] for i in range(10)])
    assert np.isfinite(kept).all()
    assert not out.exists()


def test_a_row_far_out_is_answered(gaussian_folder: Path, nameless: Path) -> None:
    query = save(nameless.with_name("q.npy"), np.array([[1, 2], [3, 4], [1e30, 5], [6, 7]]), "ab")
    _, values = rows(run(gaussian_folder, nameless, "--query", query))
    assert np.isfinite(values).all()
    assert values[:, 2].argmin() == 2


def test_blocks_are_read_one_at_a_time(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    read_so_far = []

    def blocks() -> Iterator[npt.NDArray[np.float64]]:
        for i in range(3):
            read_so_far.append(i)
            yield rng.normal(size=(2, 2))

    queries = Rows("Y", None, 2, np.dtype(np.float64), None, blocks())
    for count, block in enumerate(answers(gaussian.estimate(rng.normal(size=(60, 2))), queries), start=1):
        assert (len(read_so_far), block.shape) == (count, (2, 6))


def test_answers_leave_before_the_next_queries_come(gaussian_folder: Path, nameless: Path) -> None:
    with start(gaussian_folder, nameless, "--query", "-") as process:
        process.stdin.write(b"1,2\n" * 4)
        lines = [process.stdout.readline() for _ in range(5)]
        assert lines[0].startswith(b"x1,x2,log_density,")
        assert all(line.startswith(b"1.0,2.0,") for line in lines[1:])
        process.stdout.close()  # as head does when it has seen enough
        process.stdin.write(b"1,2\n" * 4)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


@pytest.mark.parametrize(("suffix", "size"), [(".npy", 300), (".parquet", 8000)])  # of a second block
@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "hung up")],
)
def test_a_signal_keeps_what_was_answered(
    gaussian_folder: Path, nameless: Path, suffix: str, size: int, number: signal.Signals, said: str
) -> None:
    out = nameless.with_name(f"out{suffix}")
    before = signal.signal(number, signal.SIG_DFL)  # the command leaves signals that nohup ignores alone
    with start(gaussian_folder, nameless, "--query", "-", "--out", out) as process:
        process.stdin.write(b"1,2\n" * 8)
        while not (found := [*out.parent.glob(f"{out.name}.*.partial")]) or found[0].stat().st_size <= size:
            assert process.poll() is None
        signal.signal(number, before)
        process.send_signal(number)
        message = process.stderr.read().decode()
        assert process.wait(60) == 128 + number
    (partial,) = found
    count = len(read(partial, suffix))
    assert count in {4, 8}
    told = [
        f"Error: {said}\nStopped after {n} rows of answers, kept in {partial}\n" for n in (count - 4, count)
    ]
    assert message in told  # the signal may come between a block and its count
    assert not out.exists()


def test_progress_is_shown_on_a_terminal(gaussian_folder: Path, nameless: Path) -> None:
    ours, theirs = pty.openpty()
    with start(gaussian_folder, nameless, stderr=theirs) as process:
        out, _ = process.communicate(timeout=60)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "60/60" in shown
    assert len(out.splitlines()) == 61


def test_columns_of_the_output_have_names_of_their_own() -> None:
    assert answer_columns(["a"]) == ("a", "log_density", "density", "score_a")
    with pytest.raises(InputError, match="more than one column 'density'"):
        answer_columns(["a", "density"])


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
        ([IRIS, "--grid", "--query", IRIS], 2, "--query and --grid cannot be used together"),
        (["-", "--query", "-"], 2, "cannot both be -"),
        ([IRIS, "--format", "npy"], 2, "is not one of 'csv', 'jsonl'"),
        ([IRIS, "--format", "csv", "--out", "out.npy"], 2, "--format csv does not fit --out out.npy"),
        ([IRIS, "--out", "out.txt"], 2, "must end in one of .csv, .jsonl, .npy, .parquet"),
        ([IRIS, "--plot", "plot.csv"], 2, "must end in one of .png"),
        ([IRIS, "--threads", "0"], 2, "--threads"),
        ([IRIS, "--columns", "petal"], 1, "has no column petal; it has petal_length_cm, petal_width_cm"),
        ([IRIS, "--weights", "w"], 1, "no column 'w'"),
        ([IRIS, "--model", "nosuch"], 1, "no model 'nosuch'"),
        ([IRIS, "--device", "cuda"], 1, "device='cuda' is not available"),
        ([IRIS, "--out", "no/such/folder.csv"], 2, "there is no folder no/such"),
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
    result = run(kde_folder, data, "--no-allow-singular")
    assert (result.exit_code, "constant in column 1 ('b')" in result.stderr) == (1, True)
    three = tmp_path / "x.npy"
    np.save(three, np.random.default_rng(0).normal(size=(60, 3)))
    assert "--grid needs 1 or 2 columns, got 3" in run(kde_folder, three, "--grid").stderr
    query = tmp_path / "q.csv"
    query.write_text("1,2\n")
    assert "q.csv has 2 columns, but DATA has 3" in run(kde_folder, three, "--query", query).stderr


def test_names_of_columns_may_hold_commas(kde_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text('"length, cm",b,c\n1,2,3\n2,5,1\n4,4,2\n3,1,1\n')
    header, values = rows(run(kde_folder, data, "--columns", '"length, cm", c'))
    assert header[:2] == ["length, cm", "c"]
    np.testing.assert_array_equal(values[:, :2], [[1, 3], [2, 1], [4, 2], [3, 1]])
    assert "has no column" in run(kde_folder, data, "--columns", "").stderr


def test_the_column_of_weights_may_be_named_among_the_columns(kde_folder: Path, tmp_path: Path) -> None:
    data, rng = tmp_path / "x.csv", np.random.default_rng(0)
    np.savetxt(data, rng.random((60, 3)), delimiter=",", header="a,b,w", comments="")
    expected = run(kde_folder, data, "--columns", "a,b", "--weights", "w").stdout
    assert expected.startswith("a,b,log_density,")
    assert run(kde_folder, data, "--columns", "a,b,w", "--weights", "w").stdout == expected
    assert "names only 'w'" in run(kde_folder, data, "--columns", "w", "--weights", "w").stderr
    assert "'a' of" in run(kde_folder, data, "--columns", "a,a").stderr


def test_landmarks_are_said(kde_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "x.npy"
    np.save(data, np.random.default_rng(0).normal(size=(90, 2)))
    result = run(kde_folder, data, "--landmarks", "50")
    assert result.exit_code == 0
    assert "reads 50 landmarks out of the 90 rows" in result.stderr
    assert result.stdout != run(kde_folder, data).stdout
    assert run(kde_folder, data, "--landmarks", "90").stderr == ""


def test_help_and_version() -> None:
    assert discoformer.__version__ in CliRunner().invoke(main, ["--version"]).stdout
    assert "--weights COLUMN" in CliRunner().invoke(main, ["estimate", "--help"]).stdout


def test_no_summary_of_a_command_is_cut_off() -> None:
    listed = CliRunner().invoke(main, ["--help"]).stdout.partition("Commands:")[2]
    assert len(listed.strip().splitlines()) == len(main.commands)
    assert "..." not in listed
