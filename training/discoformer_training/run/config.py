"""The configuration of a training run, one frozen dataclass, kept as JSON inside its checkpoints."""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from discoformer_training.data.stream import StreamConfig
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.run.loss import LossConfig


@dataclass(frozen=True)
class TrainConfig:
    """What is trained, on what, and how."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    seed: int = 0  # of the weights and of the stream
    steps: int = 20_000  # the whole run, unless a time budget ends it sooner
    learning_rate: float = 1.5e-3  # the peak of AdamW's
    muon: float = 2.0  # Muon's learning rate over AdamW's
    warmup: int = 100  # steps of linear rise
    decay_from: float = 0.4  # share of the run after which the rate falls, as a cosine, to 0
    weight_decay: float = 0.01  # on matrices
    uses: int = 1  # steps that learn from each task,
    again_after: int = 600  # so many new tasks apart
    clip: float = 0.1  # greatest norm of the gradient: tasks of every size have their say
    average: float = 0.999  # decay of the moving average of the weights, per step
    kde_bandwidth: float | None = None  # start as a KDE of this bandwidth in the frame

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> "TrainConfig":
        """Read what `to_json` wrote, or a part of it: what is absent keeps its default.

        Raises:
            ValueError: not JSON.
            TypeError: a name that is no setting.
        """
        return TrainConfig().updated(text)

    def updated(self, text: str) -> "TrainConfig":
        """Replace the settings that a JSON text names; raises as `from_json` does."""
        values: dict[str, Any] = json.loads(text)
        stream: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in values.pop("stream", {}).items()
        }
        return replace(
            self,
            network=replace(self.network, **values.pop("network", {})),
            stream=replace(self.stream, **stream),
            loss=replace(self.loss, **values.pop("loss", {})),
            **values,
        )
