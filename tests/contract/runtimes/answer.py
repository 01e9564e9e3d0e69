"""Answers golden cases in one runtime of Python: `answer.py RUNTIME MODEL_FOLDER CHAIN...`, JSON on stdout.

A chain is one file of the model, or several that feed one another, "encode.onnx+query.onnx". Written is
{"version": of the runtime, "answers": {chain: {case: {output: values, row by row}}}}.
answer.mjs does the same in Node, golden.mjs in a browser.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], Arrays]  # one open file: the values known so far to its outputs


def onnxruntime(path: Path) -> tuple[str, Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [item.name for item in session.get_outputs()]

    def run(values: Arrays) -> Arrays:
        given = {item.name: values[item.name] for item in session.get_inputs()}
        return dict(zip(outputs, session.run(outputs, given), strict=True))

    return onnxruntime.__version__, run


def openvino(path: Path) -> tuple[str, Run]:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(path, "CPU", options)

    def run(values: Arrays) -> Arrays:
        names = [next(name for name in item.names if name in values) for item in compiled.inputs]
        result = compiled({name: values[name] for name in names})
        return {name: result[item] for item in compiled.outputs for name in item.names}

    return openvino.__version__.partition("-")[0], run


def reference(path: Path) -> tuple[str, Run]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))

    def run(values: Arrays) -> Arrays:
        given = {name: values[name] for name in evaluator.input_names}
        with np.errstate(all="ignore"):
            return dict(zip(evaluator.output_names, evaluator.run(None, given), strict=True))

    return onnx.__version__, run


def tract(path: Path) -> tuple[str, Run]:
    import onnx
    import tract

    onnx_model = onnx.load(path)
    del onnx_model.graph.value_info[:]  # axes with names, which it takes for other axes than those of inputs
    inputs, outputs = (
        [item.name for item in items] for items in (onnx_model.graph.input, onnx_model.graph.output)
    )

    def run(values: Arrays) -> Arrays:
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            onnx.save(onnx_model, file.name)
            model = tract.onnx().load(file.name)
        for i, name in enumerate(inputs):  # it compiles for the sizes of each case
            kind = f"f{8 * values[name].itemsize}"
            model.set_input_fact(i, ",".join([*map(str, values[name].shape), kind]))
        results = model.into_model().into_runnable().run([values[name] for name in inputs])
        return dict(zip(outputs, (result.to_numpy() for result in results), strict=True))

    return tract.version(), run


RUNTIMES = {function.__name__: function for function in (onnxruntime, openvino, reference, tract)}


def answers(runtime: str, folder: Path, chains: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for chain in chains:
        files = chain.split("+")
        versions, runs = zip(*(RUNTIMES[runtime](folder / name) for name in files), strict=True)
        kind = "raw" if chain == "discoformer.onnx" else "framed"
        cases = json.loads((folder / "golden" / f"{kind}.json").read_text(encoding="utf-8"))
        found[chain] = {name: answer(runs, inputs(case)) for name, case in cases.items()}
    return {"version": versions[0], "answers": found}


def inputs(case: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        name: np.array(array["values"], array["type"]).reshape(array["shape"])
        for name, array in case["inputs"].items()
    }


def answer(runs: Sequence[Run], values: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Run the files one after another."""
    for run in runs:
        values |= run(values)
    return {name: values[name].astype(float).ravel().tolist() for name in ("log_density", "score")}


if __name__ == "__main__":
    json.dump(answers(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]), sys.stdout)
