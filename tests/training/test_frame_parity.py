"""The frame of the training (torch) and the frame of the runtime (NumPy) are the same."""

import numpy as np
import pytest
import torch

from discoformer.base.frame import fit_frame, fit_frames
from discoformer.base.local_scatter import most_used
from discoformer_training.data.mixtures import draw_mixtures

SIZES = [
    (1, 2),
    (1, 50),
    (2, 3),
    (2, 300),
    (5, 15),
    (10, 500),
    (30, 100),
    (30, 300),
    (60, 260),
    (60, 400),
    (100, 150),
]


def _both(points: torch.Tensor):
    return fit_frames(points[None]), fit_frame(points.numpy())


@pytest.mark.parametrize(("dim", "n"), [*SIZES, (1, 2000), (3, most_used(3)[0] + 500)])
def test_both_frames_agree_on_mixtures_in_random_affine_maps(dim: int, n: int) -> None:
    generator = torch.Generator().manual_seed(dim * n)
    points = draw_mixtures(1, dim, affine_condition=30, generator=generator).sample(n, generator=generator)[0]
    trained, served = _both(points)
    ours = trained.to_frame(points[None])[0].numpy()
    theirs = served.to_frame(points.numpy())
    # Equal up to a rotation: inner products, also in the metric of the total covariance.
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, rtol=1e-8, atol=1e-8 * dim)
    white_ours, white_theirs = ours @ trained.precision_root[0].numpy(), theirs @ served.precision_root
    np.testing.assert_allclose(white_ours @ ours.T, white_theirs @ theirs.T, rtol=1e-8, atol=1e-8 * dim)
    np.testing.assert_allclose(trained.log_abs_det.item(), served.log_abs_det, atol=1e-8)
    np.testing.assert_allclose(trained.log_det_precision.item(), served.log_det_precision, atol=1e-8)
    np.testing.assert_allclose([trained.effective_size.item(), served.effective_size], n)


def test_both_frames_agree_on_data_with_many_ties() -> None:
    points = torch.randint(0, 7, (400, 2), generator=torch.Generator().manual_seed(0)).double()
    trained, served = _both(points)
    ours, theirs = trained.to_frame(points[None])[0].numpy(), served.to_frame(points.numpy())
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, rtol=1e-6, atol=1e-6)
