"""The state of a training run and its one step: stream -> network -> loss -> optimizers -> moving average.

Muon moves the matrices inside blocks, AdamW everything else.
"""

import math
from functools import partial

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import AdamW

from discoformer_training.data.prefetch import Ahead
from discoformer_training.data.stream import draw_task
from discoformer_training.nn.attention import attend_blocked
from discoformer_training.nn.network import DiScoFormer, set_kde, widened
from discoformer_training.run.checkpoint import Progress, with_prefix
from discoformer_training.run.config import TrainConfig
from discoformer_training.run.loss import task_loss
from discoformer_training.run.muon import StackedMuon


class TrainingDivergedError(RuntimeError):
    """The loss or its gradient is no longer finite, or has grown far beyond its best."""


class Trainer:
    """A run under way; `workers` processes draw its tasks (ahead.Ahead)."""

    def __init__(self, config: TrainConfig, fabric: Fabric, workers: int = 0) -> None:
        self.config = config
        self.fabric = fabric
        torch.manual_seed(config.seed)
        network = DiScoFormer(config.network, attend_blocked)
        if config.kde_bandwidth is not None:
            set_kde(network, config.kde_bandwidth)
        muon, adamw = _optimizers(network, config)
        self.network, *self.optimizers = fabric.setup(network, muon, adamw)
        self.average = {name: p.detach().clone() for name, p in self.network.module.named_parameters()}
        self.progress = Progress()
        draw = partial(draw_task, config.stream, config.seed, rank=fabric.global_rank)
        self.tasks = Ahead(draw, workers, config.uses, config.again_after)

    def step(self, share: float) -> dict[str, float]:
        """Take one step, at this share of the run; return the loss and its terms."""
        config, step = self.config, self.progress.step
        task = self.tasks(step).each(self.fabric.to_device)
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
                f"step {step}: loss {terms['loss'].item()}, gradient norm {norm.item()}, needed finite values"
            )
        for optimizer in self.optimizers:
            optimizer.step()
        self._follow(min(config.average, (1 + step) / (10 + step)))
        self.progress = Progress(
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
        torch._foreach_lerp_([*self.average.values()], [*self.network.module.parameters()], 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a run needs to continue, by name."""
        tensors = {f"average.{name}": tensor for name, tensor in self.average.items()}
        for name, parameter in self.network.module.named_parameters():
            tensors[f"network.{name}"] = parameter.detach()
            for optimizer in self.optimizers:
                for slot, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"optimizer.{slot}.{name}"] = value
        return tensors

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Set the weights, and their average, by name; see `network.widened`."""
        weights = widened(weights, self.network.module)
        self.network.module.load_state_dict(weights)
        for name, tensor in weights.items():
            self.average[name].copy_(tensor)

    def restore(self, progress: Progress, tensors: dict[str, Tensor]) -> None:
        """Continue from the tensors of a checkpoint."""
        self.progress = progress
        self.network.module.load_state_dict(with_prefix(tensors, "network."))
        for name, tensor in with_prefix(tensors, "average.").items():
            self.average[name].copy_(tensor)
        parameters = dict(self.network.module.named_parameters())
        muon, adamw = self.optimizers
        for key, value in with_prefix(tensors, "optimizer.").items():  # none before the first step
            slot, name = key.split(".", 1)
            parameter = parameters[name]
            device = "cpu" if slot == "step" else parameter.device
            optimizer = muon if _is_muons(name, parameter) else adamw
            optimizer.state[parameter][slot] = value.to(device).clone()


def _optimizers(network: DiScoFormer, config: TrainConfig) -> tuple[StackedMuon, AdamW]:
    """Share the parameters between Muon and AdamW."""
    named = list(network.named_parameters())
    others = [p for name, p in named if not _is_muons(name, p)]
    muon = StackedMuon(
        [p for name, p in named if _is_muons(name, p)],
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


def _is_muons(name: str, parameter: Tensor) -> bool:
    return parameter.ndim == 2 and name.startswith("blocks.")


def learning_rate_factor(config: TrainConfig, step: int, share: float) -> float:
    """Linear rise over the warm-up, then 1, then half a cosine down to 0 at the end of the run."""
    fallen = (share - config.decay_from) / (1 - config.decay_from) if share > config.decay_from else 0.0
    return min(1.0, (step + 1) / max(1, config.warmup)) * 0.5 * (1 + math.cos(math.pi * min(1.0, fallen)))
