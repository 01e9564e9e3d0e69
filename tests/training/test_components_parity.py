"""The components that training sees, by PyTorch, are those that the runtime computes by NumPy."""

import numpy as np
import pytest
import torch

from discoformer.components import evaluate, fit_components


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
    found = fit_components(points, weights, number)
    expected = fit_components(points.numpy(), weights.numpy(), number.numpy())
    assert [field.shape for field in found] == [field.shape for field in expected]
    queries = 2 * make_data(*size, seed=2) / points.std()
    ours, theirs = evaluate(found, queries), evaluate(expected, queries.numpy())
    np.testing.assert_allclose(ours.log_density.numpy(), theirs.log_density, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(ours.score.numpy(), theirs.score, rtol=1e-6, atol=1e-6)
