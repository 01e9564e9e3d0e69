"""discoformer.onnx of the released model: small, without loops, and with the answers of `effort="fast"`."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import discoformer
from discoformer.io.inputs import Floats

PATH = Path(__file__).parents[2] / "models" / "base" / "discoformer.onnx"
NONE = -1e30  # log-weight of an absent row
TOLERANCE = 1e-4  # both round to float32

pytestmark = pytest.mark.filterwarnings("ignore::discoformer.errors.RangeWarning")


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load(PATH.parent, device="cpu", threads=1)


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(PATH, providers=["CPUExecutionProvider"])


def clusters(n: int, dim: int) -> tuple[Floats, Floats]:
    """A sample (n, D) of three clusters, turned, in units of 1 to 10, and nine queries."""
    rng = np.random.default_rng(n + dim)
    means = rng.uniform(-3, 3, (3, dim))
    points = means[rng.integers(3, size=n + 9)] + rng.normal(size=(n + 9, dim))
    points = points @ np.linalg.qr(rng.normal(size=(dim, dim)))[0] * np.geomspace(1, 10, dim)
    return points[:n], points[n:]


def assert_same_answers(
    session: onnxruntime.InferenceSession,
    model: discoformer.Model,
    context: Floats,
    queries: Floats,
    weights: Floats | None = None,
    effective_size: float | None = None,
) -> None:
    """The error is relative, and scores are taken in units of the spread of the columns."""
    shares = np.ones(len(context)) if weights is None else weights
    log_weights = np.where(shares > 0, np.log(np.maximum(shares, 1e-300)) + 7, NONE)
    given = {"context": context[None], "queries": queries[None], "log_weights": log_weights[None]}
    log_density, score = session.run(["log_density", "score"], given)
    p = model.estimate(context, weights, effort="fast", effective_size=effective_size)
    expected, slope = p.log_density_and_score(queries)
    units = context.std(0)
    for found, right in ((log_density[0], expected), (score[0] * units, slope * units)):
        assert np.abs(found - right).max() / (1 + np.abs(right).max()) < TOLERANCE


def test_it_is_small_and_has_standard_operators_without_loops() -> None:
    graph = onnx.load(PATH).graph
    assert PATH.stat().st_size <= 4e6
    assert {node.domain for node in graph.node} == {""}
    assert {node.op_type for node in graph.node}.isdisjoint({"Loop", "Scan", "If"})


@pytest.mark.parametrize(
    ("n", "dim"),
    [(2, 1), (3, 2), (7, 10), (60, 2), (512, 2), (150, 30), (700, 45), (2500, 2), (5000, 3), (220, 100)],
)
def test_sizes(session: onnxruntime.InferenceSession, model: discoformer.Model, n: int, dim: int) -> None:
    assert_same_answers(session, model, *clusters(n, dim))


@pytest.mark.parametrize("n", [100, 3000, 20000])
def test_weights(session: onnxruntime.InferenceSession, model: discoformer.Model, n: int) -> None:
    weights = np.random.default_rng(2).gamma(0.5, size=n) * (np.arange(n) % 5 > 0)
    assert_same_answers(session, model, *clusters(n, 2), weights)


@pytest.mark.parametrize("condition", [1e-8, 1e8])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_units(
    session: onnxruntime.InferenceSession, model: discoformer.Model, condition: float, offset: float
) -> None:
    context, queries = (points * np.geomspace(1, condition, 5) for points in clusters(400, 5))
    shift = offset * context.std(0)
    assert_same_answers(session, model, context + shift, queries + shift)


@pytest.mark.parametrize("condition", [1e2, 1e4])
def test_correlations(
    session: onnxruntime.InferenceSession, model: discoformer.Model, condition: float
) -> None:
    """The condition number of the correlation is the square."""
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.normal(size=(5, 5)))[0] for _ in range(2))
    linear = left * np.geomspace(1, condition, 5) @ right
    assert_same_answers(session, model, *(points @ linear for points in clusters(400, 5)))


def test_points_that_are_repeated(session: onnxruntime.InferenceSession, model: discoformer.Model) -> None:
    """The file takes copies for rows of their own. The package does so only if it is told their number."""
    context, queries = clusters(40, 3)
    assert_same_answers(session, model, np.repeat(context, 4, axis=0), queries, effective_size=160)
