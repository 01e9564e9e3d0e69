"""What docs/compatibility.md promises until 2.0: names, signatures, the graph contract; and one version.

``public_api_1.0.txt`` is never written again. It lists, in the form of ``public_api.txt``, what 1.0 offered
to users. ``(...)`` stands for arguments that are not promised.
"""

import ast
import importlib
import inspect
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import onnx
import pytest

import discoformer
from discoformer.deprecation import REMOVED_IN
from tests.house.test_public_api import lines

ROOT = Path(__file__).parents[2]
PROMISED = Path(__file__).with_name("public_api_1.0.txt")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
NUMBERS = r"\d+\.\d+\.\d+"


def by_name(record: str) -> dict[str, str]:
    """The arguments of each name of a record, "" if it has none."""
    parts = (line.partition("(") for line in record.splitlines())
    return {name: bracket + rest for name, bracket, rest in parts}


def arguments(text: str) -> dict[str, tuple[str, str | None]]:
    """For each argument, in order, whether it may be given by position, and its default."""
    given = ast.parse(f"def f{text}: ...").body[0].args  # type: ignore[attr-defined]
    defaults = [None] * (len(given.args) - len(given.defaults)) + given.defaults
    either = [(item.arg, "either", default) for item, default in zip(given.args, defaults, strict=True)]
    named = [
        (item.arg, "named", default)
        for item, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    return {name: (kind, default and ast.unparse(default)) for name, kind, default in either + named}


def broken_promises(old: str, new: str) -> list[str]:
    """Say why a call that ``old`` arguments allow may fail, or mean another thing, with ``new`` ones."""
    if "..." in old or not old:
        return []
    before, now = arguments(old), arguments(new)
    changed = [f"{name} was {was}" for name, was in before.items() if not _still(was, now.get(name))]
    added = [f"{name} is new, without a default" for name in now.keys() - before if now[name][1] is None]
    positions = [[name for name, (kind, _) in some.items() if kind == "either"] for some in (before, now)]
    moved = positions[1][: len(positions[0])] != positions[0] and "order"
    return [*changed, *added, *([moved] if moved else [])]


def _still(was: tuple[str, str | None], now: tuple[str, str | None] | None) -> bool:
    """Whether an argument may be given, and left out, as it was: one with a new default may."""
    return now is not None and now[0] == was[0] and (was[1] is None or was[1] == now[1])


def found(name: str) -> Any:
    """What a dotted name means."""
    module = name
    while True:
        module = module.rpartition(".")[0]
        try:
            value: Any = importlib.import_module(module)
        except ImportError:
            continue
        for part in name.removeprefix(f"{module}.").split("."):
            value = inspect.getattr_static(value, part) if inspect.isclass(value) else getattr(value, part)
        return value


def promised() -> dict[str, str]:
    return by_name(PROMISED.read_text(encoding="utf-8"))


@pytest.mark.skipif(REMOVED_IN.split(".") <= VERSION.split("."), reason="promised until 2.0")
def test_names_and_signatures_of_the_first_release_are_still_there() -> None:
    pytest.importorskip("sklearn")
    now = by_name("\n".join(lines()))
    gone = promised().keys() - now
    assert not gone, "keep these with the helpers of discoformer.deprecation"
    for name, old in promised().items():
        value = found(name)
        fields = getattr(value, "_fields", None)
        if fields is not None and "..." not in old:
            assert tuple(arguments(old)) == fields, f"{name} is a named tuple: its fields cannot change"
        elif hasattr(value, "__dataclass_fields__"):
            assert arguments(old).keys() <= arguments(now[name]).keys() if old else True, name
        else:
            assert not (broken := broken_promises(old, now[name])), (name, broken)


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ("(x, y=1)", "(x, y=1, z=2)", 0),
        ("(x)", "(x=None)", 0),
        ("(x, *, y=1)", "(x, *, z=0, y=1)", 0),
        ("(...)", "(x)", 0),
        ("(x, y=1)", "(x)", 2),
        ("(x, y=1)", "(x, y=2)", 1),
        ("(x)", "(x, z)", 1),
        ("(x, y)", "(y, x)", 1),
        ("(x, y=1)", "(x, *, y=1)", 2),
        ("(x, y=1)", "(x, z=0, y=1)", 1),
    ],
)
def test_a_broken_promise_would_be_found(old: str, new: str, broken: int) -> None:
    assert len(broken_promises(old, new)) == broken


def test_there_is_one_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(rf"^## \[({NUMBERS})\] - (\d{{4}}-\d\d-\d\d)$", changes, re.MULTILINE)
    assert re.findall(rf"^version: ({NUMBERS})$", citation, re.MULTILINE) == [VERSION]
    assert json.loads((ROOT / "js" / "package.json").read_text(encoding="utf-8"))["version"] == VERSION
    assert re.findall(r"^date-released: (\S+)$", citation, re.MULTILINE) == [releases[0][1]]
    assert releases[0][0] == VERSION
    assert [date for _, date in releases] == sorted((date for _, date in releases), reverse=True)


def test_names_are_removed_by_a_major_release_alone() -> None:
    major = int(VERSION.partition(".")[0])
    assert int(REMOVED_IN.partition(".")[0]) == major + 1, "remove the old names, and raise REMOVED_IN"


CONTRACT = {  # of discoformer.onnx, all float64: the names of the axes
    "context": "B N D",
    "log_weights": "B N",
    "queries": "B M D",
    "log_density": "B M",
    "score": "B M D",
    "mixture_log_weights": "B K",
    "mixture_means": "B K D",
    "mixture_scales": "B K D D",
    "mixture_freedom": "B K",
}
INPUTS = {"context", "log_weights", "queries"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("models/*/discoformer.onnx")), ids=lambda p: p.parent.name)
def test_the_graph_contract(path: Path) -> None:
    graph = onnx.load(path).graph
    assert {item.name for item in graph.input} == INPUTS
    tensors = {item.name: item.type.tensor_type for item in (*graph.input, *graph.output)}
    for name, axes in CONTRACT.items():
        assert tensors[name].elem_type == onnx.TensorProto.DOUBLE, name
        assert [axis.dim_param for axis in tensors[name].shape.dim] == axes.split(), name
    assert {node.domain for node in graph.node} == {""}


def test_the_policy_names_tests_that_exist() -> None:
    policy = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/\S+\.py)`", policy)
    assert named
    assert all((ROOT / path).exists() for path in named)
    assert f"format {discoformer.saved.FORMAT}" in policy
