"""From a module to an ONNX model: traced with dynamic axes, checked, stripped, with its metadata inside.

Plain `torch.export` goes first: it raises where tracing would fix an axis, while the ONNX exporter would
silently re-export with that axis fixed. Initialisers keep the names and the values of the parameters, so that
weights can be replaced in the file.
"""

import logging
import warnings
from collections.abc import Mapping

import onnx
import onnx_ir
import torch
from onnxscript.optimizer import optimize_ir
from torch.export import Dim

from discoformer_export.attention import scanned
from discoformer_export.errors import ExportError
from discoformer_export.graphs import AXES, Graph, example_inputs
from discoformer_training.network import DiScoFormer

OPSET = 18
TRACED = {"batch": 2, "n": 37, "m": 11, "dim": 5, "components": 3}


def to_onnx(graph: Graph, network: DiScoFormer, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Export one graph of a network.

    Raises:
        ExportError: an axis cannot be dynamic.
    """
    module = graph.module(network.config, graph.attend)
    module.load_state_dict(network.state_dict())
    module.eval()
    examples = example_inputs(network.config, **TRACED)
    arguments = tuple(examples[name] for name in graph.inputs)
    axes = tuple({i: Dim(axis) for i, axis in enumerate(AXES[name]) if axis} for name in graph.inputs)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of shared axis names, and of torch's own deprecations
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # of translations for torchvision
        try:
            program = torch.export.export(module, arguments, dynamic_shapes=axes)
        except Exception as error:
            raise ExportError(f"{graph.module.__name__} has an axis that is not dynamic: {error}") from error
        exported = torch.onnx.export(
            program,
            arguments,
            dynamic_shapes=axes,
            input_names=graph.inputs,
            output_names=graph.outputs,
            opset_version=OPSET,
            custom_translation_table={torch.ops.discoformer.attend.default: scanned},
            dynamo=True,
            optimize=False,  # it would fold and rename parameters; see _simplified
            verbose=False,
        )
    assert exported is not None
    model = _simplified(exported.model, network)
    _check_axes(graph, model)
    _strip(model.graph)
    model.doc_string = ""
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    return model


def _simplified(model: onnx_ir.Model, network: DiScoFormer) -> onnx.ModelProto:
    """Compute what is constant, parameters apart: half of the nodes go, and files open sooner."""
    parameters = {name for name, _ in network.named_parameters()}

    def from_parameters(node: onnx_ir.Node) -> bool | None:
        return False if any(value is not None and value.name in parameters for value in node.inputs) else None

    optimize_ir(model, num_iterations=3, should_fold=from_parameters)
    return onnx_ir.to_proto(model)


def _check_axes(graph: Graph, model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        got = tuple(dim.dim_param or None for dim in value.type.tensor_type.shape.dim)
        if got != AXES[value.name]:
            raise ExportError(
                f"{value.name} has axes {got}, needed {AXES[value.name]}: tracing has fixed one"
            )


def _strip(graph: onnx.GraphProto) -> None:
    """Remove the stack traces with local paths that nodes and values carry, in subgraphs too."""
    for item in (*graph.node, *graph.input, *graph.output):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    graph.ClearField("metadata_props")
    graph.ClearField("doc_string")
    del graph.value_info[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _strip(attribute.g)
