"""Array functions that NumPy and PyTorch name differently, or do not have.

Arrays of CuPy and JAX are taken too, where answers are computed (see ``answering``).

Shapes: B data sets; D dimensions; n and k are any sizes.
"""

import math
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

ArrayT = TypeVar("ArrayT", npt.NDArray[np.float64], "Tensor")
"""A NumPy array or a PyTorch tensor, of floats."""
FieldT = TypeVar("FieldT")
"""The type of the arrays in a tuple of arrays."""
Indices: TypeAlias = Any
"""An array of integers or booleans that indexes an array of the same library."""

TIE = 1e-9  # smaller relative differences are rounding errors


def library(array: ArrayT) -> Any:
    """Return the module, such as numpy or torch, that has the functions of an array."""
    name = type(array).__module__.partition(".")[0]
    return sys.modules["jax.numpy" if name == "jaxlib" else name]


def moved_to(array: npt.NDArray[Any], like: ArrayT) -> Any:
    """Return a NumPy array as one of the library of another, on its device."""
    xp = library(like)
    return array if xp is np else xp.asarray(array, device=like.device, copy=True)


def wait_for(array: ArrayT) -> None:
    """Wait until an array is computed. On a device, its library only queues the work."""
    float(array.sum())


@cache
def upper(dim: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the indices (a, b) with a <= b < dim."""
    return np.triu_indices(dim)


@cache
def place_in_upper(dim: int) -> npt.NDArray[np.intp]:
    """Return the position (dim, dim) of each pair of indices, in either order, in ``upper``."""
    a, b = upper(dim)
    place = np.empty((dim, dim), dtype=int)
    place[a, b] = place[b, a] = np.arange(len(a))
    return place


def take_rows(array: ArrayT, index: Indices) -> ArrayT:
    """Return rows of array (B, n, ...) by index (B, k)."""
    return array[library(index).arange(len(index))[:, None], index]


def select(array: ArrayT, index: Indices) -> ArrayT:
    """Return rows of array (n, ...) by index (k,)."""
    rows: Any = array.take(index, 0) if isinstance(array, np.ndarray) else array[index]
    return rows


def with_rows(array: ArrayT, rows: int) -> ArrayT:
    """Append rows of zeros to array (B, n, ...), up to a number of rows."""
    batch, n, *shape = array.shape
    xp = library(array)
    added = xp.zeros((batch, rows - n, *shape), dtype=array.dtype, device=array.device)
    return xp.concatenate([array, added], 1)


def with_values(array: ArrayT, where: Indices, values: ArrayT) -> ArrayT:
    """Return an array with other values in some rows; the array itself is changed if its library can."""
    if hasattr(array, "at"):
        return array.at[where].set(values)
    array[where] = values
    return array


def contiguous(array: ArrayT) -> ArrayT:
    """Return an array whose rows lie in memory one after another."""
    if hasattr(array, "contiguous"):
        return array.contiguous()
    xp = library(array)
    return xp.ascontiguousarray(array) if hasattr(xp, "ascontiguousarray") else array  # JAX has no other


def in_slices(
    function: Callable[..., tuple[ArrayT, ArrayT]], size: int, *arrays: ArrayT
) -> tuple[ArrayT, ArrayT]:
    """Apply a function to at most ``size`` rows of arrays (n, ...) at a time, and join its two results."""
    parts = [function(*(array[part] for array in arrays)) for part in slices(len(arrays[0]), size)]
    joined = map(library(arrays[0]).concatenate, zip(*parts or [function(*arrays)], strict=True))
    first, second = joined
    return first, second


def all_finite(array: ArrayT) -> bool:
    """Return whether all entries are finite. This waits until they are computed."""
    return bool(library(array).isfinite(array).all())


def choose(condition: Indices, one: ArrayT, other: ArrayT) -> ArrayT:
    """Choose between arrays (B, ...) by condition (B,)."""
    return library(one).where(with_axes_of(condition, one), one, other)


def with_axes_of(values: ArrayT, array: ArrayT) -> ArrayT:
    """Append axes of length 1 to values (B, ...), so that they broadcast with an array of more axes."""
    return values[(..., *[None] * (array.ndim - values.ndim))]


def one_hot(index: Indices, like: ArrayT) -> ArrayT:
    """Return rows (B, n) with a one at each index (B,) and zeros elsewhere."""
    xp = library(like)
    one = xp.ones_like(like)
    return xp.where(index_range(like.shape[-1], like) == index[:, None], one, 0 * one)


def first_of_greatest(values: ArrayT) -> ArrayT:
    """Return rows with a one at the first of the greatest values (B, n) and zeros elsewhere."""
    return one_hot(library(values).argmax(ties_to_first(values), -1), values)


def ties_to_first(values: ArrayT) -> ArrayT:
    """Raise the values (B, n) that equal the greatest one up to rounding to that value."""
    xp = library(values)
    greatest = xp.amax(values, -1)[:, None]
    return xp.where(values >= greatest - TIE * abs(greatest), greatest, values)


def slices(count: int, size: int) -> Iterator[slice]:
    """Split ``count`` rows into slices of at most ``size`` rows."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def spaced(count: int, most: int) -> npt.NDArray[np.intp]:
    """Return the indices of at most ``most`` of ``count`` rows, evenly spaced."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(np.intp)


def kth_smallest(values: ArrayT, k: int) -> ArrayT:
    """Return the value that is k-th in ascending order, from 0, along the last axis."""
    if isinstance(values, np.ndarray):
        return np.partition(values, k, axis=-1)[..., k]
    return values.topk(k + 1, largest=False, sorted=False).values.amax(-1)


def index_range(n: int, like: ArrayT) -> ArrayT:
    """Return 0 to n - 1, with the dtype and device of another array."""
    return library(like).arange(n, dtype=like.dtype, device=like.device)


def identity_like(like: ArrayT) -> ArrayT:
    """Return the identity matrix, as wide as the last axis of another array."""
    return library(like).eye(like.shape[-1], dtype=like.dtype, device=like.device)


def with_dtype_of(array: ArrayT, other: ArrayT) -> ArrayT:
    """Return an array with the dtype of another of the same library."""
    return _with_dtype(array, other.dtype)


def as_type(array: ArrayT, name: str) -> ArrayT:
    """Return an array with the dtype of a name, such as "float32"."""
    return _with_dtype(array, getattr(library(array), name))


def as_doubles(array: ArrayT) -> ArrayT:
    """Return an array in float64."""
    return as_type(array, "float64")


def _with_dtype(array: Any, dtype: Any) -> Any:
    return array.to(dtype) if hasattr(array, "to") else array.astype(dtype)


def trace(matrix: ArrayT) -> ArrayT:
    """Return the sum of the diagonal of matrices (..., D, D)."""
    return library(matrix).linalg.diagonal(matrix).sum(-1)


def cholesky(matrix: ArrayT) -> ArrayT:
    """Return the lower triangular root L of positive definite matrices (..., D, D) = L L^T."""
    return library(matrix).linalg.cholesky(matrix)


def inverse_root(root: ArrayT) -> ArrayT:
    """Return the inverse of lower triangular matrices (..., D, D)."""
    return library(root).linalg.inv(root)


def inverse_factor(matrix: ArrayT) -> ArrayT:
    """Return ``L^-T`` for matrices (..., D, D) = L L^T. It maps that scatter to the identity."""
    return inverse_root(cholesky(matrix)).mT


def log_diagonal(root: ArrayT) -> ArrayT:
    """Return the sum of the logarithms of the diagonal of matrices (..., D, D)."""
    xp = library(root)
    return xp.log(xp.linalg.diagonal(root)).sum(-1)


def positive(x: ArrayT) -> ArrayT:
    """Return the greater of x and 0."""
    xp = library(x)
    return xp.maximum(x, xp.zeros_like(x))


def or_one(x: ArrayT) -> ArrayT:
    """Return x where it is positive, and 1 elsewhere."""
    return library(x).where(x > 0, x, 0 * x + 1)


def log_gamma(x: ArrayT) -> ArrayT:
    """Return log gamma(x) for x > 0, to 1e-12, by recurrence and Stirling's series at x + 8."""
    xp = library(x)
    y, pair = x + 8, x * (x + 7)  # pair + 6 is (x + 1) (x + 6), and so on
    product = pair * (pair + 6) * (pair + 10) * (pair + 12)
    inverse = 1 / (y * y)
    series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse * (1 / 1680 - inverse / 1188)))) / y
    return (y - 0.5) * xp.log(y) - y + 0.5 * math.log(2 * math.pi) + series - xp.log(product)
