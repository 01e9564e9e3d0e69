"""The JavaScript package beside Python: errors, times, size. ``python -m tests.js.measure`` writes them down.

They go to ``docs/javascript.json``, and as tables into ``docs/javascript.md``. The error of a golden case is
max |got - reference| / (1 + max |reference|), the greater of that of log-densities and that of scores.
"""

import hashlib
import json
import math
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

import discoformer
from tests.contract.runtimes.measure import CHROMIUM, browser_page, npm_ci
from tests.js.samples import Floats, cases, queries_of
from tests.js.site import HERE, PACKAGE, ROOT, make_site, pack

MODEL = ROOT / "models" / "base"
GOLDEN = MODEL / "golden" / "raw.json"
RECORD = ROOT / "docs" / "javascript.json"
PAGE = ROOT / "docs" / "javascript.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->"
SIZES, QUERIES, REPETITIONS, SEED = (512, 2048), 4096, 7, 1
SWIFT_SHADER = ("--enable-unsafe-webgpu", "--enable-features=Vulkan", "--use-webgpu-adapter=swiftshader")
ON_GPU = ("two_points", "plane", "few_for_ten", "weights")  # golden cases: SwiftShader is slow


def node(*arguments: object, text: str | None = None) -> Any:
    """Run a script of this folder in Node; return what it prints."""
    command = ["node", *map(str, arguments)]
    done = subprocess.run(command, cwd=HERE, input=text, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def error(got: Any, wanted: Floats) -> float:
    """Return max |got - wanted| / (1 + max |wanted|)."""
    return float(np.abs(np.ravel(got) - np.ravel(wanted)).max() / (1 + np.abs(wanted).max()))


def golden_errors_in_python(model: discoformer.Model) -> dict[str, float]:
    """The error of each golden case, as golden.mjs measures it."""
    found: dict[str, float] = {}
    for name, case in json.loads(GOLDEN.read_text(encoding="utf-8")).items():
        given, wanted = (
            {key: np.reshape(array["values"], array["shape"]) for key, array in case[role].items()}
            for role in ("inputs", "outputs")
        )
        for b, points in enumerate(given["context"]):
            p = model.estimate(points, np.exp(given["log_weights"][b]), effort="fast", rounding=None)
            answers = p.log_density_and_score(given["queries"][b])
            errors = map(error, answers, (wanted["log_density"][b], wanted["score"][b]))
            found[name] = max(found.get(name, 0.0), *errors)
    return found


def differences_from_python(model: discoformer.Model) -> dict[str, float]:
    """The difference of JavaScript from Python for each sample of ``samples.cases``."""
    drawn = list(cases(SEED))
    queries = [queries_of(case.points, SEED) for case in drawn]
    names = {"effective_size": "effectiveSize"}
    given = [
        {
            "X": case.points.tolist(),
            "Y": asked.tolist(),
            "options": {names.get(name, name): value for name, value in case.options.items()}
            | ({} if case.weights is None else {"weights": case.weights.tolist()}),
        }
        for case, asked in zip(drawn, queries, strict=True)
    ]
    found = node("answer.mjs", text=json.dumps(given))
    differences = {}
    for case, asked, got in zip(drawn, queries, found, strict=True):
        p = model.estimate(case.points, case.weights, effort="fast", **case.options)
        log_density, score = p.log_density_and_score(asked)
        differences[case.name] = max(error(got["logDensity"], log_density), error(got["score"], score))
    return differences


def times_in_python() -> dict[str, Any]:
    """Milliseconds, as page.html and times.mjs measure them."""

    def points(n: int) -> Floats:
        return np.array([math.sin(i * i) for i in range(2 * n)]).reshape(n, 2)

    begin = time.perf_counter()
    model = discoformer.load(MODEL, device="cpu", threads=1)
    model.graphs.open("fast")
    found: dict[str, Any] = {"load": 1e3 * (time.perf_counter() - begin)}
    for n in SIZES:
        sample, queries = points(n), points(QUERIES)
        read, answered = math.inf, math.inf
        for _ in range(REPETITIONS):
            start = time.perf_counter()
            p = model.estimate(sample, effort="fast")
            middle = time.perf_counter()
            p.log_density_and_score(queries)
            read, answered = min(read, middle - start), min(answered, time.perf_counter() - middle)
        found[str(n)] = {"read": 1e3 * read, "answered": 1e3 * answered}
    return found


def measure(said: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything."""
    npm_ci(PACKAGE)
    warnings.simplefilter("ignore")
    model = discoformer.load(MODEL, device="cpu", threads=1)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        packed = pack(folder)
        site = make_site(folder / "site", packed)
        said("Node")
        errors = {
            "Python": golden_errors_in_python(model),
            "Node, onnxruntime-node": node("errors_of_golden.mjs"),
            "Node, onnxruntime-web (WebAssembly)": node("errors_of_golden.mjs", "web"),
        }
        times = {"Python": times_in_python(), "Node": node("times.mjs", QUERIES, REPETITIONS, *SIZES)}
        said("Chromium")
        with browser_page(site, "page.html") as page:
            page.wait_for_function("window.tests")
            errors["Chromium, WebAssembly"] = page.evaluate("cases => tests.golden(cases)", golden)
            errors["Chromium, Web Worker"] = page.evaluate("cases => tests.goldenInWorker(cases)", golden)
            given = [list(SIZES), QUERIES, REPETITIONS]
            times["Chromium"] = page.evaluate("given => tests.time(...given)", given)
        said("WebGPU")
        arguments = [*(argument for argument in CHROMIUM if argument != "--disable-gpu"), *SWIFT_SHADER]
        with browser_page(site, "page.html", arguments) as page:
            page.wait_for_function("window.tests")
            some = {name: golden[name] for name in ON_GPU}
            gpu = page.evaluate("cases => tests.goldenOnGpu(cases)", some)
        said("samples")
        return {
            "model": hashlib.sha256((MODEL / "mixture.onnx").read_bytes()).hexdigest(),
            "errors": errors,
            "differences": differences_from_python(model),
            "times": times,
            "webgpu": {"adapter": gpu["adapter"], "failed": bool(gpu["told"]), "errors": gpu["errors"]},
            "packed_bytes": packed.stat().st_size,
        }


def tables(record: dict[str, Any]) -> str:
    """The record as text and tables, in Markdown."""
    lines = ["| runtime | largest error of the golden answers |", "|---|---|"]
    lines += [f"| {name} | {max(found.values()):.1e} |" for name, found in record["errors"].items()]
    differences = record["differences"]
    worst = max(differences, key=differences.__getitem__)
    lines += [
        "",
        f"Python and JavaScript (onnxruntime-node) on {len(differences)} random samples: answers differ by",
        f"at most {differences[worst]:.1e} ({worst}), relative to 1 + the largest answer.",
        "",
        "| | " + " | ".join(record["times"]) + " |",
        "|---" * (1 + len(record["times"])) + "|",
    ]
    rows = {"load the model": lambda found: found["load"]}
    for n in SIZES:
        rows[f"read {n} points"] = lambda found, n=n: found[str(n)]["read"]
        rows[f"answer {QUERIES:,} queries, {n} points read"] = lambda found, n=n: found[str(n)]["answered"]
    for name, take in rows.items():
        cells = (f"{take(found):.0f} ms" for found in record["times"].values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", f"The package has {record['packed_bytes'] / 1e6:.1f} MB, packed, with the model."]
    gpu = record["webgpu"]
    lines += ["", f"WebGPU, with the software adapter SwiftShader: {_of_gpu(gpu)}"]
    return "\n".join(lines) + "\n"


def _of_gpu(gpu: dict[str, Any]) -> str:
    worst = f"Largest error of {len(gpu['errors'])} golden answers: {max(gpu['errors'].values()):.1e}."
    if not gpu["adapter"]:
        return "this machine has none."
    if gpu["failed"]:
        return f"it failed, and the CPU took over with a warning. {worst}"
    return f"it ran. {worst}"


def write(record: dict[str, Any]) -> None:
    """Write the record, and its tables into the page."""
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + tables(record) + END + rest.partition(END)[2], encoding="utf-8")


@click.command()
def main() -> None:
    """Measure the package in Node and in Chromium, and write docs/javascript.json and docs/javascript.md."""
    record = measure(lambda text: click.echo(text, err=True))
    write(record)
    click.echo(tables(record), nl=False)


if __name__ == "__main__":
    main()
