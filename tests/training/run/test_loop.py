"""The training loop: it learns, ends in every way without loss, and continues bit for bit."""

import csv
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer_training.data.stream import StreamConfig, Task, draw_task
from discoformer_training.nn.build import build_network
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.nn.proposal import Proposal
from discoformer_training.run import divergence, loop, trainer
from discoformer_training.run.checkpoint import (
    Progress,
    load_checkpoint,
    load_network,
    save_checkpoint,
)
from discoformer_training.run.config import TrainConfig
from discoformer_training.run.divergence import TrainingDivergedError
from discoformer_training.run.loop import CHECKPOINT, train
from discoformer_training.run.loss import task_loss
from discoformer_training.run.trainer import TURN, Trainer, learning_rate_factor

pytestmark = pytest.mark.slow


@pytest.fixture
def at_step(monkeypatch) -> Callable[[int, Callable[[Task], Task | None]], None]:
    """Do something when a step gets its task, and perhaps replace that task."""
    given = Trainer.draw

    def act(when: int, action: Callable[[Task], Task | None]) -> None:
        def give(self: Trainer) -> Task:
            task = given(self)
            return (action(task) or task) if self.progress.step == when else task

        monkeypatch.setattr(Trainer, "draw", give)

    return act


@pytest.fixture
def clock(monkeypatch) -> None:
    """Let a second pass whenever the loop looks, once a step."""
    now = iter(range(10**6))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(now), strftime=time.strftime))


@pytest.fixture
def rates(monkeypatch) -> list[float]:
    """The learning rates of the steps taken."""
    seen: list[float] = []
    step = Trainer.step

    def remember(self: Trainer, share: float) -> dict[str, float]:
        terms = step(self, share)
        seen.append(terms["rate"])
        return terms

    monkeypatch.setattr(Trainer, "step", remember)
    return seen


