"""The last linear map of the heads, and what it reads: log-density and score are affine in its weights.

With tokens s (E,) and V (C, D) that have passed the blocks, omega the trust in the network, and
V_+ = (V, grad log c), s_+ = (s, 1), the heads (see `discoformer_training.nn.heads`) add

    T += sqrt(D) eta . a        S += sum_jc theta_jc a_j V_+c        a = omega s_+

where the rows 0 and 2, 3, ... of `heads.linear` are changed by eta (E + 1,) and theta (E + 1, C + 1), biases
last. That is true as long as the log-density stays within `residual_bound` of the base.

Shapes: n queries, D dimensions, E scalars, C vector channels.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from discoformer.base.base import Base
from discoformer_training.nn.attention import attend_blocked
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.heads import trusted
from discoformer_training.nn.network import DiScoFormer, Encoded, Tokens, normalised
from discoformer_training.nn.point_features import Points, seen, squared_radius

CHUNK = 1024  # queries answered at a time

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


class Read(NamedTuple):
    """What is answered at n queries, and what the last linear map reads there."""

    log_density: Doubles  # (n,) T
    score: Doubles  # (n, D) S
    scalars: Doubles  # (n, E + 1) a
    vectors: Doubles  # (n, D, C + 1) V_+


def network_of(parameters: Mapping[str, Singles], config: Mapping[str, float]) -> DiScoFormer:
    """Build a network from its parameters, by name, and its configuration."""
    network = DiScoFormer(NetworkConfig(**config), attend_blocked)  # type: ignore[arg-type]
    network.load_state_dict({name: torch.tensor(array) for name, array in parameters.items()})
    return network.eval()


@torch.no_grad()
def read(network: DiScoFormer, encoded: Mapping[str, Singles], queries: Doubles) -> Read:
    """Answer queries, and say what the last linear map has read.

    Args:
        network: the network.
        encoded: one context: what the encode graph was given and gave, by name.
        queries: (n, D), in the frame.
    """
    given = {name: torch.tensor(array) for name, array in encoded.items()}
    chunks = torch.as_tensor(queries, dtype=torch.float32).split(CHUNK)
    fields = zip(*(_read_chunk(network, given, chunk[None]) for chunk in chunks), strict=True)
    return Read(*(torch.cat(field, 1)[0].double().numpy() for field in fields))


def _read_chunk(
    network: DiScoFormer, given: Mapping[str, Tensor], queries: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    encoded = Encoded(given["scalars"], given["vectors"], given["sample"])
    points = seen(queries, given["precision_root"], Base.from_inputs(given))
    return read_tokens(network, encoded, given["log_weights"], points)


def read_tokens(
    network: DiScoFormer, encoded: Encoded, log_weights: Tensor, points: Points
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Answer n queries as first seen, given B contexts: the fields of `Read`, each with B in front."""
    log_weights = normalised(log_weights)
    tokens: Tokens = network.embedding(points, encoded.sample)
    for layer, block in enumerate(network.blocks):
        context = Tokens(encoded.scalars[:, layer], encoded.vectors[:, layer])
        tokens = block(tokens, context, log_weights, encoded.sample)
    log_density, score = network.heads(*tokens, points, *network.base(points, encoded.sample))
    trust = trusted(squared_radius(points) / network.heads.trust_radius**2)[..., None]
    scalars = trust * torch.cat([tokens.scalars, torch.ones_like(trust)], -1)
    return log_density, score, scalars, torch.cat([tokens.vectors, points.score[..., None]], -1)
