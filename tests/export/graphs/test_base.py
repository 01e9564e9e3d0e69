"""The file of the frame finds the base that the runtime finds, to the rounding errors of float64."""

from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest

from discoformer.base.base import Base, EvaluatedBase, evaluate_base
from discoformer.base.mixture import ABSENT
from discoformer.fit import Sample, fit_bases, read_sample
from discoformer_export.files.frame_file import released_frame

NONE = -1e30  # log-weight of a row that counts for nothing


class Draw(NamedTuple):
    """A data set, and queries to it."""

    context: np.ndarray
    weights: np.ndarray
    queries: np.ndarray


@pytest.fixture(scope="module")
def frame() -> onnxruntime.InferenceSession:
    """The graph of the file, its outputs not rounded to float32."""
    model = onnx.load(released_frame())
    names = {value.name for value in model.graph.output}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.output[0] in names:
            node.attribute[0].i = onnx.TensorProto.DOUBLE
    for value in model.graph.output:
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def draw(family: str, n: int, dim: int, weighted: bool = False) -> Draw:
    """Laplace coordinates, or three Gaussian clusters, mixed and in units of their own."""
    rng = np.random.default_rng(n + dim)
    if family == "laplace":
        points = rng.laplace(size=(n + 9, dim))
    else:
        points = rng.uniform(-3, 3, (3, dim))[rng.integers(3, size=n + 9)] + rng.normal(size=(n + 9, dim))
    points = points @ np.linalg.qr(rng.normal(size=(dim, dim)))[0] * np.geomspace(1, 10, dim)
    weights = rng.gamma(0.5, size=n) * (np.arange(n) % 5 > 0) if weighted else np.ones(n)
    return Draw(points[:n], weights, points[n:])


def found_by_graph(frame: onnxruntime.InferenceSession, draws: list[Draw]) -> list[tuple[Base, np.ndarray]]:
    """The base of each data set of a batch, and its queries in the frame."""
    longest = max(len(draw.context) for draw in draws)
    data, log_weights = np.zeros((len(draws), longest, draws[0].context.shape[1])), []
    for row, (context, weights, _) in zip(data, draws, strict=True):
        row[: len(context)] = context
        padded = np.r_[weights, np.zeros(longest - len(context))]
        log_weights.append(np.where(padded > 0, np.log(np.maximum(padded, 1e-300)), NONE))
    outputs = [item.name for item in frame.get_outputs()]
    given = {"data": data, "data_log_weights": np.stack(log_weights)}
    found = dict(zip(outputs, frame.run(outputs, given), strict=True))
    base = Base.from_inputs(found)
    return [
        (
            base.each(lambda array, b=b: array[b : b + 1]),
            (draw.queries - found["center"][b]) @ found["linear"][b],
        )
        for b, draw in enumerate(draws)
    ]


def found_by_runtime(draw: Draw) -> tuple[Base, np.ndarray]:
    sample: Sample = read_sample(draw.context, draw.weights)
    return fit_bases([sample]), sample.frame.to_frame(draw.queries)


def assert_same(got: tuple[Base, np.ndarray], wanted: tuple[Base, np.ndarray]) -> None:
    """The frames may differ by a rotation; the lengths of scores do not."""
    (base, z), (expected, z_expected) = got, wanted
    np.testing.assert_allclose(base.log_odds, expected.log_odds, rtol=1e-7)  # ABSENT is rounded to float32
    ours: EvaluatedBase = evaluate_base(base, z[None])
    theirs = evaluate_base(expected, z_expected[None])
    np.testing.assert_allclose(ours.log_density, theirs.log_density, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ours.product_share, theirs.product_share, atol=1e-8)
    lengths = (np.linalg.norm(found.score, axis=-1) for found in (ours, theirs))
    np.testing.assert_allclose(*lengths, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("family", ["laplace", "clusters"])
@pytest.mark.parametrize(
    ("n", "dim"),
    [
        (5, 1),
        (600, 1),
        (7, 2),
        (8, 2),
        (100, 2),
        (2100, 2),
        (3200, 2),
        (19, 5),
        (300, 5),
        (39, 10),
        (200, 10),
        (900, 10),
    ],
)
def test_one_data_set(frame, family, n, dim, weighted):
    data = draw(family, n, dim, weighted)
    assert_same(found_by_graph(frame, [data])[0], found_by_runtime(data))


def test_the_product_is_there_for_independent_coordinates_and_not_for_clusters(frame):
    (independent, _), (clusters, _) = (
        found_by_graph(frame, [draw(family, 900, 10)])[0] for family in ("laplace", "clusters")
    )
    assert independent.log_odds[0] > 3
    assert clusters.log_odds[0] < 0.5 * ABSENT


@pytest.mark.parametrize(
    "sizes",
    [(12, 300), (30, 400), (500, 300), (7, 5), (400, 600), (2100, 1500)],
    ids=["one has too few", "points and bins", "bins", "both have too few", "one has landmarks", "subset"],
)
def test_data_sets_of_a_batch_are_alone(frame, sizes):
    draws = [draw("laplace", n, 4) for n in sizes]
    for got, data in zip(found_by_graph(frame, draws), draws, strict=True):
        assert_same(got, found_by_runtime(data))


def test_without_enough_points_all_is_finite(frame):
    base, _ = found_by_graph(frame, [draw("laplace", 39, 10)])[0]
    assert base.log_odds[0] < 0.5 * ABSENT
    assert all(np.isfinite(array).all() for array in base.to_inputs().values())


def test_data_without_density_end_and_leave_the_others_alone(frame):
    constant, data = draw("laplace", 300, 4), draw("clusters", 300, 4)
    constant.context[:, 1] = 1.0
    alone = found_by_graph(frame, [constant])[0]
    first, second = found_by_graph(frame, [constant, data])
    for base, z in (alone, first):
        assert not np.isfinite(evaluate_base(base, z[None]).log_density).any()
    assert_same(second, found_by_runtime(data))
