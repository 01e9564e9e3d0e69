"""The state of a training run, and its step: task, network, loss, optimizers, moving average.

Muon optimises the matrices of the blocks, AdamW all other parameters.
"""

import math
from dataclasses import replace
from functools import partial

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import AdamW

from discoformer_training.data.stream import Task, draw_task
from discoformer_training.nn.attention import attend_blocked
from discoformer_training.nn.build import build_network
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.proposal import Proposal
from discoformer_training.run.checkpoint import Progress, with_prefix
from discoformer_training.run.config import TrainConfig
from discoformer_training.run.divergence import TrainingDivergedError
from discoformer_training.run.loss import task_loss
from discoformer_training.run.muon import StackedMuon

TURN = 8  # tasks that are used in turn


class Trainer:
    """A run in progress.

    Args:
        config: settings of the run.
        fabric: devices.
        proposal: the mixture network whose base the heads refine; for a run of heads only.
    """

    def __init__(self, config: TrainConfig, fabric: Fabric, proposal: MixtureNetwork | None = None) -> None:
        self.config = config
        self.fabric = fabric
        torch.manual_seed(config.seed)
        network = build_network(config.network, attend_blocked)
        muon, adamw = _optimizers(network, config)
        self.network, *self.optimizers = fabric.setup(network, muon, adamw)
        self.average = {name: p.detach().clone() for name, p in self.network.module.named_parameters()}
        self.progress = Progress()
        self.proposal = None if proposal is None else proposal.to(fabric.device)
        self._drawn: dict[int, Task] = {}  # tasks of this turn, by number
        self._draw_task = partial(
            draw_task,
            config.stream,
            config.seed,
            rank=fabric.global_rank,
            device=fabric.device,
            propose=None if proposal is None else Proposal(proposal),
        )

    def step(self, share: float) -> dict[str, float]:
        """Take one step: draw a task, and learn from it. See `learn`."""
        return self.learn(self.draw(), share)

    def draw(self) -> Task:
        """Return the task of this step, on the device.

        Tasks are used in turn, TURN of them, until each was used as often as the configuration says.
        """
        turns, place = divmod(self.progress.step, TURN)
        number = turns // self.config.uses * TURN + place
        if number not in self._drawn:
            self._drawn = {seen: task for seen, task in self._drawn.items() if seen // TURN == number // TURN}
            self._drawn[number] = self._draw_task(number)
        return self._drawn[number]

    def learn(self, task: Task, share: float) -> dict[str, float]:
        """Learn from a task.

        Args:
            task: the task of this step.
            share: finished share of the run, which determines the learning rate.

        Returns:
            the loss and its terms, the learning rate and the norm of the gradient, by name.

        Raises:
            TrainingDivergedError: the gradient is not finite. The weights are unchanged.
        """
        config, step = self.config, self.progress.step
        rate = config.learning_rate * learning_rate_factor(config, step, share)
        for optimizer, scale in zip(self.optimizers, (config.muon, 1.0), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = scale * rate
        terms = task_loss(self.network, task, config.loss)
        self.network.zero_grad()
        self.fabric.backward(terms["loss"])
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        if not torch.isfinite(norm):
            raise TrainingDivergedError(
                f"step {step}: loss {terms['loss'].item()}, gradient norm {norm.item()}, "
                "needed finite values: continue from the last checkpoint with a lower learning rate"
            )
        for optimizer in self.optimizers:
            optimizer.step()
        self._update_average(min(config.average, (1 + step) / (10 + step)))
        tokens = self.progress.tokens + self.fabric.world_size * task.tokens
        self.progress = replace(self.progress, step=step + 1, tokens=tokens)
        return {name: value.item() for name, value in terms.items()} | {"rate": rate, "norm": norm.item()}

    @torch.no_grad()
    def _update_average(self, decay: float) -> None:
        torch._foreach_lerp_([*self.average.values()], [*self.network.module.parameters()], 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that a run needs to continue, by name."""
        tensors = {f"average.{name}": tensor for name, tensor in self.average.items()}
        for name, parameter in self.network.module.named_parameters():
            tensors[f"network.{name}"] = parameter.detach()
            for optimizer in self.optimizers:
                for slot, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"optimizer.{slot}.{name}"] = value
        if self.proposal is not None:
            tensors |= {f"proposal.{name}": tensor for name, tensor in self.proposal.state_dict().items()}
        return tensors

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Set the weights and their average, by name."""
        self.network.module.load_state_dict(weights)
        for name, tensor in weights.items():
            self.average[name].copy_(tensor)

    def restore(self, progress: Progress, tensors: dict[str, Tensor]) -> None:
        """Restore the state of a checkpoint."""
        self.progress = progress
        self.network.module.load_state_dict(with_prefix(tensors, "network."))
        for name, tensor in with_prefix(tensors, "average.").items():
            self.average[name].copy_(tensor)
        parameters = dict(self.network.module.named_parameters())
        muon, adamw = self.optimizers
        for key, value in with_prefix(tensors, "optimizer.").items():  # empty before the first step
            slot, name = key.split(".", 1)
            parameter = parameters[name]
            device = "cpu" if slot == "step" else parameter.device
            optimizer = muon if _is_for_muon(name, parameter) else adamw
            optimizer.state[parameter][slot] = value.to(device).clone()


def _optimizers(network: nn.Module, config: TrainConfig) -> tuple[StackedMuon, AdamW]:
    """Create the optimizers, each with its part of the parameters."""
    named = list(network.named_parameters())
    others = [p for name, p in named if not _is_for_muon(name, p)]
    muon = StackedMuon(
        [p for name, p in named if _is_for_muon(name, p)],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    adamw = AdamW(
        [
            {"params": [p for p in others if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )
    return muon, adamw


def _is_for_muon(name: str, parameter: Tensor) -> bool:
    return parameter.ndim == 2 and name.startswith("blocks.")


def learning_rate_factor(config: TrainConfig, step: int, share: float) -> float:
    """Return the factor of the peak rate: linear warm-up to 1, then a cosine decay to 0 at share 1."""
    decayed = (share - config.decay_from) / (1 - config.decay_from) if share > config.decay_from else 0.0
    return min(1.0, (step + 1) / max(1, config.warmup)) * 0.5 * (1 + math.cos(math.pi * min(1.0, decayed)))
