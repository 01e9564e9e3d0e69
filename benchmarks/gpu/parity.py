"""Are the answers right? Each file on the device against PyTorch in float64, and against the CPU.

The error of an output is ``max |a - b| / (1 + max |b|)``. A file passes if its error is that of the CPU, up
to a factor for other orders of summation, or within a tolerance.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.gpu.files import (
    Arrays,
    Cases,
    Figures,
    Files,
    Floats,
    Measured,
    Setting,
    as_text,
    draw,
    error,
)
from discoformer.fit import Sample, graph_inputs, landmarks_of, read_sample
from discoformer.onnx.names import ANSWERS, Effort
from discoformer.proposal import propose
from discoformer_export.checks.golden import Case, read

TOLERANCE, FACTOR = 2e-6, 3.0
GOLDEN = 1e-4  # for answers of the package: its frame and base are part of them
TRIPLES = [  # N, M, D
    *((n, m, 2) for n in (2, 127, 128, 129, 200) for m in (2, 127, 128, 129)),
    *((n, 129, d) for n in (2, 128, 1000) for d in (1, 10, 50)),
    *((1000, m, 10) for m in (2, 200, 1000, 4096, 16384)),
    *((n, 200, 100) for n in (127, 1000)),
    *((4096, m, d) for m, d in ((129, 10), (16384, 10), (1000, 50))),
    *((16384, m, d) for m, d in ((2, 1), (128, 2), (16384, 10), (200, 50))),
]
FEW = [(2, 2, 1), (129, 127, 2), (200, 33, 10)]
SIZES = [(300, 1000, 2), (4096, 20_000, 10), (2000, 500, 50)]
BATCHES = [  # rows of the samples, D
    ((9, 5), 2),
    ((128, 129, 127, 64), 3),
    ((1000, 400, 900), 10),
]
EFFORTS: tuple[Effort, ...] = ("fast", "best")


def golden(setting: Setting) -> Cases:
    """The golden answers in the folder of the model, which come from PyTorch in float64."""
    files = Files(setting)
    cases = read(files.model.folder / "golden")
    yield "discoformer.onnx", partial(_worst, cases["raw"], partial(_of_raw_file, files))
    yield "encode.onnx and query.onnx", partial(_worst, cases["framed"], partial(_of_heads, files))
    yield "mixture.onnx, by effort fast", partial(_worst, cases["raw"], partial(_of_package, setting))


def _worst(cases: dict[str, Case], error_of: Callable[[Case], float]) -> Measured:
    errors = {name: error_of(case) for name, case in cases.items()}
    worst = max(errors, key=lambda name: errors[name])
    figures: Figures = {"cases": float(len(errors)), "greatest error": errors[worst], "in": worst}
    return figures, errors[worst] <= GOLDEN


def _of_raw_file(files: Files, case: Case) -> float:
    return error(files.run("discoformer", files.device, case.inputs), case.outputs)


def _of_heads(files: Files, case: Case) -> float:
    states = files.run("encode", files.device, case.inputs)
    return error(files.run("query", files.device, case.inputs | states), case.outputs)


def _of_package(setting: Setting, case: Case) -> float:
    model, inputs, errors = setting.load(), case.inputs, []
    for b, context in enumerate(inputs["context"]):
        # As the golden answers, which take values as they are.
        p = model.estimate(context, np.exp(inputs["log_weights"][b]), effort="fast", rounding=None)
        found = dict(zip(ANSWERS, p.log_density_and_score(inputs["queries"][b]), strict=True))
        errors.append(error(found, {key: case.outputs[key][b] for key in ANSWERS}))
    return max(errors)


def triples(setting: Setting) -> Cases:
    """Samples of chosen sizes, around the powers of two."""
    files = Files(setting)
    for n, m, dim in FEW if setting.small else TRIPLES:
        points = draw(n + m, dim, seed=n + m)
        yield as_text((n, m, dim), "N M D"), partial(compared, files, [points[:n]], [None], [points[n:]])


def batches(setting: Setting) -> Cases:
    """Samples of unequal sizes together, so that the shorter ones are padded; rows have weights."""
    files = Files(setting)
    for sizes, dim in BATCHES[:1] if setting.small else BATCHES:
        rng = np.random.default_rng(dim)
        points = [draw(rows + 33, dim, seed=rows) for rows in sizes]
        weights = [rng.gamma(1, size=rows) * (np.arange(rows) % 7 > 0) for rows in sizes]
        queries = [x[-33:] for x in points]
        case = f"N = {', '.join(map(str, sizes))}; D = {dim}"
        yield case, partial(compared, files, [x[:-33] for x in points], weights, queries)


def compared(
    files: Files, contexts: Sequence[Floats], weights: Sequence[Floats | None], queries: Sequence[Floats]
) -> Measured:
    """Return the errors of the three graphs, and whether all pass. Each is given what the CPU computed."""
    samples = [read_sample(x, w) for x, w in zip(contexts, weights, strict=True)]
    given = first_inputs(files, samples)
    framed = [sample.frame.to_frame(y) for sample, y in zip(samples, queries, strict=True)]
    given["queries"] = np.stack(framed).astype(np.float32)
    figures: Figures = {}
    passed = True
    for name in ("mixture", "encode", "query"):
        on_cpu, right = files.run(name, "cpu", given), files.exact(name, given)
        on_device = files.run(name, files.device, given)
        here, there = error(on_device, right), error(on_cpu, right)
        figures |= {name: here, f"{name}, CPU": there}
        passed &= here <= max(TOLERANCE, FACTOR * there)
        given |= on_cpu
        if name == "mixture":
            given |= propose(files.model.graphs, samples, on_cpu)
    return figures, passed


def first_inputs(files: Files, samples: Sequence[Sample]) -> Arrays:
    """Return the inputs of the mixture graph for samples."""
    return {**graph_inputs(samples, [landmarks_of(sample, files.landmarks) for sample in samples])}


def all_inputs(files: Files, points: Floats) -> Arrays:
    """Return the inputs of all graphs for a sample, whose landmarks are the queries."""
    samples = [read_sample(points, None)]
    given = first_inputs(files, samples)
    given |= propose(files.model.graphs, samples, files.run("mixture", "cpu", given))
    return given | files.run("encode", "cpu", given) | {"queries": given["context"]}


def answers(setting: Setting) -> Cases:
    """The answers of the package in data units, beside those on the CPU."""
    for sizes in FEW[-1:] if setting.small else SIZES:
        for effort in EFFORTS:
            yield f"{as_text(sizes, 'N M D')}, {effort}", partial(_apart, setting, *sizes, effort)


def _apart(setting: Setting, n: int, m: int, dim: int, effort: Effort) -> Measured:
    points = draw(n + m, dim)
    fitted = [setting.load(device).estimate(points[:n], effort=effort) for device in (setting.device, "cpu")]
    found, right = (dict(zip(ANSWERS, p.log_density_and_score(points[n:]), strict=True)) for p in fitted)
    apart = error(found, right)
    return {"apart from the CPU": apart}, apart <= GOLDEN
