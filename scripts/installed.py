#!/usr/bin/env python3
"""Install a built distribution in fresh environments, and test it there, away from its sources.

    python scripts/installed.py dist/discoformer-1.0.0-py3-none-any.whl
    python scripts/installed.py dist/discoformer-1.0.0.tar.gz --quick --python 3.11 --versions newest

Every Python of ``PYTHONS`` that uv finds is taken, twice: with the oldest versions of the dependencies that
the distribution allows and that have wheels for it, and with the newest. (With pyenv, PYENV_VERSION may name
several.) The tests are those of the golden answers and of kept estimates, and the files of ``tests/runtime``
that import nothing but what is there; with --quick the former alone, in an environment with nothing but the
extra cpu and pytest. uv makes the environments.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import click

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RESOLUTION = {"oldest": "lowest-direct", "newest": "highest"}
EXTRAS = ("cpu", "io", "plot", "sklearn")  # others need torch or a GPU
TOOLS = ("pytest", "hypothesis", "onnx", "pandas", "polars", "safetensors")  # of the tests
MODULES = {  # that tests may import
    *("discoformer", "click", "numpy", "onnxruntime", "pyarrow", "matplotlib", "sklearn", "scipy", "joblib"),
    *TOOLS,
    *sys.stdlib_module_names,
}
QUICK = ("tests/contract/test_golden_runtime.py", "tests/contract/test_kept_estimates.py")
NEED_SOURCES = ("test_typing.py", "test_bench.py")  # or documents
SHOWN = ("click", "numpy", "onnxruntime", "pyarrow", "matplotlib", "scikit-learn", "scipy")


class Environment:
    """A fresh virtual environment."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.uv("venv", "--quiet", "--no-python-downloads", "--python", python, folder)
        self.program = folder / ("Scripts" if sys.platform == "win32" else "bin")

    def uv(self, *arguments: str | Path) -> str:
        """Run uv, away from the project, and return what it writes."""
        command = ["uv", *arguments]
        done = subprocess.run(command, cwd=self.folder.parent, text=True, capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
        return done.stdout

    def install(self, *arguments: str | Path) -> None:
        """Install into it."""
        self.uv("pip", "install", "--quiet", "--python", self.program / "python", *arguments)

    def versions(self) -> dict[str, str]:
        """The installed distributions."""
        listed = self.uv("pip", "freeze", "--quiet", "--python", self.program / "python").splitlines()
        return dict(line.split("==") for line in listed if "==" in line)

    def run(self, folder: Path, *arguments: str | Path) -> None:
        """Run a program of it in a folder, and stop if it fails."""
        name, *rest = arguments
        without_sources = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run([self.program / name, *rest], cwd=folder, env=without_sources, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, arguments))}: exit code {done.returncode}")


def requirements(distribution: Path, extras: Sequence[str]) -> list[str]:
    """What a wheel needs, with extras: as direct requirements, so that the oldest can be asked for."""
    with ZipFile(distribution) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(wheel.read(name))
    split = (line.partition("; extra == ") for line in metadata.get_all("Requires-Dist", []))
    return [needed for needed, _, extra in split if not extra or extra.strip("'\"") in extras]


def runtime_tests(folder: Path) -> Iterator[Path]:
    """The files of ``tests/runtime`` that import nothing but ``MODULES``."""
    for path in sorted((folder / "tests" / "runtime").rglob("test_*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).partition(".")[0])
        of_this_system = all(map(find_spec, names & sys.stdlib_module_names))  # Windows has no fcntl
        if names <= MODULES and of_this_system and path.name not in NEED_SOURCES:
            yield path


def copy_of_tests(folder: Path) -> None:
    """Copy the tests and what they read into a folder, and none of the sources."""
    left_out = shutil.ignore_patterns("node_modules", ".releases", "__pycache__")
    for name in ("tests", "models"):
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    shutil.copy(ROOT / "pyproject.toml", folder)


def try_out(distribution: Path, python: str, versions: str, quick: bool, folder: Path) -> None:
    """Install a distribution and test it, or stop with an error."""
    environment = Environment(folder / "environment", python)
    extras, tools = (("cpu",), ("pytest",)) if quick else (EXTRAS, TOOLS)
    package = f"discoformer[{','.join(extras)}] @ {distribution.as_uri()}"
    if distribution.suffix == ".whl":
        choice = ("--resolution", RESOLUTION[versions], "--only-binary", ":all:")
        environment.install(*choice, package, *requirements(distribution, extras))
    else:
        environment.install(package)
    found = environment.versions()
    click.echo(" ".join(f"{name} {found[name]}" for name in SHOWN if name in found))
    pins = folder / "pins.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in found.items()), encoding="utf-8")
    environment.run(folder, "discoformer", "doctor")
    environment.install("--only-binary", ":all:", "--constraint", pins, *tools)
    copy_of_tests(folder)
    tests: Sequence[str | Path] = QUICK if quick else (*QUICK, *runtime_tests(folder))
    # Old versions may use what newer ones deprecate; ours are checked with the newest.
    lenient = ("-o", "filterwarnings=default") if versions == "oldest" else ()
    options = ("-q", "-p", "no:cacheprovider", "-m", "not slow", *lenient)
    environment.run(folder, "python", "-m", "pytest", *options, *tests)


def found_python(version: str) -> str | None:
    """The interpreter of a version of Python, if there is one."""
    command = ["uv", "python", "find", "--no-python-downloads", "--system", version]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    return done.stdout.strip() or None


@click.command(help=__doc__)
@click.argument(
    "distribution", type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
)
@click.option("--python", "pythons", multiple=True, help="3.N. By default all that are there.")
@click.option("--versions", type=click.Choice([*RESOLUTION]), multiple=True, help="By default both.")
@click.option(
    "--quick", is_flag=True, help="Golden answers and kept estimates alone, without extras but cpu."
)
def main(distribution: Path, pythons: tuple[str, ...], versions: tuple[str, ...], quick: bool) -> None:
    """Try all that was asked for."""
    there = {version: program for version in pythons or PYTHONS if (program := found_python(version))}
    if missing := set(pythons or PYTHONS) - there.keys():
        click.echo(f"not tried, as there is no such Python: {', '.join(sorted(missing))}")
    if not there or missing & set(pythons):
        sys.exit("a Python that was asked for is missing")
    for version, program in there.items():
        for choice in versions or RESOLUTION:
            click.echo(f"--- {distribution.name}, Python {version}, {choice} versions")
            with tempfile.TemporaryDirectory() as folder:
                try_out(distribution, program, choice, quick, Path(folder).resolve())


if __name__ == "__main__":
    main()
