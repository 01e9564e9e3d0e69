"""The public API: every name and signature, as recorded in ``public_api.txt``, and old names that still work.

After a change on purpose, write the record anew::

    python tests/house/test_public_api.py
"""

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discoformer
from discoformer.analysis.sampling import langevin, sample
from discoformer.analysis.sd_kde import sd_kde
from discoformer.anomalies import Anomalies, find_anomalies
from discoformer.deprecation import MOVED
from discoformer.particles import flow, heat
from discoformer.posterior import sample_posterior

RECORD = Path(__file__).with_name("public_api.txt")
MODULES = (
    "discoformer",
    "discoformer.anomalies",
    "discoformer.engines.dask",
    "discoformer.engines.duckdb",
    "discoformer.engines.polars",
    "discoformer.engines.ray",
    "discoformer.engines.spark",
    "discoformer.groups",
    "discoformer.information",
    "discoformer.particles",
    "discoformer.posterior",
    "discoformer.scipy",
    "discoformer.scorer",
    "discoformer.sklearn",
    "discoformer.analysis.sampling",
    "discoformer.analysis.sd_kde",
)


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
    places = [f"discoformer.{part}" for part in MOVED[old].split()]
    sys.modules.pop(f"discoformer.{old}", None)
    text = rf"discoformer\.{old} is deprecated: use {' or '.join(places)}\. .* 2\.0"
    with pytest.warns(DeprecationWarning, match=text) as seen:
        module = importlib.import_module(f"discoformer.{old}")
    assert len(seen) == 1
    for place in places:
        for name in public_names(importlib.import_module(place)):
            assert hasattr(module, name)


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("adaptation", "Adaptation"),
        ("adaptation", "course_of"),
        ("components", "Components"),
        ("components", "mixture_log_density"),
        ("conformal", "find_anomalies"),
        ("conformal", "push_of"),
        ("findings", "few_valued"),
        ("frame", "Frame"),
        ("imputation", "impute_rows"),
        ("normalization", "broadened"),
        ("parallel", "both"),
        ("product", "Product"),
        ("report", "save_report"),
        ("sampling", "Callback"),
        ("sd_kde", "sd_kde"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_old_modules_held_is_still_in_them(old: str, name: str) -> None:
    assert hasattr(importlib.import_module(f"discoformer.{old}"), name)


def test_the_module_of_estimates_still_has_its_types() -> None:
    assert discoformer.estimates.Diagnostics is discoformer.Diagnostics
    assert discoformer.estimates.Context is discoformer.Context


def test_an_import_from_an_old_module_warns_where_it_stands() -> None:
    sys.modules.pop("discoformer.sampling", None)
    with pytest.warns(DeprecationWarning, match="discoformer.analysis.sampling") as seen:
        from discoformer.sampling import langevin
    assert seen[0].filename == __file__
    assert langevin is discoformer.analysis.sampling.langevin
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("discoformer.never_there")


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


@pytest.fixture(scope="module")
def p(model: discoformer.Model) -> discoformer.Estimate:
    return model.estimate(np.random.default_rng(0).normal(size=(60, 2)))


@pytest.mark.parametrize(
    ("owner", "old", "new"),
    [
        (lambda p: p, "context", "landmarks"),
        (lambda p: p.diagnostics, "seed", "initialisation"),
        (lambda p: p.frame, "seed", "initialisation"),
        (lambda p: p.components, "factors", "precision_factors"),
        (lambda p: p.base.product, "factors", "precision_factors"),
        (lambda p: Anomalies(*4 * [np.zeros(1)]), "push", "contributions"),
    ],
)
def test_old_attributes_still_work(p: discoformer.Estimate, owner: Any, old: str, new: str) -> None:
    found = owner(p)
    with pytest.warns(
        DeprecationWarning, match=rf"\w\.{old} is deprecated: use \w+\.{new}\. .* 2\.0"
    ) as seen:
        value = getattr(found, old)
    assert [warning.filename for warning in seen] == [__file__]
    np.testing.assert_equal(value, getattr(found, new))


@pytest.mark.parametrize(
    ("call", "old", "new"),
    [
        (lambda p, said: p.model.estimate(p.data.points, say=said), "say", "on_progress"),
        (lambda p, said: find_anomalies(p.data.points, say=said, model=p.model), "say", "on_progress"),
        (lambda p, said: sample(p, 2, steps=1, callback=said), "callback", "on_progress"),
        (
            lambda p, said: langevin(normal, np.zeros((2, 2)), 1, RNG, callback=said),
            "callback",
            "on_progress",
        ),
        (lambda p, said: flow(p.data.points, heat(), 0.1, 1, own, callback=said), "callback", "on_progress"),
        (
            lambda p, said: sample_posterior(pull, p.data.points, 1, 0, own, callback=said),
            "callback",
            "on_progress",
        ),
    ],
)
def test_old_arguments_still_work(p: discoformer.Estimate, call: Any, old: str, new: str) -> None:
    said: list[object] = []
    with pytest.warns(DeprecationWarning, match=f"argument '{old}' of .* is deprecated: use '{new}'") as seen:
        call(p, lambda *progress: said.append(progress))
    assert {warning.filename for warning in seen} == {__file__}
    assert said


def test_old_names_of_an_estimate_as_an_argument(p: discoformer.Estimate) -> None:
    for call in (
        lambda: sample(estimate=p, n=2, steps=1),
        lambda: sd_kde(estimate=p),
        lambda: conditional(p),
    ):
        with pytest.warns(DeprecationWarning, match="'estimate' of .* is deprecated: use 'fitted'"):
            call()
    with pytest.raises(TypeError, match="both 'on_progress' and its old name 'say'"):
        p.model.estimate(p.data.points, say=print, on_progress=print)


def test_an_estimate_again_is_a_refit(p: discoformer.Estimate) -> None:
    with pytest.warns(DeprecationWarning, match=r"Model.estimate_again is deprecated: use Estimate.refit"):
        again = p.model.estimate_again(p.data.points, p.data.weights, 60.0)
    np.testing.assert_allclose(again.log_density([[0, 0]]), p.log_density([[0, 0]]), atol=1e-6)


RNG = np.random.default_rng(0)


def normal(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -0.5 * np.square(z).sum(1), -z


own = normal  # the particles' own density


def pull(points: np.ndarray) -> np.ndarray:
    return -points


def conditional(p: discoformer.Estimate) -> discoformer.Conditional:
    return discoformer.Conditional(estimate=p, given={0: 0.0})  # type: ignore[call-arg]


if __name__ == "__main__":
    RECORD.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
