"""The stream: tasks fixed by (seed, step, rank), the sizes and kinds of queries asked for, exact answers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from discoformer.base.frame import Frames, fit_frames
from discoformer.base.mixture import evaluate
from discoformer_training.data import stream
from discoformer_training.data.context import Propose
from discoformer_training.data.families import FAMILIES, Affine, draw_density
from discoformer_training.data.mixtures import Mixtures, draw_mixtures
from discoformer_training.data.stream import StreamConfig, Task, draw_task
from discoformer_training.nn.proposal import Proposal
from discoformer_training.run.config import TrainConfig

pytestmark = pytest.mark.slow

FEW = settings(deadline=None, max_examples=10, derandomize=True)
CONFIG = StreamConfig(dims=(1, 6), context_sizes=(32, 64), tokens=256)


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[Mixtures, Frames]]:
    """What was behind the tasks drawn during a test."""
    seen: list = []

    def remember_mixtures(*args, **kwargs) -> Mixtures:
        seen.append(draw_mixtures(*args, **kwargs))
        return seen[-1]

    def remember_frame(context: Tensor) -> Frames:
        seen.append((seen.pop(), fit_frames(context)))
        return seen[-1][1]

    monkeypatch.setattr(stream, "draw_mixtures", remember_mixtures)
    monkeypatch.setattr(stream, "fit_frames", remember_frame)
    return seen


def tasks(config: StreamConfig, count: int, propose: Propose | None = None) -> Iterator[Task]:
    """Draw the first tasks of a stream."""
    return (draw_task(config, 0, number, propose=propose) for number in range(count))


@pytest.mark.parametrize("with_base", [False, True])
@FEW
@given(seed=st.integers(0, 2**31), number=st.integers(0, 10**7), rank=st.integers(0, 7))
def test_a_task_depends_on_seed_number_and_rank_alone(seed, number, rank, same, proposal, with_base):
    propose, config = proposal if with_base else None, replace(CONFIG, imagined=0.2)
    first = draw_task(config, seed, number, rank=rank, propose=propose)
    assert (first.context.base is not None) == with_base
    torch.manual_seed(number)
    torch.randn(5)
    draw_task(config, seed, number + 1, propose=propose)
    assert same(draw_task(config, seed, number, rank=rank, propose=propose), first)
    assert not same(draw_task(config, seed, number, rank=rank + 1, propose=propose), first)


def test_seeds_steps_and_ranks_all_give_different_tasks():
    config = replace(CONFIG, dims=(2, 2), context_sizes=(40, 40))
    keys = [(seed, step, rank) for seed in range(2) for step in range(2) for rank in range(2)]
    points = [draw_task(config, seed, step, rank=rank).context.points for seed, step, rank in keys]
    for i, one in enumerate(points):
        for other in points[:i]:
            assert not torch.equal(one, other)


@FEW
@given(step=st.integers(0, 10**6), rank=st.integers(1, 100))
def test_ranks_share_the_sizes_of_a_step(step, rank, same):
    one, other = draw_task(CONFIG, 0, step), draw_task(CONFIG, 0, step, rank=rank)
    assert one.context.points.shape == other.context.points.shape
    assert one.queries.shape == other.queries.shape
    assert not same(one, other)


def test_sizes_stay_within_their_ranges_and_reach_both_ends():
    config = StreamConfig(dims=(1, 3), context_sizes=(32, 35), tokens=64)
    drawn = [stream._draw_sizes(config, 0, step) for step in range(80)]
    assert {dim for dim, _ in drawn} == {1, 2, 3}
    assert {n for _, n in drawn} == {32, 33, 34, 35}
    for task, (dim, n) in zip(tasks(config, 8), drawn, strict=False):
        assert task.context.points.shape[1:] == (n, dim)


def test_dimensions_are_drawn_log_uniformly():
    """Half of them at or below the middle of the log-range, 10 of 1 to 100."""
    config = StreamConfig()
    dims = torch.tensor([stream._draw_sizes(config, 0, step)[0] for step in range(2000)])
    assert dims.min() == 1
    assert dims.max() == 100
    assert abs((dims <= 10).double().mean() - 0.52) < 0.04


def test_shares_of_the_tasks_are_on_a_line_and_in_the_plane_and_the_others_stay_as_they_are():
    drawn, mixed = (
        [stream._draw_sizes(config, 0, step) for step in range(2000)]
        for config in (StreamConfig(), StreamConfig(line=0.1, plane=0.3))
    )
    moved = [(one, other) for one, other in zip(drawn, mixed, strict=True) if one != other]
    assert all(other in ((1, one[1]), (2, one[1])) for one, other in moved)
    assert abs(sum(dim == 1 for dim, _ in mixed) / 2000 - (0.1 + 0.6 * 0.15)) < 0.03
    assert abs(sum(dim == 2 for dim, _ in mixed) / 2000 - (0.3 + 0.6 * 0.088)) < 0.03


def test_a_share_of_the_tasks_is_large_and_the_others_stay_as_they_are():
    drawn, mixed = (
        [stream._draw_sizes(config, 0, step) for step in range(2000)]
        for config in (StreamConfig(plane=0.3), StreamConfig(plane=0.3, large=0.2))
    )
    moved = [other for one, other in zip(drawn, mixed, strict=True) if one != other]
    assert all(dim >= 31 and n >= 8 * 512**0.75 for dim, n in moved)
    assert abs(len(moved) / 2000 - 0.2) < 0.03


def test_every_tensor_is_float32_finite_and_of_its_shape(tensors, proposal):
    for task in tasks(CONFIG, 20, proposal):
        for tensor in tensors(replace(task, floor=task.log_density)):
            assert tensor.dtype == torch.float32
            assert tensor.isfinite().all()
        batch, n, dim = task.context.points.shape
        m = task.queries.shape[1]
        assert task.context.log_weights.shape == (batch, n)
        assert task.context.precision_root.shape == (batch, dim, dim)
        assert task.context.log_det_precision.shape == task.context.effective_size.shape == (batch,)
        assert (task.context.effective_size == n).all()
        assert task.queries.shape == task.score.shape == task.directions.shape == (batch, m, dim)
        assert task.log_density.shape == (batch, m)


def test_number_of_data_sets_keeps_to_the_budget_of_tokens(proposal):
    config = StreamConfig(dims=(1, 80), context_sizes=(32, 300), tokens=900)
    for task in tasks(config, 12, proposal):
        batch, n, dim = task.context.points.shape
        cost = batch * (n + task.queries.shape[1]) * (1 + dim / stream.FULL_BATCH_DIM)
        assert batch == 1 or cost <= 1.5 * config.tokens
        assert cost > 0.5 * config.tokens or batch == 1


def test_directions_have_unit_length():
    for task in tasks(CONFIG, 10):
        length = task.directions.norm(dim=-1)
        torch.testing.assert_close(length, torch.ones_like(length), rtol=0, atol=1e-6)


def test_queries_are_as_many_as_asked_for_each_context_point_within_their_range():
    config = replace(CONFIG, queries=2.0, query_range=(100, 200))
    for n, m in ((32, 100), (64, 128), (150, 200)):
        assert draw_task(replace(config, context_sizes=(n, n)), 0, 0).queries.shape[1] == m


@pytest.mark.parametrize("sizes", [(32, 32), (100, 100), (256, 256)])
def test_queries_come_in_the_shares_asked_for(sizes):
    config = replace(CONFIG, context_sizes=sizes, dims=(2, 2))
    task = draw_task(config, 0, 0)
    m = task.queries.shape[1]
    assert m == max(64, sizes[0] // 2)
    assert abs(task.n_fresh / m - config.fresh) < 1 / m
    assert abs((task.n_on_support - task.n_fresh) / m - config.seen) < 1 / m
    assert task.n_on_support < m


def test_seen_queries_are_the_context_points_and_no_others_are():
    for task in tasks(CONFIG, 10):
        seen = task.queries[:, task.n_fresh : task.n_on_support]
        assert torch.equal(seen, task.context.points[:, : seen.shape[1]])
        others = torch.cat([task.queries[:, : task.n_fresh], task.queries[:, task.n_on_support :]], 1)
        apart = (others[:, :, None] - task.context.points[:, None]).abs().amax(-1)
        assert (apart > 0).all()


def test_of_a_long_context_landmarks_are_tokens_and_all_points_are_kept(proposal):
    config = StreamConfig(dims=(2, 2), context_sizes=(300, 300), landmarks=100, tokens=1)
    some, whole = (
        draw_task(c, 0, 0, propose=proposal).context for c in (config, replace(config, landmarks=300))
    )
    assert some.points.shape == (1, 100, 2)
    assert some.effective_size == whole.effective_size == 300
    assert (some.points[0, :, None] == whole.points[0]).all(-1).any(1).all()
    assert torch.equal(some.whole[0], whole.points)
    assert some.whole[1].shape == (1, 300)
    assert whole.all_points is None
    # One component of each landmark and the broad one; the product and its share are made from all points.
    assert (some.base.components.means.shape[1], whole.base.components.means.shape[1]) == (101, 301)
    torch.testing.assert_close(some.base.product, whole.base.product)
    assert torch.equal(some.base.product_share, whole.base.product_share)
    many = replace(config, tokens=1000)
    assert len(draw_task(many, 0, 0).queries) > len(draw_task(replace(many, landmarks=300), 0, 0).queries)


def test_queries_off_the_support_are_less_likely_than_fresh_ones():
    config = replace(CONFIG, dims=(4, 4), tokens=2_000)
    task = draw_task(config, 0, 0)
    fresh, off = task.log_density[:, : task.n_fresh], task.log_density[:, task.n_on_support :]
    assert off.mean() < fresh.mean() - 2


@pytest.mark.parametrize("step", range(8))
def test_answers_are_exact_in_the_frame(drawn, step):
    """That is, log f_z(z) = log f(x(z)) - log|det A|, and its gradient by autograd in the frame."""
    task = draw_task(CONFIG, 1, step)
    mixtures, frame = drawn[-1]
    queries = task.queries.double().requires_grad_()
    data = torch.linalg.solve(frame.linear, queries, left=False) + frame.center[:, None]
    log_density = mixtures.log_density_and_score(data)[0] - frame.log_abs_det[:, None]
    (score,) = torch.autograd.grad(log_density.sum(), queries)
    size = score.detach().abs().amax()
    torch.testing.assert_close(task.score.double(), score, rtol=1e-4, atol=1e-5 * float(size))
    # Queries are rounded to float32: that moves the log-density by the score times the rounding.
    torch.testing.assert_close(task.log_density.double(), log_density, rtol=1e-5, atol=1e-5 * float(size))


@pytest.mark.parametrize("name", ["gmm", "plateau", "beta"])
def test_imagined_queries_come_from_the_components_and_have_a_floor(name: str, trained_proposal: Proposal):
    config = replace(CONFIG, dims=(2, 2), imagined=0.5, families={name: 1.0}, tokens=4096)
    task, without = (
        draw_task(c, 0, 0, propose=trained_proposal) for c in (config, replace(config, imagined=0.0))
    )
    m = without.queries.shape[1]
    assert task.queries.shape[1] == m + m // 2
    torch.testing.assert_close(task.queries[:, :m], without.queries)
    assert (task.floor[:, :m] == -torch.inf).all()
    imagined = task.queries[:, m:]
    components = evaluate(task.context.base.components, imagined)
    floor = components.log_density - stream.FLOOR * 2**0.5
    torch.testing.assert_close(task.floor[:, m:], floor, atol=1e-4, rtol=1e-4)
    assert (task.log_density >= task.floor).all()
    assert (task.score[task.log_density == task.floor] == 0).all()
    assert task.score.isfinite().all()
    # E_c [f / c] = 1 for draws of c, where c covers f; less where it does not.
    covered = (task.log_density[:, m:] - components.log_density).exp().mean()
    assert 0.8 < covered < 1.1
    # Both densities integrate to 1 over the draws of either.
    n_fresh = task.n_fresh
    both = [torch.cat([x[:, :n_fresh], x[:, m:]], 1) for x in (task.queries, task.log_density)]
    of_components = evaluate(task.context.base.components, both[0]).log_density
    for log_density in (both[1], of_components):
        integrals = (log_density - task.log_drawn).exp().mean(1)
        assert (integrals - 1).abs().mean() < 0.06
        assert abs(integrals.mean() - 1) < 0.03


def test_the_mixture_network_gets_no_imagined_queries_and_fewer_in_high_dimension(same):
    assert same(draw_task(replace(CONFIG, imagined=0.5), 0, 0), draw_task(CONFIG, 0, 0))
    config = replace(CONFIG, dims=(80, 80), query_range=(1000, 1000))
    assert draw_task(config, 0, 0).queries.shape[1] == stream.MOST_PRODUCTS // 80**2


def test_the_context_is_in_its_own_frame(drawn):
    task = draw_task(CONFIG, 1, 0)
    _, frame = drawn[-1]
    median = task.context.points.square().mean(-1).median(1).values
    torch.testing.assert_close(median, torch.ones_like(median), rtol=1e-5, atol=0)
    torch.testing.assert_close(task.context.precision_root, frame.precision_root.float())
    torch.testing.assert_close(task.context.log_det_precision, frame.log_det_precision.float())
    assert (task.context.log_weights == 0).all()


def test_number_of_modes_and_condition_are_handed_on(monkeypatch):
    asked = []

    def remember(*args, **kwargs) -> Mixtures:
        asked.append(kwargs)
        return draw_mixtures(*args, **kwargs)

    monkeypatch.setattr(stream, "draw_mixtures", remember)
    draw_task(replace(CONFIG, modes=(2, 3), affine_condition=7.0), 0, 0)
    assert asked[0]["modes"] == (2, 3)
    assert asked[0]["affine_condition"] == 7.0


def test_defaults_follow_the_protocol():
    config = StreamConfig()
    assert config.modes == (1, 10)
    assert config.dims == (1, 100)
    assert 0 < config.fresh + config.seen + config.noised < 1
    assert all(field.default is not None for field in fields(config))


def test_a_task_never_leaves_pytorch(monkeypatch, proposal):
    """So it is drawn on the device that trains."""

    def leave(*_args) -> None:
        raise AssertionError("a tensor was turned into a NumPy array")

    families = dict.fromkeys(["gmm", *FAMILIES], 1.0)
    monkeypatch.setattr(Tensor, "numpy", leave)
    monkeypatch.setattr(Tensor, "__array__", leave)
    for task in tasks(replace(CONFIG, families=families, dims=(2, 6)), 30, proposal):
        assert task.queries.isfinite().all()


def test_few_sizes_occur_if_they_are_rounded():
    config = StreamConfig(sizes_per_octave=1)
    sizes = {stream._draw_sizes(config, 0, step) for step in range(2000)}
    assert {dim for dim, _ in sizes} == {1, 2, 4, 8, 16, 32, 64, 100}
    assert {n for _, n in sizes} == {2**k for k in range(3, 13)}


# Families


RECIPES = Path(__file__).parents[3] / "training" / "recipes"


@pytest.mark.parametrize("name", FAMILIES)
def test_tasks_of_every_family_are_finite_and_exact(name: str, monkeypatch, tensors):
    """The answers are those of the density at the queries; rounding moves them by score and curvature."""
    seen: list = []

    def remember(*args, **kwargs) -> Affine:
        seen.append(draw_density(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(stream, "draw_density", remember)
    monkeypatch.setattr(stream, "fit_frames", lambda context: seen.append(fit_frames(context)) or seen[-1])
    config = replace(CONFIG, families={name: 1.0}, dims=(3, 3), context_sizes=(80, 80), tokens=1)
    task = draw_task(config, 0, 0)
    density, frame = seen
    assert all(tensor.isfinite().all() for tensor in tensors(replace(task, floor=task.log_density)))
    data = torch.linalg.solve(frame.linear, task.queries.double(), left=False) + frame.center[:, None]
    log_density, score = density.log_density_and_score(data)
    error = task.log_density.double() - (log_density - frame.log_abs_det[:, None])
    slope = (task.score.norm(dim=-1) * task.queries.norm(dim=-1)).double()
    close = error.abs() < 1e-5 * (1 + task.log_density.abs() + slope)
    assert close.double().mean() > 0.995  # all but where the density has an edge
    wrong = (task.score - frame.score_to_frame(score)).norm(dim=-1) / (1 + task.score.norm(dim=-1))
    assert wrong.quantile(0.99) < 1e-3


def spied(monkeypatch, config: StreamConfig, steps: int) -> Counter:
    """How often each family is drawn."""
    drawn: Counter = Counter()
    inner = stream._draw_densities

    def remember(config, family, *args):
        drawn[family] += 1
        return inner(config, family, *args)

    monkeypatch.setattr(stream, "_draw_densities", remember)
    for _ in tasks(config, steps):
        pass
    return drawn


def test_a_family_left_out_is_never_drawn_and_the_others_are(monkeypatch):
    config = replace(CONFIG, dims=(1, 3), context_sizes=(8, 12), tokens=1)
    held_out = replace(config, families={"gmm": 1.0, "laplace": 1.0, "ring": 1.0, "student": 0.0})
    assert spied(monkeypatch, held_out, 30).keys() == {"gmm", "laplace", "ring"}


def test_families_are_drawn_in_their_shares_among_those_of_the_dimension():
    config = StreamConfig(families={"gmm": 2.0, "laplace": 1.0, "ring": 1.0})
    for dim, expected in (
        (1, {"gmm": 2 / 3, "laplace": 1 / 3}),
        (7, {"gmm": 0.5, "laplace": 0.25, "ring": 0.25}),
    ):
        drawn = Counter(stream._draw_family(config, dim, 0, step, 0) for step in range(3000))
        assert drawn.keys() == expected.keys()
        for name, share in expected.items():
            assert abs(drawn[name] / 3000 - share) < 5 * (share / 3000) ** 0.5


def test_ranks_draw_families_of_their_own():
    config = StreamConfig(families=dict.fromkeys(FAMILIES, 1.0))
    one, other = ([stream._draw_family(config, 5, 0, step, rank) for step in range(50)] for rank in (0, 1))
    assert one != other
    assert one == [stream._draw_family(config, 5, 0, step, 0) for step in range(50)]


def test_queries_are_not_moved_to_where_the_density_is_zero():
    config = replace(CONFIG, families={"beta": 1.0}, dims=(3, 3), context_sizes=(64, 64))
    task = draw_task(config, 0, 0)
    off = task.log_density[:, task.n_on_support :]
    assert off.isfinite().all()
    assert off.mean() < task.log_density[:, : task.n_fresh].mean()


@pytest.mark.parametrize(
    ("families", "said"),
    [
        ({"cauchy": 1.0}, "cauchy"),
        ({"laplace": -1.0}, "0 or more"),
        ({"laplace": float("nan")}, "0 or more"),
        ({"ring": 1.0}, "1 dimensions"),
        ({"laplace": 0.0}, "positive"),
        ({}, "positive"),
    ],
)
def test_families_that_cannot_be_drawn_are_refused(families: dict[str, float], said: str):
    with pytest.raises(ValueError, match=said):
        StreamConfig(families=families)


def test_a_configuration_without_families_draws_the_published_mixtures(monkeypatch):
    config = TrainConfig.from_json(
        '{"stream": {"dims": [1, 3], "tokens": 64, "context_sizes": [8, 12]}}'
    ).stream
    assert config.families == {"gmm": 1.0}
    assert spied(monkeypatch, config, 3) == {"gmm": 3}


TABLES = {
    "structural",
    "copulas",
    "vines",
    "manifolds",
    "scales",
    "spikes",
    "rounded",
    "atoms",
    "edges",
    "checkerboard",
}


def test_recipes_have_every_family_and_the_published_mixtures_above_all():
    base = TrainConfig.from_json((RECIPES / "base.json").read_text(encoding="utf-8"))
    shares = base.stream.families
    assert shares.keys() == {"gmm", *FAMILIES} - TABLES
    assert shares["gmm"] >= sum(shares.values()) / 3
    assert TrainConfig.from_json(base.to_json()) == base
    mixed = base.updated((RECIPES / "tables.json").read_text(encoding="utf-8"))
    assert replace(mixed, stream=base.stream) == base
    assert mixed.stream.line + mixed.stream.plane < 0.35
    total = sum(mixed.stream.families.values())
    assert mixed.stream.families.keys() == {"gmm", *FAMILIES}
    of_tables = sum(mixed.stream.families[name] for name in TABLES) / total
    assert 0.25 < of_tables < 0.35
    for name, share in shares.items():  # the others keep their proportions, but for more of the curves
        scaled = (1 - of_tables) * share / sum(shares.values())
        assert 0.9 < mixed.stream.families[name] / total / scaled < 1.3
    for config in (base, mixed):
        assert config.stream.families["gmm"] == max(config.stream.families.values())
