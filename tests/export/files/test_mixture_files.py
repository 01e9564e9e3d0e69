"""mixture.onnx and discoformer.onnx compute what the mixture network does, without loops, at every size."""

import hashlib
import json
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from onnx.reference import ReferenceEvaluator
from safetensors.torch import load_file

import discoformer
from discoformer.onnx.names import ANSWERS, FRAMED, MIXTURE, RAW, WHOLE
from discoformer_export.checks.golden import answer_raw
from discoformer_export.checks.parity import GRID, RAW_CASES, TOLERANCE
from discoformer_export.cli import export
from discoformer_export.errors import ExportError
from discoformer_export.files.model_folder import FILES, release
from discoformer_export.files.onnx_files import TRANSPOSED, transposed
from discoformer_export.graphs.network import AXES
from discoformer_training.data.stream import StreamConfig
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.run.checkpoint import Progress, save_checkpoint
from discoformer_training.run.config import TrainConfig

Arrays = dict[str, npt.NDArray[np.float64]]

SMALL = NetworkConfig(
    kind="mixture",
    blocks=2,
    scalars=12,
    channels=3,
    heads=2,
    head_scalars=4,
    head_channels=1,
    pairs=4,
    hidden=48,
    sample=6,
    readout=16,
    updates=1,
)
LANDMARKS = 600
NONE = -1e30  # log-weight of an absent row
OTHERS = {"encode.onnx": b"encode", "query.onnx": b"query", "weights.safetensors": b"weights"}
OTHER_ENTRIES = {"model": {"name": "both", "version": "3", "licence": "MIT", "training_commit": "abc"}}


