"""The graph files of a model in sessions of their own, and the same graphs by PyTorch in float64.

PyTorch is imported before ONNX Runtime, which then finds the CUDA libraries that come with it.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

import discoformer
from discoformer.onnx.names import FRAMED, MIXTURE, WHOLE
from discoformer_export.graphs.attention import attend_by_head
from discoformer_export.graphs.mixture_network import MixtureGraph
from discoformer_export.graphs.network import GRAPHS
from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.nn.mixture_network import by_cholesky
from discoformer_training.run.checkpoint import load_mixture_network, load_network

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

Device = Literal["cpu", "cuda"]
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
OUTPUTS = {"mixture": MIXTURE} | {name: graph.outputs for name, graph in GRAPHS.items()}
INPUTS = {"mixture": (*FRAMED, *WHOLE)} | {name: graph.inputs for name, graph in GRAPHS.items()}


class Setting(NamedTuple):
    """What is measured."""

    model: str  # name or folder
    device: Device  # "cpu" or "cuda"
    small: bool  # few and small cases, for tests

    def load(self, device: Device | None = None) -> discoformer.Model:
        """Load the model, by default on the device of the setting; it is kept."""
        return _load(self.model, device or self.device)


@cache
def _load(model: str, device: Device) -> discoformer.Model:
    for kind in (discoformer.DataWarning, discoformer.RangeWarning):
        warnings.simplefilter("ignore", kind)
    return discoformer.load(model, device=device)


Figures = dict[str, float | str]
Measured = tuple[Figures, bool | None]  # None if nothing is required
Cases = Iterator[tuple[str, Callable[[], Measured]]]  # and what measures them
Section = Callable[[Setting], Cases]


class Files:
    """The graphs of a model, on both devices and in float64.

    Args:
        setting: What is measured.
    """

    def __init__(self, setting: Setting) -> None:
        self.device = setting.device
        self.model = setting.load("cpu")
        self.landmarks = self.model.metadata.landmarks
        self._session = cache(lambda name, device: open_session(self.model.folder / f"{name}.onnx", device))
        mixture, heads = load_mixture_network(self.model.folder), load_network(self.model.folder)
        self._exact: dict[str, torch.nn.Module] = {"mixture": MixtureGraph(mixture.config, by_cholesky)}
        self._exact["mixture"].load_state_dict(mixture.state_dict())
        for name, graph in GRAPHS.items():
            self._exact[name] = graph.module(heads.config, attend_by_head)
            self._exact[name].load_state_dict(heads.state_dict())

    def run(self, name: str, device: Device, given: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run a file; inputs that it does not have are left out."""
        session = self._session(name, device)
        names = {item.name for item in session.get_inputs()}
        outputs = [item.name for item in session.get_outputs()]
        found = session.run(outputs, {key: array for key, array in given.items() if key in names})
        return dict(zip(outputs, found, strict=True))

    @torch.no_grad()
    def exact(self, name: str, given: Mapping[str, NDArray[Any]]) -> Arrays:
        """Compute what a file should, in float64."""
        module = self._exact[name].to(self.device, torch.float64)
        tensors = {key: torch.from_numpy(given[key]).to(self.device, torch.float64) for key in INPUTS[name]}
        return {key: tensor.cpu().numpy() for key, tensor in zip(OUTPUTS[name], module(tensors), strict=True)}


def open_session(path: Path, device: Device, profile: Path | None = None) -> Any:
    """Open a graph file as the package does.

    Raises:
        RuntimeError: ONNX Runtime does not use the device.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    providers: list[Any] = [CPU]
    if device == "cuda":
        onnxruntime.preload_dlls()
        providers = [(CUDA, {"use_tf32": "0"}), CPU]
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    if device == "cuda" and CUDA not in session.get_providers():
        raise RuntimeError(f"onnxruntime {onnxruntime.__version__} could not start {CUDA} for {path.name}")
    return session


def error(found: Mapping[str, NDArray[Any]], right: Mapping[str, NDArray[Any]]) -> float:
    """Return the greatest error of an output, relative to its size: max |a - b| / (1 + max |b|)."""
    errors = [np.abs(found[key] - right[key]).max() / (1 + np.abs(right[key]).max()) for key in right]
    return float(max(errors))


def draw(rows: int, dim: int, seed: int = 0) -> Floats:
    """Draw a sample (rows, dim) of a mixture of the published protocol."""
    generator = torch.Generator().manual_seed(seed)
    sample: Floats = draw_mixtures(1, dim, generator=generator).sample(rows, generator=generator)[0].numpy()
    return sample


def as_text(sizes: Sequence[int], names: str) -> str:
    """Return sizes with their names, such as ``N = 1,024, D = 10``."""
    return ", ".join(f"{name} = {size:,}" for name, size in zip(names.split(), sizes, strict=True))
