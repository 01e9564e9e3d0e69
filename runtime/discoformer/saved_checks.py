"""What a saved estimate may hold: types, shapes and ranges of its values. The file may come from anyone."""

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from discoformer.fit import Diagnostics
from discoformer.onnx.names import CONTEXT, MIXTURE, STATES
from discoformer.onnx.shapes import SHAPES, check_shapes

_hints_of = cache(get_type_hints)

_ENCODED = {"best": {*CONTEXT, *STATES}, "fast": {"context", "log_weights", *MIXTURE}}  # by effort
_FRAME = {  # shapes of the arrays of a frame, with R for its rank; see ``base.frame`` and ``base.hull``
    "center": "D",
    "linear": "DR",
    "log_abs_det": "",
    "precision_root": "RR",
    "log_det_precision": "",
    "effective_size": "",
    "shrinkage": "",
    "log_share": "",
    "inverse": "RD",
    "gradient": "RD",
    "spread": "D",
    "tolerance": "",
    "rounding": "",
}
_CONTEXT = {"points": "ND", "weights": "N"}
_RANGES = {  # of arrays, by the end of their names; all others are finite
    "weights": (0.0, 1.0),
    "log_weights": (-np.inf, 1e-3),
    "freedom": (1e-6, np.inf),
    "share": (0.0, 1.0),
    "log_share": (-np.inf, 0.0),
    "effective_size": (0.99, np.inf),
    "shrinkage": (0.0, 1.0),
    "tolerance": (0.0, np.inf),
    "rounding": (0.0, np.inf),
    "spread": (0.0, np.inf),
}


def check_fields(record: Any) -> None:
    """Check the types of the fields of a dataclass or a named tuple.

    Raises:
        ValueError: A field has another type, or a number is not finite.
    """
    for name, hint in _hints_of(record.__class__).items():
        check_type(name, getattr(record, name), hint)


def check_type(name: str, value: Any, hint: Any) -> None:
    """Check the type of one value; errors as in ``check_fields``."""
    if not _fits(value, hint):
        raise ValueError(f"{name} is {str(value)[:80]}, needed {hint}")


def check_diagnostics(diagnostics: Diagnostics) -> None:
    """Check the values of diagnostics; errors as in ``check_fields``."""
    check_fields(diagnostics)
    d = diagnostics
    counts = {"n": d.n, "dim": d.dim, "rank": d.rank, "landmarks": d.landmarks, "copies": d.copies}
    shares = {"shrinkage": d.shrinkage, "left_out": d.left_out, "copied": d.copied, "tied": d.tied}
    lengths = {len(d.steps), len(d.atoms), len(d.atom_widths)}
    if min(counts.values()) < 1 or d.rank > d.dim or d.effective_size < 0.99:
        raise ValueError(f"counts {counts} and effective size {d.effective_size:g}")
    if not all(0 <= share <= 1 for share in shares.values()):
        raise ValueError(f"shares {shares}, needed 0 to 1")
    if not lengths <= {0, d.dim} or not all(0 <= column < d.dim for column in d.few_valued):
        raise ValueError(f"steps, atoms or few-valued columns of other columns than {d.dim}")


def check_encoded(arrays: Mapping[str, Any], diagnostics: Diagnostics) -> None:
    """Check the arrays that answers are computed from; errors as in ``check_fields``."""
    _check_names(arrays, _ENCODED[diagnostics.effort])
    sizes = {"B": 1, "N": diagnostics.landmarks, "D": diagnostics.rank}
    check_shapes(arrays, sizes, SHAPES, np.float32, np.float64)
    _check_ranges(arrays)


def check_frame(arrays: Mapping[str, Any], names: set[str], diagnostics: Diagnostics) -> None:
    """Check the arrays of a frame with fields of these names; errors as in ``check_fields``."""
    _check_names(arrays, names)
    if str(arrays["initialisation"]) not in ("whitened", "standardised"):
        raise ValueError(f"a frame of {str(arrays['initialisation'])[:80]!r} data")
    numbers = {name: array for name, array in arrays.items() if name != "initialisation"}
    check_shapes(numbers, {"D": diagnostics.dim, "R": diagnostics.rank}, _FRAME, np.float64)
    _check_ranges(numbers)


def check_context(arrays: Mapping[str, Any], dim: int, n: int | None) -> None:
    """Check the points and weights of n rows, or of any number; errors as in ``check_fields``."""
    _check_names(arrays, {*_CONTEXT})
    check_shapes(arrays, {"D": dim} if n is None else {"D": dim, "N": n}, _CONTEXT, np.float64)
    _check_ranges(arrays)


def _check_names(arrays: Mapping[str, Any], names: set[str]) -> None:
    if arrays.keys() != names:
        raise ValueError(f"arrays missing or unknown: {', '.join(sorted(arrays.keys() ^ names))[:200]}")


def _check_ranges(arrays: Mapping[str, Any]) -> None:
    for name, array in arrays.items():
        ends = [end for end in _RANGES if name.endswith(end)]
        low, high = _RANGES[max(ends, key=len)] if ends else (-np.inf, np.inf)
        if not (np.isfinite(array).all() and (array >= low).all() and (array <= high).all()):
            raise ValueError(f"{name} has values that are not finite, or not from {low:g} to {high:g}")


def _fits(value: Any, hint: Any) -> bool:
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        return value in inner
    if get_origin(hint) is UnionType:
        return any(_fits(value, one) for one in inner)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        items = inner[:1] * len(value) if inner[-1] is ... else inner
        return len(value) == len(items) and all(map(_fits, value, items))
    if hint is float:
        return type(value) in (int, float) and bool(np.isfinite(value))
    return type(value) is hint
