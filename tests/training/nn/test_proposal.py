"""The proposal: a base that is a density, whatever the rotation and order, with a product where it helps."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from discoformer.base.base import Base, evaluate_base
from discoformer.base.frame import Frames, fit_frames
from discoformer.base.independent import enough, evaluate_product
from discoformer.base.mixture import evaluate
from discoformer.fit import graph_inputs, landmarks_of, read_sample
from discoformer.io.inputs import Floats
from discoformer.onnx.graphs import Graphs
from discoformer.onnx.model_files import ModelFiles
from discoformer.onnx.placement import find_placement
from discoformer.proposal import propose
from discoformer_training.data.context import LANDMARKS, Context, context_in_frame
from discoformer_training.nn.proposal import Proposal

FEW = settings(deadline=None, max_examples=10, derandomize=True)
MIXTURE = Path(__file__).parents[3] / "models" / "base" / "mixture.onnx"


def read(proposal: Proposal, data: Tensor, frame: Frames[Tensor] | None = None) -> tuple[Context, Frames]:
    """Data sets (B, N, D) in their frames."""
    frame = frame or fit_frames(data)
    return context_in_frame(data, frame, propose=proposal), frame


def log_density(base: Base[Tensor], queries: Tensor) -> Tensor:
    """In float64, at queries (B, M, D) in the frame."""
    return evaluate_base(base.each(Tensor.double), queries).log_density


def mixing(dim: int) -> Tensor:
    """The matrix (D, D) that mixes independent variables."""
    return torch.as_tensor(np.random.default_rng(dim).normal(size=(dim, dim)))


def laplace(n: int, dim: int) -> Tensor:
    """Independent Laplace variables, mixed, (1, N, D)."""
    return torch.as_tensor(np.random.default_rng(0).laplace(size=(1, n, dim))) @ mixing(dim)


def clusters(n: int, dim: int) -> Tensor:
    """Four clusters, (1, N, D)."""
    rng = np.random.default_rng(0)
    centers = 4 * rng.normal(size=(4, dim))
    return torch.as_tensor(centers[rng.integers(4, size=(1, n))] + rng.normal(size=(1, n, dim)))


def test_the_components_are_those_of_the_network_and_nothing_has_a_gradient(proposal, make_data):
    data = make_data(2, 40, 3)
    context, frame = read(proposal, data)
    queries = frame.to_frame(make_data(2, 60, 3)[:, 40:])
    expected, _ = proposal.network.mixture(context).log_density_and_score(queries.float())
    found = evaluate(context.base.components, queries.float()).log_density
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for field in context.base.to_inputs().values():
        assert field.dtype == torch.float32
        assert not field.requires_grad
    assert not any(parameter.requires_grad for parameter in proposal.network.parameters())


# Invariances


@FEW
@given(n=st.integers(4, 80), dim=st.integers(1, 5), seed=st.integers(0, 99))
def test_rotations_of_the_frame_and_the_order_of_the_points_do_not_matter(
    proposal, make_data, make_map, n, dim, seed
):
    data, turn = make_data(2, n, dim, seed=seed), make_map(dim, seed=seed)
    context, frame = read(proposal, data)
    queries = 1.5 * frame.to_frame(make_data(2, n + 9, dim, seed=seed)[:, n:])
    expected = log_density(context.base, queries)
    turned = replace(frame, linear=frame.linear @ turn, precision_root=turn.mT @ frame.precision_root @ turn)
    other, _ = read(proposal, data, turned)
    torch.testing.assert_close(log_density(other.base, queries @ turn), expected, rtol=1e-3, atol=1e-3)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    other, _ = read(proposal, data[:, order], frame)
    torch.testing.assert_close(log_density(other.base, queries), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("n", "dim"), [(40, 1), (60, 2), (200, 5)])
def test_affine_maps_of_the_data_do_not_matter(proposal, make_data, make_map, n, dim):
    data, linear = make_data(2, n + 9, dim), make_map(dim, 30.0)
    found = []
    for points in (data, data @ linear - 7):
        context, frame = read(proposal, points[:, :n])
        found.append(log_density(context.base, frame.to_frame(points[:, n:])) + frame.log_abs_det[:, None])
    shift = torch.linalg.slogdet(linear).logabsdet
    torch.testing.assert_close(found[1] + shift, found[0], rtol=1e-3, atol=1e-3)


def test_data_sets_of_a_batch_have_the_bases_that_they_have_alone(proposal, make_data):
    data = make_data(3, 60, 3)
    context, frame = read(proposal, data)
    queries = frame.to_frame(make_data(3, 70, 3)[:, 60:])
    together = log_density(context.base, queries)
    for b in range(3):
        alone, _ = read(proposal, data[[b]])
        torch.testing.assert_close(
            log_density(alone.base, queries[[b]])[0], together[b], rtol=1e-4, atol=1e-4
        )


# A density


def test_on_a_line_it_integrates_to_one(proposal, make_data):
    base = read(proposal, make_data(1, 40, 1))[0].base
    u = torch.linspace(-40, 40, 20_001, dtype=torch.float64)
    values = log_density(base, u.sinh()[None, :, None])[0].exp() * u.cosh()
    assert torch.trapezoid(values, u).item() == pytest.approx(1, abs=1e-5)


def test_in_the_plane_it_integrates_to_one(proposal):
    """Along the axes of the product, whose tails form a cross."""
    base = read(proposal, laplace(60, 2))[0].base._replace(product_share=torch.tensor([0.5]))
    u = torch.linspace(-13, 13, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(u.sinh(), u.sinh())
    axes = base.product.axes[0].double()
    values = torch.cat([log_density(base, part[None])[0] for part in (grid @ axes.inverse()).split(10_000)])
    weights = torch.outer(u.cosh(), u.cosh()).flatten() / axes.det().abs()
    assert ((values.exp() * weights).sum() * (u[1] - u[0]) ** 2).item() == pytest.approx(1, abs=2e-3)


# The share of the product


@pytest.mark.parametrize(("n", "dim"), [(200, 1), (79, 10), (3, 2)])
def test_there_is_no_product_on_a_line_nor_of_few_points(proposal, n, dim):
    base = read(proposal, laplace(n, dim))[0].base
    assert (base.product_share == 0).all()
    assert base.product.means.shape == (1, dim, 1)  # a placeholder


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_there_is_a_product_from_the_least_size_on(proposal, dim):
    """Though the effective size of equal weights is a whole number up to rounding only."""
    for n in (8 * dim, 8 * dim + 1):
        assert n >= enough(dim) > n - 2
        assert read(proposal, laplace(n, dim))[0].base.product.means.shape == (1, dim, n + 1)


def test_independent_coordinates_have_a_product_and_clusters_do_not(trained_proposal):
    share = {name: float(read(trained_proposal, data)[0].base.product_share) for name, data in (
        ("Laplace", laplace(800, 10)), ("clusters", clusters(800, 10))
    )}  # fmt: skip
    assert share["Laplace"] > 0.8
    assert share["clusters"] < 0.01


def test_the_product_is_the_density_of_independent_coordinates(trained_proposal):
    """Nearer to it than the mixture is, in 10 dimensions."""
    n, dim = 2000, 10
    data = laplace(n + 500, dim)
    context, frame = read(trained_proposal, data[:, :n])
    sources = torch.linalg.solve(mixing(dim), data[:, n:], left=False)
    expected = -sources.abs().sum(-1) - dim * np.log(2) - torch.linalg.slogdet(mixing(dim)).logabsdet
    queries, base = frame.to_frame(data[:, n:]), context.base.each(Tensor.double)
    product, mixture = (
        (found.log_density + frame.log_abs_det[:, None] - expected).square().mean().item()
        for found in (evaluate_product(base.product, queries), evaluate(base.components, queries))
    )
    assert product < 0.3
    assert product < 0.25 * mixture


# The runtime


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    """The released graph of the trained mixture network."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copy(MIXTURE, folder)
    return Graphs(ModelFiles(folder, trust=True), find_placement("cpu", 1))


