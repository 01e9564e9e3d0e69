"""One code for NumPy arrays and PyTorch tensors: what the two spell differently, or lack.

Shapes: B data sets; n and k are free.
"""

import math
import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

ArrayT = TypeVar("ArrayT", npt.NDArray[np.float64], "Tensor")
"""A NumPy array or a PyTorch tensor, of floats."""
FieldT = TypeVar("FieldT")
"""The same, as a field of a tuple of arrays."""
Indices: TypeAlias = Any
"""Integers or booleans that index an array, of the same library."""

TIE = 1e-9  # relative: smaller differences are rounding errors


def library(array: ArrayT) -> Any:
    """The module, numpy or torch, that an array belongs to."""
    return sys.modules[type(array).__module__.partition(".")[0]]


@cache
def upper(dim: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices (a, b) with a <= b, below dim."""
    return np.triu_indices(dim)


@cache
def place_in_upper(dim: int) -> npt.NDArray[np.intp]:
    """The place (dim, dim) of each pair of indices, in either order, among those of ``upper``."""
    a, b = upper(dim)
    place = np.empty((dim, dim), dtype=int)
    place[a, b] = place[b, a] = np.arange(len(a))
    return place


def take_rows(array: ArrayT, index: Indices) -> ArrayT:
    """Rows of array (B, n, ...) by index (B, k)."""
    return array[library(index).arange(len(index))[:, None], index]


def select(array: ArrayT, index: Indices) -> ArrayT:
    """Return rows of array (n, ...) by index (k,)."""
    rows: Any = array.take(index, 0) if isinstance(array, np.ndarray) else array[index]
    return rows


def with_rows(array: ArrayT, rows: int) -> ArrayT:
    """An array (B, n, ...) with rows of zeros after its end, up to so many."""
    batch, n, *shape = array.shape
    xp = library(array)
    added = xp.zeros((batch, rows - n, *shape), dtype=array.dtype, device=array.device)
    return xp.concatenate([array, added], 1)


def choose(condition: Indices, one: ArrayT, other: ArrayT) -> ArrayT:
    """Choose between arrays (B, ...) by condition (B,)."""
    return library(one).where(with_axes_of(condition, one), one, other)


def with_axes_of(values: ArrayT, array: ArrayT) -> ArrayT:
    """Values (B, ...) with axes added at their end, to go with an array of more."""
    return values[(..., *[None] * (array.ndim - values.ndim))]


def one_hot(index: Indices, like: ArrayT) -> ArrayT:
    """Rows like those of an array (B, n), with a one at each index (B,) and zeros elsewhere."""
    xp = library(like)
    one = xp.ones_like(like)
    return xp.where(index_range(like.shape[-1], like) == index[:, None], one, 0 * one)


def first_of_greatest(values: ArrayT) -> ArrayT:
    """One at the first of the greatest values (B, n), zero elsewhere."""
    return one_hot(library(values).argmax(ties_to_first(values), -1), values)


def ties_to_first(values: ArrayT) -> ArrayT:
    """The same values (B, n), those within rounding of the greatest raised to it."""
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
    """0 to n - 1, of the dtype and device of another array."""
    return library(like).arange(n, dtype=like.dtype, device=like.device)


def identity_like(like: ArrayT) -> ArrayT:
    """The identity matrix, as wide as another array's last axis."""
    return library(like).eye(like.shape[-1], dtype=like.dtype, device=like.device)


def trace(matrix: ArrayT) -> ArrayT:
    """Sum of the diagonal of matrices (..., D, D)."""
    return library(matrix).linalg.diagonal(matrix).sum(-1)


def cholesky(matrix: ArrayT) -> ArrayT:
    """Lower triangular roots L of positive definite matrices (..., D, D) = L L^T."""
    return library(matrix).linalg.cholesky(matrix)


def inverse_root(root: ArrayT) -> ArrayT:
    """Inverses of lower triangular matrices (..., D, D)."""
    return library(root).linalg.inv(root)


def inverse_factor(matrix: ArrayT) -> ArrayT:
    """Return ``L^-T`` of matrices (..., D, D) = L L^T: points times it have the identity for that scatter."""
    return inverse_root(cholesky(matrix)).mT


def log_diagonal(root: ArrayT) -> ArrayT:
    """Sum of the logarithms of the diagonal."""
    xp = library(root)
    return xp.log(xp.linalg.diagonal(root)).sum(-1)


def positive(x: ArrayT) -> ArrayT:
    """The greater of x and 0."""
    xp = library(x)
    return xp.maximum(x, xp.zeros_like(x))


def or_one(x: ArrayT) -> ArrayT:
    """What is positive of x, and 1 elsewhere."""
    return library(x).where(x > 0, x, 0 * x + 1)


def log_gamma(x: ArrayT) -> ArrayT:
    """Log of the gamma function for x > 0, to 1e-12: Stirling's series at x + 8, and the recurrence."""
    xp = library(x)
    y, pair = x + 8, x * (x + 7)  # pair + 6 is (x + 1) (x + 6), and so on
    product = pair * (pair + 6) * (pair + 10) * (pair + 12)
    inverse = 1 / (y * y)
    series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse * (1 / 1680 - inverse / 1188)))) / y
    return (y - 0.5) * xp.log(y) - y + 0.5 * math.log(2 * math.pi) + series - xp.log(product)


def digamma(x: ArrayT) -> ArrayT:
    """Derivative of log_gamma for x > 0, to 1e-12."""
    xp = library(x)
    y, pair = x + 8, x * (x + 7)
    shift = (2 * x + 7) * (1 / pair + 1 / (pair + 6) + 1 / (pair + 10) + 1 / (pair + 12))
    inverse = 1 / (y * y)
    series = inverse * (
        1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse * (1 / 240 - inverse / 132)))
    )
    return xp.log(y) - 0.5 / y - series - shift
