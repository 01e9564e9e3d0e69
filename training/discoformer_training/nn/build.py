"""The network that a configuration describes."""

from discoformer.errors import InputError
from discoformer_training.nn.attention import Attend, attend_plain
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer


def build_network(config: NetworkConfig, attend: Attend = attend_plain) -> DiScoFormer | MixtureNetwork:
    """Build a network with initial weights.

    Raises:
        InputError: the kind is unknown.
    """
    if config.kind == "heads":
        return DiScoFormer(config, attend)
    if config.kind == "mixture":
        return MixtureNetwork(config, attend)
    raise InputError(f"network.kind is {config.kind!r}, needed 'heads' or 'mixture'")
