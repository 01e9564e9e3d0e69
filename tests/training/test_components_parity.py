"""The components that training sees, by PyTorch, are those that the runtime computes by NumPy."""

import numpy as np
import pytest
import torch

from discoformer.base.base import evaluate_base, fit_base
from discoformer.base.mixture import evaluate
from discoformer.base.mixture_fit import fit_components


@pytest.mark.parametrize(
    "size", [(1, 2, 1), (3, 9, 2), (2, 64, 5), (4, 30, 12), (1, 700, 3), (1, 2500, 2), (2, 20, 60)]
)
def test_numpy_and_pytorch_agree(make_data, size):
    points = make_data(*size, seed=1)
    points = (points - points.mean(1, keepdim=True)) / points.std()
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(size[:2], generator=generator, dtype=torch.float64) + 0.1
    weights = weights / weights.sum(1, keepdim=True)
    number = 1 / weights.square().sum(1)
    found, elbo = fit_components(points, weights, number)
    expected, expected_elbo = fit_components(points.numpy(), weights.numpy(), number.numpy())
    np.testing.assert_allclose(elbo.numpy(), expected_elbo, rtol=1e-9)
    assert [field.shape for field in found] == [field.shape for field in expected]
    queries = 2 * make_data(*size, seed=2) / points.std()
    ours, theirs = evaluate(found, queries), evaluate(expected, queries.numpy())
    np.testing.assert_allclose(ours.log_density.numpy(), theirs.log_density, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(ours.score.numpy(), theirs.score, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 9, 1), (3, 60, 2), (2, 300, 5), (1, 2500, 3), (2, 20, 30)])
def test_so_do_their_bases(read_context, make_data, size):
    context, _ = read_context(make_data(*size, seed=1))
    batch, n, _ = size
    given = (
        context.points,
        torch.full((batch, n), 1 / n, dtype=torch.float64),
        context.effective_size,
        context.precision_root,
        context.log_det_precision,
    )
    expected = fit_base(*(tensor.numpy() for tensor in given))
    ours = evaluate_base(fit_base(*given), context.points)
    theirs = evaluate_base(expected, context.points.numpy())
    for found, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6, atol=1e-6)
