"""Operators of the mixture graphs: those that the exporter writes in a slow or inexact way, as functions.

They need no loops. Traced code calls PyTorch's own operators. The exporter replaces them by these functions,
see TRANSLATIONS.
"""

# mypy: ignore-errors
# (onnxscript types its operators for values that it knows: here they are values of a graph.)

from typing import Any

import torch
from onnx import TensorProto, helper
from onnxscript import opset20 as op

from discoformer_export.graphs import inverse_operators

OPSET = 20  # the first with Gelu
LAST = 2**62  # an end of a slice from which on it is that of the axis


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """Use the ONNX operator, exact at every x. The exporter would write three nodes with a threshold."""
    assert beta == 1
    return op.Softplus(x)


def gelu(x: Any, approximate: str = "none") -> Any:
    """Use the ONNX operator. The exporter would write five nodes."""
    return op.Gelu(x, approximate=approximate)


def log1p(x: Any) -> Any:
    """Return log u + (x - (u - 1)) / u for u = 1 + x. The second term mends the rounding of u."""
    one = op.CastLike(op.Constant(value_float=1.0), x)
    rounded = op.Add(x, one)
    return op.Add(op.Log(rounded), op.Div(op.Sub(x, op.Sub(rounded, one)), rounded))


def log_softmax(x: Any, dim: int, half_to_float: bool = False) -> Any:
    """Subtract the logarithm of the sum. Some runtimes take the logarithm of softmax, which may be 0."""
    axis = op.Constant(value_ints=[dim])
    relative = op.Sub(x, op.ReduceMax(x, axis))
    return op.Sub(relative, op.Log(op.ReduceSum(op.Exp(relative), axis)))


def logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    """Compute it relative to the greatest value. Some runtimes do not."""
    axes = op.Constant(value_ints=list(dim))
    greatest = op.ReduceMax(x, axes)
    total = op.Add(greatest, op.Log(op.ReduceSum(op.Exp(op.Sub(x, greatest)), axes)))
    return total if keepdim else op.Squeeze(total, axes)


def diagonal(matrix: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Take the diagonals (..., D) of matrices (..., D, D)."""
    assert (offset, dim1, dim2) == (0, -2, -1)
    identity = op.EyeLike(op.ConstantOfShape(op.Shape(matrix, start=-2)), dtype=int(matrix.dtype))
    return op.ReduceSum(op.Mul(matrix, identity), op.Constant(value_ints=[-1]), keepdims=0)


def transpose(x: Any, dim0: int, dim1: int) -> Any:
    """Transpose float64 by Einsum: old ONNX Runtimes fuse Transpose with MatMul, and then fail in float64."""
    axes = list(range(len(x.shape)))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    if x.dtype != TensorProto.DOUBLE:
        return op.Transpose(x, perm=axes)
    before = "abcdefgh"[: len(axes)]
    return op.Einsum(x, equation=f"{before}->{''.join(before[axis] for axis in axes)}")


def part(x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """Slice, or do nothing for a full slice: indexing with None makes hundreds of full slices."""
    if not start and (end is None or (isinstance(end, int) and end >= LAST)):
        return op.Identity(x)
    one = op.Constant(value_ints=[1])
    bounds = (
        op.Constant(value_ints=[value]) if isinstance(value, int) else op.Reshape(value, one)
        for value in (start or 0, LAST if end is None else end, dim, step)
    )
    return op.Slice(x, *bounds)


def scalar(s: Any, dtype: int = 1, layout: str = "", device: str = "", pin_memory: bool = False) -> Any:
    """Make a constant in its own type. The exporter would round it to float32."""
    if isinstance(s, float):
        return op.Constant(value=helper.make_tensor("", dtype, [], [s]))
    return op.Cast(s, to=dtype)


TRANSLATIONS: dict[Any, Any] = {
    **inverse_operators.TRANSLATIONS,
    torch.ops.aten.softplus.default: softplus,
    torch.ops.aten.gelu.default: gelu,
    torch.ops.aten.log1p.default: log1p,
    torch.ops.aten._log_softmax.default: log_softmax,
    torch.ops.aten.log_softmax.int: log_softmax,
    torch.ops.aten.logsumexp.default: logsumexp,
    torch.ops.aten.diagonal.default: diagonal,
    torch.ops.aten.transpose.int: transpose,
    torch.ops.aten.slice.Tensor: part,
    torch.ops.aten.scalar_tensor.default: scalar,
}
