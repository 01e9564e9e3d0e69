"""Operators that are replaced in the mixture graphs are exact, in ONNX Runtime and by the standard."""

from collections.abc import Mapping

import numpy as np
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn
from torch.nn.functional import gelu, softplus

from discoformer_export.files.onnx_files import folded, traced
from discoformer_export.graphs.inverse_operators import invert


class Operators(nn.Module):
    """Takes "log_weights" (B, N) and "linear" (B, D, D). The graphs have layers of float32 alone."""

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        x, matrix = given["log_weights"], given["linear"]
        return (
            torch.log1p(x.exp()),
            softplus(x.float()),
            gelu(x.float()),
            torch.log_softmax(1000 * x, -1),
            torch.logsumexp(1000 * x, -1),
            matrix.diagonal(dim1=-2, dim2=-1),
            matrix.mT @ matrix.diagonal(dim1=-2, dim2=-1)[..., None],
        )


NAMES = ("log1p", "softplus", "gelu", "log_softmax", "logsumexp", "diagonal", "product")


def run_everywhere(
    module: nn.Module, given: Mapping[str, Tensor], names: tuple[str, ...]
) -> list[list[np.ndarray]]:
    """The outputs of ONNX Runtime and of the reference evaluator."""
    model = folded(traced(module, given, names))
    arrays = {name: value.numpy() for name, value in given.items()}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = [session.run(list(names), arrays)]
    if not any(node.domain for node in model.graph.node):
        found.append(ReferenceEvaluator(model).run(list(names), arrays))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_they_are_exact_to_rounding(dtype: torch.dtype) -> None:
    """Also where 1 + exp(x) is 1 or far from it, and where softmax underflows."""
    x = torch.linspace(-30, 30, 182, dtype=torch.float64).reshape(2, 91).to(dtype)
    matrix = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    given = {"log_weights": x, "linear": matrix}
    expected = Operators()({name: value.double() for name, value in given.items()})
    for found in run_everywhere(Operators(), given, NAMES):
        for name, array, exact in zip(NAMES, found, expected, strict=True):
            rounding = 500 * np.finfo(array.dtype).eps
            np.testing.assert_allclose(array, exact, rtol=rounding, atol=1e-2 * rounding, err_msg=name)


def test_inverses_of_onnx_runtime_hold_where_a_determinant_does_not_fit_in_float32() -> None:
    """The determinant of a matrix of 30 columns of variance 1e-4 is 1e-120."""

    class Inverse(nn.Module):
        def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
            return invert(given["component_factors"])

    points = torch.randn(2, 4, 60, 30, generator=torch.Generator().manual_seed(0))
    scales = 1e-4 * points.mT @ points / 60
    ((inverse, log_det),) = run_everywhere(
        Inverse(), {"component_factors": scales}, ("inverse", "log_abs_det")
    )
    np.testing.assert_allclose(log_det, torch.logdet(scales.double()), rtol=1e-6)
    exact = torch.linalg.inv(scales.double())
    np.testing.assert_allclose(inverse, exact, atol=1e-6 * float(exact.abs().max()))
