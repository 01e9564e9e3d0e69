"""Where do the nodes run, and does it hold: memory after many calls, two processes, the first call."""

import json
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch

from benchmarks.gpu.files import (
    CPU,
    CUDA,
    Arrays,
    Cases,
    Figures,
    Files,
    Floats,
    Measured,
    Setting,
    draw,
    open_session,
)
from benchmarks.gpu.parity import all_inputs
from benchmarks.gpu.timing import held, matmul_rate

ON_CPU = {"Det"}  # without a CUDA kernel; see tests/contract/test_gpu_graphs.py
LARGEST_SHAPE = 64  # most elements of what is computed of shapes, which ONNX Runtime keeps on the CPU
SAME = 1e-5  # of the same answer of two processes, in nats
GROWTH = 64.0  # MB that caches may still grow by after the first quarter of the calls
FRESH = """
import sys
import time
begin = time.perf_counter()
import numpy as np
import torch
import discoformer
X = np.random.default_rng(0).normal(size=(1000, 10))
marks = [begin, time.perf_counter()]
p = discoformer.load(sys.argv[1], device=sys.argv[2]).estimate(X)
marks.append(time.perf_counter())
for _ in range(2):
    p.log_density_and_score(X)
    marks.append(time.perf_counter())
print(*np.diff(marks))
"""


def machine(setting: Setting) -> Cases:
    """What this runs on."""
    name = torch.cuda.get_device_name(0) if setting.device == "cuda" else "CPU"
    yield name, partial(_machine, setting)


def _machine(setting: Setting) -> Measured:
    figures: Figures = {
        "onnxruntime": onnxruntime.__version__,
        "PyTorch": torch.__version__,
        "CPU threads": float(torch.get_num_threads()),
        "matrix products, TFLOP/s": matmul_rate(setting) / 1e12,
    }
    if setting.device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
        figures |= {"memory, GB": memory / 2**30, "CUDA": str(torch.version.cuda)}
    return figures, None


def placement(setting: Setting) -> Cases:
    """Count the nodes of each graph by execution provider, as ONNX Runtime's profiles record them."""
    files, points = Files(setting), draw(309, 10)[None]
    raw = {"context": points[:, 9:], "queries": points[:, :9], "log_weights": np.zeros((1, 300))}
    given = all_inputs(files, points[0, 9:])
    for name in ("mixture", "encode", "query", "discoformer"):
        arrays = raw if name == "discoformer" else given
        yield f"{name}.onnx", partial(_placement, setting, files.model.folder / f"{name}.onnx", arrays)


def _placement(setting: Setting, path: Path, given: Arrays) -> Measured:
    with TemporaryDirectory() as folder:
        session = open_session(path, setting.device, Path(folder) / "profile")
        session.run(None, {item.name: given[item.name] for item in session.get_inputs()})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ran = [event["args"] for event in events if "provider" in event.get("args", {})]
    counts = Counter(event["provider"] for event in ran)
    figures: Figures = {
        "nodes on CUDA": float(counts[CUDA]),
        "on the CPU": float(counts[CPU]),
        "copies": float(sum(event["op_name"].startswith("Memcpy") for event in ran)),
    }
    if setting.device == "cpu":
        return figures, None
    on_cpu = [event for event in ran if event["provider"] == CPU]
    large = Counter(event["op_name"] for event in on_cpu if _elements(event) > LARGEST_SHAPE)
    figures["of them on arrays"] = ", ".join(f"{count} {name}" for name, count in large.items()) or "none"
    return figures, large.keys() <= ON_CPU


def _elements(event: dict[str, list[dict[str, list[int]]]]) -> int:
    """Return the number of elements of the largest output of a node."""
    shapes = [shape for output in event.get("output_type_shape", []) for shape in output.values()]
    return max((int(np.prod(shape)) for shape in shapes), default=0)


def memory(setting: Setting) -> Cases:
    """Memory of reading and of answering, by the number of landmarks; and after thousands of calls."""
    for landmarks in (300,) if setting.small else (1024, 4096):
        yield f"{landmarks:,} landmarks, D = 10", partial(_memory, setting, landmarks)
    calls = 60 if setting.small else 5000
    yield f"{calls:,} calls", partial(_after_calls, setting, calls)


def _memory(setting: Setting, landmarks: int) -> Measured:
    model, points = setting.load(), draw(16_384 if landmarks > 1000 else landmarks, 10)
    before = held(setting)
    p = model.estimate(points, landmarks=landmarks)
    read = held(setting)
    p.log_density_and_score(np.resize(points, (8192, 10)))
    answered = held(setting)
    figures: Figures = {f"reading: {key}": read[key] - before[key] for key in read}
    return figures | {f"answering: {key}": answered[key] - read[key] for key in read}, None


def _after_calls(setting: Setting, calls: int) -> Measured:
    """Answer again and again, with samples and queries of mixed sizes."""
    model, rng = setting.load(), np.random.default_rng(0)
    samples = [draw(rows, dim) for rows, dim in ((50, 1), (150, 2), (300, 3), (600, 10))]
    fitted, sizes = [model.estimate(x) for x in samples], []
    for call in range(calls):
        k, count = call % len(fitted), int(10 ** rng.uniform(0, 3))
        fitted[k].log_density_and_score(np.resize(samples[k], (count, samples[k].shape[1])))
        if call % (calls // 20) == 0:
            sizes.append(held(setting))
    warm, last = sizes[len(sizes) // 4], held(setting)
    growth: Figures = {f"growth: {key}": last[key] - warm[key] for key in last}
    return growth, all(last[key] - warm[key] <= GROWTH for key in last)


def processes(setting: Setting) -> Cases:
    """Two processes on one device at once: the same answers as one."""
    calls = 3 if setting.small else 100
    yield f"two processes, {calls} calls each", partial(_processes, setting, calls)


def _processes(setting: Setting, calls: int) -> Measured:
    alone, taken = _calls(setting, calls)
    with get_context("spawn").Pool(2) as pool:
        both = pool.starmap(_calls, [(setting, calls)] * 2)
    apart = max(float(np.abs(found - alone).max()) for found, _ in both)
    slower = max(each for _, each in both)
    return {
        "apart": apart,
        "a call alone, ms": 1e3 * taken / calls,
        "of two, ms": 1e3 * slower / calls,
    }, apart <= SAME


def _calls(setting: Setting, calls: int) -> tuple[Floats, float]:
    """Return the last answer, and the seconds of all calls but the first."""
    points = draw(300 if setting.small else 2000, 5)
    p = setting.load().estimate(points)
    answer: Floats = np.asarray(p.log_density(points))
    begin = time.perf_counter()
    for _ in range(calls):
        answer = np.asarray(p.log_density(points))
    return answer, time.perf_counter() - begin


def first_call(setting: Setting) -> Cases:
    """Wall seconds of the first calls of a fresh process."""
    yield "1,000 points, D = 10", partial(_first_call, setting)


def _first_call(setting: Setting) -> Measured:
    command = [sys.executable, "-c", FRESH, setting.model, setting.device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    names = ("import, s", "load and read, s", "first answer, s", "second answer, s")
    return dict(zip(names, map(float, done.stdout.split()), strict=True)), None
