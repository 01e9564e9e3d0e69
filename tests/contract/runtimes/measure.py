"""The files of the released model in every runtime, against its golden files: the errors.

    python tests/contract/runtimes/measure.py           # all of them, into docs
    python tests/contract/runtimes/measure.py node web  # some of them, printed as JSON
    python tests/contract/runtimes/measure.py --table   # the table of docs/runtimes.json, printed

The error of a case is max |got - reference| / (1 + max |reference|), the greater of that of log-densities and
that of scores. The table has the greatest error of all cases. If a runtime is not installed, a message says
what to install, and the exit code is 3.
Two folders beside this file are kept between runs: node_modules, and .releases with releases of onnxruntime
other than the installed one.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import click
import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODEL = ROOT / "models" / "base"
RECORD = ROOT / "docs" / "runtimes.json"
PAGE = ROOT / "docs" / "reference" / "formats.md"
BEGIN, END = "<!-- runtimes: begin -->\n", "<!-- runtimes: end -->"

CHAINS = ("discoformer.onnx", "encode.onnx+query.onnx")
FAR_FROM_ORIGIN = "units"  # a case with a column that lies 4,000 spreads from the origin
OLDEST, NEWEST = "1.20.0", "1.32.0"  # releases of onnxruntime
CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class MissingError(Exception):
    """A runtime, or something it needs, is not installed."""


@dataclass(frozen=True)
class Runtime:
    """A runtime."""

    title: str
    answer: Callable[[Path, list[str]], dict[str, Any]]  # model folder and chains to answers; see answer.py


def by_python(runtime: str, folder: Path, chains: list[str], path: Path | None = None) -> dict[str, Any]:
    """Answer in a runtime of Python, which may be installed in a folder of its own."""
    module = {"reference": "onnx"}.get(runtime, runtime)
    if path is None and find_spec(module) is None:
        raise MissingError(f"{module} is not installed: pip install '.[export,runtimes]'")
    environment = os.environ | ({} if path is None else {"PYTHONPATH": str(path)})
    return _output([sys.executable, HERE / "answer.py", runtime, folder, *chains], environment)


def by_release(version: str, folder: Path, chains: list[str]) -> dict[str, Any]:
    """Answer in a release of onnxruntime, installed by itself."""
    place = HERE / ".releases" / version
    if not place.is_dir():
        place.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as made:
            target = Path(made) / "packages"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target]
            _install([*pip, f"onnxruntime=={version}"])
            target.rename(place)
    return by_python("onnxruntime", folder, chains, place)


def by_node(folder: Path, chains: list[str]) -> dict[str, Any]:
    """Answer in onnxruntime-node."""
    npm_ci()
    return _output(["node", HERE / "answer.mjs", folder, *chains])


def by_web(folder: Path, chains: list[str]) -> dict[str, Any]:
    """Answer in onnxruntime-web, WebAssembly in one thread of headless Chromium."""
    npm_ci()
    with tempfile.TemporaryDirectory() as site:
        Path(site, "runtimes").symlink_to(HERE)
        Path(site, "model").symlink_to(folder)
        with browser_page(Path(site), "runtimes/web.html") as page:
            return page.evaluate("chains => window.answer('/model', chains)", chains)


@contextmanager
def browser_page(folder: Path, page: str, arguments: Sequence[str] = CHROMIUM) -> Iterator[Any]:
    """A page of a folder, served and opened in headless Chromium with these arguments."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None or find_spec("playwright") is None:
        raise MissingError("a browser is needed: install chromium, and pip install '.[runtimes]'")
    from playwright.sync_api import sync_playwright

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server,
        sync_playwright() as playwright,
    ):
        Thread(target=server.serve_forever, daemon=True).start()
        with playwright.chromium.launch(executable_path=browser_path, args=list(arguments)) as browser:
            opened = browser.new_page()
            opened.goto(f"http://127.0.0.1:{server.server_port}/{page}")
            yield opened
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


RUNTIMES = {
    "onnxruntime": Runtime("ONNX Runtime, Python", partial(by_python, "onnxruntime")),
    "oldest": Runtime("ONNX Runtime, Python", partial(by_release, OLDEST)),
    "newest": Runtime("ONNX Runtime, Python", partial(by_release, NEWEST)),
    "node": Runtime("ONNX Runtime, Node", by_node),
    "web": Runtime("ONNX Runtime, browser (WebAssembly, Chromium)", by_web),
    "openvino": Runtime("OpenVINO", partial(by_python, "openvino")),
    "tract": Runtime("tract", partial(by_python, "tract")),
    "reference": Runtime("onnx reference evaluator", partial(by_python, "reference")),
}


