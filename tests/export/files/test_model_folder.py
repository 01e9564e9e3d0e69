"""The exported files compute what the network computes, at every size, and say what they are."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import discoformer
from discoformer.onnx.names import STATES
from discoformer_export.checks import parity
from discoformer_export.checks.parity import GRID, TOLERANCE
from discoformer_export.cli import export
from discoformer_export.errors import ExportError
from discoformer_export.files.model_folder import release
from discoformer_export.files.onnx_files import TRANSPOSED, finished, to_onnx, transposed
from discoformer_export.graphs.network import AXES, GRAPHS, Graph, Query, example_inputs
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.network import DiScoFormer, Encoded
from discoformer_training.run.basis import TENSOR
from discoformer_training.run.checkpoint import Progress, save_checkpoint
from discoformer_training.run.config import TrainConfig

SMALL = NetworkConfig(
    blocks=2, scalars=12, channels=3, heads=2, head_scalars=4, head_channels=1, pairs=4, hidden=48, sample=6
)

MIXTURE = {"mixture": {"training_step": 9}}  # what the folder records of another network
MIXTURE_HASHES = {"mixture.onnx": "hash"}


@pytest.fixture(scope="module")
def network() -> DiScoFormer:
    """A small network with no weight left at zero."""
    torch.manual_seed(0)
    network = DiScoFormer(SMALL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def checkpoint(network: DiScoFormer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    tensors = {f"average.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {TENSOR: torch.ones(3, 2)}
    save_checkpoint(path, TrainConfig(network=SMALL), Progress(step=7, tokens=700, seconds=1.0), tensors)
    return path


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "small"
    out.mkdir()
    (out / "config.json").write_text(json.dumps(MIXTURE | {"files": MIXTURE_HASHES | {"core.onnx": "old"}}))
    result = CliRunner().invoke(export, [str(checkpoint), "--out", str(out), "--commit", "abc"])
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, onnx.ModelProto]:
    return {name: onnx.load(folder / f"{name}.onnx") for name in GRAPHS}


def test_the_folder_holds_everything_and_nothing_half_written(folder: Path) -> None:
    expected = {f"{name}.onnx" for name in GRAPHS}
    expected |= {"weights.safetensors", "adaptation.safetensors", "config.json", "parity.json"}
    assert {path.name for path in folder.iterdir()} == expected


def test_the_record_of_a_mixture_network_remains(folder: Path) -> None:
    recorded = json.loads((folder / "config.json").read_text())
    assert recorded["mixture"] == MIXTURE["mixture"]
    written = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "config.json"}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in written.items()}
    assert recorded["files"] == MIXTURE_HASHES | hashes


def test_the_basis_of_adaptation_comes_from_the_checkpoint(folder: Path) -> None:
    assert torch.equal(load_file(folder / "adaptation.safetensors")["basis"], torch.ones(3, 2))


@pytest.mark.parametrize("name", GRAPHS)
def test_every_axis_of_the_contract_is_dynamic(models: dict[str, onnx.ModelProto], name: str) -> None:
    graph = models[name].graph
    assert tuple(value.name for value in graph.input) == GRAPHS[name].inputs
    assert tuple(value.name for value in graph.output) == GRAPHS[name].outputs
    for value in (*graph.input, *graph.output):
        axes = [dim.dim_param or None for dim in value.type.tensor_type.shape.dim]
        assert tuple(axes) == AXES[value.name]


@pytest.mark.parametrize("name", GRAPHS)
def test_only_standard_operators_and_no_external_data(models: dict[str, onnx.ModelProto], name: str) -> None:
    model = models[name]
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    onnx.checker.check_model(model, full_check=True)


def test_the_encoding_has_the_fields_that_the_graphs_name() -> None:
    assert Encoded._fields == STATES


def test_readme_names_every_input() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    for graph in GRAPHS.values():
        for name in graph.inputs:
            assert f"`{name}`" in readme


def test_initialisers_keep_names_and_values_of_the_parameters(
    models: dict[str, onnx.ModelProto], network: DiScoFormer
) -> None:
    parameters = network.state_dict()
    held = dict(parameters) | {
        f"{key}{TRANSPOSED}": transposed(value) for key, value in parameters.items() if value.ndim > 1
    }
    found = {}
    for name, model in models.items():
        names = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
        for key in names.keys() & held.keys():
            np.testing.assert_array_equal(names[key], held[key].numpy())
        found[name] = {key.removesuffix(TRANSPOSED) for key in names.keys() & held.keys()}
    assert found["core"] == parameters.keys()
    assert found["encode"] | found["query"] == parameters.keys()


@pytest.mark.parametrize("name", GRAPHS)
def test_no_trace_of_the_machine_is_left_in_the_file(folder: Path, name: str) -> None:
    content = (folder / f"{name}.onnx").read_bytes()
    for trace in (b"site-packages", b"/training/", b".py", str(Path.home()).encode()):
        assert trace not in content


def test_metadata_name_the_weights_that_lie_beside(models: dict[str, onnx.ModelProto], folder: Path) -> None:
    sha256 = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    for model in models.values():
        metadata = {item.key: item.value for item in model.metadata_props}
        assert metadata["weights_sha256"] == sha256
        assert metadata["name"] == "small"
        assert metadata["training_commit"] == "abc"
        assert metadata["training_step"] == "7"
        assert NetworkConfig(**json.loads(metadata["config"])) == SMALL
    assert json.loads((folder / "config.json").read_text())["model"]["weights_sha256"] == sha256


def test_parity_holds_over_the_grid_and_is_reported(folder: Path) -> None:
    stored = json.loads((folder / "parity.json").read_text())
    assert stored["worst"] < TOLERANCE
    assert stored["worst"] == max(case["onnx_error"] for case in stored["cases"])
    measured = Counter(case["graph"] for case in stored["cases"])
    assert measured == dict.fromkeys(GRAPHS, len(GRID))


def test_encode_then_query_is_core(models: dict[str, onnx.ModelProto]) -> None:
    inputs = {key: value.numpy() for key, value in example_inputs(SMALL, 3, 29, 13, 4, 2, 6, seed=5).items()}

    def run(name: str) -> dict[str, np.ndarray]:
        session = onnxruntime.InferenceSession(
            models[name].SerializeToString(), providers=["CPUExecutionProvider"]
        )
        given = {key: inputs[key] for key in GRAPHS[name].inputs}
        return dict(zip(GRAPHS[name].outputs, session.run(None, given), strict=True))

    inputs |= run("encode")
    split, whole = run("query"), run("core")
    for key in ("log_density", "score"):
        np.testing.assert_allclose(split[key], whole[key], rtol=1e-5, atol=1e-5)


def test_a_released_folder_is_exported_again_to_the_bit_but_only_what_is_asked_for(
    folder: Path, models: dict[str, onnx.ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def traced(graph: Graph, _network: DiScoFormer, metadata: Mapping[str, str]) -> onnx.ModelProto:
        name = next(key for key, value in GRAPHS.items() if value is graph)
        return finished(onnx.ModelProto.FromString(models[name].SerializeToString()), metadata)

    monkeypatch.setattr("discoformer_export.files.model_folder.to_onnx", traced)
    monkeypatch.setattr(parity, "GRID", GRID[:2])
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    chosen = ("encode.onnx", "weights.safetensors", "adaptation.safetensors")
    for path in again.iterdir():
        if path.name != "config.json":
            path.write_bytes(b"")
    release(folder, again, only=chosen)
    written = {path.name for path in again.iterdir() if path.stat().st_size > 0}
    assert written == {*chosen, "config.json"}
    for name in written:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_file_that_no_export_makes_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"\['other\.onnx'\] are no files .*: choose from core\.onnx"):
        release(checkpoint, tmp_path, only=["encode.onnx", "other.onnx"])


def test_export_errors_have_the_base_of_the_package_and_a_builtin() -> None:
    assert issubclass(ExportError, discoformer.errors.DiscoformerError)
    assert issubclass(ExportError, RuntimeError)


def test_the_runtime_loads_the_folder(folder: Path) -> None:
    rng = np.random.default_rng(0)
    context = rng.normal(size=(200, 3)) * [1, 1e-3, 1e6]
    estimate = discoformer.load(folder, device="cpu").estimate(context)
    log_density, score = estimate.log_density_and_score(context[:5])
    assert np.isfinite(log_density).all()
    assert np.isfinite(score).all()


class _FixesTheDimension(Query):
    """A network that reads D as a number, which tracing would bake in."""

    def query(self, queries, encoded, log_weights, precision_root, base):
        scale = float(int(queries.shape[-1]) + (1 if int(queries.shape[-1]) > 4 else 0))
        return super().query(queries / scale, encoded, log_weights, precision_root, base)


def test_a_graph_with_a_fixed_axis_is_refused() -> None:
    network = DiScoFormer(replace(SMALL, blocks=1))
    with pytest.raises(ExportError, match="not dynamic"):
        to_onnx(replace(GRAPHS["query"], module=_FixesTheDimension), network, {})


@pytest.fixture
def wrong_graphs(monkeypatch: pytest.MonkeyPatch, models: dict[str, onnx.ModelProto]) -> None:
    """Exports whose readout differs from the network's in one weight."""

    def exported(graph: Graph, _network: DiScoFormer, _metadata: object) -> onnx.ModelProto:
        name = next(key for key, value in GRAPHS.items() if value is graph)
        model = onnx.ModelProto.FromString(models[name].SerializeToString())
        for item in model.graph.initializer:
            if item.name == "heads.linear.bias":
                item.CopyFrom(
                    onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(item) + 0.01, item.name)
                )
        return model

    monkeypatch.setattr("discoformer_export.files.model_folder.to_onnx", exported)


@pytest.mark.usefixtures("wrong_graphs")
def test_files_that_differ_from_the_network_are_not_written(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="differ from PyTorch"):
        release(checkpoint, tmp_path / "wrong", name="wrong", version="1")
    assert not (tmp_path / "wrong").exists()


def test_help_needs_no_torch_and_an_export_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from discoformer_export.cli import main\n"
        "main()"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run("--help").returncode == 0
    missing = run("run.safetensors", "--out", "nowhere")
    assert missing.returncode == 1
    assert "pip install 'discoformer[export]'" in missing.stderr


def test_a_missing_checkpoint_is_a_message_not_a_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(export, [str(tmp_path / "absent"), "--out", str(tmp_path / "m")])
    assert result.exit_code == 1
    assert "cannot be read" in result.output
