"""The training loop, from its start or a checkpoint to its end, a signal, or a divergence.

A run is a folder: `checkpoint.safetensors` (written on schedule, on SIGTERM or SIGINT, and at the end) and
`logs/` (CSV and TensorBoard). It continues exactly from its checkpoint: tasks depend on (seed, step) alone.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.csv_logs import CSVLogger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from rich import progress as bars
from rich.console import Console

from discoformer_training.run.checkpoint import (
    CheckpointError,
    Progress,
    load_checkpoint,
    save_checkpoint,
    with_prefix,
)
from discoformer_training.run.config import TrainConfig
from discoformer_training.run.trainer import Trainer, TrainingDivergedError

CHECKPOINT = "checkpoint.safetensors"
LOG_EVERY = 10  # steps
DIVERGED = 5.0  # times its least value that the smoothed loss may reach
SETTLED = 200  # losses after which a value counts: single tasks differ by orders of magnitude
OUTLIER = 10.0  # times the smoothed loss at most that one task's loss counts


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: Path | None = None,
    weights_from: Path | None = None,
    time_budget: float | None = None,
    stop_at: int | None = None,
    checkpoint_every: float = 120.0,
    fabric: Fabric | None = None,
    workers: int = 0,
) -> Progress:
    """Train, and leave the run in the folder `out`.

    Args:
        config: the run; with `resume` it must have the network of the checkpoint.
        out: folder for checkpoint and logs.
        resume: checkpoint to continue from.
        weights_from: checkpoint whose averaged weights a new run begins with; its feed-forwards may be
            narrower.
        time_budget: seconds of training, earlier parts included, after which the run ends, its learning rate
            decayed by then.
        stop_at: step at which to stop early, as a kill would.
        checkpoint_every: seconds between checkpoints.
        fabric: devices; one process on the CPU without it.
        workers: processes that draw tasks, for each device; without any, a thread of its process does.

    Returns:
        how far the run has come.

    Raises:
        TrainingDivergedError: the last good checkpoint is kept.
        CheckpointError: the checkpoint cannot be read, or holds another network.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    trainer = _start(config, fabric, workers, resume, weights_from)
    loggers = _loggers(out / "logs") if fabric.is_global_zero else []
    last = config.steps if stop_at is None else min(config.steps, stop_at)

    def save() -> None:
        if fabric.is_global_zero:
            save_checkpoint(out / CHECKPOINT, config, trainer.progress, trainer.tensors())

    watch = _Watch()
    clock = _Clock(trainer.progress.seconds)
    saved_at = trainer.progress.seconds
    bar = _bar(config, trainer.progress, fabric.is_global_zero)
    with closing(trainer.tasks), _denormals_flushed(), _stop_signals() as stopped, bar as show:
        while trainer.progress.step < last:
            share = trainer.progress.step / config.steps
            if time_budget is not None:
                share = max(share, trainer.progress.seconds / time_budget)
            share = fabric.broadcast(
                1.0 if stopped() else share
            )  # clocks and signals differ between processes
            if share >= 1:
                break
            terms = trainer.step(share)
            watch.see(terms["loss"], trainer.progress.step)
            now = clock()
            trainer.progress = replace(trainer.progress, seconds=now)
            if trainer.progress.step % LOG_EVERY == 0:
                speed = trainer.progress.tokens / now
                row: dict[str, Any] = {**terms, "smoothed": watch.smoothed, "tokens_per_s": speed}
                for logger in loggers:
                    logger.log_metrics(row, trainer.progress.step)
                show(trainer.progress, watch.smoothed)
            if now - saved_at > checkpoint_every:
                save()
                saved_at = now
        save()  # before the processes end, which may have long tasks in hand
    for logger in loggers:
        logger.finalize("success")
    return trainer.progress


def _start(
    config: TrainConfig, fabric: Fabric, workers: int, resume: Path | None, weights_from: Path | None
) -> Trainer:
    """Begin a run, or take it up where a checkpoint left it."""
    trainer = Trainer(config, fabric, workers)
    source = resume or weights_from
    if source is None:
        return trainer
    saved, progress, tensors = load_checkpoint(source)
    fits = saved.network == config.network if resume else config.network.extends(saved.network)
    if not fits:
        raise CheckpointError(
            f"{source} holds the network {saved.network}, needed {config.network}"
            + ("" if resume else ", but for constants and a narrower `hidden`")
        )
    if resume is not None:
        trainer.restore(progress, tensors)
    else:
        trainer.begin_with(with_prefix(tensors, "average."))
    return trainer


class _Clock:
    """Seconds spent training, earlier parts of the run included."""

    def __init__(self, spent: float) -> None:
        self.origin = time.monotonic() - spent

    def __call__(self) -> float:
        return time.monotonic() - self.origin


class _Watch:
    """Smooths the loss, and raises when it diverges."""

    def __init__(self) -> None:
        self.smoothed = math.nan
        self.least = math.inf
        self.seen = 0

    def see(self, loss: float, step: int) -> None:
        if math.isnan(self.smoothed):
            self.smoothed = loss
        # One task may be off by any factor, harmlessly since gradients are clipped; many in a row may not.
        self.smoothed += 0.02 * (min(loss, OUTLIER * self.smoothed) - self.smoothed)
        self.seen += 1
        if self.seen > SETTLED:
            self.least = min(self.least, self.smoothed)
        if self.smoothed > DIVERGED * self.least:
            raise TrainingDivergedError(
                f"step {step}: smoothed loss {self.smoothed:.3g} is over {DIVERGED} times its least, "
                f"{self.least:.3g}; continue from the last checkpoint with a lower learning rate"
            )


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Take denormal numbers for zero: tiny attention weights would slow the CPU several times."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _stop_signals() -> Iterator["_Flag"]:
    """Turn SIGTERM and SIGINT into a request to stop after the step."""
    flag = _Flag()
    handlers = {number: signal.signal(number, flag.set) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield flag
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _Flag:
    def __init__(self) -> None:
        self.raised = False

    def set(self, _number: int, _frame: FrameType | None) -> None:
        self.raised = True

    def __call__(self) -> bool:
        return self.raised


@contextmanager
def _bar(config: TrainConfig, start: Progress, visible: bool) -> Iterator[Callable[[Progress, float], None]]:
    """Show a progress bar on the standard error stream; gives the function that moves it."""
    columns = (
        bars.TextColumn("step"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("loss {task.fields[loss]:.4f}  {task.fields[speed]:,.0f} tokens/s"),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), disable=not visible) as bar:
        task = bar.add_task("", total=config.steps, completed=start.step, loss=math.nan, speed=0.0)

        def show(progress: Progress, loss: float) -> None:
            bar.update(task, completed=progress.step, loss=loss, speed=progress.tokens / progress.seconds)

        yield show


def _loggers(folder: Path) -> list[CSVLogger | TensorBoardLogger]:
    version = time.strftime("%Y%m%d-%H%M%S")
    return [
        CSVLogger(folder, name="csv", version=version, flush_logs_every_n_steps=1),
        TensorBoardLogger(folder, name="tensorboard", version=version),
    ]