@pytest.fixture
def scale_loss(monkeypatch) -> Callable[[Callable[[int], float]], None]:
    """Multiply the loss of the k-th step taken by a factor of k."""

    def scale(factor: Callable[[int], float]) -> None:
        count = iter(range(10**6))

        def scaled(*args) -> dict[str, torch.Tensor]:
            by = factor(next(count))
            return {name: by * value for name, value in task_loss(*args).items()}

        monkeypatch.setattr(trainer, "task_loss", scaled)

    return scale


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Assert that two checkpoints are equal bit for bit, but for the time spent."""
    (config, progress, tensors), (_, their_progress, their_tensors) = map(load_checkpoint, (ours, theirs))
    assert replace(progress, seconds=0) == replace(their_progress, seconds=0)
    assert tensors.keys() == their_tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, their_tensors[name]), name
    for name, parameter in build_network(config.network).named_parameters():
        muons = parameter.ndim == 2 and name.startswith("blocks.")
        slots = ("momentum_buffer",) if muons else ("step", "exp_avg", "exp_avg_sq")
        kinds = ("network", "average", *(f"optimizer.{slot}" for slot in slots))
        assert {f"{kind}.{name}" for kind in kinds} <= tensors.keys()


def held_out_loss(config: TrainConfig, network: DiScoFormer, proposal: Proposal) -> float:
    """Mean loss over tasks that no run here trains on."""
    with torch.no_grad():
        tasks = (draw_task(config.stream, 10**6, number, propose=proposal) for number in range(40))
        return sum(task_loss(network, task, config.loss)["loss"].item() for task in tasks) / 40


# Continuing


@pytest.mark.parametrize("kind", ["heads", "mixture"])
@pytest.mark.parametrize("uses", [1, 2])
def test_a_stopped_and_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path, tiny_run, start, kind, uses):
    config = replace(tiny_run, network=replace(tiny_run.network, kind=kind), uses=uses)
    start(config, tmp_path / "whole")
    assert start(config, tmp_path / "first", stop_at=10).step == 10
    progress = train(config, tmp_path / "second", resume=tmp_path / "first" / CHECKPOINT)
    assert progress.step == 20
    assert_same_run(tmp_path / "second" / CHECKPOINT, tmp_path / "whole" / CHECKPOINT)


@pytest.mark.parametrize("uses", [1, 2, 3])
def test_each_task_is_drawn_once_and_used_in_turn(tmp_path, tiny_run, start, monkeypatch, uses):
    drawn: list[int] = []
    used: list[Task] = []

    def remember(config: StreamConfig, seed: int, number: int, **options: object) -> Task:
        drawn.append(number)
        return draw_task(config, seed, number, **options)

    learn = Trainer.learn
    monkeypatch.setattr(trainer, "draw_task", remember)
    monkeypatch.setattr(
        Trainer, "learn", lambda self, task, share: used.append(task) or learn(self, task, share)
    )
    steps = 2 * TURN * uses
    start(replace(tiny_run, steps=steps, uses=uses), tmp_path)
    assert drawn == [*range(2 * TURN)]
    assert len(used) == steps
    for k, task in enumerate(used):
        assert task is used[k // (TURN * uses) * TURN * uses + k % TURN]


def test_a_run_may_stop_at_every_step(tmp_path, tiny_run, start):
    config = replace(tiny_run, steps=4)
    start(config, tmp_path / "whole")
    resume = None
    for step in range(1, 5):
        start(config, tmp_path / str(step), stop_at=step, resume=resume)
        resume = tmp_path / str(step) / CHECKPOINT
    assert_same_run(resume, tmp_path / "whole" / CHECKPOINT)


def test_a_run_may_stop_before_its_first_step(tmp_path, tiny_run, start):
    assert start(tiny_run, tmp_path, stop_at=0).step == 0


def test_a_run_stopped_before_its_first_step_continues_as_if_new(tmp_path, tiny_run, start):
    start(replace(tiny_run, steps=0), tmp_path / "none")
    config = replace(tiny_run, steps=3)
    start(config, tmp_path / "whole")
    train(config, tmp_path / "late", resume=tmp_path / "none" / CHECKPOINT)
    assert_same_run(tmp_path / "late" / CHECKPOINT, tmp_path / "whole" / CHECKPOINT)


def test_resuming_a_finished_run_changes_nothing(tmp_path, tiny_run, start):
    config = replace(tiny_run, steps=3)
    start(config, tmp_path / "once")
    train(config, tmp_path / "again", resume=tmp_path / "once" / CHECKPOINT)
    assert_same_run(tmp_path / "again" / CHECKPOINT, tmp_path / "once" / CHECKPOINT)


def test_seeds_give_different_weights_and_different_tasks(tmp_path, tiny_run, start):
    networks = []
    for seed in (1, 2):
        start(replace(tiny_run, seed=seed, steps=0), tmp_path / str(seed))
        networks.append(load_network(tmp_path / str(seed) / CHECKPOINT))
    assert not torch.equal(networks[0].embedding.point.weight, networks[1].embedding.point.weight)


# Ending


def test_a_run_ends_after_its_steps_and_counts_what_it_saw(tmp_path, tiny_run, proposal, start):
    progress = start(tiny_run, tmp_path)
    seen = 0
    for step in range(20):
        task = draw_task(tiny_run.stream, tiny_run.seed, step, propose=proposal)
        seen += task.context.points.shape[:2].numel() + task.queries.shape[:2].numel()
    assert (progress.step, progress.tokens) == (20, seen)
    assert progress.seconds > 0
    assert load_checkpoint(tmp_path / CHECKPOINT)[:2] == (tiny_run, progress)


@pytest.mark.usefixtures("clock")
def test_a_time_budget_ends_the_run_with_its_rate_decayed(tmp_path, tiny_run, rates, start):
    config = replace(tiny_run, steps=10_000)
    progress = start(config, tmp_path, time_budget=40.0)
    assert progress.step == 40
    assert progress.seconds == 40
    assert max(rates) == config.learning_rate
    assert rates[-1] < 0.01 * config.learning_rate
    falling = rates[20:]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.usefixtures("clock")
def test_a_time_budget_counts_the_parts_before(tmp_path, tiny_run, rates, start):
    config = replace(tiny_run, steps=10_000)
    start(config, tmp_path / "first", time_budget=40.0, stop_at=15)
    progress = train(config, tmp_path / "second", time_budget=40.0, resume=tmp_path / "first" / CHECKPOINT)
    assert (progress.step, progress.seconds) == (40, 40)
    assert len(rates) == 40
    assert rates[-1] < 0.01 * config.learning_rate


@pytest.mark.usefixtures("clock")
def test_checkpoints_are_written_on_schedule(tmp_path, tiny_run, at_step, start):
    """Every 5 seconds and more: of the steps, a second each, the sixth and the twelfth are kept first."""
    kept: list[int] = []

    def look(_task: Task) -> None:
        kept.append(load_checkpoint(tmp_path / CHECKPOINT)[1].step)

    at_step(13, look)
    start(tiny_run, tmp_path, checkpoint_every=5.0)
    assert kept == [12]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_step_and_leaves_a_checkpoint(
    tmp_path, tiny_run, at_step, number, start
):
    """The run then continues as if it had not been stopped; the signal means again what it meant before."""

    def unexpected(*_: object) -> None:
        raise AssertionError("the signal reached the handler from before the run")

    before = signal.signal(number, unexpected)
    try:
        at_step(7, lambda _: os.kill(os.getpid(), number))
        assert start(tiny_run, tmp_path / "first").step == 8
        assert signal.getsignal(number) is unexpected
        at_step(-1, lambda _: None)
        train(tiny_run, tmp_path / "second", resume=tmp_path / "first" / CHECKPOINT)
        start(tiny_run, tmp_path / "whole")
    finally:
        signal.signal(number, before)
    assert_same_run(tmp_path / "second" / CHECKPOINT, tmp_path / "whole" / CHECKPOINT)


# Diverging


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path, tiny_run, at_step, bad, start
):
    start(tiny_run, tmp_path / "good", stop_at=7)
    at_step(7, lambda task: replace(task, log_density=task.log_density + bad))
    with pytest.raises(TrainingDivergedError, match="step 7"):
        start(tiny_run, tmp_path / "bad", checkpoint_every=0.0)
    assert_same_run(tmp_path / "bad" / CHECKPOINT, tmp_path / "good" / CHECKPOINT)


def test_a_rate_far_too_high_ends_the_run_and_leaves_the_old_checkpoint_untouched(tmp_path, tiny_run, start):
    start(tiny_run, tmp_path, stop_at=5)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(TrainingDivergedError, match="needed finite values"):
        train(replace(tiny_run, learning_rate=math.inf), tmp_path, resume=tmp_path / CHECKPOINT)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


@pytest.fixture
def long_run(tiny_run, monkeypatch) -> TrainConfig:
    """A run of many steps, which take the least time; after 20 of them the loss counts."""
    monkeypatch.setattr(divergence, "SETTLED", 20)
    return replace(tiny_run, stream=replace(tiny_run.stream, dims=(1, 1), tokens=1), steps=10_000)


def late_checkpoint(start: Callable[..., Progress], folder: Path, config: TrainConfig) -> Path:
    """Leave a checkpoint of a run that says to be 1000 steps in, where growth of the loss is watched."""
    start(config, folder, stop_at=1)
    _, progress, tensors = load_checkpoint(folder / CHECKPOINT)
    save_checkpoint(folder / CHECKPOINT, config, replace(progress, step=1000), tensors)
    return folder / CHECKPOINT


def test_a_loss_grown_far_beyond_its_least_ends_the_run(tmp_path, long_run, scale_loss, start):
    resume = late_checkpoint(start, tmp_path / "old", long_run)
    scale_loss(lambda k: 1.0 if k < 20 else 100.0)
    with pytest.raises(TrainingDivergedError, match="lower learning rate"):
        train(long_run, tmp_path / "new", resume=resume, stop_at=1220)


def test_one_easy_task_at_the_start_of_a_part_is_no_divergence_later(tmp_path, long_run, scale_loss, start):
    """Losses of single tasks differ by orders of magnitude between dimensions."""
    resume = late_checkpoint(start, tmp_path / "old", long_run)
    scale_loss(lambda k: 0.01 if k == 0 else 1.0)
    assert train(long_run, tmp_path / "new", resume=resume, stop_at=1060).step == 1060


def test_one_task_far_off_is_no_divergence(tmp_path, long_run, scale_loss, start):
    resume = late_checkpoint(start, tmp_path / "old", long_run)
    scale_loss(lambda k: 1e4 if k == 30 else 1.0)
    assert train(long_run, tmp_path / "new", resume=resume, stop_at=1060).step == 1060


# Learning


def test_sixty_steps_lower_the_loss_on_tasks_not_trained_on(tmp_path, tiny_run, proposal, start):
    config = replace(tiny_run, steps=60, learning_rate=5e-3)
    start(replace(config, steps=0), tmp_path / "start")
    start(config, tmp_path / "end")
    start, end = (
        held_out_loss(config, load_network(tmp_path / run / CHECKPOINT), proposal) for run in ("start", "end")
    )
    assert end < 0.9 * start


def test_average_follows_the_weights(tmp_path, tiny_run, start):
    """After step k it moves toward the weights by 1 - min(average, k / (9 + k))."""
    average = None
    resume = None
    for step in range(1, 5):
        out = tmp_path / str(step)
        start(tiny_run, out, stop_at=step, resume=resume)
        resume = out / CHECKPOINT
        tensors = load_checkpoint(resume)[2]
        weight = tensors["network.embedding.point.weight"]
        if average is not None:
            expected = average.lerp(weight, 1 - min(tiny_run.average, step / (9 + step)))
            torch.testing.assert_close(tensors["average.embedding.point.weight"], expected)
        average = tensors["average.embedding.point.weight"]


# The learning rate


@settings(deadline=None, max_examples=30, derandomize=True)
@given(step=st.integers(0, 10**6), share=st.floats(0, 1.5))
def test_learning_rate_factor_stays_between_zero_and_one(step, share):
    assert 0 <= learning_rate_factor(TrainConfig(), step, share) <= 1


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_learning_rate_may_neither_rise_nor_fall(share):
    config = replace(TrainConfig(), warmup=0, decay_from=1.0)
    assert learning_rate_factor(config, 0, share) == 1


def test_learning_rate_rises_linearly_stays_and_falls_as_a_cosine_to_zero():
    config = TrainConfig(warmup=4, decay_from=0.5)
    assert [learning_rate_factor(config, step, 0.0) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert learning_rate_factor(config, 100, 0.5) == 1
    assert learning_rate_factor(config, 100, 0.75) == pytest.approx(0.5)
    assert learning_rate_factor(config, 100, 0.5 + 0.5 / 3) == pytest.approx(0.75)
    assert learning_rate_factor(config, 100, 1.0) == pytest.approx(0, abs=1e-12)
    assert learning_rate_factor(config, 100, 2.0) == pytest.approx(0, abs=1e-12)
    falling = [learning_rate_factor(config, 100, share / 100) for share in range(101)]
    assert falling == sorted(falling, reverse=True)


def test_the_rate_of_each_step_is_the_peak_times_its_factor(tmp_path, tiny_run, rates, start):
    start(tiny_run, tmp_path)
    expected = [tiny_run.learning_rate * learning_rate_factor(tiny_run, k, k / 20) for k in range(20)]
    assert rates == pytest.approx(expected)


# Logs


def test_logs_are_written_as_csv_and_for_tensorboard(tmp_path, tiny_run, rates, start):
    start(tiny_run, tmp_path)
    (path,) = (tmp_path / "logs").rglob("metrics.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["10", "20"]
    for row in rows:
        for name in ("loss", "density", "score", "consistency", "smoothed", "norm", "rate", "tokens_per_s"):
            assert math.isfinite(float(row[name])), name
    assert [float(row["rate"]) for row in rows] == pytest.approx([rates[9], rates[19]])
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


def test_denormal_numbers_are_numbers_again_after_a_run(tmp_path, tiny_run, start):
    start(replace(tiny_run, steps=1), tmp_path)
    assert (torch.tensor([1e-40]) * 0.5).item() > 0


def test_progress_starts_at_nothing():
    assert Progress() == Progress(step=0, tokens=0, seconds=0.0)
