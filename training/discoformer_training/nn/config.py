"""The sizes and constants of a network, kept as JSON beside its weights."""

import json
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and constants of the network."""

    blocks: int = 4  # L
    scalars: int = 64  # E, scalar width
    channels: int = 8  # C, vector channels
    heads: int = 4  # H
    head_scalars: int = 16  # scalar query, key and value width of a head
    head_channels: int = 2  # vector query, key and value channels of a head
    pairs: int = 16  # inner products of channels seen by a feed-forward
    hidden: int = 256  # width of a feed-forward
    sample: int = 32  # G, width of the sample embedding
    greatest_size: float = 4096.0  # larger effective sizes count as this, the greatest trained on
    taming_radius: float = 5.0  # |V| / sqrt(D) at which the vectors that a token begins with stop growing
    trust_radius: float = 5.0  # r at which the network's word counts half as much
    residual_bound: float = 10.0  # nats / sqrt(D) by which the log-density may differ from the base

    def extends(self, other: "NetworkConfig") -> bool:
        """Whether weights of another can begin this network: constants may differ, feed-forwards widen."""
        shared = replace(
            other,
            hidden=self.hidden,
            greatest_size=self.greatest_size,
            taming_radius=self.taming_radius,
            trust_radius=self.trust_radius,
            residual_bound=self.residual_bound,
        )
        return shared == self and other.hidden <= self.hidden

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self), indent=2)
