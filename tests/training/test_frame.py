"""The frame: its invariances, exact up to rounding, and what it promises about the context."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from discoformer.base import frame as frame_module
from discoformer.base import local_scatter
from discoformer.base.frame import Frames, fit_frames

FEW = settings(deadline=None, max_examples=8, derandomize=True)
FIELDS = (
    "center",
    "linear",
    "log_abs_det",
    "precision_root",
    "log_det_precision",
    "effective_size",
)
SIZES = pytest.mark.parametrize(("dim", "n"), [(1, 2), (1, 40), (2, 8), (5, 3), (5, 60), (12, 12), (30, 150)])


def gram(frame: Frames, points: Tensor) -> Tensor:
    """Inner products (B, N, N) in the frame: the frame coordinates up to a rotation."""
    z = frame.to_frame(points)
    return z @ z.mT


def metric(frame: Frames) -> Tensor:
    """The squared-distance form (B, D, D) that the frame gives to the data, whatever its rotation."""
    return frame.linear @ frame.linear.mT


def white_gram(frame: Frames, points: Tensor) -> Tensor:
    """Inner products (B, N, N) in the metric of the total covariance, as the frame hands it over."""
    white = frame.to_frame(points) @ frame.precision_root
    return white @ white.mT


def assert_same_geometry(
    frame: Frames, points: Tensor, other: Frames, others: Tensor, tolerance: float
) -> None:
    """Assert that two frames see two data sets alike up to a rotation."""
    for view in (gram, white_gram):
        expected = view(frame, points)
        size = float(expected.abs().max())
        torch.testing.assert_close(view(other, others), expected, rtol=0, atol=tolerance * size)
    torch.testing.assert_close(other.log_det_precision, frame.log_det_precision, rtol=0, atol=100 * tolerance)


@SIZES
def test_order_of_the_context_does_not_matter(make_data, dim, n):
    data = make_data(2, n, dim, condition=30.0)
    shuffled = data[:, torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    frame, other = fit_frames(data), fit_frames(shuffled)
    for name in FIELDS:
        torch.testing.assert_close(getattr(other, name), getattr(frame, name), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("condition", [30.0, 1e3])
@pytest.mark.parametrize("dim", [1, 2, 5, 10, 30, 40])
@pytest.mark.parametrize("per_dim", [4, 12])
def test_affine_maps_change_nothing_from_four_points_per_dimension(
    make_data, make_map, dim, condition, per_dim
):
    data, linear = make_data(2, max(8, per_dim * dim), dim), make_map(dim, condition)
    moved = data @ linear + 50
    frame, other = fit_frames(data), fit_frames(moved)
    assert_same_geometry(frame, data, other, moved, 1e-14 * condition**2)
    shift = torch.linalg.slogdet(linear).logabsdet
    torch.testing.assert_close(other.log_abs_det + shift, frame.log_abs_det, rtol=0, atol=1e-12 * condition)


@FEW
@given(dim=st.integers(1, 12), n=st.integers(48, 120), seed=st.integers(0, 10**6))
def test_affine_equivariance_holds_for_any_draw(make_data, make_map, dim, n, seed):
    data, linear = make_data(1, n, dim, seed=seed), make_map(dim, 30.0, seed=seed)
    assert_same_geometry(fit_frames(data), data, fit_frames(data @ linear - 3), data @ linear - 3, 1e-10)


@pytest.mark.parametrize(("dim", "n"), [(1, 3), (5, 3), (5, 19), (30, 30), (30, 119), (60, 100), (48, 240)])
def test_translation_and_feature_scaling_are_exact_at_every_size(make_data, dim, n):
    data = make_data(2, n, dim, condition=5.0)
    scale = torch.logspace(-3, 6, dim, dtype=torch.float64)[torch.randperm(dim)]
    moved = data * scale + 10 * scale
    frame, other = fit_frames(data), fit_frames(moved)
    torch.testing.assert_close(metric(other) * scale[:, None] * scale, metric(frame), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(other.log_abs_det + scale.log().sum(), frame.log_abs_det, rtol=0, atol=1e-8)
    assert_same_geometry(frame, data, other, moved, 1e-9)


@pytest.mark.parametrize(("dim", "n"), [(5, 3), (5, 19), (30, 119), (48, 240)])
def test_order_of_the_features_does_not_matter(make_data, dim, n):
    data = make_data(2, n, dim)
    order = torch.randperm(dim, generator=torch.Generator().manual_seed(0))
    assert_same_geometry(fit_frames(data), data, fit_frames(data[..., order]), data[..., order], 1e-10)


@SIZES
def test_log_abs_det_is_that_of_the_linear_map(make_data, dim, n):
    frame = fit_frames(make_data(3, n, dim, condition=30.0))
    expected = torch.linalg.slogdet(frame.linear).logabsdet
    torch.testing.assert_close(frame.log_abs_det, expected, rtol=1e-10, atol=1e-10)


@SIZES
def test_precision_root_is_symmetric_with_the_stated_determinant(make_data, dim, n):
    root = fit_frames(make_data(3, n, dim)).precision_root
    torch.testing.assert_close(root, root.mT, rtol=0, atol=1e-10)
    assert (torch.linalg.eigvalsh(root) > 0).all()
    expected = 2 * torch.linalg.slogdet(root).logabsdet
    frame = fit_frames(make_data(3, n, dim))
    torch.testing.assert_close(frame.log_det_precision, expected, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize(("dim", "n"), [(1, 4), (2, 8), (5, 200), (30, 120), (60, 250)])
def test_precision_root_whitens_the_total_covariance(make_data, dim, n):
    data = make_data(2, n, dim, condition=30.0)
    frame = fit_frames(data)
    z = frame.to_frame(data)
    covariance = z.mT @ z / n
    whitened = frame.precision_root @ covariance @ frame.precision_root
    torch.testing.assert_close(
        whitened, torch.eye(dim, dtype=torch.float64).expand_as(whitened), rtol=0, atol=1e-9
    )


@SIZES
def test_context_is_centred_with_median_squared_radius_one(make_data, dim, n):
    data = make_data(3, n, dim, condition=30.0)
    frame = fit_frames(data)
    torch.testing.assert_close(frame.center, data.mean(1))
    median = frame.to_frame(data).square().mean(-1).median(1).values
    torch.testing.assert_close(median, torch.ones(3, dtype=torch.float64), rtol=1e-10, atol=0)


def test_clusters_become_nearly_round(make_map):
    """Whitening alone leaves the clusters of this mixture flat by a factor over 5."""
    generator = torch.Generator().manual_seed(0)
    dim, n, modes = 10, 512, 5
    means = 6 * torch.rand(modes, dim, generator=generator, dtype=torch.float64) - 3
    noise = 0.7 * torch.randn(n, dim, generator=generator, dtype=torch.float64)
    member = torch.arange(n) % modes
    data = ((means[member] + noise) @ make_map(dim, 30.0))[None]
    frame = fit_frames(data)
    within = frame.to_frame(noise[None] @ make_map(dim, 30.0) + frame.center)[0]
    value = torch.linalg.eigvalsh(within.mT @ within)
    white = torch.linalg.eigvalsh(frame.precision_root[0] @ within.mT @ within @ frame.precision_root[0])
    assert white[-1] / white[0] > 5
    assert value[-1] / value[0] < 2.5


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("few", [(100, 100), (100, 40), (257, 60)])
def test_long_contexts_are_read_through_a_subset_with_the_same_invariances(
    monkeypatch, make_data, make_map, dim, few
):
    n = 257
    data, linear = make_data(2, n, dim), make_map(dim, 30.0)
    whole = fit_frames(data)
    monkeypatch.setattr(local_scatter, "most_used", lambda _dim: few)
    frame = fit_frames(data)
    shuffled = data[:, torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(fit_frames(shuffled).linear, frame.linear, rtol=1e-8, atol=1e-8)
    moved = data @ linear + 50
    assert_same_geometry(frame, data, fit_frames(moved), moved, 1e-10)
    if dim > 1:  # one dimension has but a scale to find, and that is read from all points
        assert not torch.allclose(metric(whole), metric(frame), rtol=1e-3)


def test_subsets_give_about_the_frame_of_the_whole(monkeypatch, make_data):
    data = make_data(1, local_scatter.most_used(2)[0] + 1, 2)
    frame = fit_frames(data)
    monkeypatch.setattr(local_scatter, "most_used", lambda _dim: (2000, 2000))
    torch.testing.assert_close(metric(fit_frames(data)), metric(frame), rtol=0.3, atol=0.1)


@pytest.mark.parametrize(("dim", "n"), [(1, 50), (2, 500), (3, 500), (5, 200), (20, 60), (48, 250)])
@pytest.mark.parametrize("values", [2, 3, 20])
def test_integer_data_with_many_ties_stay_finite(dim, n, values):
    generator = torch.Generator().manual_seed(0)
    data = torch.randint(values, (4, n, dim), generator=generator).double()
    frame = fit_frames(data)
    for name in FIELDS:
        assert getattr(frame, name).isfinite().all(), name
    assert frame.to_frame(data).abs().max() < 1e6


@pytest.mark.parametrize(("dim", "copies"), [(1, 3), (2, 12), (2, 20), (5, 4)])
def test_repeated_rows_stay_finite_in_any_order(make_data, dim, copies):
    data = make_data(2, 60, dim).repeat(1, copies, 1)
    shuffled = data[:, torch.randperm(60 * copies, generator=torch.Generator().manual_seed(0))]
    frame, other = fit_frames(data), fit_frames(shuffled)
    assert frame.linear.isfinite().all()
    torch.testing.assert_close(metric(other), metric(frame), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("jitter", [1e-12, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_nearly_repeated_rows_stay_finite(make_data, dim, jitter):
    data = make_data(4, 40, dim).repeat(1, 12, 1)
    data = data + jitter * torch.randn(
        data.shape, generator=torch.Generator().manual_seed(0), dtype=data.dtype
    )
    frame = fit_frames(data)
    for name in FIELDS:
        assert getattr(frame, name).isfinite().all(), name


@FEW
@given(batch=st.integers(2, 4), dim=st.integers(1, 9), n=st.integers(2, 80))
def test_a_batch_gives_the_frames_one_by_one(make_data, batch, dim, n):
    data = make_data(batch, n, dim, condition=30.0)
    frame = fit_frames(data)
    for b in range(batch):
        alone = fit_frames(data[b : b + 1])
        for name in FIELDS:
            torch.testing.assert_close(
                getattr(alone, name)[0],
                getattr(frame, name)[b],
                rtol=1e-8,
                atol=1e-8,
                msg=lambda m, f=name: f + m,
            )


def test_beyond_forty_dimensions_each_data_set_takes_the_seed_that_suits_it(monkeypatch, make_data):
    """Of one cluster and several at D = 48, only the latter leave the whitened seed; alone or in a batch."""
    one = torch.randn(1, 240, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    data = torch.cat([one, make_data(1, 240, 48, seed=1)])
    frame = fit_frames(data)
    for b in range(2):
        alone = fit_frames(data[b : b + 1])
        torch.testing.assert_close(alone.linear[0], frame.linear[b], rtol=1e-8, atol=1e-8)
    monkeypatch.setattr(frame_module, "TWO_STARTS_ABOVE", 48)
    whitened = fit_frames(data)
    torch.testing.assert_close(whitened.linear[0], frame.linear[0], rtol=1e-8, atol=1e-8)
    assert not torch.allclose(whitened.linear[1], frame.linear[1], rtol=0.1)


@FEW
@given(dim=st.integers(1, 20), n=st.integers(2, 60), seed=st.integers(0, 10**6))
def test_scores_go_to_the_frame_and_back(make_data, dim, n, seed):
    frame = fit_frames(make_data(2, n, dim, seed=seed))
    score = torch.randn(2, 7, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(frame.score_to_data(frame.score_to_frame(score)), score, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(frame.score_to_frame(frame.score_to_data(score)), score, rtol=1e-8, atol=1e-8)


def test_scores_map_as_gradients(make_data):
    """With log f(x) = log f_z(z(x)) + log|det A|, autograd through z(x) is `score_to_data`."""
    data = make_data(2, 40, 3)
    frame = fit_frames(data)
    points = data[:, :5].clone().requires_grad_()
    z = frame.to_frame(points)
    (gradient,) = torch.autograd.grad(-(z**4).sum(), points)
    torch.testing.assert_close(frame.score_to_data(-4 * z.detach() ** 3), gradient)


def test_effective_size_is_the_number_of_points(make_data):
    assert fit_frames(make_data(2, 17, 3)).effective_size.tolist() == [17, 17]
