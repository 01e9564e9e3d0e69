"""Graphs of a stranger, with a good record of their hashes: refused, or harmless.

Each case changes the structure of the graphs of the released model, and of their metadata. Then the folder is
loaded, and a small sample is estimated. Besides what every part asks for, no case may take more than 5 s of
processor time, nor more memory than twice the files and 100 MB. The cases run in a process of their own. If
it dies, or hangs for a minute, this is a failure.
"""

import hashlib
import json
import multiprocessing
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

import discoformer
from discoformer.errors import DiscoformerError
from discoformer.onnx.safety import OPERATORS
from tests.fuzz.common import MODEL, Report, cases, most_memory, start_measuring

FILES = ("mixture.onnx", "encode.onnx", "query.onnx")
SECONDS, MEGABYTES = 5.0, 100.0
STAGES = {  # words of an error, and where it comes from
    "is not opened": "refused by the check",
    "cannot be run by": "refused by onnxruntime",
    "a graph of the model failed": "stopped while running",
    "a graph of the model gives": "outputs refused",
    "not finite": "answers refused",
    "mixture of the model": "answers refused",
}
HANGING = 60.0  # seconds without an answer
Change: TypeAlias = Callable[[ModelProto, random.Random], None]
NUMBERS = (-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 7, 2**16, 2**16 + 1, 2**31, 2**40, 2**63 - 1)
FOREIGN = ("Loop", "If", "Scan", "Tile", "RandomNormal", "NonZero", "Identity", "Nope", "SequenceEmpty")


def run(seed: int, deadline: float, count: int) -> Report:
    """Try changed graphs in a process that is started again if it dies."""
    report = Report()
    context = multiprocessing.get_context("spawn")
    todo = cases(seed, deadline, count)
    worker, ours = _started(context)
    for _, case in todo:
        ours.send(case)
        try:
            answer = ours.recv() if ours.poll(HANGING) else None
        except EOFError:
            answer = None
        if answer is None:
            report.outcomes["hangs or dies"] += 1
            report.fail(f"seed {case}: the process hangs or died")
            worker.kill()
            worker, ours = _started(context)
            continue
        outcome, said, seconds, megabytes, size = answer
        report.outcomes[outcome] += 1
        report.slowest, report.greatest = max(report.slowest, seconds), max(report.greatest, megabytes)
        if said or seconds > SECONDS or megabytes > 2 * size + MEGABYTES:
            report.fail(f"seed {case}: {outcome} {said}, {seconds:.1f} s, {megabytes:.0f} MB of {size:.0f}")
    worker.kill()
    return report


def _started(context: Any) -> tuple[Any, Connection]:
    ours, theirs = context.Pipe()
    worker = context.Process(target=_work, args=(theirs,), daemon=True)
    worker.start()
    theirs.close()
    return worker, ours


def _work(pipe: Connection) -> None:
    """Try the cases whose seeds arrive; answer with what came of each."""
    warnings.simplefilter("ignore")
    originals = {name: onnx.load(MODEL / name) for name in FILES}
    x = np.random.default_rng(0).normal(size=(20, 2))
    discoformer.estimate(x)  # so that what is loaded once does not count
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while True:
            case = pipe.recv()
            rng = random.Random(case)
            changes = [rng.choice(CHANGES) for _ in range(rng.choice((1, 1, 2, 4)))]
            write(folder, changed(originals, changes, rng))
            size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
            before, start, said = start_measuring(), time.process_time(), ""
            try:
                answers = discoformer.load(folder, "cpu", 1).estimate(x).log_density_and_score(x)
                outcome = "answers"
                if not all(np.isfinite(array).all() for array in answers):
                    said = "that are not finite"
            except DiscoformerError as error:
                outcome = next(
                    (stage for said_of, stage in STAGES.items() if said_of in str(error)), "refused"
                )
            except BaseException as error:  # whatever else there is
                outcome, said = "foreign error", f"{type(error).__name__}: {str(error)[:300]}"
            pipe.send((outcome, said, time.process_time() - start, most_memory() - before, size))


def changed(
    originals: dict[str, ModelProto], changes: Iterable[Change], rng: random.Random
) -> dict[str, ModelProto]:
    """Copies of the graphs with another name of the model, and one of them changed."""
    models = {}
    for name, original in originals.items():
        models[name] = ModelProto()
        models[name].CopyFrom(original)
        for entry in models[name].metadata_props:
            if entry.key == "name":
                entry.value = "a stranger's"
    chosen = rng.choice(FILES)
    for change in changes:
        change(models[chosen], rng)
    return models


