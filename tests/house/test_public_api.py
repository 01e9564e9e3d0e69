"""The public API: every name and signature, as recorded in ``public_api.txt``, and old names that still work.

After a change on purpose, write the record anew::

    python tests/house/test_public_api.py
"""

import importlib
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discoformer

RECORD = Path(__file__).with_name("public_api.txt")
MODULES = (
    "discoformer",
    "discoformer.anomalies",
    "discoformer.information",
    "discoformer.particles",
    "discoformer.posterior",
    "discoformer.scipy",
    "discoformer.sklearn",
    "discoformer.analysis.sampling",
    "discoformer.analysis.sd_kde",
)
MOVED = {  # old modules and what they are now
    "discoformer.conformal": "discoformer.anomalies",
    "discoformer.sampling": "discoformer.analysis.sampling",
    "discoformer.sd_kde": "discoformer.analysis.sd_kde",
}


def public_names(module: Any) -> list[str]:
    """Names in ``__all__``, or those that are defined in the module."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    own = (
        name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__
    )
    return sorted(name for name in own if not name.startswith("_"))


def signature(function: Any) -> str:
    """Parameters and defaults, without types."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "(...)"
    bare = [
        p.replace(annotation=inspect.Parameter.empty) for p in parameters if p.name not in ("self", "cls")
    ]
    for i, parameter in enumerate(bare):
        if callable(parameter.default) and parameter.default is not inspect.Parameter.empty:
            bare[i] = parameter.replace(default=None)  # a default function has an address in its text
    return str(inspect.Signature(bare))


def members(cls: type) -> Iterator[str]:
    """A line for each public method and attribute of a class of this package."""
    for name in sorted(dir(cls)):
        owner = next((base for base in cls.__mro__ if name in vars(base)), None)
        if name.startswith("_") or owner is None or not owner.__module__.startswith("discoformer"):
            continue
        value = inspect.getattr_static(cls, name)
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        yield f"{name}{signature(value)}" if inspect.isfunction(value) else name


def lines() -> Iterator[str]:
    """The API, a line for each name."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in public_names(module):
            value = getattr(module, name)
            if inspect.isclass(value):
                fields = [field for field in getattr(value, "__dataclass_fields__", {}) if field[0] != "_"]
                yield f"{module_name}.{name}{signature(value)}"
                yield from (
                    f"{module_name}.{name}.{member}" for member in members(value) if member not in fields
                )
            elif inspect.isfunction(value):
                yield f"{module_name}.{name}{signature(value)}"
            else:
                yield f"{module_name}.{name}"


def test_the_api_is_the_recorded_one() -> None:
    pytest.importorskip("sklearn")
    found = "".join(f"{line}\n" for line in lines())
    assert found == RECORD.read_text(encoding="utf-8"), "write the record anew if this was on purpose"


def test_every_public_name_is_documented() -> None:
    for name in discoformer.__all__:
        value = getattr(discoformer, name)
        assert name == "__version__" or inspect.getdoc(value), name


@pytest.mark.parametrize("old", MOVED)
def test_old_modules_still_work(old: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module(old)
    with pytest.warns(DeprecationWarning, match=rf"{old} is now {MOVED[old]}; .* removed in discoformer 2.0"):
        importlib.reload(module)
    new = importlib.import_module(MOVED[old])
    for name in module.__all__:
        assert getattr(module, name) is getattr(new, {"push_of": "contributions_of"}.get(name, name))


def test_old_names_still_work_and_warn(rng: np.random.Generator) -> None:
    model = discoformer.load("base", device="cpu", threads=1)
    stages: list[str] = []
    with pytest.warns(DeprecationWarning, match="'say' of estimate.* is now 'on_progress'"):
        p = model.estimate(rng.normal(size=(60, 2)), say=stages.append)
    assert stages
    with pytest.warns(DeprecationWarning, match=r"Estimate.context is now landmarks; .* discoformer 2\.0"):
        points, _ = p.context
    np.testing.assert_array_equal(points, p.landmarks.points)
    for owner in (p.diagnostics, p.frame):
        with pytest.warns(DeprecationWarning, match="seed is now .*initialisation"):
            assert owner.seed == "whitened"
    with pytest.warns(DeprecationWarning, match="Model.estimate_again is now Estimate.refit"):
        again = model.estimate_again(p.data.points, p.data.weights, 60.0)
    np.testing.assert_allclose(again.log_density([[0, 0]]), p.log_density([[0, 0]]), atol=1e-6)
    with pytest.raises(TypeError, match="both 'on_progress' and its old name 'say'"):
        model.estimate(points, say=stages.append, on_progress=stages.append)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


if __name__ == "__main__":
    RECORD.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