def measure(runtime: Runtime) -> dict[str, Any]:
    """Measure the error of each case, by the chain of files."""
    found = runtime.answer(MODEL, list(CHAINS))
    errors = {chain: _errors(chain, found["answers"][chain]) for chain in CHAINS}
    return {"title": runtime.title, "version": found["version"], "errors": errors}


def _errors(chain: str, answers: dict[str, Any]) -> dict[str, float]:
    """The error of each case, to two digits."""
    kind = "raw" if chain == "discoformer.onnx" else "framed"
    cases = json.loads((MODEL / "golden" / f"{kind}.json").read_text(encoding="utf-8"))
    errors = {
        name: max(_error(answers[name][key], output["values"]) for key, output in case["outputs"].items())
        for name, case in cases.items()
    }
    return {name: float(f"{error:.1e}") for name, error in errors.items()}


def _error(got: list[float], reference: list[float]) -> float:
    a, b = np.array(got, float), np.array(reference)  # null in JSON is no number
    error = np.abs(a - b).max() / (1 + np.abs(b).max())
    return float(error) if np.isfinite(error) else float("inf")


def hashes() -> dict[str, str]:
    """SHA-256 of each file that is measured, by its name."""
    names = sorted(name for chain in CHAINS for name in chain.split("+"))
    return {name: hashlib.sha256((MODEL / name).read_bytes()).hexdigest() for name in names}


def table(record: dict[str, Any]) -> str:
    """The record as a table and a note, in Markdown; the installed release may be the newest too."""
    rows = {(row["title"], row["version"]): row for row in record["runtimes"].values()}.values()
    lines = ["| runtime | " + " | ".join(f"`{chain.replace('+', '`, `')}`" for chain in CHAINS) + " |"]
    lines.append("|---" * (len(CHAINS) + 1) + "|")
    for row in rows:
        cells = (f"{max(row['errors'][chain].values()):.1e}" for chain in CHAINS)
        lines.append(f"| {row['title']} {row['version']} | " + " | ".join(cells) + " |")
    others = dict(record["runtimes"]["openvino"]["errors"]["discoformer.onnx"])
    far, near = others.pop(FAR_FROM_ORIGIN), max(others.values())
    lines += [
        "",
        f"OpenVINO computes float64 in float32. Its error is {far:.1e} where a column lies 4,000 spreads",
        f"from the origin, and at most {near:.1e} in the other cases. Subtract the means first.",
    ]
    return "\n".join(lines) + "\n"


def npm_ci(folder: Path = HERE) -> None:
    """Install the Node packages of the package-lock.json in a folder, unless they are there."""
    if None in (shutil.which("node"), shutil.which("npm")):
        raise MissingError("node and npm are needed: install Node 20 or later")
    installed = folder / "node_modules" / "wanted-lock.json"
    with (folder / "package-lock.json").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tests run in several processes, and npm begins by deleting
        wanted = file.read()
        if not installed.is_file() or installed.read_bytes() != wanted:
            _install(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], folder)
            installed.write_bytes(wanted)


def _install(command: list[str | Path], folder: Path = HERE) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingError(f"{' '.join(map(str, command))} failed: {done.stderr.strip()[-500:]}")


def _output(command: list[str | Path], environment: dict[str, str] | None = None) -> dict[str, Any]:
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _write(record: dict[str, Any]) -> None:
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    if BEGIN not in text:
        raise click.ClickException(f"{PAGE} lacks the lines {BEGIN!r} and {END!r}: put them in")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(record) + END + rest.partition(END)[2], encoding="utf-8")


@click.command()
@click.argument("runtimes", type=click.Choice(list(RUNTIMES)), nargs=-1)
@click.option("--table", "only_table", is_flag=True, help="Print the table of docs/runtimes.json.")
def main(runtimes: tuple[str, ...], only_table: bool) -> None:
    """Measure RUNTIMES (all of them, written down, by default) against the golden files of the model."""
    if only_table:
        click.echo(table(json.loads(RECORD.read_text(encoding="utf-8"))), nl=False)
        return
    try:
        measured = {name: measure(RUNTIMES[name]) for name in runtimes or RUNTIMES}
    except MissingError as error:
        click.echo(str(error), err=True)
        sys.exit(3)
    if runtimes:
        click.echo(json.dumps(measured))
        return
    record = {"files": hashes(), "runtimes": measured}
    _write(record)
    click.echo(table(record), nl=False)


if __name__ == "__main__":
    main()
