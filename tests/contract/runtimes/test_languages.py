"""The examples in other languages: those that can be compiled are, and answer what the package answers.

C++ runs. Java is compiled against the official classes; it runs where ONNXRUNTIME_JAR names the jar of Maven,
which has the native library. C# and Rust are not compiled: their libraries are not on PyPI, Debian or npm.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from languages import library, sdk, tool
from measure import MODEL, ROOT

import discoformer

Available = Callable[[Callable[[], Any]], Any]
EXAMPLES = ROOT / "examples" / "languages"


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    rng = np.random.default_rng(0)
    clusters = rng.normal([1.4, 0.2], [0.2, 0.1], (50, 2)), rng.normal([4.9, 1.7], [0.8, 0.4], (100, 2))
    return np.concatenate(clusters)


@pytest.fixture
def arguments(tmp_path: Path, sample: np.ndarray) -> list[str | Path]:
    """What an example is given: the model, and a table."""
    table = tmp_path / "data.csv"
    np.savetxt(table, sample, "%.17g", delimiter=",", header="length,width", comments="")
    return [MODEL / "discoformer.onnx", table]


def assert_answers(printed: str, sample: np.ndarray) -> None:
    p = discoformer.estimate(sample, effort="fast")
    log_density, score = p.log_density_and_score([[1.4, 0.2], [3.0, 0.8]])
    answers = np.array([line.split() for line in printed.splitlines()], float)
    np.testing.assert_allclose(answers, np.c_[log_density, score], rtol=1e-4, atol=1e-4)


def run(*command: str | Path, **environment: str | Path) -> str:
    given = os.environ | {name: str(value) for name, value in environment.items()}
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cpp(tmp_path: Path, arguments: list[str | Path], sample: np.ndarray, available: Available) -> None:
    compiler, headers, libraries = available(lambda: (tool("g++"), sdk() / "headers", library()))
    program = tmp_path / "estimate"
    warnings = ["-Wall", "-Wextra", "-Werror", "-isystem", headers]
    links = ["-L", libraries, "-l:libonnxruntime.so.1"]
    run(compiler, "-std=c++20", *warnings, EXAMPLES / "estimate.cpp", *links, "-o", program)
    assert_answers(run(program, *arguments, LD_LIBRARY_PATH=libraries), sample)


def test_java_compiles(tmp_path: Path, available: Available) -> None:
    compiler, classes = available(lambda: (tool("javac"), sdk() / "classes.jar"))
    run(compiler, "-Xlint:all", "-Werror", "-cp", classes, "-d", tmp_path, EXAMPLES / "Estimate.java")
    assert (tmp_path / "Estimate.class").is_file()


def test_java_runs(arguments: list[str | Path], sample: np.ndarray) -> None:
    if not (jar := os.environ.get("ONNXRUNTIME_JAR")):
        pytest.skip("ONNXRUNTIME_JAR does not name com.microsoft.onnxruntime:onnxruntime of Maven")
    assert_answers(run(tool("java"), "-cp", jar, EXAMPLES / "Estimate.java", *arguments), sample)


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_examples_name_the_tensors_of_the_file_and_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for name in ("context", "queries", "log_weights", "log_density", "score"):
        assert f'"{name}"' in text
    assert text.count("\n") <= 45
    assert path.name in (ROOT / "docs" / "other_languages.md").read_text(encoding="utf-8")
