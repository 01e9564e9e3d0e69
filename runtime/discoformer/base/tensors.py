"""Reading a tensor on its device; see ``io.tensors``."""

from typing import Any

import numpy as np

from discoformer.base.arrays import all_finite, as_doubles, library
from discoformer.errors import InputError
from discoformer.io.inputs import check_finite, check_shape
from discoformer.io.tensors import on_host, refuse_gradients


def read_tensor(name: str, tensor: Any) -> tuple[Any, str]:
    """Return a tensor (rows, D) in float64, on its device, and the width of answers to it.

    Raises:
        InputError: It is not a matrix of finite real numbers, requires gradients, or its library has no
            float64.
    """
    refuse_gradients(name, tensor)
    check_shape(name, tuple(tensor.shape))
    kind = str(tensor.dtype).removeprefix("torch.")
    if "complex" in kind:
        raise InputError(f"{name} must hold real numbers, got dtype {kind}: convert it to numbers first")
    values = as_doubles(tensor)
    if not str(values.dtype).endswith("float64"):
        raise InputError(
            f"{name} must be a tensor of a library that has float64, got one of {library(tensor).__name__}: "
            "with JAX, call jax.config.update('jax_enable_x64', True) first"
        )
    if not all_finite(values):
        check_finite(name, np.asarray(on_host(name, values)))
    return values, "float32" if kind in ("float32", "float16", "bfloat16") else "float64"
