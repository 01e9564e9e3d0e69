"""Tensors of the Open Inference Protocol: read from JSON or bytes, and written as either.

In JSON the data of a tensor are a list in row-major order, flat or nested as its shape is. In binary they are
the bytes of a little-endian array in row-major order, behind the JSON.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from discoformer.io.inputs import AnyFloats, shown
from discoformer.serve.limits import Limits
from discoformer.serve.refusals import RequestError, invalid, too_large

DATATYPES: dict[str, np.dtype[Any]] = {"FP64": np.dtype("<f8"), "FP32": np.dtype("<f4")}
NAMES = {np.dtype(np.float64): "FP64", np.dtype(np.float32): "FP32"}
MOST_IN_JSON = 2**20  # numbers of a tensor in JSON: twenty bytes each, and more in memory
_MOST_DIMENSIONS = 8
_GREATEST = 2**40  # numbers in a tensor, if those sizes of a shape that are 0 were 1


@dataclass(frozen=True)
class Spec:
    """What a tensor of a served model must be."""

    name: str
    shape: tuple[int, ...]  # -1 for any size
    is_optional: bool = False
    has_columns: bool = True  # whether the last axis are columns
    is_sample: bool = False  # whether it is read as samples

    @property
    def about(self) -> dict[str, Any]:
        """As the metadata of a model show it."""
        return {"name": self.name, "datatype": "FP64", "shape": list(self.shape)}


def dtype_of(name: str, datatype: Any) -> np.dtype[Any]:
    """Return the dtype of a datatype of the protocol.

    Raises:
        RequestError: It is none that is answered.
    """
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise invalid(
            f"the datatype of {name} must be FP64 or FP32, got {shown(datatype)}: convert the numbers"
        )
    return DATATYPES[datatype]


def shape_of(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape that a request gives for a tensor.

    Raises:
        RequestError: It is no list of whole numbers.
    """
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= _MOST_DIMENSIONS
        or not all(type(size) is int and size >= 0 for size in shape)
        or math.prod(max(size, 1) for size in shape) > _GREATEST
    ):
        raise invalid(
            f"the shape of {name} must be a list of whole numbers of 0 or more, of a tensor that fits "
            f"into memory, got {shown(shape)}"
        )
    return tuple(shape)


def from_bytes(name: str, content: memoryview, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyFloats:
    """Read a tensor from its bytes.

    Raises:
        RequestError: Their number is not that of the shape.
    """
    needed = math.prod(shape) * dtype.itemsize
    if len(content) != needed:
        raise invalid(
            f"{name} of shape {list(shape)} and datatype {NAMES[dtype.newbyteorder('=')]} has {needed} "
            f"bytes, but binary_data_size is {len(content)}: make them agree"
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def from_list(name: str, data: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyFloats:
    """Read a tensor from a list, flat or nested as its shape is.

    Raises:
        RequestError: It is not of this shape, or holds anything but numbers.
    """
    if not isinstance(data, list):
        raise invalid(f"the data of {name} must be a list of numbers, got {shown(data)}")
    flat: Sequence[Any] = data
    depth = 0
    while flat and isinstance(flat[0], list):
        depth += 1
        if depth == len(shape) or len(flat) != math.prod(shape[:depth]) or set(map(type, flat)) != {list}:
            raise _misshapen(name, shape)
        if set(map(len, flat)) != {shape[depth]}:
            raise _misshapen(name, shape)
        flat = list(chain.from_iterable(flat))
    if len(flat) != math.prod(shape):
        raise _misshapen(name, shape, len(flat))
    if strange := set(map(type, flat)) - {int, float}:
        kinds = ", ".join(sorted(kind.__name__ for kind in strange))
        raise invalid(
            f"the data of {name} must be numbers, got {kinds} among them: convert or drop those rows"
        )
    try:
        with np.errstate(over="ignore"):
            return np.array(flat, np.float64).astype(dtype.newbyteorder("=")).reshape(shape)
    except OverflowError as error:
        raise invalid(f"the data of {name} hold a number beyond float64: check its units") from error


def _misshapen(name: str, shape: tuple[int, ...], count: int | None = None) -> RequestError:
    got = "lists nested in another way" if count is None else f"{count} numbers"
    return invalid(
        f"the data of {name} must be {math.prod(shape)} numbers, in a flat list or nested as the shape "
        f"{list(shape)}, got {got}"
    )


def check_tensor(spec: Spec, tensor: AnyFloats, limits: Limits) -> None:
    """Check the shape of a tensor, and that its numbers are finite.

    Raises:
        RequestError: It is another or beyond a limit, or they are not.
    """
    wanted, got = spec.shape, tensor.shape
    if len(got) != len(wanted) or any(want not in (-1, size) for want, size in zip(wanted, got, strict=True)):
        raise invalid(
            f"{spec.name} must have shape {list(wanted)} (-1: any size), got {list(got)}: see the metadata "
            "of the model"
        )
    sizes = got if spec.has_columns else (*got, 1)
    rows = math.prod(max(size, 1) for size in sizes[:-1])
    for what, option, size, most in (
        ("rows", "rows", rows, limits.rows),
        ("columns", "columns", sizes[-1], limits.columns),
        ("numbers", "sample", tensor.size if spec.is_sample else 0, limits.sample),
    ):
        if size > most:
            raise too_large(
                f"{spec.name} must have {most} {what} or fewer, got {size} (shape {list(got)}): send several "
                f"requests, or start the service with a higher --max-{option}"
            )
    if not (finite := np.isfinite(tensor)).all():
        at = tuple(map(int, np.argwhere(~finite)[0]))
        raise invalid(
            f"{spec.name} must be finite, got {tensor[at]} at index {list(at)}: drop or impute such rows"
        )


def to_list(name: str, tensor: AnyFloats) -> list[float]:
    """Return the numbers of a tensor in a flat list.

    Raises:
        RequestError: They are too many, or one is infinite, which JSON cannot hold.
    """
    if tensor.size > MOST_IN_JSON:
        raise too_large(
            f"{name} has {tensor.size} numbers, and JSON may hold {MOST_IN_JSON} or fewer: ask for binary "
            'outputs, by the parameter "binary_data_output": true'
        )
    if not (finite := np.isfinite(tensor)).all():
        at = tuple(map(int, np.argwhere(~finite)[0]))
        raise invalid(
            f"{name} is {tensor[at]} at index {list(at)}, and JSON has no such number: ask for binary "
            'outputs, by the parameter "binary_data_output": true'
        )
    numbers: list[float] = tensor.ravel().tolist()
    return numbers
