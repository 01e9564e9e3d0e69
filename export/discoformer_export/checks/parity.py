"""Parity: the ONNX files in ONNX Runtime against PyTorch, over a grid of sizes and edge cases.

The reference is the network in float64. The error of an output is
max |got - reference| / (1 + max |reference|). The report also has the error of PyTorch in float32.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from discoformer.onnx.names import FRAMED, WHOLE
from discoformer_export.checks.golden import answer_raw, raw_inputs
from discoformer_export.graphs.mixture_network import MixtureGraph
from discoformer_export.graphs.network import GRAPHS, Graph, example_inputs
from discoformer_training.data.context import Context
from discoformer_training.nn.mixture_network import MixtureNetwork, by_cholesky
from discoformer_training.nn.network import DiScoFormer

GRID = [  # B, N, M, D, K, J: other sizes than those traced
    (1, 1, 1, 1, 1, 1),
    (1, 2, 1, 1, 2, 2),
    (1, 1, 3, 100, 1, 1),
    (2, 5, 1, 2, 2, 1),
    (3, 17, 9, 3, 4, 2),
    (1, 64, 33, 101, 5, 3),
    (1, 255, 128, 10, 10, 14),
    (4, 100, 50, 7, 24, 7),
    (1, 1024, 257, 2, 6, 28),
    (1, 777, 64, 30, 12, 5),
    (1, 2048, 16, 5, 1, 1),
]
RAW_CASES = (
    "five_in_plane",
    "line",
    "ten_columns",
    "few_for_ten",
    "weights",
    "padded_batch",
    "units",
    "independent",
)
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Parity:
    """The errors of one graph at one size."""

    graph: str
    batch: int
    n: int
    m: int
    dim: int
    components: int  # 0 for graphs that find the components themselves
    per_coordinate: int  # components of each coordinate of the product; likewise
    onnx_error: float
    torch_error: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance or, if float32 cannot do better, that of PyTorch."""
        return self.onnx_error <= max(TOLERANCE, self.torch_error)


def measure(models: Mapping[str, onnx.ModelProto], network: DiScoFormer) -> list[Parity]:
    """Compare every graph with the network at every size of the grid."""
    sessions = {name: _session(model) for name, model in models.items()}
    report = []
    for sizes in GRID:
        inputs = example_inputs(network.config, *sizes, seed=1)
        inputs |= zip(GRAPHS["encode"].outputs, _encoded(network, inputs), strict=True)
        for name, session in sessions.items():
            graph = GRAPHS[name]
            reference = _run_torch(graph, network, inputs, torch.float64)
            single = _run_torch(graph, network, inputs, torch.float32)
            got = session.run(None, {key: inputs[key].numpy() for key in graph.inputs})
            report.append(
                Parity(
                    name,
                    *sizes,
                    _error(got, _arrays(reference)),
                    _error(_arrays(single), _arrays(reference)),
                )
            )
    return report


def measure_mixture(model: onnx.ModelProto, network: MixtureNetwork) -> list[Parity]:
    """Compare mixture.onnx with the network at every size of the grid."""
    session = _session(model)
    module = MixtureGraph(network.config, by_cholesky)
    module.load_state_dict(network.state_dict())
    double = deepcopy(module).double()
    report = []
    for batch, n, _, dim, *_ in GRID:
        inputs = example_inputs(network.config, batch, n, 1, dim, 1, 1, seed=1)
        inputs = {name: inputs[name] for name in (*FRAMED, *WHOLE)}
        with torch.no_grad():
            reference = _arrays(double({name: value.double() for name, value in inputs.items()}))
            single = _arrays(module(inputs))
        got = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        errors = _error(got, reference), _error(single, reference)
        report.append(Parity("mixture", batch, n, 0, dim, 0, 0, *errors))
    return report


def measure_raw(model: onnx.ModelProto, network: MixtureNetwork, landmarks: int) -> list[Parity]:
    """Compare discoformer.onnx with the frame of the runtime, followed by the network."""
    session = _session(model)
    double = deepcopy(network).double()
    report = []
    for inputs in (case for key, case in raw_inputs().items() if key in RAW_CASES):
        reference, single = (answer_raw(net, landmarks, inputs) for net in (double, network))
        got = session.run(list(reference), inputs)
        expected = list(reference.values())
        errors = _error(got, expected), _error(list(single.values()), expected)
        (batch, n, dim), m = inputs["context"].shape, inputs["queries"].shape[1]
        report.append(Parity("discoformer", batch, n, m, dim, 0, 0, *errors))
    return report


def to_json(report: list[Parity]) -> dict[str, object]:
    """Convert the report to JSON values."""
    return {
        "reference": "PyTorch float64",
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "tolerance": TOLERANCE,
        "worst": max((parity.onnx_error for parity in report), default=0.0),
        "cases": [asdict(parity) for parity in report],
    }


@torch.no_grad()
def _encoded(network: DiScoFormer, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    return tuple(network.encode(Context.from_inputs(inputs)))


@torch.no_grad()
def _run_torch(
    graph: Graph, network: DiScoFormer, inputs: Mapping[str, Tensor], dtype: torch.dtype
) -> list[Tensor]:
    module = graph.module(network.config)
    module.load_state_dict(network.state_dict())
    return list(module.to(dtype)({name: inputs[name].to(dtype) for name in graph.inputs}))


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _arrays(values: Sequence[Tensor]) -> list[np.ndarray]:
    return [value.numpy() for value in values]


def _error(got: list[np.ndarray], reference: list[np.ndarray]) -> float:
    errors = [np.abs(a - b).max() / (1 + np.abs(b).max()) for a, b in zip(got, reference, strict=True)]
    return float(max(errors))
