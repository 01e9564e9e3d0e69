"""The training loop: from the start or a checkpoint to the end of the run, a signal, or a divergence.

A run is a folder with `checkpoint.safetensors` and `logs/` (CSV and TensorBoard). The checkpoint is written
at regular intervals, on SIGTERM or SIGINT, and at the end. A run continues from it exactly, since tasks
depend on (seed, step) alone.
"""

import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

import torch
from lightning.fabric import Fabric

from discoformer_training.nn.attention import attend_blocked
from discoformer_training.nn.config import CONSTANTS, NetworkConfig
from discoformer_training.run.checkpoint import (
    CheckpointError,
    Progress,
    load_checkpoint,
    load_mixture_network,
    save_checkpoint,
    with_prefix,
)
from discoformer_training.run.config import TrainConfig
from discoformer_training.run.divergence import DivergenceMonitor
from discoformer_training.run.log import no_log, open_log
from discoformer_training.run.trainer import Trainer

CHECKPOINT = "checkpoint.safetensors"
LOG_EVERY = 10  # steps


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: Path | None = None,
    weights_from: Path | None = None,
    mixture_from: Path | None = None,
    time_budget: float | None = None,
    stop_at: int | None = None,
    checkpoint_every: float = 120.0,
    fabric: Fabric | None = None,
) -> Progress:
    """Train a network, and write the run to a folder.

    Args:
        config: settings of the run.
        out: folder of the checkpoint and the logs.
        resume: checkpoint to continue from. It must hold the network of `config`.
        weights_from: checkpoint whose averaged weights start a new run. Its network must have the sizes of
            `config`. The constants of the network may differ.
        mixture_from: checkpoint of the mixture network whose base the heads refine. By default it is the one
            in `resume` or `weights_from`.
        time_budget: seconds of training, earlier parts included. The run ends then, and its learning rate
            has decayed by then.
        stop_at: step at which to stop, as a signal would.
        checkpoint_every: seconds between checkpoints.
        fabric: devices; by default one process on the CPU.

    Returns:
        the progress of the run.

    Raises:
        TrainingDivergedError: the loss diverged. The last checkpoint is kept.
        CheckpointError: the checkpoint cannot be read, or holds another network.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    trainer = _start(config, fabric, resume, weights_from, mixture_from)
    log_of_run = open_log(out / "logs", config.steps, trainer.progress) if fabric.is_global_zero else no_log()
    with _denormals_flushed(), _stop_signals() as stopped, log_of_run as log:
        monitor, clock = DivergenceMonitor(), _Clock(trainer.progress.seconds)
        saved_at = trainer.progress.seconds
        while trainer.progress.step < (config.steps if stop_at is None else min(config.steps, stop_at)):
            share = 1.0 if stopped() else _share(trainer.progress, config.steps, time_budget)
            share = fabric.broadcast(share)  # clocks and signals differ between processes
            if share >= 1:
                break
            terms = trainer.step(share)
            smoothed = monitor.update(terms["loss"], trainer.progress.step)
            trainer.progress = replace(trainer.progress, seconds=clock())
            if trainer.progress.step % LOG_EVERY == 0:
                log(trainer.progress, {**terms, "smoothed": smoothed})
            if trainer.progress.seconds - saved_at > checkpoint_every:
                _save(trainer, out)
                saved_at = trainer.progress.seconds
        _save(trainer, out)
    return trainer.progress


def _start(
    config: TrainConfig,
    fabric: Fabric,
    resume: Path | None,
    weights_from: Path | None,
    mixture_from: Path | None,
) -> Trainer:
    """Start a new run, or continue from a checkpoint."""
    source = resume or weights_from
    proposal = None
    if config.network.kind == "heads":
        of_mixture = mixture_from or source
        if of_mixture is None:
            raise CheckpointError("heads refine a mixture network: name its checkpoint by --mixture-from")
        proposal = load_mixture_network(of_mixture, attend_blocked)
        config = replace(config, proposal=proposal.config)
    trainer = Trainer(config, fabric, proposal)
    if source is None:
        return trainer
    saved, progress, tensors = load_checkpoint(source)
    _check_network(source, saved.network, config.network, free=() if resume else CONSTANTS)
    if resume is None:
        trainer.load_weights(with_prefix(tensors, "average."))
    elif with_prefix(tensors, "network."):
        trainer.restore(progress, tensors)
    else:
        raise CheckpointError(
            f"{resume} holds averaged weights only, needed the state of a run: "
            "start a new run with --weights-from instead of --resume"
        )
    return trainer


def _check_network(source: Path, saved: NetworkConfig, wanted: NetworkConfig, free: Collection[str]) -> None:
    """Check that a checkpoint holds the wanted network. The settings in `free` may differ."""
    found, needed = (asdict(network) for network in (saved, wanted))
    differing = [name for name in found if name not in free and found[name] != needed[name]]
    if differing:
        held, asked = (", ".join(f"{name} {of[name]}" for name in differing) for of in (found, needed))
        raise CheckpointError(
            f"{source} holds a network with {held}; the settings of the run ask for {asked}: "
            "remove `network` from --config"
        )


def _save(trainer: Trainer, out: Path) -> None:
    """Write the checkpoint, in the first process only."""
    if trainer.fabric.is_global_zero:
        save_checkpoint(out / CHECKPOINT, trainer.config, trainer.progress, trainer.tensors())


def _share(progress: Progress, steps: int, time_budget: float | None) -> float:
    """Return the finished share of a run, by its steps or its time, whichever is greater."""
    share = progress.step / steps
    return share if time_budget is None else max(share, progress.seconds / time_budget)


class _Clock:
    """Seconds spent training, earlier parts of the run included."""

    def __init__(self, spent: float) -> None:
        self.origin = time.monotonic() - spent

    def __call__(self) -> float:
        return time.monotonic() - self.origin


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Round denormal numbers to zero: tiny attention weights would make the CPU several times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _stop_signals() -> Iterator["_Flag"]:
    """Turn SIGTERM and SIGINT into a request to stop after the current step."""
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
