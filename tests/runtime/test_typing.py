"""A user's script under type checkers: arrays give arrays, data frames give series and data frames."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[2] / "runtime"
SCRIPT = """
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from typing_extensions import assert_type

import discoformer

X = np.zeros((10, 2))
frame = pl.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
p = discoformer.estimate(X, effort="fast")
assert_type(p, discoformer.Estimate)
Floats = npt.NDArray[np.floating[Any]]

assert_type(p.density(X), Floats)
assert_type(p.log_density([[1, 2]], missing="drop"), Floats)
assert_type(p.score(X), Floats)
assert_type(p.log_density_and_score(X), tuple[Floats, Floats])
assert_type(p.density(frame), pl.Series)
assert_type(p.log_density(frame, "normalized"), pl.Series)
assert_type(p.score(frame), pl.DataFrame)
assert_type(p.log_density_and_score(frame), tuple[pl.Series, pl.DataFrame])
assert_type(p.density(torch.zeros(10, 2)), torch.Tensor)
assert_type(p.log_density_and_score(torch.zeros(10, 2)), tuple[torch.Tensor, torch.Tensor])
p.density(X).mean().item()
p.density(frame).to_list()
"""
WRONG = """
p.density(X).to_list()  # an array has no such method
p.density(X, method="other")
"""
PANDAS = """
import pandas as pd

assert_type(p.density(pd.DataFrame(X)), pd.Series)
assert_type(p.score(pd.DataFrame(X)), pd.DataFrame)
"""


def checked(path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, str(path)],
        env={"MYPYPATH": str(RUNTIME), "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_mypy(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    script = tmp_path / "script.py"
    mypy = (sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", f"--cache-dir={tmp_path}")
    script.write_text(SCRIPT)
    done = checked(script, *mypy)
    assert done.returncode == 0, done.stdout
    script.write_text(SCRIPT + WRONG)
    done = checked(script, *mypy)
    assert "Found 2 errors" in done.stdout, done.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("pyright") or shutil.which("basedpyright")), reason="there is no pyright"
)
def test_pyright(tmp_path: Path) -> None:
    """Pyright reads the types of pandas in its code."""
    pytest.importorskip("polars")
    (tmp_path / "script.py").write_text(SCRIPT + PANDAS)
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(RUNTIME)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    pyright = shutil.which("pyright") or shutil.which("basedpyright") or ""
    done = checked(tmp_path, pyright, "--pythonpath", sys.executable, "-p")
    assert done.returncode == 0, done.stdout
