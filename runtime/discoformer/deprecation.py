"""Old names that still work: each warns, and names the new one and the version in which the old one goes."""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

REMOVED_IN = "2.0"

P = ParamSpec("P")
R = TypeVar("R")


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that a name is deprecated.

    Args:
        old: The old name, as the user wrote it.
        new: The name to use instead.
        stacklevel: Which caller the warning points at; 3 is the caller of the function that warns.
    """
    text = f"{old} is now {new}; the old name is removed in discoformer {REMOVED_IN}"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel)


def renamed_attribute(old: str, new: str) -> Any:
    """Return a property that gives the attribute ``new`` under its old name, with a warning."""

    def get(owner: Any) -> Any:
        warn_renamed(f"{type(owner).__name__}.{old}", new)
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
