"""The files for raw data do in operators what the runtime does in NumPy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import discoformer
from discoformer_export.files.frame_file import frame_file, released_frame, sources_sha256

pytestmark = pytest.mark.filterwarnings("ignore::discoformer.errors.RangeWarning")

BASE = Path(__file__).parents[3] / "models" / "base"


@pytest.fixture(scope="module")
def answer() -> Callable[..., list[np.ndarray]]:
    session = onnxruntime.InferenceSession(BASE / "discoformer.onnx", providers=["CPUExecutionProvider"])

    def run(
        context: np.ndarray, queries: np.ndarray, log_weights: np.ndarray | None = None
    ) -> list[np.ndarray]:
        log_weights = np.zeros(len(context)) if log_weights is None else log_weights
        inputs = {"context": context[None], "queries": queries[None], "log_weights": log_weights[None]}
        return [output[0] for output in session.run(["log_density", "score"], inputs)]

    return run


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load(BASE, device="cpu")


def clusters(n: int, dim: int, seed: int = 0, condition: float = 10.0) -> np.ndarray:
    """Three clusters in units and directions of a condition number."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-3, 3, (3, dim))
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return (
        (means[rng.integers(3, size=n)] + rng.normal(size=(n, dim))) @ turn * np.geomspace(1, condition, dim)
    )


def assert_same(got: list[np.ndarray], want: tuple[np.ndarray, np.ndarray], units: np.ndarray) -> None:
    """Within 1e-5, relative as the parity report is; scores in units of the data's own scale."""
    for a, b in ((got[0], want[0]), (got[1] * units, want[1] * units)):
        assert np.abs(a - b).max() / (1 + np.abs(b).max()) < 1e-5


def test_the_frame_was_traced_from_these_sources() -> None:
    traced_from = {entry.key: entry.value for entry in onnx.load(released_frame()).metadata_props}[
        "sources_sha256"
    ]
    assert traced_from == sources_sha256(), "run python -m discoformer_export.files.frame_file"


@pytest.mark.parametrize(
    ("n", "dim"),
    [(2, 1), (3, 2), (7, 10), (60, 2), (299, 3), (512, 2), (150, 30), (700, 45), (2500, 2), (5000, 3)],
)
def test_raw_file_answers_as_the_runtime(model, answer, n, dim):
    context, queries = clusters(n, dim), clusters(9, dim, seed=1)
    want = model.estimate(context).log_density_and_score(queries)
    assert_same(answer(context, queries), want, context.std(0))


@pytest.mark.parametrize("n", [100, 3000, 20000])
def test_weights(model, answer, n):
    context, queries = clusters(n, 2), clusters(9, 2, seed=1)
    weights = np.random.default_rng(2).gamma(0.5, size=n) * (np.arange(n) % 5 > 0)
    want = model.estimate(context, weights=weights).log_density_and_score(queries)
    log_weights = np.log(np.maximum(weights, 1e-300)) + 7
    log_weights[weights == 0] = -1e30
    assert_same(answer(context, queries, log_weights), want, context.std(0))


@pytest.mark.parametrize("condition", [1e-8, 1e8])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_units(model, answer, condition, offset):
    context, queries = clusters(400, 5, condition=condition), clusters(9, 5, seed=1, condition=condition)
    context, queries = context + offset * context.std(0), queries + offset * context.std(0)
    want = model.estimate(context).log_density_and_score(queries)
    assert_same(answer(context, queries), want, context.std(0))


def test_correlation_of_condition_1e8(model, answer):
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0] * np.geomspace(1, 1e4, 5)
    context, queries = clusters(400, 5) @ turn, clusters(9, 5, seed=1) @ turn
    turned = np.linalg.qr(np.random.default_rng(4).normal(size=(5, 5)))[0]
    context, queries = context @ turned, queries @ turned
    want = model.estimate(context).log_density_and_score(queries)
    got = answer(context, queries)
    assert_same(got, want, np.ones(5))


def test_points_that_are_repeated(model, answer):
    context, queries = np.repeat(clusters(40, 3), 4, axis=0), clusters(9, 3, seed=1)
    want = model.estimate(context).log_density_and_score(queries)
    assert_same(answer(context, queries), want, context.std(0))


def test_padding_and_batches_change_nothing(model):
    session = onnxruntime.InferenceSession(BASE / "discoformer.onnx", providers=["CPUExecutionProvider"])
    contexts, queries = [clusters(n, 2, seed=n) for n in (30, 200, 117)], clusters(5, 2, seed=1)
    padded, log_weights = np.zeros((3, 200, 2)), np.full((3, 200), -1e30)
    for row, context in enumerate(contexts):
        padded[row, : len(context)], log_weights[row, : len(context)] = context, 0
    inputs = {"context": padded, "queries": np.stack([queries] * 3), "log_weights": log_weights}
    log_density, score = session.run(["log_density", "score"], inputs)
    for row, context in enumerate(contexts):
        want = model.estimate(context).log_density_and_score(queries)
        assert_same([log_density[row], score[row]], want, context.std(0))


@pytest.mark.parametrize(
    "context", [np.ones((20, 2)), clusters(20, 2)[:, [0, 0]]], ids=["constant", "collinear"]
)
def test_data_without_density_give_no_number(answer, context):
    log_density, _ = answer(context, clusters(3, 2))
    assert not np.isfinite(log_density).any()


def test_landmarks_are_those_of_the_model():
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in frame_file(77, {}).graph.initializer}
    assert stored["landmarks"] == 77
    metadata = {entry.key: entry.value for entry in onnx.load(BASE / "frame.onnx").metadata_props}
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(BASE / "frame.onnx").graph.initializer}
    assert stored["landmarks"] == int(metadata["landmarks"])
