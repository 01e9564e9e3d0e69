"""The frame: its invariances, its limits, and the data that have none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.base import frame as frame_module
from discoformer.base import local_scatter
from discoformer.base.frame import Frame, fit_frame, fit_frames
from discoformer.base.local_scatter import Draft
from discoformer.base.standardised import has_density
from discoformer.errors import DegenerateDataError
from discoformer.io.inputs import Floats

SEEDS = st.integers(0, 2**32 - 1)
quick = settings(max_examples=15, deadline=None, derandomize=True)


def clusters(rng: np.random.Generator, n: int, dim: int, modes: int = 3) -> Floats:
    """Draws from a mixture with axes of different lengths."""
    means = rng.uniform(-3, 3, (modes, dim))
    return means[rng.integers(modes, size=n)] + rng.normal(size=(n, dim)) * rng.uniform(0.3, 1, dim)


def gram(frame: Frame, points: Floats) -> Floats:
    """All that is unique about frame coordinates: their inner products."""
    z = frame.to_frame(points)
    return z @ z.T


def assert_same_up_to(a: Frame, points_a: Floats, b: Frame, points_b: Floats, log_det: float = 0.0) -> None:
    """The frames give their points the same coordinates up to a rotation, by maps log_det apart."""
    np.testing.assert_allclose(gram(a, points_a), gram(b, points_b), rtol=1e-7, atol=1e-7)
    assert a.log_abs_det == pytest.approx(b.log_abs_det + log_det, abs=1e-8)
    assert a.log_det_precision == pytest.approx(b.log_det_precision, abs=1e-7)
    pull_a, pull_b = a.to_frame(points_a) @ a.precision_root, b.to_frame(points_b) @ b.precision_root
    np.testing.assert_allclose(pull_a @ pull_a.T, pull_b @ pull_b.T, rtol=1e-7, atol=1e-7)


@quick
@given(SEEDS, st.integers(1, 12), st.integers(0, 200))
def test_affine_maps_change_nothing_but_the_determinant(seed: int, dim: int, extra: int) -> None:
    rng = np.random.default_rng(seed)
    x = clusters(rng, 4 * dim + extra, dim)
    matrix, shift = rng.normal(size=(dim, dim)) + 2 * np.eye(dim), rng.normal(size=dim) * 10
    mapped = x @ matrix + shift
    assert_same_up_to(fit_frame(x), x, fit_frame(mapped), mapped, np.linalg.slogdet(matrix)[1])


@pytest.mark.parametrize(("n", "dim"), [(2500, 3), (200, 40)])
def test_affine_maps_at_the_edges(rng: np.random.Generator, n: int, dim: int) -> None:
    x = clusters(rng, n, dim)
    matrix = rng.normal(size=(dim, dim)) + 6 * np.eye(dim)
    mapped = x @ matrix - 5
    assert_same_up_to(fit_frame(x), x, fit_frame(mapped), mapped, np.linalg.slogdet(matrix)[1])


@quick
@given(SEEDS, st.integers(1, 30), st.integers(2, 60))
def test_scaling_shifting_and_permuting_columns_is_exact_at_any_size(seed: int, dim: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x = clusters(rng, n, dim)
    scale, order = 10.0 ** rng.uniform(-9, 9, dim), rng.permutation(dim)
    mapped = (x * scale + rng.normal(size=dim) * scale * 10)[:, order]
    assert_same_up_to(fit_frame(x), x, fit_frame(mapped), mapped, np.log(scale).sum())


@quick
@given(SEEDS, st.integers(1, 20), st.integers(2, 300))
def test_order_of_rows_does_not_matter(seed: int, dim: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x = clusters(rng, n, dim)
    assert_same_up_to(fit_frame(x), x, fit_frame(x[rng.permutation(n)]), x)


@quick
@given(SEEDS, st.integers(1, 8), st.integers(40, 150))
def test_integer_weights_are_repetitions(seed: int, dim: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x, repeats = clusters(rng, n, dim), rng.integers(0, 4, n)
    weighted = fit_frame(x, 0.1 * repeats, effective_size=90.0)
    assert_same_up_to(weighted, x, fit_frame(np.repeat(x, repeats, axis=0), effective_size=90.0), x)


@pytest.mark.parametrize("n", [400, 2100])
def test_subsets_of_points_and_of_centres_are_the_same_for_weights_and_repetitions(
    rng: np.random.Generator, n: int
) -> None:
    x, repeats = clusters(rng, n, 2), rng.integers(1, 4, n)
    weighted = fit_frame(x, repeats / 7, effective_size=2500.0)
    assert_same_up_to(weighted, x, fit_frame(np.repeat(x, repeats, axis=0), effective_size=2500.0), x)


def test_rows_of_weight_zero_are_absent(rng: np.random.Generator) -> None:
    x = clusters(rng, 80, 3)
    x[60:] = 1e6
    weights = np.r_[rng.uniform(1, 2, 60), np.zeros(20)]
    assert_same_up_to(fit_frame(x, weights), x[:60], fit_frame(x[:60], weights[:60]), x[:60])


def test_effective_size_is_kish(rng: np.random.Generator) -> None:
    x, w = clusters(rng, 50, 2), rng.uniform(size=50)
    assert fit_frame(x, w).effective_size == pytest.approx(w.sum() ** 2 / np.square(w).sum())
    assert fit_frame(x, 1e300 * w).effective_size == pytest.approx(fit_frame(x, w).effective_size)


def test_the_two_ways_to_the_neighbourhood_radius_agree(rng: np.random.Generator) -> None:
    """Also where a number of points holds the share exactly, or up to the rounding of a share."""
    distances = rng.integers(0, 40, (300, 300)).astype(np.float64)
    w = np.full(300, 1 / 300)
    for size in (15.0, 77.7, 100.0, 100 * (1 - 1e-7), 100 * (1 - 1e-5), 300.0, 1000.0):
        sample = local_scatter.sample_of(
            np.zeros((1, 300, 2)), w[None], np.array([size]), np.zeros((1, 300, 2))
        )
        fraction = local_scatter.neighbourhood_fraction(np.array([size]))
        slow = local_scatter.weighted_radii(distances[None], w[None], fraction)
        fast = local_scatter._squared_radii(sample, distances[None])
        np.testing.assert_array_equal(fast, np.maximum(slow, local_scatter.TINY))


def test_columns_of_wildly_different_units(rng: np.random.Generator) -> None:
    x = clusters(rng, 200, 4)
    scale = np.array([1e-150, 1e-12, 1e12, 1e150])
    assert_same_up_to(fit_frame(x), x, fit_frame(x * scale), x * scale, np.log(scale).sum())


def test_large_offsets(rng: np.random.Generator) -> None:
    x = np.round(clusters(rng, 200, 2), 4)
    moved = x + 1e6
    np.testing.assert_allclose(gram(fit_frame(moved), moved), gram(fit_frame(x), x), rtol=1e-5, atol=1e-5)


def test_neighbourhoods_become_round(rng: np.random.Generator) -> None:
    """Clusters that whitening flattens. They are so near each other that the guard changes little."""
    dim = 10
    within = rng.normal(size=(dim, dim))
    means = 4 * rng.normal(size=(5, dim)) @ within
    member = rng.integers(5, size=512)
    x = means[member] + rng.normal(size=(512, dim)) @ within
    frame = fit_frame(x)

    def elongation(z: Floats) -> float:
        centered = z - np.stack([z[member == k].mean(axis=0) for k in range(5)])[member]
        values = np.linalg.eigvalsh(centered.T @ centered)
        return float(values[-1] / values[0])

    z = frame.to_frame(x)
    assert elongation(z @ frame.precision_root) > 40
    assert elongation(z) < 3  # the noise of 512 draws alone gives 1.6


def test_median_radius_and_total_covariance(rng: np.random.Generator) -> None:
    x = clusters(rng, 501, 3)
    frame = fit_frame(x)
    z = frame.to_frame(x)
    assert np.median(np.square(z).mean(axis=1)) == pytest.approx(1)
    np.testing.assert_allclose(np.cov((z @ frame.precision_root).T, bias=True), np.eye(3), atol=1e-9)
    precision = frame.precision_root @ frame.precision_root
    assert frame.log_det_precision == pytest.approx(np.linalg.slogdet(precision)[1])
    assert frame.log_abs_det == pytest.approx(np.linalg.slogdet(frame.linear)[1])


def test_scores_and_densities_change_variables(rng: np.random.Generator) -> None:
    x = clusters(rng, 50, 3)
    frame = fit_frame(x)
    direction = rng.normal(size=3)
    slope_frame, slope_data = rng.normal(size=(1, 3)) * np.ones((50, 3)), direction @ frame.linear
    assert frame.score_to_data(slope_frame)[0] @ direction == pytest.approx(slope_frame[0] @ slope_data)
    assert frame.log_density_to_data(np.zeros(1))[0] == frame.log_abs_det


@pytest.mark.parametrize(
    ("n", "dim"), [(2, 1), (2, 3), (3, 50), (12, 2), (30, 60)] + [(4 * d, d) for d in range(1, 12)]
)
def test_few_points_are_shrunk_and_finite(rng: np.random.Generator, n: int, dim: int) -> None:
    frame = fit_frame(rng.normal(size=(n, dim)))
    assert frame.initialisation == ("whitened" if n >= 4 * dim else "standardised")
    assert frame.shrinkage == pytest.approx(max(0, 1 - (n / (4 * dim)) ** 2) ** 2)
    assert np.isfinite(frame.linear).all()
    assert np.isfinite(frame.precision_root).all()
    assert np.isfinite([frame.log_abs_det, frame.log_det_precision]).all()


def test_high_dimension_takes_the_initialisation_that_shows_the_clusters(rng: np.random.Generator) -> None:
    member = rng.integers(2, size=500)
    apart = rng.uniform(-3, 3, (2, 60))[member] + 0.5 * rng.normal(size=(500, 60))
    assert fit_frame(apart).initialisation == "standardised"
    mixed = rng.normal(size=(500, 60)) @ (rng.normal(size=(60, 60)) + np.ones((60, 60)))
    assert fit_frame(mixed).initialisation == "whitened"


def test_duplicates_and_discrete_data_are_harmless(rng: np.random.Generator) -> None:
    for x in (
        rng.integers(0, 2, (300, 3)).astype(np.float64),  # neighbourhoods of coinciding points alone
        rng.integers(0, 6, (300, 2)).astype(np.float64),
        np.repeat(clusters(rng, 20, 2), 15, axis=0),
        np.r_[np.zeros((200, 2)), clusters(rng, 50, 2)],  # median radius 0 up to the mean
        np.r_[np.zeros((60, 1)), np.ones((1, 1)), -np.ones((1, 1))],
    ):
        frame = fit_frame(x)
        mapped = 3 * x[rng.permutation(len(x)), ::-1] + 1
        assert_same_up_to(frame, x, fit_frame(mapped), 3 * x[:, ::-1] + 1, x.shape[1] * np.log(3))


def test_lattices_do_not_flatten_the_frame(rng: np.random.Generator) -> None:
    for x in (rng.integers(0, 6, (300, 2)), np.c_[rng.normal(size=500), rng.integers(0, 2, 500)]):
        z = fit_frame(x.astype(np.float64)).to_frame(x)
        values = np.linalg.eigvalsh(np.cov(z.T))
        assert values[-1] / values[0] < 2.1 / local_scatter.GUARD


def test_degenerate_data_are_named(rng: np.random.Generator) -> None:
    x = clusters(rng, 100, 4)
    with pytest.raises(DegenerateDataError, match="2 rows"):
        fit_frame(x[:1])
    with pytest.raises(DegenerateDataError, match="2 rows"):
        fit_frame(x[:3], np.array([0.0, 1.0, 0.0]))
    constant = x.copy()
    constant[:, [1, 3]] = 0.1, 7e9
    with pytest.raises(DegenerateDataError, match=r"constant in column 1 \('b'\), column 3 \('d'\)"):
        fit_frame(constant, columns=list("abcd"))
    collinear = x.copy()
    collinear[:, 0] = 1e6 * (x[:, 1] - 2 * x[:, 3]) + 5
    with pytest.raises(DegenerateDataError, match="column 0, column 1, column 3"):
        fit_frame(collinear)


def test_nearly_collinear_data_have_a_frame(rng: np.random.Generator) -> None:
    x = clusters(rng, 200, 2)
    x[:, 1] = x[:, 0] + 1e-5 * x[:, 1]
    white = fit_frame(x).to_frame(x) @ fit_frame(x).precision_root
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(2), atol=1e-4)


def test_the_old_name_of_the_initialisation_warns(rng: np.random.Generator) -> None:
    with pytest.warns(DeprecationWarning, match="initialisation"):
        assert fit_frame(clusters(rng, 50, 2)).seed == "whitened"


def test_a_batch_with_weights_of_all_sizes_gives_the_frames_one_by_one(rng: np.random.Generator) -> None:
    data = np.stack([clusters(rng, 60, 3) for _ in range(3)])
    w = rng.uniform(0.5, 2, (3, 60))
    w, size = w / w.sum(1)[:, None], np.array([9.0, 30.0, 50.0])  # the first is short of 4 D
    frames = fit_frames(data, w, size)
    assert frames.whitened.tolist() == [False, True, True]
    for b in range(3):
        alone = fit_frame(data[b], w[b], size[b])
        z = frames.to_frame(data)[b]
        np.testing.assert_allclose(z @ z.T, gram(alone, data[b]), rtol=1e-8, atol=1e-8)
        assert frames.log_abs_det[b] == pytest.approx(alone.log_abs_det, abs=1e-9)
        assert frames.log_det_precision[b] == pytest.approx(alone.log_det_precision, abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 40, 1500])
def test_in_one_dimension_rounds_would_change_nothing(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    """So none are run: local scatter has but a scale to find there, and that is set by the median."""
    data = np.stack([clusters(rng, n, 1) for _ in range(2)])
    w = rng.uniform(0.5, 2, (2, n))
    size = np.array([min(n, 3.0), float(n)])  # the first is short of 4 D
    given = data, w / w.sum(1)[:, None], size
    frames = fit_frames(*given)
    assert frames.whitened.tolist() == [False, n >= 4]

    def in_rounds(u: Floats, w: Floats, size: Floats, correlation: Floats) -> tuple[Draft[Floats], Floats]:
        short = local_scatter.shrinkage_of(size, 1) > 0
        draft = Draft(np.ones_like(correlation), correlation)
        return local_scatter.tighten(local_scatter.sample_of(u, w, size, u), draft, 5), ~short

    monkeypatch.setattr(frame_module, "_best_draft", in_rounds)
    with_rounds = fit_frames(*given)
    for name, field in vars(frames).items():
        np.testing.assert_allclose(getattr(with_rounds, name), field, rtol=1e-9, atol=1e-9, err_msg=name)


def test_data_without_a_density_are_told_from_nearly_degenerate_ones(rng: np.random.Generator) -> None:
    x = clusters(rng, 200, 3)
    assert has_density(x)
    assert has_density(np.c_[x[:, 0], x[:, 0] + 1e-5 * x[:, 1]])
    assert not has_density(np.c_[x, x @ [1.0, 2, 3]])
    assert not has_density(np.c_[x, np.full(200, 0.1)])


def test_shrinkage_makes_up_for_missing_rows_unless_the_effective_size_hides_them(
    rng: np.random.Generator,
) -> None:
    x = clusters(rng, 10, 40)
    assert np.isfinite(fit_frame(x).linear).all()
    with pytest.raises(DegenerateDataError, match="linear combinations"):
        fit_frame(x, effective_size=400)
