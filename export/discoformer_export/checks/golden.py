"""Golden files: inputs of a released model and the answers it must give, in any runtime and language.

    python -m discoformer_export.checks.golden models/base

writes raw.json and framed.json into the folder `golden` of a model. The answers are those of its networks in
PyTorch, in float64. There are two kinds of cases (B data sets, N context points, M queries, D dimensions):

    raw   the inputs of discoformer.onnx, float64, data units: context (B, N, D), log_weights (B, N) and
          queries (B, M, D). Equal weights have log-weights 0; a row of weight 0 has the log-weight NONE.
    framed  the inputs of encode.onnx and query.onnx by name, float32, frame coordinates. The base in them is
          that of the runtime.

Both give log_density (B, M) and score (B, M, D), in the units of their inputs. Each file is JSON,

    {case: {"inputs": {name: {"type": "float64", "shape": [1, 5, 2], "values": [...]}}, "outputs": {...}}}

with values in row-major order. Inputs are given exactly, outputs with DIGITS significant digits.
"""

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import discoformer
from discoformer.fit import Sample, graph_inputs, landmarks_of, read_sample
from discoformer.io.files import write_bytes
from discoformer.onnx.graphs import Graphs
from discoformer.onnx.names import CONTEXT
from discoformer.onnx.weights import FILE
from discoformer.proposal import propose
from discoformer_training.data.context import Context
from discoformer_training.nn.mixture_network import Mixture, MixtureNetwork
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.checkpoint import load_mixture_network, load_network

Floats: TypeAlias = npt.NDArray[np.float64]
Arrays: TypeAlias = dict[str, npt.NDArray[Any]]

NONE = -1e30  # log-weight of a row of weight 0
DIGITS = 8  # of outputs
INPUT_DIGITS = 6  # of inputs that are not exact in fewer
FRAMED_CASES = (
    "two_points",
    "five_in_plane",
    "padded_batch",
    "weights",
    "far",
    "many_queries",
    "few_for_ten",
    "independent",
)
SIZES = {  # N, M, D of unweighted mixtures
    "two_points": (2, 3, 1),
    "five_in_plane": (5, 4, 2),
    "line": (512, 6, 1),
    "plane": (512, 6, 2),
    "one_query": (100, 1, 3),
    "many_queries": (17, 129, 2),
    "ten_columns": (200, 4, 10),
    "few_for_ten": (17, 4, 10),
    "few_for_thirty": (100, 3, 30),
    "thirty_columns": (200, 3, 30),
}


class Case(NamedTuple):
    """Inputs of a graph, and the right outputs."""

    inputs: Arrays
    outputs: Arrays


Cases: TypeAlias = dict[str, dict[str, Case]]  # by kind and name


def golden(folder: Path) -> Cases:
    """Compute the cases of a released model."""
    answers = answering(folder)
    return {
        kind: {name: Case(given, answers[kind](given)) for name, given in named.items()}
        for kind, named in all_inputs(folder).items()
    }


def answering(folder: Path) -> dict[str, Callable[[Arrays], Arrays]]:
    """Return the functions from inputs to the right outputs, by the kind of the cases."""
    landmarks = discoformer.load(folder, device="cpu").graphs.files("fast").metadata.landmarks
    return {
        "raw": partial(answer_raw, load_mixture_network(folder).double(), landmarks),
        "framed": partial(answer_framed, load_network(folder).double()),
    }


def all_inputs(folder: Path) -> dict[str, dict[str, Arrays]]:
    """Return the inputs of every case, by kind and name."""
    raw, graphs = raw_inputs(), discoformer.load(folder, device="cpu", threads=1).graphs
    return {"raw": raw, "framed": {name: _framed_inputs(graphs, raw[name]) for name in FRAMED_CASES}}


