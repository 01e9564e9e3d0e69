"""Stand-in models: small real graphs, run by the real onnxruntime, whose answer is known in closed form."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import discoformer
from discoformer.onnx.names import MIXTURE

METADATA = {
    "name": "stand-in",
    "version": "0.0.1",
    "licence": "MIT",
    "opset": "18",
    "exporter": "tests",
    "weights_sha256": "0123456789abcdef" * 4,
    "training_commit": "none",
    "training_step": "0",
    "trained_dim_min": "1",
    "trained_dim_max": "100",
    "trained_context_min": "2",
    "trained_context_max": "8192",
    "trained_modes_min": "1",
    "trained_modes_max": "10",
    "landmarks": "8192",
    "mixture_sha256": "0123456789abcdef" * 4,
    "config": json.dumps({"heads": 1}),
}
BANDWIDTH = 0.4  # of the KDE stand-in, in frame units
BROAD = 0.05  # share of the broad component of the mixture stand-in
NORMAL = 1e8  # degrees of freedom of a normal distribution

Node = tuple[str, list[str], str, dict[str, Any]]


def save_graph(
    path: Path, nodes: list[Node], shapes: dict[str, list[str | int]], outputs: list[str], **metadata: str
) -> None:
    """Saves a graph; each input and output has its shape in ``shapes``, inputs are what no node makes."""
    constants = {
        "half": np.float32(0.5),
        "minus_half": np.float32(-0.5),
        "half_log_2pi": np.float32(0.5 * np.log(2 * np.pi)),
        "precision_kde": np.float32(BANDWIDTH**-2),
        "norm_kde": np.float32(0.5 * np.log(2 * np.pi) + np.log(BANDWIDTH)),
        "zero": np.float32(0),
        "share_of_points": np.float32(np.log(1 - BROAD)),
        "share_of_broad": np.float32(np.log(BROAD)),
        "narrow": np.float32(0.1),
        "wide": np.float32(4),
        "freedom": np.float32(3),
        "normal": np.float32(NORMAL),
        "negligible": np.float32(-900),
        "square_bandwidth": np.float32(BANDWIDTH**2),
        "start0": np.array([0], np.int64),
        "axis0": np.array([0], np.int64),
        "axis1": np.array([1], np.int64),
        "axis2": np.array([2], np.int64),
        "axis3": np.array([3], np.int64),
        "axis13": np.array([1, 3], np.int64),
        "axis14": np.array([1, 4], np.int64),
        "axis23": np.array([2, 3], np.int64),
        "index0": np.array(0, np.int64),
        "last": np.array([-1], np.int64),
        "index2": np.array(2, np.int64),
    }
    made = {name for node in nodes for name in (node[2],)}
    used = {name for node in nodes for name in node[1]}
    inputs = [name for name in shapes if name not in made]
    graph = helper.make_graph(
        [helper.make_node(op, given, [out], **attributes) for op, given, out, attributes in nodes],
        "stand_in",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
        [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in constants.items()
            if name in used
        ],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    for key, value in (METADATA | metadata).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    record(path.parent)


def record(folder: Path) -> None:
    """Writes config.json with the hashes of the files in a folder, as the export does."""
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    hashes.pop("config.json", None)
    (folder / "config.json").write_text(json.dumps({"files": hashes}))


def save_encode(folder: Path, **metadata: str) -> None:
    """Encode passes the context through as the one vector channel of the one layer."""
    nodes: list[Node] = [
        ("Unsqueeze", ["log_weights", "axis13"], "scalars", {}),
        ("Unsqueeze", ["context", "axis14"], "vectors", {}),
        ("Unsqueeze", ["effective_size", "axis1"], "sample", {}),
    ]
    shapes: dict[str, list[str | int]] = {
        "context": ["B", "N", "D"],
        "log_weights": ["B", "N"],
        "effective_size": ["B"],
        "scalars": ["B", 1, "N", 1],
        "vectors": ["B", 1, "N", "D", 1],
        "sample": ["B", 1],
    }
    save_graph(folder / "encode.onnx", nodes, shapes, ["scalars", "vectors", "sample"], **metadata)


def save_gaussian_query(folder: Path, **metadata: str) -> None:
    """T = -|W z|^2 / 2 + log det(P) / 2 - D / 2 log 2 pi and S = -P z: the Gaussian fit of the context."""
    nodes: list[Node] = [
        ("MatMul", ["queries", "precision_root"], "white", {}),
        ("MatMul", ["white", "precision_root"], "pull", {}),
        ("Neg", ["pull"], "score", {}),
        ("Mul", ["white", "white"], "squares", {}),
        ("ReduceSum", ["squares", "axis2"], "square", {"keepdims": 0}),
        ("Mul", ["square", "minus_half"], "exponent", {}),
        ("Mul", ["log_det_precision", "half"], "half_log_det", {}),
        ("Unsqueeze", ["half_log_det", "axis1"], "constant", {}),
        ("Shape", ["queries"], "shape", {}),
        ("Gather", ["shape", "index2"], "dim", {}),
        ("Cast", ["dim"], "dim_float", {"to": TensorProto.FLOAT}),
        ("Mul", ["dim_float", "half_log_2pi"], "norm", {}),
        ("Add", ["exponent", "constant"], "unnormalised", {}),
        ("Sub", ["unnormalised", "norm"], "log_density", {}),
    ]
    shapes: dict[str, list[str | int]] = {
        "queries": ["B", "M", "D"],
        "precision_root": ["B", "D", "D"],
        "log_det_precision": ["B"],
        "log_density": ["B", "M"],
        "score": ["B", "M", "D"],
    }
    save_graph(folder / "query.onnx", nodes, shapes, ["log_density", "score"], **metadata)


def save_kde_query(folder: Path, **metadata: str) -> None:
    """T = log sum_j w_j N(z; z_j, h^2 I) and S = sum_j a_j (z_j - z) / h^2: a weighted KDE in the frame."""
    nodes: list[Node] = [
        ("Squeeze", ["vectors", "axis14"], "context", {}),
        ("Unsqueeze", ["queries", "axis2"], "rows", {}),
        ("Unsqueeze", ["context", "axis1"], "columns", {}),
        ("Sub", ["columns", "rows"], "difference", {}),
        ("Mul", ["difference", "difference"], "squares", {}),
        ("ReduceSum", ["squares", "last"], "square", {"keepdims": 0}),
        ("Mul", ["square", "minus_half"], "negative", {}),
        ("Mul", ["negative", "precision_kde"], "exponent", {}),
        ("Unsqueeze", ["log_weights", "axis1"], "log_weights_row", {}),
        ("Add", ["exponent", "log_weights_row"], "logits", {}),
        ("ReduceMax", ["logits", "axis2"], "greatest", {"keepdims": 1}),
        ("Sub", ["logits", "greatest"], "below", {}),
        ("Exp", ["below"], "shares", {}),
        ("ReduceSum", ["shares", "axis2"], "sum", {"keepdims": 0}),
        ("Log", ["sum"], "log_of_sum", {}),
        ("Squeeze", ["greatest", "axis2"], "level", {}),
        ("Add", ["log_of_sum", "level"], "log_sum", {}),
        ("Shape", ["queries"], "shape", {}),
        ("Gather", ["shape", "index2"], "dim", {}),
        ("Cast", ["dim"], "dim_float", {"to": TensorProto.FLOAT}),
        ("Mul", ["dim_float", "norm_kde"], "norm", {}),
        ("Sub", ["log_sum", "norm"], "log_density", {}),
        ("Softmax", ["logits"], "attention", {"axis": -1}),
        ("MatMul", ["attention", "context"], "mean", {}),
        ("Sub", ["mean", "queries"], "shift", {}),
        ("Mul", ["shift", "precision_kde"], "score", {}),
    ]
    shapes: dict[str, list[str | int]] = {
        "queries": ["B", "M", "D"],
        "vectors": ["B", 1, "N", "D", 1],
        "log_weights": ["B", "N"],
        "log_density": ["B", "M"],
        "score": ["B", "M", "D"],
    }
    save_graph(folder / "query.onnx", nodes, shapes, ["log_density", "score"], **metadata)


MIXTURE_SHAPES: dict[str, list[str | int]] = {
    "context": ["B", "N", "D"],
    "log_weights": ["B", "N"],
    "precision_root": ["B", "D", "D"],
    "mixture_log_weights": ["B", "K"],
    "mixture_means": ["B", "K", "D"],
    "mixture_scales": ["B", "K", "D", "D"],
    "mixture_freedom": ["B", "K"],
}


def save_mixture(folder: Path, **metadata: str) -> None:
    """A mixture with a component for each point z_j, of weight w_j, and a broad one.

    m_j = z_j, S_j = (W + z_j z_j^T) / 10 and f_j = 3 + |z_j|^2; the broad one has m = 0, S = 4 W and f = 3.
    """
    nodes: list[Node] = [
        ("Softmax", ["log_weights"], "shares", {"axis": -1}),
        ("Log", ["shares"], "normalised", {}),
        ("Add", ["normalised", "share_of_points"], "of_points", {}),
        ("Slice", ["log_weights", "start0", "axis1", "axis1"], "first_weight", {}),
        ("Mul", ["first_weight", "zero"], "nothing", {}),
        ("Add", ["nothing", "share_of_broad"], "of_broad", {}),
        ("Concat", ["of_points", "of_broad"], "mixture_log_weights", {"axis": 1}),
        ("Slice", ["context", "start0", "axis1", "axis1"], "first_point", {}),
        ("Mul", ["first_point", "zero"], "center", {}),
        ("Concat", ["context", "center"], "mixture_means", {"axis": 1}),
        ("Unsqueeze", ["context", "axis3"], "columns", {}),
        ("Unsqueeze", ["context", "axis2"], "rows", {}),
        ("MatMul", ["columns", "rows"], "outer", {}),
        ("Unsqueeze", ["precision_root", "axis1"], "root", {}),
        ("Add", ["outer", "root"], "scatter", {}),
        ("Mul", ["scatter", "narrow"], "narrow_scales", {}),
        ("Mul", ["root", "wide"], "wide_scale", {}),
        ("Concat", ["narrow_scales", "wide_scale"], "mixture_scales", {"axis": 1}),
        ("Mul", ["mixture_means", "mixture_means"], "means_squared", {}),
        ("ReduceSum", ["means_squared", "axis2"], "squares", {"keepdims": 0}),
        ("Add", ["squares", "freedom"], "mixture_freedom", {}),
    ]
    save_graph(folder / "mixture.onnx", nodes, MIXTURE_SHAPES, list(MIXTURE), **metadata)


def save_gaussian_mixture(folder: Path) -> None:
    """The Gaussian fit of the context, which is what the Gaussian stand-in answers, N + 1 times."""
    nodes: list[Node] = [
        ("MatMul", ["precision_root", "precision_root"], "precision", {}),
        ("Inverse", ["precision"], "covariance", {"domain": "com.microsoft"}),
        ("Slice", ["context", "start0", "axis1", "axis1"], "first_point", {}),
        ("Concat", ["context", "first_point"], "points", {"axis": 1}),
        ("Mul", ["points", "zero"], "mixture_means", {}),
        ("ReduceSum", ["mixture_means", "axis2"], "nothing", {"keepdims": 0}),
        ("Softmax", ["nothing"], "shares", {"axis": -1}),
        ("Log", ["shares"], "mixture_log_weights", {}),
        ("Add", ["nothing", "normal"], "mixture_freedom", {}),
        ("Unsqueeze", ["nothing", "axis23"], "nothings", {}),
        ("Unsqueeze", ["covariance", "axis1"], "covariance_row", {}),
        ("Add", ["nothings", "covariance_row"], "mixture_scales", {}),
    ]
    save_graph(folder / "mixture.onnx", nodes, MIXTURE_SHAPES, list(MIXTURE))


def save_kde_mixture(folder: Path) -> None:
    """The kernels of the KDE stand-in, and another component of a weight that counts for nothing."""
    nodes: list[Node] = [
        ("Softmax", ["log_weights"], "shares", {"axis": -1}),
        ("Log", ["shares"], "normalised", {}),
        ("Slice", ["log_weights", "start0", "axis1", "axis1"], "first_weight", {}),
        ("Mul", ["first_weight", "zero"], "nothing", {}),
        ("Add", ["nothing", "negligible"], "of_broad", {}),
        ("Concat", ["normalised", "of_broad"], "mixture_log_weights", {"axis": 1}),
        ("Slice", ["context", "start0", "axis1", "axis1"], "first_point", {}),
        ("Concat", ["context", "first_point"], "mixture_means", {"axis": 1}),
        ("Mul", ["mixture_log_weights", "zero"], "nothings", {}),
        ("Add", ["nothings", "normal"], "mixture_freedom", {}),
        ("Gather", ["precision_root", "index0"], "square", {}),
        ("EyeLike", ["square"], "identity", {}),
        ("Mul", ["identity", "square_bandwidth"], "kernel", {}),
        ("Unsqueeze", ["nothings", "axis23"], "nothing_square", {}),
        ("Add", ["nothing_square", "kernel"], "mixture_scales", {}),
    ]
    save_graph(folder / "mixture.onnx", nodes, MIXTURE_SHAPES, list(MIXTURE))


@pytest.fixture(scope="session")
def gaussian_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Gaussian stand-in; its mixture is the same, so that its tails are."""
    folder = tmp_path_factory.mktemp("gaussian")
    save_gaussian_mixture(folder)
    save_encode(folder)
    save_gaussian_query(folder)
    return folder


