"""Operators that ONNX lacks or rounds, as functions: matrix roots and inverses, binary search, and others.

Traced code calls PyTorch's own operators. The exporter replaces them by these functions, see TRANSLATIONS.
"""

# mypy: ignore-errors
# (onnxscript compiles these functions to ONNX: their types are not those of Python.)

import onnx
import torch
from onnxscript import DOUBLE, INT64, graph, script
from onnxscript import opset18 as op


@script()
def cholesky(matrix: DOUBLE[...]) -> DOUBLE[...]:
    """Cholesky factors (lower triangular) of matrices (..., D, D); NaN if one is not positive definite."""
    square = op.Shape(matrix, start=-2)
    count = op.Squeeze(op.Shape(matrix, start=-1))
    index = op.Range(op.Constant(value_int=0), count, op.Constant(value_int=1))
    many = op.Reshape(matrix, op.Concat(op.Constant(value_ints=[-1]), square, axis=0))  # (P, D, D)

    @graph()
    def column(rest, j):
        row_axis, column_axis = op.Constant(value_ints=[1]), op.Constant(value_ints=[2])
        own = op.Gather(rest, j, axis=2)
        own = own / op.Unsqueeze(op.Sqrt(op.Gather(own, j, axis=1)), row_axis)
        own = own * op.CastLike(op.Not(index < j), own)
        return rest - op.Unsqueeze(own, column_axis) * op.Unsqueeze(own, row_axis), own

    _, columns = op.Scan(many, index, body=column, num_scan_inputs=1, scan_output_axes=[2])
    return op.Reshape(columns, op.Shape(matrix))


@script()
def inverse_root(root: DOUBLE[...]) -> DOUBLE[...]:
    """Inverses of lower triangular matrices (..., D, D), by forward substitution into the identity."""
    square = op.Shape(root, start=-2)
    count = op.Squeeze(op.Shape(root, start=-1))
    index = op.Range(op.Constant(value_int=0), count, op.Constant(value_int=1))
    many = op.Reshape(root, op.Concat(op.Constant(value_ints=[-1]), square, axis=0))  # (P, D, D)
    identity = op.CastLike(op.EyeLike(op.ConstantOfShape(square)), root)

    @graph()
    def eliminate(rest, j):  # rest: the identity minus the contributions of the rows so far
        row_axis, column_axis = op.Constant(value_ints=[1]), op.Constant(value_ints=[2])
        own = op.Gather(many, j, axis=2)
        row = op.Gather(rest, j, axis=1) / op.Unsqueeze(op.Gather(own, j, axis=1), row_axis)
        below = own * op.CastLike(index > j, own)
        return rest - op.Unsqueeze(below, column_axis) * op.Unsqueeze(row, row_axis), row

    start = op.Expand(identity, op.Shape(many))
    _, rows = op.Scan(start, index, body=eliminate, num_scan_inputs=1, scan_output_axes=[1])
    return op.Reshape(rows, op.Shape(root))


RANKS = (3, 2)  # of the outputs of the Scan bodies: (P, D, D) and (P, D)


@script()
def searchsorted(ascending: DOUBLE[...], values: DOUBLE[...]) -> INT64[...]:
    """Count the entries of each row (B, N) that are smaller than each value (B, k), by binary search."""
    count = op.Squeeze(op.Shape(ascending, start=1))
    zero, one, two = op.Constant(value_int=0), op.Constant(value_int=1), op.Constant(value_int=2)
    below = op.CastLike(values * op.CastLike(zero, values), zero)
    step = one
    short = step < count
    while short:
        step = step * two
        short = step < count
    going = step > zero
    while going:
        next = op.Min(below + step, count)
        smaller = op.GatherElements(ascending, next - one, axis=1) < values
        below = op.Where(smaller, next, below)
        step = step / two
        going = step > zero
    return below


def diagonal(matrix, offset: int = 0, dim1: int = 0, dim2: int = 1):
    """Take the diagonals (..., D) of matrices (..., D, D)."""
    assert (offset, dim1, dim2) == (0, -2, -1)
    square = op.Shape(matrix, start=-2)
    identity = op.CastLike(op.EyeLike(op.ConstantOfShape(square)), matrix)
    return op.ReduceSum(matrix * identity, op.Constant(value_ints=[-1]), keepdims=0)


def transpose(x, dim0: int, dim1: int):
    """Transpose by Einsum: old ONNX Runtimes fuse Transpose with MatMul, and then fail in float64."""
    axes = list(range(len(x.shape)))
    if {dim0 % len(axes), dim1 % len(axes)} == set(axes[-2:]):
        return op.Einsum(x, equation="...ij->...ji")
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return op.Transpose(x, perm=axes)


def part(x, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1):
    """Slice, or do nothing for a full slice: indexing with None makes hundreds of full slices."""
    if not start and (end is None or (isinstance(end, int) and end >= 2**62)):
        return op.Identity(x)
    one = op.Constant(value_ints=[1])
    bounds = (
        op.Constant(value_ints=[value]) if isinstance(value, int) else op.Reshape(value, one)
        for value in (start or 0, 2**62 if end is None else end, dim, step)
    )
    return op.Slice(x, *bounds)


def scalar(s: float, dtype: int = 1, layout: str = "", device: str = "", pin_memory: bool = False):
    """Make a constant in its own type: the translation of the exporter rounds it to float32."""
    if isinstance(s, float):
        return op.Constant(value=onnx.helper.make_tensor("", dtype, [], [s]))
    return op.Cast(s, to=dtype)


TRANSLATIONS = {
    torch.ops.aten.diagonal.default: diagonal,
    torch.ops.aten.scalar_tensor.default: scalar,
    torch.ops.aten.slice.Tensor: part,
    torch.ops.aten.transpose.int: transpose,
    torch.ops.aten.linalg_cholesky.default: cholesky,
    torch.ops.aten.searchsorted.Tensor: searchsorted,
    torch.ops.aten.linalg_inv.default: inverse_root,  # triangular matrices only: see arrays.inverse_root
}
