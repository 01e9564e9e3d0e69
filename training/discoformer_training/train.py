"""The training loop: stream -> network -> loss -> AdamW -> moving average -> checkpoint.

A run is a folder: `checkpoint.safetensors` (written on schedule, on SIGTERM or SIGINT, and at the end) and
`logs/` (CSV and TensorBoard). It continues exactly from its checkpoint: tasks depend on (seed, step) alone.
"""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.csv_logs import CSVLogger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from discoformer_training.attention import attend_blocked
from discoformer_training.checkpoint import Progress as RunProgress
from discoformer_training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint, with_prefix
from discoformer_training.config import TrainConfig
from discoformer_training.loss import task_loss
from discoformer_training.network import DiScoFormer, set_kde
from discoformer_training.stream import draw_task

CHECKPOINT = "checkpoint.safetensors"
LOG_EVERY = 10  # steps
DIVERGED = 5.0  # times its least value that the smoothed loss may reach


class TrainingDivergedError(RuntimeError):
    """The loss or its gradient is no longer finite, or has grown far beyond its best."""


class Trainer:
    """A run under way."""

    def __init__(self, config: TrainConfig, fabric: Fabric) -> None:
        self.config = config
        self.fabric = fabric
        torch.manual_seed(config.seed)
        torch.set_flush_denormal(True)  # tiny attention weights would slow the CPU tenfold
        network = DiScoFormer(config.network, attend_blocked)
        if config.kde_bandwidth is not None:
            set_kde(network, config.kde_bandwidth)
        matrices = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
        )
        self.network, self.optimizer = fabric.setup(network, optimizer)
        self.average = {name: p.detach().clone() for name, p in self.network.module.named_parameters()}
        self.progress = RunProgress()

    def step(self, share: float) -> dict[str, float]:
        """Take one step, at this share of the run; return the loss and its terms."""
        config, step = self.config, self.progress.step
        task = draw_task(
            config.stream, config.seed, step, rank=self.fabric.global_rank, device=self.fabric.device
        )
        rate = config.learning_rate * learning_rate_factor(config, step, share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = task_loss(self.network, task, config.loss)
        self.optimizer.zero_grad()
        self.fabric.backward(terms["loss"])
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        if not torch.isfinite(norm):
            raise TrainingDivergedError(
                f"step {step}: loss {terms['loss'].item()}, gradient norm {norm.item()}, needed finite values"
            )
        self.optimizer.step()
        self._follow(min(config.average, (1 + step) / (10 + step)))
        self.progress = RunProgress(
            step=step + 1,
            tokens=self.progress.tokens
            + self.fabric.world_size
            * task.queries.shape[0]
            * (task.context.points.shape[1] + task.queries.shape[1]),
            seconds=self.progress.seconds,
        )
        return {name: value.item() for name, value in terms.items()} | {"rate": rate, "norm": norm.item()}

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        for name, parameter in self.network.module.named_parameters():
            self.average[name].lerp_(parameter, 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a run needs to continue, by name."""
        tensors = {f"average.{name}": tensor for name, tensor in self.average.items()}
        for name, parameter in self.network.module.named_parameters():
            tensors[f"network.{name}"] = parameter.detach()
            for slot, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{slot}.{name}"] = value
        return tensors

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Set the weights, and their average, by name."""
        self.network.module.load_state_dict(weights)
        for name, tensor in weights.items():
            self.average[name].copy_(tensor)

    def restore(self, progress: RunProgress, tensors: dict[str, Tensor]) -> None:
        """Continue from the tensors of a checkpoint."""
        self.progress = progress
        self.network.module.load_state_dict(with_prefix(tensors, "network."))
        for name, tensor in with_prefix(tensors, "average.").items():
            self.average[name].copy_(tensor)
        parameters = dict(self.network.module.named_parameters())
        for key, value in with_prefix(tensors, "optimizer.").items():  # none before the first step
            slot, name = key.split(".", 1)
            device = "cpu" if slot == "step" else parameters[name].device
            self.optimizer.state[parameters[name]][slot] = value.to(device).clone()


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
) -> RunProgress:
    """Train, and leave the run in the folder `out`.

    Args:
        config: the run; with `resume` it must have the network of the checkpoint.
        out: folder for checkpoint and logs.
        resume: checkpoint to continue from.
        weights_from: checkpoint whose averaged weights a new run begins with.
        time_budget: seconds of training after which the run ends, its learning rate decayed by then.
        stop_at: step at which to stop early, as a kill would.
        checkpoint_every: seconds between checkpoints.
        fabric: devices and precision; the CPU without it.

    Returns:
        how far the run has come.

    Raises:
        TrainingDivergedError: the last good checkpoint is kept.
        CheckpointError: the checkpoint cannot be read.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    fabric.loggers.extend(_loggers(out / "logs")) if fabric.is_global_zero else None
    trainer = Trainer(config, fabric)
    if resume is not None:
        saved, progress, tensors = load_checkpoint(resume)
        if saved.network != config.network:
            raise CheckpointError(f"{resume} holds the network {saved.network}, needed {config.network}")
        trainer.restore(progress, tensors)
    elif weights_from is not None:
        weights = with_prefix(load_checkpoint(weights_from)[2], "average.")
        shapes = {name: tensor.shape for name, tensor in weights.items()}
        if shapes != {name: tensor.shape for name, tensor in trainer.average.items()}:
            raise CheckpointError(f"{weights_from} holds a network of other sizes than {config.network}")
        trainer.begin_with(weights)
    last = config.steps if stop_at is None else min(config.steps, stop_at)
    watch = _Watch()
    saved_at = started_at = time.monotonic()
    spent = trainer.progress.seconds

    def save() -> None:
        if fabric.is_global_zero:
            save_checkpoint(out / CHECKPOINT, config, trainer.progress, trainer.tensors())

    with _stop_signals() as stopped, _progress_bar() as bar:
        shown = bar.add_task(
            "training", total=config.steps, completed=trainer.progress.step, loss=math.nan, rate=0.0
        )
        while trainer.progress.step < last and not stopped():
            share = trainer.progress.step / config.steps
            if time_budget is not None:
                share = max(share, trainer.progress.seconds / time_budget)
            if share >= 1:
                break
            terms = trainer.step(share)
            watch.see(terms["loss"], trainer.progress.step)
            now = time.monotonic()
            trainer.progress = RunProgress(
                trainer.progress.step, trainer.progress.tokens, spent + now - started_at
            )
            if trainer.progress.step % LOG_EVERY == 0:
                speed = trainer.progress.tokens / max(trainer.progress.seconds, 1e-9)
                fabric.log_dict(
                    {**terms, "smoothed": watch.smoothed, "tokens_per_s": speed}, trainer.progress.step
                )
                bar.update(shown, completed=trainer.progress.step, loss=watch.smoothed, rate=speed)
            if now - saved_at > checkpoint_every:
                save()
                saved_at = now
    save()
    for logger in fabric.loggers:
        logger.finalize("success")
    return trainer.progress


def learning_rate_factor(config: TrainConfig, step: int, share: float) -> float:
    """Linear rise over the warm-up, then 1, then half a cosine down to 0 at the end of the run."""
    fallen = max(0.0, share - config.decay_from) / (1 - config.decay_from)
    return min(1.0, (step + 1) / config.warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, fallen)))


class _Watch:
    """Smooths the loss, and raises when it diverges."""

    def __init__(self) -> None:
        self.smoothed = math.nan
        self.least = math.inf
        self.seen = 0

    def see(self, loss: float, step: int) -> None:
        self.smoothed = loss if math.isnan(self.smoothed) else 0.98 * self.smoothed + 0.02 * loss
        self.seen += 1
        if self.seen > 200:  # fewer say little: single tasks differ by orders of magnitude
            self.least = min(self.least, self.smoothed)
        if self.smoothed > DIVERGED * self.least:
            raise TrainingDivergedError(
                f"step {step}: smoothed loss {self.smoothed:.3g} is over {DIVERGED} times its least, "
                f"{self.least:.3g}; continue from the last checkpoint with a lower learning rate"
            )


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


def _progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  {task.fields[rate]:,.0f} tokens/s"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


def _loggers(folder: Path) -> list[CSVLogger | TensorBoardLogger]:
    version = time.strftime("%Y%m%d-%H%M%S")
    return [
        CSVLogger(folder, name="csv", version=version, flush_logs_every_n_steps=1),
        TensorBoardLogger(folder, name="tensorboard", version=version),
    ]
