"""The sizes and constants of a network, stored as JSON beside its weights."""

import json
from dataclasses import asdict, dataclass

CONSTANTS = ("greatest_size", "taming_radius", "trust_radius", "residual_bound")  # shape no weight


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and constants of the network."""

    kind: str = "heads"  # "heads", which refine a mixture, or "mixture", of the tokens
    blocks: int = 4  # L
    scalars: int = 64  # E, scalar width
    channels: int = 8  # C, vector channels
    heads: int = 4  # H
    head_scalars: int = 16  # scalar query, key and value width of a head
    head_channels: int = 2  # vector query, key and value channels of a head
    pairs: int = 16  # inner products of channels that a feed-forward layer reads
    hidden: int = 256  # hidden width of a feed-forward layer
    sample: int = 32  # G, width of the sample embedding
    statistics: int = 2  # kernels of local statistics that a component reads
    updates: int = 0  # learned steps of expectation and maximisation
    readout: int = 128  # hidden width of the layer that reads a component
    greatest_size: float = 4096.0  # effective sizes are clipped to this: the greatest size in training
    taming_radius: float = 5.0  # |V| / sqrt(D) at which the input vectors saturate
    trust_radius: float = 5.0  # r at which the residual on the base is halved
    residual_bound: float = 10.0  # greatest difference of the log-density from the base, nats / sqrt(D)

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(asdict(self), indent=2)
