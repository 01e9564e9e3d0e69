"""Every deprecated name works and warns, and ``deprecated.txt`` lists them, so that none is lost.

After a name has been deprecated, or removed by a major release, write the list anew::

    python tests/house/test_deprecated.py
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from discoformer.deprecation import MOVED, REMOVED_IN, RENAMED

RUNTIME = Path(__file__).parents[2] / "runtime"
RECORD = Path(__file__).with_name("deprecated.txt")


class Old(NamedTuple):
    """A deprecated attribute or argument of an ``owner``, a class or a function of a ``module``."""

    module: str
    owner: str
    kind: str  # the helper of discoformer.deprecation that keeps it
    old: str
    new: str


def in_module(path: Path) -> Iterator[Old]:
    """The deprecated names of a module, as its source says."""
    module = ".".join(path.relative_to(RUNTIME).with_suffix("").parts)

    def below(node: ast.AST, owner: str) -> Iterator[Old]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                yield from below(child, f"{owner}.{child.name}".lstrip("."))
                continue
            if isinstance(child, ast.Call) and isinstance(child.func, ast.Name):
                kind, given = child.func.id, [*child.args, *(item.value for item in child.keywords)]
                values = [item.value for item in given if isinstance(item, ast.Constant)]
                if kind == "renamed_attribute":
                    yield Old(module, owner, kind, *values)
                elif kind == "renamed_arguments":
                    for keyword, new in zip(child.keywords, values, strict=True):
                        yield Old(module, owner, kind, str(keyword.arg), new)
                elif kind == "warn_renamed" and len(values) == 2:
                    yield Old(module, owner, kind, *values)
            yield from below(child, owner)

    return below(ast.parse(path.read_text(encoding="utf-8")), "")


def deprecated() -> list[Old]:
    """The deprecated names of the runtime that are not modules."""
    folder = RUNTIME / "discoformer"
    paths = (path for path in sorted(folder.rglob("*.py")) if path.name != "deprecation.py")
    return [old for path in paths for old in in_module(path)]


def lines() -> list[str]:
    """The record: modules, names in them, and all others."""
    names = {
        old.old
        if old.kind == "warn_renamed"
        else f"{old.owner}({old.old}=)"
        if old.kind == "renamed_arguments"
        else f"{old.owner}.{old.old}"
        for old in deprecated()
    }
    return sorted({f"discoformer.{old}" for old in MOVED} | RENAMED.keys() | names)


def owner_of(old: Old) -> Any:
    value: Any = importlib.import_module(old.module)
    for part in old.owner.split("."):
        value = getattr(value, part)
    return value


ATTRIBUTES = [old for old in deprecated() if old.kind == "renamed_attribute"]
ARGUMENTS = [old for old in deprecated() if old.kind == "renamed_arguments"]


def test_the_record_is_complete() -> None:
    assert ATTRIBUTES
    assert ARGUMENTS
    kept = RECORD.read_text(encoding="utf-8").splitlines()
    assert lines() == kept, f"none may go before {REMOVED_IN}; after a new one write the record anew"


@pytest.mark.parametrize("old", ATTRIBUTES, ids=lambda old: f"{old.owner}.{old.old}")
def test_an_attribute_gives_what_the_new_one_gives(old: Old) -> None:
    get = inspect.getattr_static(owner_of(old), old.old).fget
    with pytest.warns(DeprecationWarning, match=rf"\.{old.old} is deprecated: use \S+\.{old.new}\."):
        assert get(SimpleNamespace(**{old.new: "value"})) == "value"


@pytest.mark.parametrize("old", ARGUMENTS, ids=lambda old: f"{old.owner}({old.old}=)")
def test_an_argument_is_known_by_both_names(old: Old) -> None:
    function = owner_of(old)
    assert old.new in inspect.signature(function).parameters
    assert old.old not in inspect.signature(function).parameters
    with pytest.raises(TypeError, match=f"got both '{old.new}' and its old name '{old.old}'"):
        function(**{old.old: 1, old.new: 1})


if __name__ == "__main__":
    RECORD.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
