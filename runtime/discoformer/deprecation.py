"""Old names that still work. Each warns, names the new one, and the version in which the old one is removed.

Attributes and arguments are renamed by decorators. Modules that have moved are found by ``MovedModules``,
which ``discoformer`` adds to the finders of Python's import system.
"""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from discoformer.errors import warn_caller

REMOVED_IN = "2.0"
MOVED = {  # modules of this package by their old names, and those that hold their contents now
    "adaptation": "analysis.adaptation analysis.adaptation_descent analysis.adaptation_map",
    "anomaly_plot": "plots.anomalies",
    "answers": "cli.answers",
    "arrays": "base.arrays",
    "ascent": "analysis.ascent",
    "axes": "base.ica",
    "bench": "tools.bench tools.bench_report",
    "components": "base.mixture",
    "conditional_mixtures": "base.conditional_mixtures",
    "conditionals": "analysis.conditionals",
    "conformal": "anomalies",
    "consistency": "analysis.consistency",
    "descent": "analysis.adaptation_losses",
    "diagnosis": "analysis.diagnosis",
    "doctor": "tools.doctor",
    "features": "io.features",
    "files": "io.files",
    "findings": "analysis.findings table.cells",
    "folds": "analysis.folds",
    "frame": "base.frame",
    "gaps": "io.missing",
    "graphs": "onnx.graphs",
    "held_out": "analysis.held_out",
    "imputation": "analysis.imputation",
    "inputs": "io.inputs",
    "kernels": "analysis.kernels",
    "landmarks": "base.landmarks",
    "marginals": "analysis.marginals",
    "metadata": "onnx.metadata",
    "model_folder": "onnx.model_folder",
    "modes": "analysis.modes",
    "normalization": "analysis.normalization base.mixture",
    "outputs": "io.outputs",
    "parallel": "onnx.parallel",
    "passes": "analysis.saddles",
    "plot": "plots.density",
    "product": "base.independent",
    "readers": "io.readers",
    "report": "plots.diagnosis",
    "safety": "onnx.safety",
    "samples": "fit",
    "sampling": "analysis.sampling",
    "sd_kde": "analysis.sd_kde",
    "sessions": "onnx.sessions",
    "tables": "io.tables",
    "weights": "onnx.weights",
    "writers": "io.writers",
}

RENAMED = {  # names in these modules that have changed
    "Callback": "OnStep",
    "Product": "IndependentMixture",
    "push_of": "contributions_of",
}

P = ParamSpec("P")
R = TypeVar("R")


def warn_renamed(old: str, new: str) -> None:
    """Warn that a name is deprecated, and give the name to use instead."""
    text = f"{old} is deprecated: use {new}. It will be removed in discoformer {REMOVED_IN}"
    warn_caller(text, DeprecationWarning)


def renamed_attribute(old: str, new: str) -> Any:
    """Return a property that gives the attribute ``new`` under its old name, with a warning."""

    def get(owner: Any) -> Any:
        warn_renamed(f"{type(owner).__name__}.{old}", f"{type(owner).__name__}.{new}")
        return getattr(owner, new)

    return property(get, doc=f"Deprecated: use ``{new}``.")


def renamed_arguments(**renamed: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that it takes keyword arguments by their old names too, with a warning.

    Args:
        renamed: For each old name the new one.

    Raises:
        TypeError: At a call that gives the same argument by both names.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old, new in renamed.items():
                if old not in kwargs:
                    continue
                if new in kwargs:
                    raise TypeError(f"{function.__name__}() got both {new!r} and its old name {old!r}")
                warn_renamed(f"The argument {old!r} of {function.__name__}()", repr(new))
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


class MovedModules:
    """Finds modules by the old names in ``MOVED``: each has the names of those that took its place.

    It is a finder and a loader of Python's import system, without their base classes in ``importlib.abc``,
    which take longer to import than all of this.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old name, and None for all others."""
        package, _, old = fullname.partition(".")
        found = package == "discoformer" and old in MOVED
        return ModuleSpec(fullname, self) if found else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python to create the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with the names of the new ones, and warn."""
        names, new = vars(module), MOVED[module.__name__.partition(".")[2]].split()
        for part in reversed(new):  # the first one counts
            found = vars(import_module(f"discoformer.{part}"))
            names.update({name: value for name, value in found.items() if name[:2] != "__"})
        names.update({old: names[name] for old, name in RENAMED.items() if name in names})
        warn_renamed(module.__name__, " or ".join(f"discoformer.{part}" for part in new))


def find_moved_modules() -> None:
    """Add ``MovedModules`` to the finders, after all others."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
