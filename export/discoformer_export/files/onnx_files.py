"""From a PyTorch module to an ONNX model: trace with dynamic axes, check, strip, add metadata.

`torch.export` runs before `torch.onnx.export`. It raises an error if tracing would fix an axis, while the
ONNX exporter would silently fix it. Initialisers have the names of the parameters, so that the runtime can
replace the weights in the file.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir
import torch
from onnx_ir.passes import Sequential, common
from onnxscript.optimizer import fold_constants, optimize_ir
from torch import Tensor, nn
from torch.export import Dim

from discoformer.onnx.names import FRAMED, MIXTURE, WHOLE
from discoformer_export.errors import ExportError
from discoformer_export.graphs import operators
from discoformer_export.graphs.attention import attend_by_head
from discoformer_export.graphs.inverse_operators import invert as by_runtime
from discoformer_export.graphs.mixture_network import MixtureGraph
from discoformer_export.graphs.network import AXES, Graph, example_inputs
from discoformer_training.nn.mixture_network import Invert, MixtureNetwork
from discoformer_training.nn.network import DiScoFormer

TRANSPOSED = ".T"
TRACED = {"batch": 2, "n": 37, "m": 11, "dim": 5, "components": 3, "per_coordinate": 4}


def to_onnx(graph: Graph, network: DiScoFormer, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Export one graph of a network.

    Raises:
        ExportError: an axis cannot be dynamic.
    """
    module = graph.module(network.config, attend_by_head)
    module.load_state_dict(network.state_dict())
    module.eval()
    examples = example_inputs(network.config, **TRACED)
    given = {name: examples[name] for name in graph.inputs}
    return finished(_simplified(traced(module, given, graph.outputs), network), metadata)


def mixture_to_onnx(
    network: MixtureNetwork, metadata: Mapping[str, str], invert: Invert = by_runtime
) -> onnx.ModelProto:
    """Export a mixture network: a context in the frame to a mixture.

    Args:
        network: the network.
        metadata: of the file.
        invert: implementation of inverses and log-determinants. By default ONNX Runtime's own operators.

    Raises:
        ExportError: an axis cannot be dynamic.
    """
    module = MixtureGraph(network.config, invert)
    module.load_state_dict(network.state_dict())
    module.eval()
    examples = example_inputs(network.config, **TRACED)
    given = {name: examples[name] for name in (*FRAMED, *WHOLE)}
    return finished(_simplified(traced(module, given, MIXTURE), network), metadata)


def traced(
    module: nn.Module,
    examples: Mapping[str, Tensor],
    outputs: Sequence[str],
) -> onnx_ir.Model:
    """Trace a module that takes its inputs by name. Every axis that AXES names is dynamic.

    Raises:
        ExportError: an axis cannot be dynamic.
    """
    given = (dict(examples),)
    axes = ({name: {i: Dim(axis) for i, axis in enumerate(AXES[name]) if axis} for name in examples},)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # shared axis names, and deprecations within torch
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # missing translations for torchvision
        try:
            program = torch.export.export(module, given, dynamic_shapes=axes)
        except Exception as error:
            raise ExportError(f"{type(module).__name__} has an axis that is not dynamic: {error}") from error
        exported = torch.onnx.export(
            program,
            given,
            dynamic_shapes=axes,
            input_names=tuple(examples),
            output_names=outputs,
            opset_version=operators.OPSET,
            custom_translation_table=dict(operators.TRANSLATIONS),
            dynamo=True,
            optimize=False,  # optimisation would fold and rename parameters; see _simplified
            verbose=False,
        )
    assert exported is not None
    return exported.model


def finished(
    model: onnx.ModelProto, metadata: Mapping[str, str], axes: Mapping[str, tuple[str | None, ...]] = AXES
) -> onnx.ModelProto:
    """Check and name the axes of a model, strip it, add the metadata, and check the whole model."""
    _name_axes(model, axes)
    _check_axes(model, axes)
    _strip(model.graph)
    model.doc_string = ""
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    return model


def _simplified(model: onnx_ir.Model, network: nn.Module) -> onnx.ModelProto:
    """Fold constants, which removes most nodes, so that files open faster.

    Parameters keep their names and values. Only linear maps of the last axis are stored as `transposed` gives
    them, ready to be multiplied from the right.
    """
    origins = {name: name for name, _ in network.named_parameters()}

    def should_fold(node: onnx_ir.Node) -> bool | None:
        origin = next((origins[value.name] for value in node.inputs if value and value.name in origins), None)
        if origin is None:
            return None
        if node.op_type not in ("Reshape", "Transpose"):
            return False
        origins[str(node.outputs[0].name)] = origin
        return True

    optimize_ir(model, num_iterations=3, should_fold=should_fold)
    parameters = dict(network.named_parameters())
    initializers = model.graph.initializers
    for name, value in list(initializers.items()):
        if origins.get(name, name) == name:
            continue
        found, expected = value.const_value, transposed(parameters[origins[name]].detach())
        assert found is not None
        assert np.array_equal(found.numpy(), expected.numpy())
        del initializers[name]
        value.name = f"{origins[name]}{TRANSPOSED}"
        if value.name in initializers:  # a map that is used more than once
            value.replace_all_uses_with(initializers[value.name])
        else:
            model.graph.register_initializer(value)
    return onnx_ir.to_proto(model)


def folded(model: onnx_ir.Model) -> onnx.ModelProto:
    """Fold the constants of a float64 graph. No node is rewritten: the rules for that take 1e-9 for 0."""
    common.InlinePass()(model)
    for _ in range(3):
        fold_constants(model, onnx_shape_inference=True)
    Sequential(
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.NameFixPass(),
    )(model)
    return onnx_ir.to_proto(model)


def transposed(parameter: Tensor) -> Tensor:
    """Return a map of the last axis, (..., in), as graphs store it under name + TRANSPOSED: (in, out)."""
    return parameter.flatten(0, -2).mT


def _name_axes(model: onnx.ModelProto, axes: Mapping[str, tuple[str | None, ...]]) -> None:
    """Give the dynamic axes of outputs that no input has the names that they should have."""
    known = {dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim}
    for value in model.graph.output:
        for dim, axis in zip(value.type.tensor_type.shape.dim, axes[value.name], strict=True):
            if axis is not None and axis not in known and not dim.HasField("dim_value"):
                dim.dim_param = axis  # known at run time only, or a sum such as N + 1


def _check_axes(model: onnx.ModelProto, axes: Mapping[str, tuple[str | None, ...]]) -> None:
    for value in (*model.graph.input, *model.graph.output):
        got = tuple(dim.dim_param or None for dim in value.type.tensor_type.shape.dim)
        if got != axes[value.name]:
            raise ExportError(
                f"{value.name} has axes {got}, needed {axes[value.name]}: tracing has fixed an axis"
            )


def _strip(graph: onnx.GraphProto) -> None:
    """Remove the stack traces of nodes and values, which contain local paths, in subgraphs too.

    The shapes of values are kept: with them ONNX Runtime opens a file two to three times as fast.
    """
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _strip(attribute.g)
