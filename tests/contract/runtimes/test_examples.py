"""The examples run as they stand, and answer what the package answers."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measure import HERE, MODEL, ROOT, browser_page, npm_ci

import discoformer

Available = Callable[[Callable[[], Any]], Any]


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    rng = np.random.default_rng(0)
    clusters = rng.normal([1.4, 0.2], [0.2, 0.1], (50, 2)), rng.normal([4.9, 1.7], [0.8, 0.4], (100, 2))
    return np.concatenate(clusters)


@pytest.fixture(scope="module")
def expected(sample: np.ndarray) -> np.ndarray:
    """Log-density and score, row by row."""
    p = discoformer.estimate(sample, effort="fast")
    log_density, score = p.log_density_and_score([[1.4, 0.2], [3.0, 0.8]])
    return np.c_[log_density, score]


@pytest.fixture
def folder(tmp_path: Path, sample: np.ndarray) -> Path:
    """An example's folder as its user has it."""
    for path in filter(Path.is_file, (ROOT / "examples").iterdir()):
        shutil.copy(path, tmp_path)
    shutil.copy(MODEL / "discoformer.onnx", tmp_path)
    np.savetxt(tmp_path / "data.csv", sample, "%.17g", delimiter=",", header="length,width", comments="")
    return tmp_path


def same(printed: str, expected: np.ndarray) -> None:
    answers = np.array([line.split() for line in printed.splitlines()], float)
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-4)


def test_python(folder: Path, expected: np.ndarray) -> None:
    command = [sys.executable, "estimate.py", "discoformer.onnx", "data.csv"]
    same(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout, expected)


def test_node(folder: Path, expected: np.ndarray, available: Available) -> None:
    available(npm_ci)
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    command = ["node", "estimate.mjs", "discoformer.onnx", "data.csv"]
    same(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout, expected)


def test_browser(folder: Path, expected: np.ndarray, available: Available) -> None:
    available(npm_ci)
    (folder / "node_modules").symlink_to(HERE / "node_modules")

    def printed() -> str:
        with browser_page(folder, "estimate.html") as page:
            page.wait_for_function("!document.querySelector('#answers').textContent.startsWith('Reading')")
            return page.text_content("#answers")

    same(available(printed), expected)
