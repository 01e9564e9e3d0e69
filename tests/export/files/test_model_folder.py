"""The folder of a model: which files an export writes, what they say they are, and what it refuses."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import discoformer
from discoformer.onnx.names import FRAMED, MIXTURE, RAW, WHOLE
from discoformer_export.checks.parity import GRID, RAW_CASES, TOLERANCE
from discoformer_export.cli import export
from discoformer_export.errors import ExportError
from discoformer_export.files.model_folder import FILES, release
from discoformer_export.files.onnx_files import TRANSPOSED, finished, transposed
from discoformer_export.graphs.network import AXES, GRAPHS, Graph
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.checkpoint import load_mixture_network

Models = dict[str, onnx.ModelProto]

ENDS = {  # inputs and outputs of each graph
    "mixture": ((*FRAMED, *WHOLE), MIXTURE),
    "discoformer": (RAW.inputs, RAW.outputs),
    **{name: (graph.inputs, graph.outputs) for name, graph in GRAPHS.items()},
}
graphs = pytest.mark.parametrize("name", ENDS)


def recorded(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def weights_file(name: str) -> str:
    """The weights that the graph of this name holds."""
    return "weights.safetensors" if name in GRAPHS else "mixture.safetensors"


# What the folder holds


def test_the_folder_holds_the_files_of_both_networks_and_nothing_half_written(folder: Path) -> None:
    written = {*FILES["mixture"], *FILES["heads"]}
    assert {path.name for path in folder.iterdir()} == {*written, "config.json"}
    hashed = [name for name in written if not name.endswith("parity.json")]
    assert recorded(folder)["files"] == {name: sha256_of(folder / name) for name in hashed}


def test_config_json_describes_the_heads_and_their_mixture(
    folder: Path, network: DiScoFormer, mixture_network: MixtureNetwork
) -> None:
    described = recorded(folder)
    model, training, mixture = (described[name] for name in ("model", "training", "mixture"))
    assert (model["name"], model["version"], model["training_commit"]) == ("small", "3", "def")
    assert (model["training_step"], training["tokens"]) == ("9", 900)
    assert model["weights_sha256"] == sha256_of(folder / "weights.safetensors")
    assert model["mixture_sha256"] == sha256_of(folder / "mixture.safetensors")
    assert NetworkConfig(**training["network"]) == network.config
    assert (mixture["version"], mixture["training_commit"], mixture["training_step"]) == ("3", "abc", 7)
    assert mixture["weights_sha256"] == sha256_of(folder / "mixture.safetensors")
    assert mixture["training"]["tokens"] == 700
    assert NetworkConfig(**mixture["training"]["network"]) == mixture_network.config


@graphs
def test_metadata_name_the_weights_that_lie_beside(
    folder: Path, models: Models, network: DiScoFormer, mixture_network: MixtureNetwork, name: str
) -> None:
    metadata = {item.key: item.value for item in models[name].metadata_props}
    of_heads = name in GRAPHS
    assert metadata["weights_sha256"] == sha256_of(folder / weights_file(name))
    assert metadata.get("mixture_sha256") == (sha256_of(folder / "mixture.safetensors") if of_heads else None)
    assert (metadata["name"], metadata["version"]) == ("small", "3")
    expected = ("def", "9") if of_heads else ("abc", "7")
    assert (metadata["training_commit"], metadata["training_step"]) == expected
    assert of_heads or metadata["landmarks"] == "600"
    config = NetworkConfig(**json.loads(metadata["config"]))
    assert config == (network if of_heads else mixture_network).config


def test_the_basis_of_adaptation_comes_from_the_checkpoint(folder: Path) -> None:
    assert torch.equal(load_file(folder / "adaptation.safetensors")["basis"], torch.ones(3, 2))


def test_initialisers_keep_names_and_values_of_the_parameters(folder: Path, models: Models) -> None:
    found = {}
    for name, model in models.items():
        parameters = load_file(folder / weights_file(name))
        held = {f"{key}{TRANSPOSED}": transposed(x) for key, x in parameters.items() if x.ndim > 1}
        held |= parameters
        arrays = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
        for key in arrays.keys() & held.keys():
            np.testing.assert_array_equal(arrays[key], held[key].numpy())
        found[name] = {key.removesuffix(TRANSPOSED) for key in arrays.keys() & held.keys()}
    assert found["encode"] | found["query"] == load_file(folder / "weights.safetensors").keys()
    assert found["mixture"] == found["discoformer"] == load_file(folder / "mixture.safetensors").keys()


@graphs
def test_axes_are_dynamic_and_types_those_of_the_contract(models: Models, name: str) -> None:
    graph = models[name].graph
    inputs, outputs = ENDS[name]
    assert {value.name for value in graph.input} == set(inputs)
    assert {value.name for value in graph.output} == set(outputs)
    for value in (*graph.input, *graph.output):
        axes = [dim.dim_param or None for dim in value.type.tensor_type.shape.dim]
        assert tuple(axes) == AXES[value.name]
        double = name == "discoformer"
        assert value.type.tensor_type.elem_type == getattr(onnx.TensorProto, "DOUBLE" if double else "FLOAT")


@graphs
def test_operators_are_standard_but_for_inverses_and_there_are_no_loops(models: Models, name: str) -> None:
    model = models[name]
    foreign = {(node.domain, node.op_type) for node in model.graph.node if node.domain}
    assert foreign == ({("com.microsoft", "Inverse")} if name == "mixture" else set())
    assert {node.op_type for node in model.graph.node}.isdisjoint({"Loop", "Scan", "If"})
    assert not model.functions
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    onnx.checker.check_model(model, full_check=True)


@graphs
def test_no_trace_of_the_machine_is_left_in_the_file(folder: Path, name: str) -> None:
    content = (folder / f"{name}.onnx").read_bytes()
    for trace in (b"site-packages", b"/training/", b".py", str(Path.home()).encode()):
        assert trace not in content


@pytest.mark.parametrize(
    ("file", "cases"),
    [
        ("parity.json", dict.fromkeys(GRAPHS, len(GRID))),
        ("mixture_parity.json", {"mixture": len(GRID), "discoformer": len(RAW_CASES)}),
    ],
)
def test_parity_holds_over_the_grid_and_is_reported(folder: Path, file: str, cases: dict[str, int]) -> None:
    stored = json.loads((folder / file).read_text())
    errors = [case["onnx_error"] for case in stored["cases"]]
    assert all(case["onnx_error"] <= max(TOLERANCE, case["torch_error"]) for case in stored["cases"])
    assert stored["worst"] == max(errors)
    assert 0 < np.median(errors) < 1e-5
    assert Counter(case["graph"] for case in stored["cases"]) == cases


def test_the_site_names_every_input() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    for inputs, _ in ENDS.values():
        for name in inputs:
            assert f"`{name}`" in page


# What an export writes into a folder


def test_the_export_of_a_mixture_leaves_the_heads_as_they_are(
    folder: Path, mixture_checkpoint: Path, tmp_path: Path
) -> None:
    again = shutil.copytree(folder, tmp_path / "again")
    release(mixture_checkpoint, again, only=["mixture.safetensors"], version="4", commit="abc")
    before, after = recorded(folder), recorded(again)
    assert before["mixture"].pop("version") == "3"
    assert after["mixture"].pop("version") == "4"
    assert after == before
    for name in before["files"]:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_mixture_alone_is_a_model(
    mixture_checkpoint: Path, mixture_network: MixtureNetwork, tmp_path: Path
) -> None:
    out = tmp_path / "alone"
    for version in ("2", "3"):
        release(mixture_checkpoint, out, only=["mixture.safetensors"], version=version)
        model = recorded(out)["model"]
        assert (model["name"], model["version"], model["opset"]) == ("alone", version, "20")
    assert model["training_commit"] == "unknown"
    assert {path.name for path in out.iterdir()} == {"mixture.safetensors", "config.json"}
    assert recorded(out)["files"].keys() == {"mixture.safetensors"}
    for name, parameter in load_mixture_network(out).state_dict().items():
        assert torch.equal(parameter, mixture_network.state_dict()[name])


@pytest.fixture
def trace_nothing(monkeypatch: pytest.MonkeyPatch, models: Models) -> Callable[..., None]:
    """Exports take the graphs of the folder, for tracing takes minutes. A function may change them."""

    def replace(change: Callable[[onnx.ModelProto], None] = lambda _: None) -> None:
        def stored(name: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
            model = onnx.ModelProto.FromString(models[name].SerializeToString())
            change(model)
            return finished(model, metadata)

        def of_heads(graph: Graph, _network: DiScoFormer, metadata: Mapping[str, str]) -> onnx.ModelProto:
            return stored(next(name for name, value in GRAPHS.items() if value is graph), metadata)

        module = "discoformer_export.files.model_folder"
        monkeypatch.setattr(f"{module}.to_onnx", of_heads)
        monkeypatch.setattr(f"{module}.mixture_to_onnx", lambda _, metadata: stored("mixture", metadata))
        monkeypatch.setattr(f"{module}.raw_file", lambda *given: stored("discoformer", given[-1]))

    return replace


@pytest.mark.parametrize(
    ("source", "chosen"),
    [
        (".", ("encode.onnx", "weights.safetensors", "adaptation.safetensors")),
        ("mixture.safetensors", ("mixture.onnx", "discoformer.onnx", "mixture.safetensors")),
    ],
    ids=["heads", "mixture"],
)
def test_a_released_folder_is_exported_again_to_the_bit_but_only_what_is_asked_for(
    folder: Path, tmp_path: Path, trace_nothing: Callable[..., None], source: str, chosen: tuple[str, ...]
) -> None:
    again = shutil.copytree(folder, tmp_path / "again")
    for path in again.iterdir():
        if path.name != "config.json":
            path.write_bytes(b"")
    trace_nothing()
    release(folder / source, again, only=chosen)
    written = {path.name for path in again.iterdir() if path.stat().st_size > 0}
    assert written == {*chosen, "config.json"}
    for name in written:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


# What is refused


def test_a_file_that_the_export_of_a_network_does_not_make_is_refused(
    checkpoint: Path, mixture_checkpoint: Path, tmp_path: Path
) -> None:
    chosen = ["encode.onnx", "mixture.onnx"]
    with pytest.raises(ExportError, match=r"\['mixture\.onnx'\] .* 'heads': choose from encode\.onnx"):
        release(checkpoint, tmp_path, only=chosen)
    with pytest.raises(ExportError, match=r"\['encode\.onnx'\] .* 'mixture': choose from mixture\.onnx"):
        release(mixture_checkpoint, tmp_path, only=chosen)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("held", [{}, {"mixture": {"weights_sha256": "another"}}], ids=["none", "another"])
def test_heads_are_refused_where_their_mixture_network_is_not(
    checkpoint: Path, tmp_path: Path, held: dict[str, object]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(held))
    with pytest.raises(ExportError, match=r"does not hold the mixture network .* export that first"):
        release(checkpoint, tmp_path)
    assert recorded(tmp_path) == held
    assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize(
    ("parameter", "source", "chosen"),
    [
        ("heads.linear.bias", ".", "query.onnx"),
        ("components.out.bias", "mixture.safetensors", "mixture.onnx"),
    ],
    ids=["heads", "mixture"],
)
def test_files_that_differ_from_the_network_are_not_written(
    folder: Path, tmp_path: Path, trace_nothing: Callable[..., None], parameter: str, source: str, chosen: str
) -> None:
    def change(model: onnx.ModelProto) -> None:
        for item in model.graph.initializer:
            if item.name == parameter:
                array = onnx.numpy_helper.to_array(item) + 0.01
                item.CopyFrom(onnx.numpy_helper.from_array(array, item.name))

    out = tmp_path / "wrong"
    out.mkdir()
    shutil.copy(folder / "config.json", out)
    trace_nothing(change)
    with pytest.raises(ExportError, match="differ from PyTorch"):
        release(folder / source, out, only=[chosen], version="5")
    assert [path.name for path in out.iterdir()] == ["config.json"]
    assert recorded(out) == recorded(folder)


def test_export_errors_have_the_base_of_the_package_and_a_builtin() -> None:
    assert issubclass(ExportError, discoformer.errors.DiscoformerError)
    assert issubclass(ExportError, RuntimeError)


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
    assert "pip install '.[export]'" in missing.stderr


def test_a_missing_checkpoint_is_a_message_not_a_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(export, [str(tmp_path / "absent"), "--out", str(tmp_path / "m")])
    assert result.exit_code == 1
    assert "cannot be read" in result.output
