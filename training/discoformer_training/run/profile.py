"""Where the time of a training step goes: drawing the task, and learning from it."""

import time
from dataclasses import dataclass

import torch
from lightning.fabric import Fabric

from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.run.config import TrainConfig
from discoformer_training.run.trainer import Trainer


@dataclass(frozen=True)
class Profile:
    """Seconds and tokens of some training steps."""

    steps: int
    tokens: int  # context points and queries
    drawing: float  # seconds that drawing took, the base included
    learning: float  # seconds of the network, its gradient and the optimizers

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second through the whole loop."""
        return self.tokens / (self.drawing + self.learning)

    def __str__(self) -> str:
        seconds = self.drawing + self.learning
        return (
            f"{self.tokens_per_second:,.0f} tokens a second: {self.steps} steps of "
            f"{seconds / self.steps:.3f} s, "
            f"{self.drawing / seconds:.0%} for tasks, {self.learning / seconds:.0%} for learning"
        )


def profile(
    config: TrainConfig,
    fabric: Fabric,
    steps: int,
    warmup: int,
    proposal: MixtureNetwork | None = None,
) -> Profile:
    """Time the steps of a run, from its start. Nothing is written.

    Args:
        config: settings of the run.
        fabric: devices.
        steps: number of steps that are timed.
        warmup: number of steps before these.
        proposal: the mixture network whose base the heads refine; for a run of heads only.
    """
    fabric.launch()
    trainer = Trainer(config, fabric, proposal)
    drawing = learning = 0.0
    tokens = 0
    for number in range(warmup + steps):
        begin = _now(fabric)
        task = trainer.draw()
        drawn = _now(fabric)
        trainer.learn(task, 0.0)
        if number >= warmup:
            drawing += drawn - begin
            learning += _now(fabric) - drawn
            tokens += fabric.world_size * task.tokens
    return Profile(steps, tokens, drawing, learning)


def _now(fabric: Fabric) -> float:
    """Return the time once the device has finished its work."""
    if fabric.device.type == "cuda":
        torch.cuda.synchronize(fabric.device)
    return time.perf_counter()