@pytest.fixture(scope="module")
def network() -> MixtureNetwork:
    """A small network with no weight left at zero. With other seeds float32 may lose all digits but three."""
    torch.manual_seed(3)
    network = MixtureNetwork(SMALL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def checkpoint(network: MixtureNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    tensors = {f"average.{name}": tensor for name, tensor in network.state_dict().items()}
    config = TrainConfig(network=SMALL, stream=StreamConfig(landmarks=LANDMARKS, fitted_base=False))
    save_checkpoint(path, config, Progress(step=7, tokens=700, seconds=1.0), tensors)
    return path


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that has another network already."""
    out = tmp_path_factory.mktemp("models") / "both"
    with_another_network(out)
    result = CliRunner().invoke(export, [str(checkpoint), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out


def with_another_network(out: Path) -> None:
    out.mkdir()
    for name, content in OTHERS.items():
        (out / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in OTHERS.items()}
    (out / "config.json").write_text(json.dumps(OTHER_ENTRIES | {"training": {"seed": 1}, "files": hashes}))


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, onnx.ModelProto]:
    return {name: onnx.load(folder / f"{name}.onnx") for name in ("mixture", "discoformer")}


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


# What the files are


def test_the_folder_holds_both_networks(folder: Path) -> None:
    recorded = json.loads((folder / "config.json").read_text())
    for name, content in OTHERS.items():
        assert (folder / name).read_bytes() == content
    written = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "config.json"}
    assert written.keys() == OTHERS.keys() | set(FILES["mixture"])
    assert recorded["files"] == {name: hashlib.sha256(file).hexdigest() for name, file in written.items()}
    assert recorded["model"] == OTHER_ENTRIES["model"]
    assert recorded["training"] == {"seed": 1}
    assert recorded["mixture"]["training_step"] == 7
    assert recorded["mixture"]["training"]["tokens"] == 700
    assert NetworkConfig(**recorded["mixture"]["training"]["network"]) == SMALL


def test_only_what_is_asked_for_is_written(checkpoint: Path, tmp_path: Path) -> None:
    with_another_network(out := tmp_path / "both")
    release(checkpoint, out, only=["mixture.safetensors"])
    recorded = json.loads((out / "config.json").read_text())
    assert recorded["files"].keys() == OTHERS.keys() | {"mixture.safetensors"}
    assert {path.name for path in out.iterdir()} == recorded["files"].keys() | {"config.json"}


def test_a_folder_without_another_network_gets_the_entries_of_a_model(
    checkpoint: Path, tmp_path: Path
) -> None:
    release(checkpoint, tmp_path / "alone", only=["mixture.safetensors"], version="2")
    model = json.loads((tmp_path / "alone" / "config.json").read_text())["model"]
    assert (model["name"], model["version"], model["opset"]) == ("alone", "2", "20")


def test_a_file_of_another_kind_of_network_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"\['encode\.onnx'\] .* 'mixture': choose from mixture\.onnx"):
        release(checkpoint, tmp_path, only=["encode.onnx", "mixture.onnx"])


def test_metadata_name_the_weights_that_lie_beside(folder: Path, models: dict[str, onnx.ModelProto]) -> None:
    content = (folder / "mixture.safetensors").read_bytes()
    for model in models.values():
        metadata = {item.key: item.value for item in model.metadata_props}
        assert metadata["weights_sha256"] == hashlib.sha256(content).hexdigest()
        assert (metadata["name"], metadata["version"]) == ("both", "3")
        assert metadata["landmarks"] == str(LANDMARKS)
        assert NetworkConfig(**json.loads(metadata["config"])) == SMALL


def test_initialisers_keep_names_and_values_of_the_parameters(
    folder: Path, models: dict[str, onnx.ModelProto]
) -> None:
    parameters = load_file(folder / "mixture.safetensors")
    held = parameters | {f"{key}{TRANSPOSED}": transposed(x) for key, x in parameters.items() if x.ndim > 1}
    for model in models.values():
        found = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
        for key in found.keys() & held.keys():
            np.testing.assert_array_equal(found[key], held[key].numpy())
        assert {key.removesuffix(TRANSPOSED) for key in found.keys() & held.keys()} == parameters.keys()


def test_there_are_no_loops_and_the_raw_file_has_standard_operators_alone(
    models: dict[str, onnx.ModelProto],
) -> None:
    foreign = {}
    for name, model in models.items():
        assert {node.op_type for node in model.graph.node}.isdisjoint({"Loop", "Scan", "If"})
        assert not model.functions
        foreign[name] = {(node.domain, node.op_type) for node in model.graph.node if node.domain}
        onnx.checker.check_model(model, full_check=name == "discoformer")
    assert foreign == {"mixture": {("com.microsoft", "Inverse")}, "discoformer": set()}


def test_axes_and_types(models: dict[str, onnx.ModelProto]) -> None:
    expected = {"mixture": ((*FRAMED, *WHOLE), MIXTURE), "discoformer": (RAW.inputs, RAW.outputs)}
    types = {"mixture": onnx.TensorProto.FLOAT, "discoformer": onnx.TensorProto.DOUBLE}
    for name, model in models.items():
        inputs, outputs = expected[name]
        assert {value.name for value in model.graph.input} == set(inputs)
        assert {value.name for value in model.graph.output} == set(outputs)
        for value in (*model.graph.input, *model.graph.output):
            axes = [dim.dim_param or None for dim in value.type.tensor_type.shape.dim]
            assert tuple(axes) == AXES[value.name]
            assert value.type.tensor_type.elem_type == types[name]


def test_the_layers_of_the_network_are_float32(models: dict[str, onnx.ModelProto]) -> None:
    """Float64 are the frame, the answers, and inverses."""
    for name, model in models.items():
        types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
        layers = [
            node
            for node in model.graph.node
            if node.op_type in ("LayerNormalization", "Gelu", "Softmax", "Split")
            and (name == "mixture" or node.output[0].startswith("network/"))
        ]
        assert len(layers) > 10
        assert {types[node.output[0]] for node in layers} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("name", ["mixture", "discoformer"])
def test_no_trace_of_the_machine_is_left_in_the_file(folder: Path, name: str) -> None:
    content = (folder / f"{name}.onnx").read_bytes()
    for trace in (b"site-packages", b"/training/", b".py", str(Path.home()).encode()):
        assert trace not in content


def test_parity_is_reported(folder: Path) -> None:
    stored = json.loads((folder / "mixture_parity.json").read_text())
    assert all(case["onnx_error"] <= max(TOLERANCE, case["torch_error"]) for case in stored["cases"])
    assert 0 < np.median([case["onnx_error"] for case in stored["cases"]]) < 1e-5
    assert [case["graph"] for case in stored["cases"]] == ["mixture"] * len(GRID) + ["discoformer"] * len(
        RAW_CASES
    )


def test_the_runtime_reads_the_file(folder: Path, network: MixtureNetwork, tmp_path: Path) -> None:
    shutil.copy(folder / "mixture.onnx", tmp_path)
    given = drawn(1, 300, 5, 3, weighted=False)
    estimate = discoformer.load(tmp_path, device="cpu").estimate(given["context"][0], effort="fast")
    found = estimate.log_density_and_score(given["queries"][0])
    for name, array in zip(ANSWERS, found, strict=True):
        assert_parity(array[None], name, network, given)


# What discoformer.onnx computes

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
    network: MixtureNetwork,
    sizes: tuple[int, int, int, int],
    weighted: bool,
) -> None:
    given = drawn(*sizes, weighted=weighted)
    found = answered(session, given)
    for name in ANSWERS:
        assert_parity(found[name], name, network, given)


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
