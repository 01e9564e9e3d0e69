"""The runtime and the files of its model give the golden answers, with numpy, onnxruntime and click alone.

So they can be tried wherever the package is installed (``scripts/installed.py``).
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import discoformer

GOLDEN = Path(__file__).parents[2] / "models" / "base" / "golden"
TOLERANCE = 3e-5  # the networks compute in float32


def cases(kind: str) -> dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Inputs and outputs of the cases of a kind; see ``discoformer_export.checks.golden``."""

    def array(stored: dict[str, Any]) -> np.ndarray:
        return np.array(stored["values"], stored["type"]).reshape(stored["shape"])

    stored = json.loads((GOLDEN / f"{kind}.json").read_text(encoding="utf-8"))
    return {
        name: tuple({key: array(item) for key, item in case[role].items()} for role in ("inputs", "outputs"))
        for name, case in stored.items()
    }


RAW, FRAMED = cases("raw"), cases("framed")


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load(device="cpu", threads=1)


@cache
def opened(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(path: Path, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a file by itself, on those of the values that it takes."""
    session = opened(path)
    outputs = [item.name for item in session.get_outputs()]
    given = {item.name: values[item.name] for item in session.get_inputs()}
    return dict(zip(outputs, session.run(outputs, given), strict=True))


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() <= TOLERANCE * (1 + np.abs(expected).max())


@pytest.mark.parametrize("name", RAW)
@pytest.mark.filterwarnings("ignore::discoformer.DataWarning", "ignore::discoformer.RangeWarning")
def test_estimates(model: discoformer.Model, name: str) -> None:
    inputs, outputs = RAW[name]
    for b, x in enumerate(inputs["context"]):
        weights = np.exp(inputs["log_weights"][b])
        p = model.estimate(x, weights, effort="fast", rounding=None)  # as the file reads it
        log_density, score = p.log_density_and_score(inputs["queries"][b])
        assert_close(log_density, outputs["log_density"][b])
        assert_close(score, outputs["score"][b])


@pytest.mark.parametrize("name", RAW)
def test_the_file_for_raw_data(model: discoformer.Model, name: str) -> None:
    inputs, outputs = RAW[name]
    found = run(model.folder / "discoformer.onnx", inputs)
    for key, expected in outputs.items():
        assert_close(found[key], expected)


@pytest.mark.parametrize("name", FRAMED)
def test_the_heads(model: discoformer.Model, name: str) -> None:
    inputs, outputs = FRAMED[name]
    found = run(model.folder / "query.onnx", inputs | run(model.folder / "encode.onnx", inputs))
    for key, expected in outputs.items():
        assert_close(found[key], expected)
