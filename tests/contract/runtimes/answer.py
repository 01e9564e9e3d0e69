"""Answers golden cases in one runtime of Python: `answer.py RUNTIME MODEL_FOLDER CHAIN...`, JSON on stdout.

A chain is one file of the model, or several that feed one another, "encode.onnx+query.onnx". Written is
{"version": of the runtime, "answers": {chain: {case: {output: values, row by row}}}}.
answer.mjs does the same in Node, golden.mjs in a browser.
"""

import json
import sys
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
        result = compiled({item.any_name: values[item.any_name] for item in compiled.inputs})
        return {item.any_name: result[item] for item in compiled.outputs}

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
    import tract

    loaded = tract.onnx().load(path)
    names = [loaded.input_name(i) for i in range(loaded.input_count())]

    def run(values: Arrays) -> Arrays:
        model = tract.onnx().load(path)
        for i, name in enumerate(names):  # it compiles for the sizes of each case
            model.set_input_fact(i, ",".join([*map(str, values[name].shape), "f32"]))
        results = model.into_model().into_runnable().run([values[name] for name in names])
        # it gives outputs other names
        return dict(zip(("log_density", "score"), (result.to_numpy() for result in results), strict=True))

    return tract.version(), run


RUNTIMES = {function.__name__: function for function in (onnxruntime, openvino, reference, tract)}


def answers(runtime: str, folder: Path, chains: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for chain in chains:
        files = chain.split("+")
        versions, runs = zip(*(RUNTIMES[runtime](folder / name) for name in files), strict=True)
        kind = "raw" if chain.startswith(("frame.onnx", "discoformer.onnx")) else "core"
        cases = json.loads((folder / "golden" / f"{kind}.json").read_text(encoding="utf-8"))
        found[chain] = {name: answer(runs, inputs(case)) for name, case in cases.items()}
    return {"version": versions[0], "answers": found}


def inputs(case: dict[str, Any]) -> dict[str, np.ndarray]:
    given = {
        name: np.array(array["values"], array["type"]).reshape(array["shape"])
        for name, array in case["inputs"].items()
    }
    return given | {"data": given["context"], "data_log_weights": given["log_weights"]}  # for frame.onnx


def answer(runs: Sequence[Run], values: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Run the files one after another; where one finds a frame, queries go into it and answers out."""
    queries = values["queries"]
    for run in runs:
        values |= run(values)
        if "linear" in values:
            values["queries"] = ((queries - values["center"][:, None]) @ values["linear"]).astype(np.float32)
    log_density, score = values["log_density"].astype(float), values["score"].astype(float)
    if "linear" in values:
        log_density = log_density + values["log_abs_det"][:, None]
        score = score @ values["linear"].swapaxes(1, 2)
    return {"log_density": log_density.ravel().tolist(), "score": score.ravel().tolist()}


if __name__ == "__main__":
    json.dump(answers(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]), sys.stdout)