def write(folder: Path, models: dict[str, ModelProto]) -> None:
    """Write graphs, and a record of their hashes."""
    hashes = {}
    for name, model in models.items():
        content = model.SerializeToString()
        (folder / name).write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    (folder / "config.json").write_text(json.dumps({"files": hashes}))


def _node(graph: GraphProto, rng: random.Random) -> NodeProto:
    return rng.choice(graph.node)


def _some_value(graph: GraphProto, rng: random.Random) -> str:
    return rng.choice((*(name for name in _node(graph, rng).output), *(item.name for item in graph.input)))


def drop_node(model: ModelProto, rng: random.Random) -> None:
    del model.graph.node[rng.randrange(len(model.graph.node))]


def double_node(model: ModelProto, rng: random.Random) -> None:
    model.graph.node.append(_node(model.graph, rng))


def move_node(model: ModelProto, rng: random.Random) -> None:
    place, node = rng.randrange(len(model.graph.node)), NodeProto()
    node.CopyFrom(model.graph.node[place])
    del model.graph.node[place]
    model.graph.node.insert(rng.randrange(len(model.graph.node)), node)


def change_operator(model: ModelProto, rng: random.Random) -> None:
    _node(model.graph, rng).op_type = rng.choice(sorted(OPERATORS)).decode()


def take_foreign_operator(model: ModelProto, rng: random.Random) -> None:
    node = _node(model.graph, rng)
    node.op_type, node.domain = (
        rng.choice(FOREIGN),
        rng.choice(("", "ai.onnx", "ai.onnx.ml", "com.microsoft")),
    )


def rewire(model: ModelProto, rng: random.Random) -> None:
    node = _node(model.graph, rng)
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(
            (_some_value(model.graph, rng), "", "nowhere")
        )


def change_number_of_inputs(model: ModelProto, rng: random.Random) -> None:
    node = _node(model.graph, rng)
    if rng.random() < 0.5 and node.input:
        del node.input[-1]
    else:
        node.input.extend([_some_value(model.graph, rng)] * rng.choice((1, 2, 1000)))


def change_attribute(model: ModelProto, rng: random.Random) -> None:
    nodes = [node for node in model.graph.node if node.attribute]
    attribute = rng.choice(rng.choice(nodes).attribute)
    attribute.i = rng.choice(NUMBERS)
    attribute.ints[:] = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 4, 100)))]
    attribute.s = rng.choice((b"", b"tanh", b"bij,bjk->bik", b"a" * 10_000, b"...,i->...i", b"\xff"))
    if rng.random() < 0.2:
        attribute.type = rng.randrange(15)


def _tensor(model: ModelProto, rng: random.Random, kind: int | None = None) -> TensorProto:
    tensors = [t for t in model.graph.initializer if kind in (None, t.data_type)]
    return rng.choice(tensors)


def change_shape(model: ModelProto, rng: random.Random) -> None:
    _tensor(model, rng).dims[:] = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 2, 9)))]


def change_bytes(model: ModelProto, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    tensor.raw_data = rng.choice((b"", tensor.raw_data[:-1], tensor.raw_data * 2, bytes(2**20)))


def change_whole_numbers(model: ModelProto, rng: random.Random) -> None:
    tensor = _tensor(model, rng, TensorProto.INT64)
    values = numpy_helper.to_array(tensor)
    changed = np.array([rng.choice(NUMBERS) for _ in range(values.size)], np.int64).reshape(values.shape)
    tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))


def change_weights(model: ModelProto, rng: random.Random) -> None:
    tensor = _tensor(model, rng, TensorProto.FLOAT)
    values = np.array(numpy_helper.to_array(tensor))
    with np.errstate(over="ignore"):
        values = (values * np.float32(rng.choice((0, -1, 1e3, 1e30, np.nan, np.inf)))).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def change_dtype(model: ModelProto, rng: random.Random) -> None:
    _tensor(model, rng).data_type = rng.randrange(24)


