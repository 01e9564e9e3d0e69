"""The file of the frame, frame.onnx. It has no weights, so all models share one, that of the model `base`.

    python -m discoformer_export.files.frame_file

traces `discoformer_export.graphs.frame` into frame.onnx of the model folder `base`, which takes minutes. The
metadata hold a hash of the modules that it was traced from, and a test compares it with that of the modules.
"""

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import torch

from discoformer.base import (
    arrays,
    base,
    frame,
    ica,
    independent,
    landmarks,
    local_scatter,
    mixture,
    mixture_fit,
    normal_wishart,
)
from discoformer.io.files import write_bytes
from discoformer.model import find_folder
from discoformer_export.files.onnx_files import finished, folded, traced
from discoformer_export.graphs import frame as frame_graph
from discoformer_export.graphs import independent as independent_graph
from discoformer_export.graphs import matrices, tracing
from discoformer_export.graphs import mixture as mixture_graph
from discoformer_export.graphs.frame import OUTPUTS, FrameGraph
from discoformer_export.graphs.network import AXES

NAME = "frame.onnx"
LANDMARKS = "landmarks"  # the initialiser with the largest number of points that the network reads
TRACED_FROM = "sources_sha256"  # metadata entry: hash of the modules that the file was traced from
FRAME_AXES = AXES | {"context": ("B", "n", "D"), "log_weights": ("B", "n")}  # n landmarks
SOURCES = (
    arrays,
    ica,
    base,
    normal_wishart,
    mixture,
    mixture_fit,
    frame,
    landmarks,
    local_scatter,
    independent,
    mixture_graph,
    frame_graph,
    matrices,
    independent_graph,
    tracing,
)


def released_frame() -> Path:
    """Path of the traced file, in the folder of the model `base`.

    Raises:
        ModelNotFoundError: the model `base` is not installed.
    """
    return find_folder("base") / NAME


def frame_file(landmarks: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Give the traced file a number of landmarks and the metadata of a model."""
    model = onnx.load(released_frame())
    for initializer in model.graph.initializer:
        if initializer.name == LANDMARKS:
            initializer.CopyFrom(onnx.numpy_helper.from_array(np.array(landmarks), LANDMARKS))
    traced_from = {entry.key: entry.value for entry in model.metadata_props if entry.key == TRACED_FROM}
    return finished(model, {**metadata, **traced_from}, FRAME_AXES)


def sources_sha256() -> str:
    """Hash the modules that the graph is traced from, without layout, comments and docstrings."""
    trees = [ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")) for module in SOURCES]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            del node.body[0]
    return hashlib.sha256("".join(map(ast.dump, trees)).encode()).hexdigest()


def trace_frame() -> onnx.ModelProto:
    """Trace the graph."""
    examples = {
        "data": torch.randn(2, 301, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        "data_log_weights": torch.zeros(2, 301, dtype=torch.float64),
    }
    model = traced(FrameGraph(4096), examples, OUTPUTS, matrices.TRANSLATIONS)
    proto = folded(model, _not_landmarks)
    _give_ranks(proto.graph)
    return finished(proto, {TRACED_FROM: sources_sha256()}, FRAME_AXES)


def _give_ranks(graph: onnx.GraphProto) -> None:
    """Set the number of axes of the outputs of Scan bodies, which ONNX Runtime does not always infer."""
    for node in graph.node:
        bodies = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
        for body in bodies:
            _give_ranks(body)
            if node.op_type == "Scan":
                outputs = zip(body.output, matrices.RANKS, strict=True)
                typed = [_double(output.name, [None] * rank) for output, rank in outputs]
                del body.output[:]
                body.output.extend(typed)


def _double(name: str, axes: list[None]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, axes)


def _not_landmarks(node: onnx_ir.Node) -> bool | None:
    return False if any(value is not None and value.name == LANDMARKS for value in node.inputs) else None


if __name__ == "__main__":
    write_bytes(released_frame(), trace_frame().SerializeToString())
