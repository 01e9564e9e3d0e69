"""discoformer.onnx, one file for everything: raw data and queries in, answers in data units out.

It joins two graphs, that of frame.onnx and that of core.onnx. Between and after them it maps the queries into
the frame and the answers out of it:

    z = (y - center) linear,    log f(y) = log f_z(z) + log|det linear|,    s(y) = s_z(z) linear^T.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper
from onnx.numpy_helper import from_array

from discoformer.onnx.names import ANSWERS, CONTEXT
from discoformer_export.files.onnx_files import finished
from discoformer_export.graphs.network import AXES, GRAPHS

FRAME, CORE = "frame/", "core/"  # prefixes of names
INPUTS = {"context": "data", "queries": "queries", "log_weights": "data_log_weights"}  # names in frame.onnx


def raw_file(frame: onnx.ModelProto, core: onnx.ModelProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Join the graphs of the frame and the network. The initialisers of the network keep their names."""
    frame_graph = _renamed(frame.graph, FRAME, kept=set())
    core_graph = _renamed(core.graph, CORE, kept={initializer.name for initializer in core.graph.initializer})
    handed_over = [helper.make_node("Identity", [FRAME + name], [CORE + name]) for name in CONTEXT]
    graph = helper.make_graph(
        nodes=[*_raw_inputs(), *frame_graph.node, *handed_over, *_queries(), *core_graph.node, *_answers()],
        name="discoformer",
        inputs=[_tensor(name, AXES[axes]) for name, axes in INPUTS.items()],
        outputs=[_tensor(name, AXES[name]) for name in ANSWERS],
        initializer=[*frame_graph.initializer, *core_graph.initializer, *_AXES],
        value_info=[*frame_graph.value_info, *core_graph.value_info],
    )
    opsets = {entry.domain: entry.version for entry in (*frame.opset_import, *core.opset_import)}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=max(frame.ir_version, core.ir_version),
    )
    return finished(model, metadata, AXES | {name: AXES[axes] for name, axes in INPUTS.items()})


def core_of(raw: onnx.ModelProto) -> onnx.ModelProto:
    """Take the graph of core.onnx out of a joined file, without metadata."""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in raw.graph.node]
    nodes = [node for node in nodes if node.name.startswith(CORE)]
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [name.removeprefix(CORE) for name in names]
        node.name = node.name.removeprefix(CORE)
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes=nodes,
        name="core",
        inputs=[_tensor(name, AXES[name], onnx.TensorProto.FLOAT) for name in GRAPHS["core"].inputs],
        outputs=[_tensor(name, AXES[name], onnx.TensorProto.FLOAT) for name in ANSWERS],
        initializer=[item for item in raw.graph.initializer if item.name in used],
    )
    return helper.make_model(graph, opset_imports=raw.opset_import, ir_version=raw.ir_version)


def _renamed(graph: onnx.GraphProto, prefix: str, kept: set[str]) -> onnx.GraphProto:
    """Put a prefix before the names of values, nodes and axes, in loop bodies too, except those in `kept`."""
    renamed = onnx.GraphProto()
    renamed.CopyFrom(graph)

    def rename(name: str) -> str:
        return name if not name or name in kept else prefix + name

    for value in (*renamed.input, *renamed.output, *renamed.initializer, *renamed.value_info):
        value.name = rename(value.name)
    for value in (*renamed.input, *renamed.output, *renamed.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:  # N of the network is not N of the frame
                dim.dim_param = prefix + dim.dim_param
    for node in renamed.node:
        node.name = rename(node.name)
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                attribute.g.CopyFrom(_renamed(attribute.g, prefix, kept))
    return renamed


_AXES = (from_array(np.array([1]), "axis 1"),)


def _raw_inputs() -> Iterator[onnx.NodeProto]:
    for name, renamed in (("context", "data"), ("log_weights", "data_log_weights")):
        yield helper.make_node("Identity", [name], [FRAME + renamed])


def _queries() -> Iterator[onnx.NodeProto]:
    yield helper.make_node("Unsqueeze", [FRAME + "center", "axis 1"], ["center of rows"])
    yield helper.make_node("Sub", ["queries", "center of rows"], ["centered queries"])
    yield helper.make_node("MatMul", ["centered queries", FRAME + "linear"], ["queries in the frame"])
    yield helper.make_node("Cast", ["queries in the frame"], [CORE + "queries"], to=onnx.TensorProto.FLOAT)


def _answers() -> Iterator[onnx.NodeProto]:
    for name in ANSWERS:
        yield helper.make_node("Cast", [CORE + name], [f"{name} in the frame"], to=onnx.TensorProto.DOUBLE)
    yield helper.make_node("Unsqueeze", [FRAME + "log_abs_det", "axis 1"], ["log_abs_det of rows"])
    yield helper.make_node("Add", ["log_density in the frame", "log_abs_det of rows"], ["log_density"])
    back = ["score in the frame", FRAME + "linear"]  # no Transpose: see matrices.transpose
    yield helper.make_node("Einsum", back, ["score"], equation="bme,bde->bmd")


def _tensor(
    name: str, axes: tuple[str | None, ...], kind: onnx.TensorProto.DataType = onnx.TensorProto.DOUBLE
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, axes)