def write(cases: Cases, folder: Path) -> None:
    """Write the cases of each kind into a folder, as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, named in cases.items():
        lines = [f"{json.dumps(name)}:{_as_json(case)}" for name, case in named.items()]
        write_bytes(folder / f"{kind}.json", ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read(folder: Path) -> Cases:
    """Read what `write` has written."""
    kinds = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    return {
        kind: {
            name: Case(
                *({key: _array(**array) for key, array in case[role].items()} for role in Case._fields)
            )
            for name, case in named.items()
        }
        for kind, named in kinds.items()
    }


def _array(type: str, shape: list[int], values: list[float]) -> npt.NDArray[Any]:
    return np.array(values, type).reshape(shape)


def _as_json(case: Case) -> str:
    described = {
        role: {
            key: {
                "type": str(array.dtype),
                "shape": array.shape,
                "values": [_number(value, role) for value in array.ravel()],
            }
            for key, array in arrays.items()
        }
        for role, arrays in case._asdict().items()
    }
    return json.dumps(described, separators=(",", ":"))


def _number(value: np.floating[Any], role: str) -> float | int:
    """Round an output; an input becomes the shortest number that its type reads back."""
    number = float(f"{value:.{DIGITS}g}" if role == "outputs" else str(value))
    return int(number) if number.is_integer() and abs(number) < 1e6 else number


def raw_inputs() -> dict[str, Arrays]:
    """Draw the data sets and queries of every raw case, by name."""
    drawn = {name: _draw(seed, *sizes) for seed, (name, sizes) in enumerate(SIZES.items())}
    rng = np.random.default_rng(len(SIZES))
    context, queries = _draw(20, 100, 5, 2)
    weights = np.round(rng.gamma(1, size=100), 3) * (np.arange(100) % 7 != 0)
    with np.errstate(divide="ignore"):
        log_weights = np.maximum(np.round(np.log(weights), 4), NONE)
    shorter, others = _draw(21, 9, 4, 2)
    longer = drawn["five_in_plane"][0], drawn["five_in_plane"][1]
    padded = np.zeros((2, 9, 2))
    padded[0], padded[1, :5] = shorter, longer[0]
    offset, units = np.array([5, 0, -1e4]), np.array([1e9, 1e-9, 1.0])
    scaled, asked = _draw(22, 100, 4, 3)
    once, asked_twice = _draw(23, 50, 4, 2)
    near, direction = _draw(24, 100, 8, 2)
    independent = _draw_independent(25, 300, 4, 3)
    return {name: _unweighted(*pair) for name, pair in drawn.items()} | {
        "weights": {"context": context[None], "log_weights": log_weights[None], "queries": queries[None]},
        "padded_batch": {
            "context": padded,
            "log_weights": np.where(np.arange(9) < [[9], [5]], 0, NONE),
            "queries": np.stack([others, longer[1]]),
        },
        "units": _unweighted(_short((scaled + offset) * units), _short((asked + offset) * units)),
        "duplicates": _unweighted(np.repeat(once, 2, axis=0), asked_twice),
        "independent": _unweighted(*independent),
        "far": _unweighted(near, _short(direction * 10.0 ** np.arange(1, 9)[:, None])),
    }


def _unweighted(context: Floats, queries: Floats) -> Arrays:
    return {"context": context[None], "log_weights": np.zeros((1, len(context))), "queries": queries[None]}


def _draw(seed: int, n: int, m: int, dim: int) -> tuple[Floats, Floats]:
    """Context (n, D) and queries (m, D) of a mixture of three Gaussians, with three decimals."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-3, 3, (3, dim))
    linear = np.eye(dim) + rng.normal(size=(dim, dim)) / dim**0.5
    points = (means[rng.integers(3, size=n + m)] + 0.7 * rng.normal(size=(n + m, dim))) @ linear
    return np.round(points[:n], 3), np.round(points[n:], 3)


def _draw_independent(seed: int, n: int, m: int, dim: int) -> tuple[Floats, Floats]:
    """Context (n, D) and queries (m, D) of mixed Laplace variables, whose base is a product."""
    rng = np.random.default_rng(seed)
    points = rng.laplace(size=(n + m, dim)) @ (np.eye(dim) + rng.normal(size=(dim, dim)) / dim**0.5)
    return np.round(points[:n], 3), np.round(points[n:], 3)


def _short(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Round to INPUT_DIGITS significant digits, which keeps the JSON small."""
    rounded = [float(f"{value:.{INPUT_DIGITS}g}") for value in values.ravel()]
    return np.array(rounded, values.dtype).reshape(values.shape)


def _samples(raw: Mapping[str, Floats]) -> list[Sample]:
    """Read each data set of a raw case."""
    weights = np.exp(raw["log_weights"])
    return [read_sample(points, w) for points, w in zip(raw["context"], weights, strict=True)]


def _framed_inputs(graphs: Graphs, raw: Mapping[str, Floats]) -> Arrays:
    """Transform a raw case to its frame, and find its base, as the runtime does."""
    samples = _samples(raw)
    given = graph_inputs(samples, [landmarks_of(sample, len(sample.z)) for sample in samples])
    given |= propose(graphs, samples, graphs.mixture(given))
    framed = [sample.frame.to_frame(y) for sample, y in zip(samples, raw["queries"], strict=True)]
    given = {name: given[name] for name in CONTEXT} | {"queries": np.stack(framed).astype(np.float32)}
    return {name: _short(array) for name, array in given.items()}


@torch.no_grad()
def answer_raw(network: MixtureNetwork, landmarks: int, raw: Mapping[str, Floats]) -> Arrays:
    """Answer each data set by itself, with the frame of the runtime.

    Args:
        network: the network, which computes in the float type of its weights.
        landmarks: greatest number of points that the network reads as tokens.
        raw: the inputs.
    """
    weight = next(network.parameters())

    def as_tensor(array: Floats | float) -> Tensor:
        return torch.as_tensor(array)[None].to(weight)

    answers = []
    for sample, queries in zip(_samples(raw), raw["queries"], strict=True):
        frame = sample.frame
        points, counts = landmarks_of(sample, landmarks)
        context = Context(
            as_tensor(points),
            as_tensor(np.log(counts)),
            as_tensor(frame.precision_root),
            as_tensor(frame.log_det_precision),
            as_tensor(frame.effective_size),
            all_points=as_tensor(sample.z),
            all_log_weights=as_tensor(np.log(sample.data.weights)),
        )
        mixture = Mixture(*(field.double() for field in network.mixture(context)))
        framed = torch.from_numpy(frame.to_frame(queries))[None]
        log_density, score = (answer[0].numpy() for answer in mixture.log_density_and_score(framed))
        answers.append((frame.log_density_to_data(log_density), frame.score_to_data(score)))
    return dict(zip(("log_density", "score"), map(np.stack, zip(*answers, strict=True)), strict=True))


@torch.no_grad()
def answer_framed(network: DiScoFormer, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Answer in the frame, in the float type of the network."""
    given = {name: torch.from_numpy(array).to(network.heads.gamma) for name, array in inputs.items()}
    log_density, score = network(Context.from_inputs(given), given["queries"])
    return {"log_density": log_density.numpy(), "score": score.numpy()}


def main(folder: Path) -> None:
    """Write the golden files of a model folder."""
    write(golden(folder), folder / "golden")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1], FILE).is_file():
        sys.exit(f"usage: python -m discoformer_export.checks.golden MODEL_FOLDER (with its {FILE})")
    main(Path(sys.argv[1]))
