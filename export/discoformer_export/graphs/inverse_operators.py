"""Inverses and log-determinants of positive definite matrices, by operators of ONNX Runtime.

They are several times as fast as the matrix products of `newton_schulz`, which any runtime can compute. The
operator Inverse is ONNX Runtime's own. The operator Det is standard, but float32: a determinant of more than
about 25 columns may not fit. So the matrix is split twice,

    det [[A, B], [B^T, C]] = det A det(C - B^T A^-1 B),

and each part is divided by the geometric mean of its diagonal. A few ones are first added to the diagonal, so
that no part is empty. Shapes: matrices (B, K, D, D).
"""

# mypy: ignore-errors
# (onnxscript types its operators for values that it knows: here they are values of a graph.)

from typing import Any

import torch
from onnx import TensorProto
from onnx.defs import OpSchema
from onnxscript import opset20 as op
from onnxscript.values import Op, Opset
from torch import Tensor, library

SPLITS = 2
_FORMAL = OpSchema.FormalParameter
_INVERSE = Op(
    Opset("com.microsoft", 1),
    "Inverse",
    OpSchema(
        "Inverse",
        "com.microsoft",
        1,
        inputs=[_FORMAL("X", "T")],
        outputs=[_FORMAL("Y", "T")],
        type_constraints=[("T", ["tensor(float)", "tensor(double)"], "")],
    ),
)


@library.custom_op("discoformer::invert", mutates_args=())
def invert(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return inverses (B, K, D, D) and log-determinants (B, K) of float32 matrices, by float64."""
    wide = matrices.double()
    return torch.linalg.inv(wide).to(matrices), torch.linalg.slogdet(wide).logabsdet.to(matrices)


@invert.register_fake
def _(matrices: Tensor) -> tuple[Tensor, Tensor]:
    return matrices.new_empty(matrices.shape), matrices.new_empty(matrices.shape[:-2])


def _invert(matrices: Any) -> tuple[Any, Any]:
    wide = op.Cast(matrices, to=TensorProto.DOUBLE)
    log_det = _log_det(_padded(wide), SPLITS)
    return tuple(op.Cast(value, to=TensorProto.FLOAT) for value in (_INVERSE(wide), log_det))


def _padded(matrices: Any) -> Any:
    """Add rows and columns of the identity."""
    count = 2**SPLITS - 1
    padded = op.Pad(matrices, op.Constant(value_ints=[0, 0, 0, 0, 0, 0, count, count]))
    mask = op.Expand(op.Constant(value_float=0.0), op.Shape(matrices, start=-1))
    ones = op.Constant(value_floats=[1.0] * count)
    mask = op.Cast(op.Concat(mask, ones, axis=0), to=TensorProto.DOUBLE)
    return op.Add(padded, op.Mul(mask, _identity(padded)))


def _identity(matrices: Any) -> Any:
    return op.EyeLike(op.ConstantOfShape(op.Shape(matrices, start=-2)), dtype=TensorProto.DOUBLE)


def _log_det(matrices: Any, splits: int) -> Any:
    if not splits:
        size = op.Cast(op.Shape(matrices, start=-1), to=TensorProto.DOUBLE)
        last = op.Constant(value_ints=[-1])
        diagonal = op.ReduceSum(op.Mul(matrices, _identity(matrices)), last, keepdims=0)
        log_scale = op.ReduceMean(op.Log(diagonal), last, keepdims=0)
        scale = op.Unsqueeze(op.Exp(log_scale), op.Constant(value_ints=[-2, -1]))
        relative = op.Cast(op.Div(matrices, scale), to=TensorProto.FLOAT)
        log_det = op.Cast(op.Log(op.Det(relative)), to=TensorProto.DOUBLE)
        return op.Add(op.Mul(size, log_scale), log_det)
    rows = op.Split(matrices, axis=-2, num_outputs=2)
    (first, cross), (below, rest) = (op.Split(half, axis=-1, num_outputs=2) for half in rows)
    products = op.MatMul(below, op.MatMul(_INVERSE(first), cross))
    return op.Add(_log_det(first, splits - 1), _log_det(op.Sub(rest, products), splits - 1))


TRANSLATIONS = {torch.ops.discoformer.invert.default: _invert}
