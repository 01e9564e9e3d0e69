"""Commands whose standard streams are closed: the right exit code, and a message where it can be told."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "data" / "iris_petals.csv"
SHELL = sys.platform != "win32"
pytestmark = pytest.mark.skipif(not SHELL, reason="streams are closed by a POSIX shell")


def run(folder: Path, command: str, *closed: str) -> tuple[int, str, str]:
    """Run a command with streams closed; return its exit code, and what it wrote to stdout and stderr."""
    out, err = folder / "out", folder / "err"
    program = f"'{sys.executable}' -c 'from discoformer.cli import main; main()'"
    code = subprocess.run(
        ["sh", "-c", f"{program} {command} >'{out}' 2>'{err}' {' '.join(closed)}"], check=False, timeout=120
    ).returncode
    return code, out.read_text(), err.read_text()


@pytest.mark.parametrize("closed", list(product(["", "<&-"], ["", ">&-"], ["", "2>&-"])))
def test_answers_go_to_stdout_or_there_is_an_error(tmp_path: Path, closed: tuple[str, ...]) -> None:
    code, out, err = run(tmp_path, f"estimate {DATA} --effort fast --threads 1", *closed)
    if ">&-" not in closed:
        assert (code, len(out.splitlines())) == (0, 151)
        return
    assert code == 1
    assert out == ""
    assert "2>&-" in closed or "Error: stdout is closed: open it, or write to a file" in err
    assert "Traceback" not in err


def test_no_stream_is_needed_to_write_a_file(tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    closed = ("<&-", ">&-", "2>&-")
    assert run(tmp_path, f"estimate {DATA} --effort fast --threads 1 --out {answers}", *closed)[0] == 0
    assert len(answers.read_text().splitlines()) == 151


@pytest.mark.parametrize("command", ["--help", "doctor"])
def test_text_needs_stdout(tmp_path: Path, command: str) -> None:
    assert run(tmp_path, command, ">&-") == (1, "", "Error: stdout is closed: open it, or write to a file\n")


def test_a_closed_stdin_is_told(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "estimate -", "<&-")
    assert (code, out) == (1, "")
    assert err == "Error: stdin is closed: pipe text to it, or name a file\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize("command", ["--help", "doctor", f"estimate {DATA} --effort fast --threads 1"])
def test_a_full_disk_behind_stdout_is_told(tmp_path: Path, command: str) -> None:
    code, _, err = run(tmp_path, command, ">/dev/full")
    assert code == 1
    assert "Error: [Errno 28] No space left on device" in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err
