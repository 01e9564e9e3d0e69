"""Gaussian KDE is a special case of the network: one head of one block."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from discoformer_training.nn.blocks import Block
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.network import DiScoFormer

CLOSE = {"rtol": 1e-10, "atol": 1e-8}


@torch.no_grad()
def set_kde(network: DiScoFormer, bandwidth: float) -> None:
    """Set the weights so that the network is an isotropic Gaussian KDE in the frame, of this bandwidth.

    This is exact with base and taming off: gamma = 0 (set here), and infinite `taming_radius`, `trust_radius`
    and `residual_bound`. One head of the first block computes the KDE. No other output is read.
    """
    for block in network.blocks:
        assert isinstance(block, Block)
        for parameter in (
            block.attention.scalar_out.weight,
            block.attention.scalar_out.bias,
            block.attention.vector_out,
            block.feed_forward.scalar_out.weight,
            block.feed_forward.scalar_out.bias,
            block.feed_forward.gate.weight,
            block.feed_forward.gate.bias,
        ):
            parameter.zero_()
    embedding, attention, heads = network.embedding, network.blocks[0].attention, network.heads
    for layer in (embedding.scalars, embedding.combination):
        layer.weight.zero_()
        layer.bias.zero_()
    embedding.combination.bias[0] = 1  # channel 0 is y itself

    beta = bandwidth**-2
    width = network.config.head_scalars
    attention.query.weight[:width] = 0
    for mix in (attention.vector_query, attention.vector_key, attention.vector_value):
        mix[0] = 0
        mix[0, 0, 0] = 1
    attention.sharpness.weight[0] = 0
    attention.sharpness.bias[0] = 0
    attention.bandwidth.weight[0] = 0
    attention.bandwidth.bias[0] = beta + math.log(-math.expm1(-beta))  # inverse of softplus
    attention.gate.weight[0] = 0
    attention.gate.bias[0] = 1
    attention.scalar_out.weight[0, width] = 1  # scalar 0: log-normaliser / sqrt(D)
    attention.vector_out[1, 0] = 1  # channel 1: the mean shift

    heads.gamma.zero_()
    for parameter in (heads.linear.weight, heads.linear.bias, heads.out.weight):
        parameter.zero_()
    heads.linear.weight[0, 0] = 1
    heads.linear.bias[1] = 0.5 * (math.log(beta) - math.log(2 * math.pi))
    heads.linear.bias[2 + 1] = beta


@pytest.fixture(scope="module")
def make_kde(make_network, small):
    """Turn networks of random weights, their base and taming off, into Gaussian KDE."""

    def make(bandwidth: float, blocks: int = 1, config: NetworkConfig = small) -> DiScoFormer:
        config = replace(
            config, blocks=blocks, taming_radius=math.inf, trust_radius=math.inf, residual_bound=math.inf
        )
        network = make_network(config)
        set_kde(network, bandwidth)
        return network

    return make


def kde(points: Tensor, queries: Tensor, bandwidth: float, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussian KDE by its formula."""
    dim = points.shape[-1]
    apart = points[:, None] - queries[:, :, None]  # (B, M, N, D)
    joint = log_weights.log_softmax(-1)[:, None] - 0.5 * apart.square().sum(-1) / bandwidth**2
    log_density = joint.logsumexp(-1) - 0.5 * dim * math.log(2 * math.pi * bandwidth**2)
    return log_density, (joint.softmax(-1)[..., None] * apart).sum(2) / bandwidth**2


@pytest.mark.parametrize("dim", [1, 2, 7, 100])
@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("blocks", [1, 3])
def test_gaussian_kde_is_one_head_of_one_block(make_kde, setting, dim, bandwidth, blocks):
    """Exactly, weights included, whatever the other weights of the network."""
    network = make_kde(bandwidth, blocks)
    context, queries = setting(2, 25, 8, dim)
    weights = torch.linspace(-1, 1, 25, dtype=torch.float64).expand(2, -1)
    for log_weights in (context.log_weights, weights):
        expected = kde(context.points, queries, bandwidth, log_weights)
        found = network(context._replace(log_weights=log_weights), queries)
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("blocks", [1, 4])
def test_network_of_full_size_is_kde_too(make_kde, setting, blocks):
    context, queries = setting(2, 25, 8, 3)
    expected = kde(context.points, queries, 0.4, context.log_weights)
    found = make_kde(0.4, blocks, NetworkConfig())(context, queries)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_narrow_kde_stays_exact(make_kde, setting):
    """Where the inverse of softplus is the identity to rounding."""
    context, queries = setting(1, 25, 8, 2)
    expected = kde(context.points, queries, 0.05, context.log_weights)
    torch.testing.assert_close(make_kde(0.05)(context, queries), expected, rtol=1e-9, atol=1e-7)
