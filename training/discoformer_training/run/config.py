"""The configuration of a training run: a frozen dataclass, stored as JSON inside its checkpoints."""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from discoformer_training.data.stream import StreamConfig
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.run.loss import LossConfig

RETIRED = {"kde_bandwidth", "again_after"}  # settings of older checkpoints, which are ignored
RETIRED_OF_STREAM = {"fitted_base"}


@dataclass(frozen=True)
class TrainConfig:
    """The network, the training data and the optimisation of a run."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    proposal: NetworkConfig | None = None  # of the mixture network whose base the heads refine
    stream: StreamConfig = field(default_factory=StreamConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    seed: int = 0  # of the weights and of the stream
    steps: int = 20_000  # length of the run; a time budget may end it earlier
    learning_rate: float = 1.5e-3  # peak rate of AdamW
    muon: float = 2.0  # learning rate of Muon, as a multiple of AdamW's
    warmup: int = 100  # steps of linear increase of the rate
    decay_from: float = 0.4  # share of the run after which the rate decays to 0, as a cosine
    weight_decay: float = 0.01  # of matrices
    uses: int = 1  # steps that use each task
    clip: float = 0.1  # greatest norm of the gradient, so that no task dominates
    average: float = 0.999  # decay of the moving average of the weights, per step

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> "TrainConfig":
        """Read the output of `to_json`, also that of older versions. Missing settings keep their defaults.

        Raises:
            ValueError: the text is not JSON, or a value is not allowed.
            TypeError: a name is not a setting.
        """
        values = {name: value for name, value in json.loads(text).items() if name not in RETIRED}
        stream = values.get("stream", {}).items()
        values["stream"] = {name: value for name, value in stream if name not in RETIRED_OF_STREAM}
        return TrainConfig().updated(json.dumps(values))

    def updated(self, text: str) -> "TrainConfig":
        """Return a copy with the settings that a JSON text names replaced.

        Raises:
            ValueError: the text is not JSON, or a value is not allowed.
            TypeError: a name is not a setting.
        """
        values: dict[str, Any] = json.loads(text)
        stream: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in values.pop("stream", {}).items()
        }
        proposal = values.pop("proposal", None)
        return replace(
            self,
            network=replace(self.network, **values.pop("network", {})),
            proposal=NetworkConfig(**proposal) if proposal else self.proposal,
            stream=replace(self.stream, **stream),
            loss=replace(self.loss, **values.pop("loss", {})),
            **values,
        )
