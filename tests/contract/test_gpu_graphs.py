"""The released graphs are made for a GPU: no loops, no run-time bounds, CUDA kernels for all but a few nodes.

ONNX Runtime runs a node without a CUDA kernel on the CPU, and copies its inputs and outputs. Its CUDA
provider may ignore the bound of a slice that is computed at run time (microsoft/onnxruntime, issue 32083).
"""

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from discoformer.onnx.safety import CONTRIBUTED, OPERATORS

FOLDER = Path(__file__).parents[2] / "models" / "base"
GRAPHS = ("mixture", "encode", "query", "discoformer")
OPSET = 20

# Types of the first input and of the first output for which ONNX Runtime 1.28 and later have a CUDA kernel,
# at opset 20. Source: docs/OperatorKernels.md of microsoft/onnxruntime, CUDAExecutionProvider. The node
# placements that onnxruntime-gpu 1.28.0 and 1.31.1 log for these graphs agree with it.
ANY, NUMBERS, REALS = "bool double float int64", "double float int64", "double float"
KERNELS = {
    "Abs Add Clip CumSum Div EyeLike Max Min Mul Neg Pow Range ReduceMax ReduceMin ReduceSum Sub TopK": (
        NUMBERS,
        NUMBERS,
    ),
    "Einsum Exp Gelu Gemm Inverse LayerNormalization Log MatMul Pad Reciprocal ReduceMean Sigmoid Softmax "
    "Softplus Sqrt": (REALS, REALS),
    "Cast Concat Expand Gather GatherND Reshape Slice Split Squeeze Transpose Unsqueeze": (ANY, ANY),
    "Equal Greater GreaterOrEqual Less LessOrEqual": (NUMBERS, "bool"),
    "And Or": ("bool", "bool"),
    "Where": ("bool", NUMBERS),
    "ArgMax": (REALS, "int64"),
    "Shape": (ANY, "int64"),
    "ConstantOfShape": ("int64", ANY),
}
ON_CPU = {  # by graph: operators without a kernel, and why that is all right
    "mixture": {
        "Det": "12 nodes, each on a quarter of the columns of every component, once for a sample that is "
        "read: 0.9 MB are copied at 1,024 landmarks in 10 columns, 33 MB in 100"
    }
}
SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
FIXED = ("Slice", "Split", "Pad")  # operators all of whose inputs but the first are constants


def faults(model: onnx.ModelProto, on_cpu: frozenset[str] = frozenset()) -> Iterator[str]:
    """What would be wrong or slow on a GPU."""
    constants = {item.name for item in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"} | {""}
    types = types_of(model)
    kernels = {name: found for names, found in KERNELS.items() for name in names.split()}
    if [item.version for item in model.opset_import if not item.domain] != [OPSET]:
        yield "the table of kernels is for another opset"
    for node in model.graph.node:
        if any(
            item.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for item in node.attribute
        ):
            yield f"{node.op_type}: control flow"
        elif node.op_type.encode() not in (CONTRIBUTED if node.domain else OPERATORS):
            yield f"{node.op_type}: not in the allow-list"
        elif node.op_type in FIXED and not constants.issuperset(node.input[1:]):
            yield f"{node.op_type}: a bound that is computed at run time"
        elif node.op_type not in on_cpu:
            given, made = types[node.input[0]], types[node.output[0]]
            known = kernels.get(node.op_type, ("", ""))
            if given not in known[0].split() or made not in known[1].split():
                yield f"{node.op_type}: no CUDA kernel from {given} to {made}"


def types_of(model: onnx.ModelProto) -> dict[str, str]:
    """The element type of every value, by name."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.domain:  # the operators of ONNX Runtime keep the type
            node.op_type, node.domain = "Identity", ""
    graph = onnx.shape_inference.infer_shapes(copy).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    found |= {item.name: item.data_type for item in graph.initializer}
    return {name: TensorProto.DataType.Name(number).lower() for name, number in found.items()}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_released_graphs_are_made_for_a_gpu(name: str) -> None:
    model = onnx.load(FOLDER / f"{name}.onnx")
    on_cpu = ON_CPU.get(name, {})
    assert set(faults(model, frozenset(on_cpu))) == set()
    assert on_cpu.keys() <= {node.op_type for node in model.graph.node}, "ON_CPU names what is not there"


NODES = {
    "control flow": helper.make_node(
        "If",
        ["flag"],
        ["y"],
        then_branch=helper.make_graph([], "then", [], []),
        else_branch=helper.make_graph([], "else", [], []),
    ),
    "allow-list": helper.make_node("NonZero", ["x"], ["y"]),
    "run time": helper.make_node("Slice", ["x", "zero", "size"], ["y"]),
    "no CUDA kernel from float to float": helper.make_node("Det", ["x"], ["y"]),
    "no CUDA kernel from bool to bool": helper.make_node("Where", ["flag", "flag", "flag"], ["y"]),
}


@pytest.mark.parametrize("fault", NODES)
def test_every_fault_is_found(fault: str) -> None:
    nodes = [helper.make_node("Shape", ["x"], ["size"]), NODES[fault]]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "n"])]
    given.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    zero = helper.make_tensor("zero", TensorProto.INT64, [2], [0, 0])
    graph = helper.make_graph(nodes, "planted", given, [], [zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    (found,) = faults(model)
    assert fault in found
