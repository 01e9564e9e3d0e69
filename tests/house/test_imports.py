"""The import graph of the three packages: no circle, and no import against the declared order.

Every import counts: lazy ones inside functions and those for types alone, too. A module may import what
stands before its own folder in ``ORDER``, and other modules of its folder as long as there is no circle.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "discoformer": ROOT / "runtime" / "discoformer",
    "discoformer_training": ROOT / "training" / "discoformer_training",
    "discoformer_export": ROOT / "export" / "discoformer_export",
}
PACKAGES = tuple(SOURCES)  # each may import those before it
ORDER = {  # folders and modules of a package, from the lowest on
    "discoformer": (
        "errors",
        "deprecation",
        "io",
        "base",
        "onnx",
        "one_run",
        "table",
        "fit",
        "proposal",
        "held_sample",
        "answering",
        "fitted",
        "saved_checks",
        "saved",
        "analysis",
        "estimates",
        "model",
        "groups",
        "scorer",
        "engines",
        "anomalies",
        "information",
        "particles",
        "posterior",
        "plots",
        "tools",
        "scipy",
        "sklearn",
        "play",
        "serve",
        "cli",
        "",  # the package itself
    ),
    "discoformer_training": ("data", "nn", "run", "evaluation", "cli", ""),
    "discoformer_export": ("errors", "graphs", "checks", "files", "cli", ""),
}
TORCH_MODULE = "discoformer.analysis.torch_network"  # of the runtime, the one that imports training, lazily
TRAINING = "discoformer_training"
MOST_MODULES = 20  # directly in runtime/discoformer

Graph = Mapping[str, set[str]]


def module_names(package: str) -> dict[str, Path]:
    """The modules of a package by dotted name, and their files."""
    names = {}
    for path in sorted(SOURCES[package].rglob("*.py")):
        parts = path.relative_to(SOURCES[package]).with_suffix("").parts
        names[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return names


def imports_of(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Every dotted name that is imported anywhere in a module, names of attributes included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def module_behind(name: str, modules: Mapping[str, Path]) -> str | None:
    """The module that an imported name is, or is an attribute of."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


@pytest.fixture(scope="module")
def modules() -> dict[str, Path]:
    return {name: path for package in PACKAGES for name, path in module_names(package).items()}


@pytest.fixture(scope="module")
def graph(modules: dict[str, Path]) -> Graph:
    """For each module those of the three packages that it imports."""
    return {
        name: {
            target
            for imported, _ in imports_of(ast.parse(path.read_text(encoding="utf-8")))
            if (target := module_behind(imported, modules)) and target != name
        }
        for name, path in modules.items()
    }


def place(module: str) -> tuple[int, int]:
    """Where a module stands: its package, and its folder in the order of that."""
    package, _, rest = module.partition(".")
    return PACKAGES.index(package), ORDER[package].index(rest.partition(".")[0])


def test_every_folder_and_module_has_a_place(modules: dict[str, Path]) -> None:
    for module in modules:
        place(module)


def test_there_is_no_circle(graph: Graph) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_no_import_is_against_the_order(graph: Graph) -> None:
    against = [
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in targets
        if place(target) > place(module) and (module != TORCH_MODULE or not target.startswith(TRAINING))
    ]
    assert not against


def test_one_module_of_the_runtime_imports_training_and_does_so_lazily(
    graph: Graph, modules: dict[str, Path]
) -> None:
    importers = {
        module
        for module, targets in graph.items()
        for target in targets
        if PACKAGES.index(target.partition(".")[0]) > PACKAGES.index(module.partition(".")[0])
    }
    assert importers == {TORCH_MODULE}
    tree = ast.parse(modules[TORCH_MODULE].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []  # what is left runs when the module is imported
    assert not [name for name, _ in imports_of(tree) if name.startswith(TRAINING)]


def test_few_modules_lie_directly_in_the_runtime() -> None:
    assert len(list(SOURCES["discoformer"].glob("*.py"))) <= MOST_MODULES


def test_a_circle_and_an_upward_import_would_be_found(modules: dict[str, Path]) -> None:
    source = "def f():\n    from discoformer.model import load\n"
    (name, _), *_ = imports_of(ast.parse(source))
    assert module_behind(name, modules) == "discoformer.model"
    assert place("discoformer.model") > place("discoformer.base.frame")
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()
