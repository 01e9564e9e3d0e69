"""A wheel that is carried in parts is installed as it was, and a damaged or missing part is an error."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "wheel_parts.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Three parts of at most one MiB."""
    with ZipFile(tmp_path / "large-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("large/", "")
        wheel.writestr("large/__init__.py", "HELD = 1\n")
        wheel.writestr("large/data", np.random.default_rng(0).bytes(5 * 2**19))
    options = ["--most", "1", "--preset", "0"]
    assert run("split", tmp_path / "large-1.0-py3-none-any.whl", tmp_path / "parts", *options).returncode == 0
    return sorted((tmp_path / "parts").glob("*.part*"))


def test_what_is_installed_is_what_was_split(parts: list[Path], tmp_path: Path) -> None:
    assert [part.stat().st_size for part in parts[:2]] == [2**20, 2**20]
    assert len(parts) == 3
    done = run("install", tmp_path / "parts", tmp_path / "target")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "large" / "__init__.py").read_text() == "HELD = 1\n"
    assert (tmp_path / "target" / "large" / "data").read_bytes() == np.random.default_rng(0).bytes(5 * 2**19)


@pytest.mark.parametrize("fault", ["is missing", "has the SHA-256"])
def test_a_part_that_is_not_right_is_an_error(parts: list[Path], tmp_path: Path, fault: str) -> None:
    if fault == "is missing":
        parts[1].unlink()
    else:
        parts[1].write_bytes(parts[1].read_bytes()[:-1] + b"?")
    done = run("install", tmp_path / "parts", tmp_path / "target")
    assert done.returncode == 1
    assert f"{parts[1]} {fault}" in done.stderr
    assert not (tmp_path / "target").exists()
