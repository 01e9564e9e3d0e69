"""The last linear map of the heads and its inputs: log-density and score are affine in its weights.

Let s (E,) and V (C, D) be the states of a token after all blocks, omega the weight of the residual (see
`discoformer_training.nn.heads`), V_+ = (V, grad log c) and s_+ = (s, 1). The heads add

    T += sqrt(D) eta . a        S += sum_jc theta_jc a_j V_+c        a = omega s_+

if row 0 of `heads.linear` changes by eta (E + 1,) and rows 2, 3, ... by theta (E + 1, C + 1), biases last.
This holds while the log-density stays within `residual_bound` of the base.

Shapes: n queries, D dimensions, E scalars, C vector channels.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from discoformer.analysis.adaptation_losses import Read
from discoformer.base.base import Base
from discoformer.onnx.graphs import CHUNK
from discoformer_training.nn.attention import attend_blocked
from discoformer_training.nn.blocks import normalise_log_weights
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.heads import trust_weight
from discoformer_training.nn.network import DiScoFormer, Encoded
from discoformer_training.nn.point_features import Points, point_features, squared_radius

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


def network_of(parameters: Mapping[str, Singles], config: Mapping[str, float]) -> DiScoFormer:
    """Build a network in evaluation mode from its parameters, by name, and its configuration."""
    network = DiScoFormer(NetworkConfig(**config), attend_blocked)  # type: ignore[arg-type]
    network.load_state_dict({name: torch.tensor(array) for name, array in parameters.items()})
    return network.eval()


@torch.no_grad()
def read(network: DiScoFormer, encoded: Mapping[str, Singles], queries: Doubles) -> Read:
    """Evaluate the network and return the inputs of its last linear map as well.

    Args:
        network: the network.
        encoded: inputs and outputs of the encode graph for one context, by name.
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
    points = point_features(queries, given["precision_root"], Base.from_inputs(given))
    return read_tokens(network, encoded, given["log_weights"], points)


def read_tokens(
    network: DiScoFormer, encoded: Encoded, log_weights: Tensor, points: Points
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the fields of `Read` for n queries in each of B contexts, with an axis B in front.

    Args:
        network: the network.
        encoded: the encoded contexts.
        log_weights: of their points, (B, N).
        points: features of the queries.
    """
    tokens = network.query_tokens(points, encoded, normalise_log_weights(log_weights))
    log_density, score = network.heads(*tokens, points, *network.base(points, encoded.sample))
    trust = trust_weight(squared_radius(points) / network.heads.trust_radius**2)[..., None]
    scalars = trust * torch.cat([tokens.scalars, torch.ones_like(trust)], -1)
    return log_density, score, scalars, torch.cat([tokens.vectors, points.score[..., None]], -1)