def place_tensor_elsewhere(model: ModelProto, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    tensor.data_location = TensorProto.EXTERNAL


def change_ends(model: ModelProto, rng: random.Random) -> None:
    """An input or output is dropped, renamed, or of another rank, size or type."""
    ends = rng.choice((model.graph.input, model.graph.output))
    value = rng.choice(ends)
    shape = value.type.tensor_type.shape
    match rng.randrange(5):
        case 0:
            ends.remove(value)
        case 1:
            value.name = rng.choice(("", "other", _some_value(model.graph, rng)))
        case 2:
            shape.dim.add(dim_value=rng.choice(NUMBERS))
        case 3:
            value.type.tensor_type.elem_type = rng.randrange(24)
        case _:
            for dim in shape.dim:
                dim.dim_value = rng.choice(NUMBERS)


def change_metadata(model: ModelProto, rng: random.Random) -> None:
    entry = rng.choice(model.metadata_props)
    entry.value = rng.choice((*map(str, NUMBERS), "", "[" * 100_000, "{}", "\0", "../..", "9" * 10_000))
    if rng.random() < 0.2:
        model.metadata_props.append(entry)


def change_version(model: ModelProto, rng: random.Random) -> None:
    model.opset_import[0].version = rng.choice(NUMBERS)
    model.ir_version = rng.choice((0, 1, 3, 10, 99, 2**31, 10, 10))


def _appended(model: ModelProto, nodes: list[NodeProto], tensors: tuple[TensorProto, ...] = ()) -> None:
    """Add nodes whose last result replaces an output, so that no optimiser drops them."""
    graph = model.graph
    graph.initializer.extend(tensors)
    graph.node.extend(nodes)
    result, output = nodes[-1].output[0], graph.output[0].name
    for node in graph.node:
        node.output[:] = ["as it was" if name == output else name for name in node.output]
        node.input[:] = ["as it was" if name == output else name for name in node.input]
    graph.node.append(helper.make_node("ReduceMax", [result], ["greatest"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["as it was", "greatest"], [output]))


def grow_by_concat(model: ModelProto, rng: random.Random) -> None:
    names = [model.graph.input[0].name, *(f"grown{i}" for i in range(rng.choice((5, 20, 40))))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)]
    _appended(model, nodes)


def grow_by_products(model: ModelProto, rng: random.Random) -> None:
    """A column (n, 1) and its transpose make n^2 numbers, these n^4, and so on."""
    minus_one = numpy_helper.from_array(np.array([-1, 1], np.int64), "column")
    names, nodes = [model.graph.input[0].name], []
    for i in range(rng.choice((1, 2, 4, 8))):
        made = [f"{part}{i}" for part in ("flat", "turned", "product")]
        nodes.append(helper.make_node("Reshape", [names[-1], "column"], [made[0]]))
        nodes.append(helper.make_node("Transpose", [made[0]], [made[1]]))
        nodes.append(helper.make_node("MatMul", made[:2], [made[2]]))
        names.append(made[2])
    _appended(model, nodes, (minus_one,))


def grow_by_shape(model: ModelProto, rng: random.Random) -> None:
    """A shape that is multiplied by a number several times, and filled."""
    factor = numpy_helper.from_array(np.array([rng.choice((2, 1000, 2**16, 2**20))], np.int64), "factor")
    names = ["size", *(f"size{i}" for i in range(rng.choice((1, 2, 3))))]
    nodes = [helper.make_node("Shape", [model.graph.input[0].name], ["size"], start=0, end=1)]
    nodes += [helper.make_node("Mul", [a, "factor"], [b]) for a, b in pairwise(names)]
    filled = rng.choice((["ConstantOfShape", names[-1]], ["Expand", "scalar", names[-1]]))
    nodes.append(helper.make_node(filled[0], filled[1:], ["filled"]))
    scalar = numpy_helper.from_array(np.float32(0), "scalar")
    _appended(model, nodes, (factor, scalar))


def add_loop(model: ModelProto, _: random.Random) -> None:
    on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    step = helper.make_tensor_value_info("step", TensorProto.INT64, [])
    body = helper.make_graph([helper.make_node("Identity", ["on"], ["still"])], "b", [step, on], [on])
    model.graph.node.append(helper.make_node("Loop", ["", "on"], ["never"], body=body))


def add_function(model: ModelProto, _: random.Random) -> None:
    node = helper.make_node("Neg", ["x"], ["y"])
    model.functions.append(helper.make_function("mine", "F", ["x"], ["y"], [node], model.opset_import))


CHANGES: tuple[Change, ...] = (
    drop_node,
    double_node,
    move_node,
    change_operator,
    take_foreign_operator,
    rewire,
    change_number_of_inputs,
    change_attribute,
    change_shape,
    change_bytes,
    change_whole_numbers,
    change_weights,
    change_dtype,
    place_tensor_elsewhere,
    change_ends,
    change_metadata,
    change_version,
    grow_by_concat,
    grow_by_products,
    grow_by_shape,
    add_loop,
    add_function,
)
