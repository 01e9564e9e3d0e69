"""mixture.onnx and discoformer.onnx compute what the mixture network does, at every size."""

import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import discoformer
from discoformer.onnx.names import ANSWERS, MIXTURE
from discoformer_export.checks.golden import answer_raw
from discoformer_export.checks.parity import TOLERANCE
from discoformer_training.nn.mixture_network import MixtureNetwork

Arrays = dict[str, npt.NDArray[np.float64]]

LANDMARKS = 600  # as in the checkpoint
NONE = -1e30  # log-weight of an absent row


@pytest.fixture(scope="module")
def session(folder: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(folder / "discoformer.onnx", providers=["CPUExecutionProvider"])


def clusters(seed: int, n: int, dim: int) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    means = rng.uniform(-3, 3, (3, dim))
    points = means[rng.integers(3, size=n)] + 0.7 * rng.normal(size=(n, dim))
    return points @ (np.eye(dim) + rng.normal(size=(dim, dim)) / dim**0.5) * np.geomspace(1, 100, dim) + 3


def drawn(batch: int, n: int, m: int, dim: int, *, weighted: bool) -> Arrays:
    """Data sets of which the first has all rows, and the others, if weighted, fewer and unequal ones."""
    rng = np.random.default_rng(n + dim)
    points = np.stack([clusters(b, n + m, dim) for b in range(batch)])
    weights = rng.gamma(1, size=(batch, n)) if weighted else np.ones((batch, n))
    if weighted and n > 10:
        weights[:, n // 2 :] *= rng.random((batch, n - n // 2)) < 0.5
    with np.errstate(divide="ignore"):
        log_weights = np.maximum(np.log(weights), NONE)
    return {"context": points[:, :n], "log_weights": log_weights, "queries": points[:, n:]}


def answered(session: onnxruntime.InferenceSession, given: Arrays) -> Arrays:
    names = (*ANSWERS, *MIXTURE)
    return dict(zip(names, session.run(names, given), strict=True))


def assert_close(found: npt.NDArray, expected: npt.NDArray, tolerance: float) -> None:
    assert np.isfinite(found).all()
    error = np.abs(found - expected).max() / (1 + np.abs(expected).max())
    assert error < tolerance


def assert_parity(found: npt.NDArray, name: str, network: MixtureNetwork, given: Arrays) -> None:
    expected = answer_raw(deepcopy(network).double(), LANDMARKS, given)[name]
    assert found.shape == expected.shape
    assert_close(found, expected, TOLERANCE)


def test_the_layers_of_the_network_are_float32(models: dict[str, onnx.ModelProto]) -> None:
    """Float64 are the frame, the answers, and inverses."""
    for name in ("mixture", "discoformer"):
        model = models[name]
        types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
        layers = [
            node
            for node in model.graph.node
            if node.op_type in ("LayerNormalization", "Gelu", "Softmax")
            and (name == "mixture" or node.output[0].startswith("network/"))
        ]
        assert len(layers) > 10
        assert {types[node.output[0]] for node in layers} == {onnx.TensorProto.FLOAT}


def test_the_runtime_reads_mixture_onnx_alone(
    folder: Path, mixture_network: MixtureNetwork, tmp_path: Path
) -> None:
    shutil.copy(folder / "mixture.onnx", tmp_path)
    given = drawn(1, 300, 5, 3, weighted=False)
    model = discoformer.load(tmp_path, device="cpu", trust=True)
    estimate = model.estimate(given["context"][0], effort="fast")
    found = estimate.log_density_and_score(given["queries"][0])
    for name, array in zip(ANSWERS, found, strict=True):
        assert_parity(array[None], name, mixture_network, given)


SIZES = [  # B, N, M, D
    (1, 2, 1, 1),
    (1, 3, 1, 2),
    (3, 17, 5, 2),
    (2, 200, 33, 3),
    (1, 301, 2, 1),
    (1, 1024, 7, 10),
    (1, 3000, 4, 3),  # more than the landmarks
    (1, 60, 3, 20),  # few for their columns
    (1, 220, 2, 50),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_it_answers_like_the_runtime_and_the_network(
    session: onnxruntime.InferenceSession,
    mixture_network: MixtureNetwork,
    sizes: tuple[int, int, int, int],
    weighted: bool,
) -> None:
    given = drawn(*sizes, weighted=weighted)
    found = answered(session, given)
    for name in ANSWERS:
        assert_parity(found[name], name, mixture_network, given)


@pytest.mark.parametrize(("n", "dim"), [(40, 2), (700, 3)])
def test_the_reference_evaluator_gives_the_same(
    models: dict[str, onnx.ModelProto], session: onnxruntime.InferenceSession, n: int, dim: int
) -> None:
    given = drawn(2, n, 3, dim, weighted=True)
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(models["discoformer"]).run(list(ANSWERS), given)
    for name, array in zip(ANSWERS, found, strict=True):
        assert_close(array, answered(session, given)[name], 1e-5)


def test_absent_rows_are_like_rows_left_out(session: onnxruntime.InferenceSession) -> None:
    given = drawn(1, 150, 6, 3, weighted=False)
    absent = np.arange(150) % 3 == 0
    given["log_weights"][0, absent] = NONE
    given["context"][0, absent] = 1e6  # their values do not matter
    kept = given | {name: given[name][:, ~absent] for name in ("context", "log_weights")}
    some, fewer = answered(session, given), answered(session, kept)
    for name in ANSWERS:
        assert_close(some[name], fewer[name], 1e-5)


def test_data_sets_and_queries_do_not_influence_each_other(session: onnxruntime.InferenceSession) -> None:
    given = drawn(3, 50, 9, 2, weighted=True)
    together = answered(session, given)
    for b in range(3):
        alone = answered(session, {name: array[b : b + 1] for name, array in given.items()})
        last = answered(
            session,
            {name: array[b : b + 1] for name, array in given.items()}
            | {"queries": given["queries"][b : b + 1, 8:]},
        )
        for name in ANSWERS:
            assert_close(together[name][b], alone[name][0], 1e-5)
            assert_close(last[name][0, 0], alone[name][0, 8], 1e-5)


@pytest.mark.parametrize(("n", "dim"), [(30, 2), (64, 5), (900, 3), (1500, 2)])
def test_affine_maps_and_permutations_are_exact(
    session: onnxruntime.InferenceSession, n: int, dim: int
) -> None:
    given = drawn(1, n, 20, dim, weighted=False)
    rng = np.random.default_rng(n)
    left, right = (np.linalg.qr(rng.normal(size=(dim, dim)))[0] for _ in range(2))
    linear = left * np.geomspace(0.01, 1, dim) @ right
    order = rng.permutation(n)
    mapped = {
        "context": given["context"][:, order] @ linear + 7,
        "queries": given["queries"] @ linear + 7,
        "log_weights": given["log_weights"] + 5,  # up to a constant
    }
    before, after = answered(session, given), answered(session, mapped)
    assert_close(after["log_density"] + np.linalg.slogdet(linear)[1], before["log_density"], 2e-5)
    assert_close(after["score"] @ linear.T, before["score"], 1e-4)


@pytest.mark.parametrize("n", [5, 100, 1000])
def test_it_integrates_to_one_in_one_dimension(session: onnxruntime.InferenceSession, n: int) -> None:
    """By the trapezoidal rule in u, with x = sinh u: the tails are those of Student-t distributions."""
    x = np.random.default_rng(n).standard_t(3, size=(1, n, 1))
    u = np.linspace(-30, 30, 40_001)
    density = []
    for part in np.array_split(np.sinh(u), 10):
        given = {"context": x, "log_weights": np.zeros((1, n)), "queries": part[None, :, None]}
        density.append(np.exp(answered(session, given)["log_density"][0]))
    assert np.trapezoid(np.concatenate(density) * np.cosh(u), u) == pytest.approx(1, abs=1e-5)


def test_the_score_is_the_gradient(session: onnxruntime.InferenceSession) -> None:
    given = drawn(1, 200, 8, 2, weighted=False)
    step = 1e-5
    for axis in range(2):
        moved = [given | {"queries": given["queries"] + sign * step * np.eye(2)[axis]} for sign in (1, -1)]
        high, low = (answered(session, one)["log_density"] for one in moved)
        assert_close((high - low) / (2 * step), answered(session, given)["score"][..., axis], 1e-6)


@pytest.mark.parametrize("dim", [1, 4])
def test_the_mixture_in_data_units_gives_the_answers(session: onnxruntime.InferenceSession, dim: int) -> None:
    from scipy.special import logsumexp
    from scipy.stats import multivariate_t

    given = drawn(1, 60, 5, dim, weighted=False)
    found = answered(session, given)
    log_w, means, scales, freedom = (found[name][0] for name in MIXTURE)
    assert np.exp(log_w).sum() == pytest.approx(1, abs=1e-5)
    components = [
        log_w[k] + multivariate_t(means[k], scales[k], freedom[k]).logpdf(given["queries"][0])
        for k in range(len(log_w))
    ]
    assert_close(found["log_density"][0], logsumexp(components, axis=0), 1e-6)


@pytest.mark.parametrize(
    "context",
    [np.ones((1, 1, 2)), np.ones((1, 20, 2)), np.stack([np.arange(30.0)] * 2, -1)[None]],
    ids=["one point", "constant columns", "collinear columns"],
)
def test_data_without_a_density_give_nan(
    session: onnxruntime.InferenceSession, context: npt.NDArray[np.float64]
) -> None:
    given = {
        "context": context,
        "log_weights": np.zeros(context.shape[:2]),
        "queries": np.zeros((1, 3, context.shape[2])),
    }
    found = answered(session, given)
    assert np.isnan(found["log_density"]).all()
    assert np.isnan(found["score"]).all()