def proposed(
    graphs: Graphs, data: Floats, weights: Floats | None = None, size: float | None = None
) -> tuple[Base[Floats], Floats]:
    """The base that the runtime makes, and the points in its frame."""
    sample = read_sample(data, weights, size)
    inputs = graph_inputs([sample], [landmarks_of(sample, LANDMARKS)])
    base = Base.from_inputs(propose(graphs, [sample], graphs.mixture(inputs)))
    return base.each(lambda field: field.astype(np.float64)), sample.frame.to_frame(data)


@pytest.mark.parametrize("draw", [laplace, clusters])
@pytest.mark.parametrize(("n", "dim"), [(40, 1), (24, 3), (39, 5), (500, 4), (2500, 2)])
def test_the_runtime_makes_the_same_base(
    graphs: Graphs, trained_proposal: Proposal, draw: Callable[[int, int], Tensor], n: int, dim: int
) -> None:
    data = draw(n, dim)
    context, frame = read(trained_proposal, data)
    base, z = proposed(graphs, data[0].numpy())
    np.testing.assert_allclose(base.product_share, context.base.product_share, atol=1e-4)
    found = evaluate_base(base, z[None]).log_density
    np.testing.assert_allclose(found, log_density(context.base, frame.to_frame(data)), atol=1e-3)


def test_integer_weights_are_repetitions_in_the_runtime(graphs: Graphs) -> None:
    data, times = laplace(300, 2)[0].numpy(), np.random.default_rng(0).integers(1, 4, 300)
    base, z = proposed(graphs, data, times.astype(float), float(times.sum()))
    repeated, _ = proposed(graphs, np.repeat(data, times, axis=0), size=float(times.sum()))
    np.testing.assert_allclose(base.product_share, repeated.product_share, atol=1e-3)
    found, expected = (evaluate_base(one, z[None]).log_density for one in (base, repeated))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    "x",
    [
        np.array([[-1.0], [1.0]]),
        np.repeat([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]], 20, axis=0),
        np.r_[np.random.default_rng(0).normal(size=(100, 2)), [[1e12, 0.0]]],
        np.random.default_rng(0).normal(size=(10, 40)),
        np.random.default_rng(0).standard_cauchy(size=(500, 2)),
        np.random.default_rng(0).integers(3, size=(300, 4)).astype(float),
        np.c_[np.arange(200.0) == 7, np.random.default_rng(0).normal(size=200)],
        np.c_[np.arange(200.0), np.arange(200.0) + (np.arange(200) == 3)],
    ],
    ids=["two points", "duplicates", "outlier", "n < d", "Cauchy", "lattice", "one other", "one off"],
)
def test_awkward_samples_have_finite_bases_in_the_runtime(graphs: Graphs, x: Floats) -> None:
    """Half of a sample may have no density, as where one row alone differs in a column."""
    for weights in (None, np.geomspace(1e-3, 1, len(x))):
        base, z = proposed(graphs, x, weights)
        assert 0 <= base.product_share < 1
        for y in (z, 1e6 * z):
            assert all(np.isfinite(field).all() for field in evaluate_base(base, y[None]))