@pytest.fixture(scope="session")
def kde_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the KDE stand-in; its mixture is the same, so that its tails are."""
    folder = tmp_path_factory.mktemp("kde")
    save_kde_mixture(folder)
    save_encode(folder)
    save_kde_query(folder)
    return folder


@pytest.fixture(scope="session")
def gaussian(gaussian_folder: Path) -> discoformer.Model:
    return discoformer.load(gaussian_folder, device="cpu", threads=1)


@pytest.fixture(scope="session")
def mixture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the mixture stand-in, which the Gaussian stand-in refines: it forgets the mixture."""
    folder = tmp_path_factory.mktemp("mixture")
    save_mixture(folder)
    save_encode(folder)
    save_gaussian_query(folder)
    return folder


@pytest.fixture(scope="session")
def mixture(mixture_folder: Path) -> discoformer.Model:
    return discoformer.load(mixture_folder, device="cpu", threads=1)


@pytest.fixture(scope="session")
def kde(kde_folder: Path) -> discoformer.Model:
    return discoformer.load(kde_folder, device="cpu", threads=1)


@pytest.fixture
def mixture_alone(tmp_path: Path) -> Path:
    """A folder that can do nothing but effort "fast"."""
    folder = tmp_path / "alone"
    folder.mkdir()
    save_mixture(folder)
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def other_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with a Gaussian stand-in whose encode and query have metadata of their own."""

    def make(encode: dict[str, str] | None = None, query: dict[str, str] | None = None) -> Path:
        save_mixture(tmp_path)
        save_encode(tmp_path, **(encode or {}))
        save_gaussian_query(tmp_path, **(query or {}))
        return tmp_path

    return make
