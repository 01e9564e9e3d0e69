"""The DiScoFormer network: a set transformer, exactly O(D)-equivariant, with a density and a score head.

It works in the frame of the context (discoformer_training.frame). Token i, a context point or a query,
carries scalars s_i (E,), built from rotation invariants alone, and vectors V_i (C, D), linear combinations of
frame points with scalar coefficients. No layer has D as a width: the same weights serve every dimension.

An attention head is an adaptive Gaussian kernel over the context,

    l_ij = q_i . k_j - beta_i kappa_j / 2 |Q V_i - K V_j|^2 + D / 2 log kappa_j + log w_j,

beta_i > 0 the inverse squared bandwidth of the query and kappa_j > 0 the sharpness of the context point. It
returns averages of scalars, mean shifts of vectors, sum_j a_ij V_j - V_i, and the log-normaliser
log sum_j exp l_ij: a Gaussian KDE is one head of one block (`set_kde`). Queries attend to the context with
the same weights as the context to itself, never to each other.

The heads (discoformer_training.nn.heads) read log-density and score from the last states.

Shapes: B batch, N context points, M queries, D dimensions, K components, H heads, E scalars, C vector
channels, L blocks, G width of the sample embedding. Vectors are held with their channels last, (D, C): so
whatever mixes channels is a linear map of the last axis, as it is for scalars. Log-densities in nats; frame
coordinates throughout.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, softplus

from discoformer.base.base import Base
from discoformer_training.data.context import Context
from discoformer_training.nn.attention import Attend, attend_plain
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.heads import LOG_TWO_PI, Heads, Tail
from discoformer_training.nn.point_features import (
    INVARIANTS,
    VECTORS,
    Points,
    compressed,
    seen,
    spread,
)

ABSENT = -1e4  # log-weight at and below which a context point counts for nothing


class Tokens(NamedTuple):
    """States of n tokens."""

    scalars: Tensor  # (B, n, E)
    vectors: Tensor  # (B, n, D, C)

    def part(self, start: int, stop: int | None) -> "Tokens":
        """Take the tokens from start to stop."""
        return Tokens(self.scalars[:, start:stop], self.vectors[:, start:stop])


class Encoded(NamedTuple):
    """A context as the queries see it."""

    scalars: Tensor  # (B, L, N, E) states that enter each block
    vectors: Tensor  # (B, L, N, D, C)
    sample: Tensor  # (B, G + 2) sample embedding, log N and log D


class DiScoFormer(nn.Module):
    """Log-density and score at queries, given a context; see the head of this module.

    Args:
        config: sizes and constants.
        attend: how attention is computed; every choice gives the same result.
    """

    def __init__(self, config: NetworkConfig, attend: Attend = attend_plain) -> None:
        super().__init__()
        self.config = config
        self.sample_embedding = SampleEmbedding(config)
        self.embedding = Embedding(config)
        self.blocks = nn.ModuleList(Block(config, attend) for _ in range(config.blocks))
        self.base = Tail(config)
        self.heads = Heads(config)

    def forward(self, context: Context, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, M) and score (B, M, D) at queries (B, M, D)."""
        log_weights = normalised(context.log_weights)
        n = context.points.shape[1]
        points = seen(torch.cat([context.points, queries], 1), context.precision_root, context.base)
        sample = self.sample_embedding(points.part(0, n), log_weights, context)
        tokens = self.embedding(points, sample)
        for block in self.blocks[:-1]:
            tokens = block(tokens, tokens.part(0, n), log_weights, sample)
        answers = self.blocks[-1](tokens.part(n, None), tokens.part(0, n), log_weights, sample)
        return self._read(answers, points.part(n, None), sample)

    def encode(self, context: Context) -> Encoded:
        """Compute once what any number of queries needs of the context."""
        log_weights = normalised(context.log_weights)
        points = seen(context.points, context.precision_root, context.base)
        sample = self.sample_embedding(points, log_weights, context)
        tokens = self.embedding(points, sample)
        states = [tokens]
        for block in self.blocks[:-1]:
            tokens = block(tokens, tokens, log_weights, sample)
            states.append(tokens)
        scalars = torch.stack([state.scalars for state in states], 1)
        vectors = torch.stack([state.vectors for state in states], 1)
        return Encoded(scalars, vectors, sample)

    def query(
        self,
        queries: Tensor,
        encoded: Encoded,
        log_weights: Tensor,
        precision_root: Tensor,
        base: Base,
    ) -> tuple[Tensor, Tensor]:
        """Return log-density (B, M) and score (B, M, D) at queries (B, M, D), given the encoded context."""
        log_weights = normalised(log_weights)
        points = seen(queries, precision_root, base)
        tokens = self.embedding(points, encoded.sample)
        for layer, block in enumerate(self.blocks):
            context = Tokens(encoded.scalars[:, layer], encoded.vectors[:, layer])
            tokens = block(tokens, context, log_weights, encoded.sample)
        return self._read(tokens, points, encoded.sample)

    def _read(self, tokens: Tokens, points: Points, sample: Tensor) -> tuple[Tensor, Tensor]:
        log_base, base_score = self.base(points, sample)
        return self.heads(*tokens, points, log_base, base_score)


class SampleEmbedding(nn.Module):
    """Order-independent, affine-invariant summary of the context that every token sees."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.greatest_size = config.greatest_size
        self.point = nn.Sequential(nn.Linear(INVARIANTS, config.scalars), nn.GELU())
        self.summary = nn.Sequential(
            nn.Linear(config.scalars + 4, config.scalars), nn.GELU(), nn.Linear(config.scalars, config.sample)
        )

    def forward(self, points: Points, log_weights: Tensor, context: Context) -> Tensor:
        """Summarise N points of weights (B, N) as (B, G + 2), log N and log D last."""
        dim = context.points.shape[-1]
        pooled = (log_weights.exp()[:, None] @ self.point(points.invariants))[:, 0]  # (B, E)
        log_size = context.effective_size.clamp(max=self.greatest_size).log()[:, None]
        log_dim = torch.full_like(log_size, dim).log()
        log_det = context.log_det_precision[:, None] / dim
        log_spread = spread(context.base.components).log()[:, None]
        summary = self.summary(torch.cat([pooled, log_size, log_dim, log_det, log_spread], -1))
        return torch.cat([summary, log_size, log_dim], -1)


class Embedding(nn.Module):
    """Tokens from points: invariants to scalars, combinations of the four vectors to vectors."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.taming_radius = config.taming_radius
        self.point = nn.Linear(INVARIANTS, config.scalars)
        self.sample = nn.Linear(config.sample + 2, config.scalars)
        self.scalars = nn.Linear(config.scalars, config.scalars)
        self.combination = nn.Linear(config.scalars, config.channels * VECTORS)
        with torch.no_grad():
            self.combination.weight.mul_(0.1)
            self.combination.bias.normal_()

    def forward(self, points: Points, sample: Tensor) -> Tokens:
        """Embed points, given the sample embedding (B, G + 2)."""
        hidden = gelu(self.point(points.invariants) + self.sample(sample)[:, None])
        length = points.vectors.square().mean(-2, keepdim=True) / self.taming_radius**2
        tamed = points.vectors * (1 + length).rsqrt()
        combination = self.combination(hidden).unflatten(-1, (-1, VECTORS))  # (B, n, C, 4)
        return Tokens(self.scalars(hidden), tamed @ combination.mT)


class Block(nn.Module):
    """Attention to the context, then a feed-forward, each a residual."""

    def __init__(self, config: NetworkConfig, attend: Attend) -> None:
        super().__init__()
        self.attention = Attention(config, attend)
        self.feed_forward = FeedForward(config)

    def forward(self, tokens: Tokens, context: Tokens, log_weights: Tensor, sample: Tensor) -> Tokens:
        """Update n tokens from N context tokens of log-weights (B, N)."""
        return self.feed_forward(self.attention(tokens, context, log_weights, sample))


class Attention(nn.Module):
    """Adaptive Gaussian kernels over the context: what they find of its mass and means."""

    def __init__(self, config: NetworkConfig, attend: Attend) -> None:
        super().__init__()
        self.attend = attend
        self.config = config
        width = config.heads * config.head_scalars
        shifts = config.heads * config.head_channels
        self.norm = nn.LayerNorm(config.scalars)
        self.query = nn.Linear(config.scalars, width, bias=False)
        self.key = nn.Linear(config.scalars, width, bias=False)
        self.value = nn.Linear(config.scalars, width, bias=False)
        mix = torch.randn(config.heads, config.head_channels, config.channels) / config.channels**0.5
        self.vector_query = nn.Parameter(mix.clone())  # Q
        self.vector_key = nn.Parameter(mix.clone())  # K = Q: a kernel in the distance, at the start
        self.vector_value = nn.Parameter(torch.randn_like(mix) / config.channels**0.5)
        self.sharpness = nn.Linear(config.scalars, config.heads)
        self.bandwidth = nn.Linear(config.scalars + config.sample + 2, config.heads)
        self.gate = nn.Linear(config.scalars, shifts)
        self.scalar_out = nn.Linear(width + config.heads, config.scalars)
        self.vector_out = nn.Parameter(torch.randn(config.channels, shifts) / shifts**0.5)
        with torch.no_grad():
            self.bandwidth.weight.mul_(0.1)
            self.bandwidth.weight[:, -1] = -0.5  # beta ~ 1 / sqrt(D) keeps the logits' spread over D
            self.bandwidth.bias.copy_(torch.linspace(-2, 2, config.heads))
            self.sharpness.weight.zero_()
            self.sharpness.bias.zero_()
            self.gate.weight.zero_()
            self.gate.bias.fill_(1)

    def forward(self, tokens: Tokens, context: Tokens, log_weights: Tensor, sample: Tensor) -> Tokens:
        """Update n tokens from N context tokens of log-weights (B, N)."""
        dim = tokens.vectors.shape[-2]
        own, seen = self.norm(tokens.scalars), self.norm(context.scalars)
        beta = self._inverse_bandwidth(own, sample)  # (B, n, H, 1)
        log_kappa = compressed(self.sharpness(seen), 3)[..., None]  # (B, N, H, 1)
        kappa = log_kappa.exp()
        own_point = mixed(self.vector_query, tokens.vectors)
        seen_point = mixed(self.vector_key, context.vectors)
        width = self.config.head_scalars
        # l_ij as one inner product.
        queries = [
            self._split(self.query(own)) / width**0.5,
            beta * own_point,
            -0.5 * beta,
            -0.5 * beta * squared_norm(own_point),
            torch.ones_like(beta),
        ]
        keys = [
            self._split(self.key(seen)),
            kappa * seen_point,
            kappa * squared_norm(seen_point),
            kappa,
            log_weights[..., None, None] + 0.5 * dim * log_kappa,
        ]
        values = [self._split(self.value(seen)), mixed(self.vector_value, context.vectors)]

        output, log_normaliser = self.attend(
            *(torch.cat(parts, -1).transpose(1, 2) for parts in (queries, keys, values))
        )
        output = output.transpose(1, 2)  # (B, n, H, Ev + Cv D)
        average, seen_mean = output[..., :width], output[..., width:]
        normaliser = log_normaliser.transpose(1, 2)[..., None] / dim**0.5
        scalars = torch.cat([average, normaliser], -1).flatten(2)
        shift = per_channel(seen_mean - mixed(self.vector_value, tokens.vectors), dim)  # (B, n, D, H Cv)
        vectors = linear(self.gate(own)[..., None, :] * shift, self.vector_out)
        return Tokens(tokens.scalars + self.scalar_out(scalars), tokens.vectors + vectors)

    def _inverse_bandwidth(self, scalars: Tensor, sample: Tensor) -> Tensor:
        sample = sample[:, None].expand(-1, scalars.shape[1], -1)
        beta: Tensor = softplus(self.bandwidth(torch.cat([scalars, sample], -1)))
        return beta[..., None]

    def _split(self, x: Tensor) -> Tensor:
        """(B, n, H e) to (B, n, H, e)."""
        return x.unflatten(-1, (self.config.heads, -1))


class FeedForward(nn.Module):
    """Scalars from scalars and inner products of channels; channels mixed and gated by scalars."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.scalars)
        self.left = nn.Parameter(torch.randn(config.pairs, config.channels) / config.channels**0.5)
        self.right = nn.Parameter(torch.randn(config.pairs, config.channels) / config.channels**0.5)
        self.hidden = nn.Linear(config.scalars + config.pairs, config.hidden)
        self.scalar_out = nn.Linear(config.hidden, config.scalars)
        self.gate = nn.Linear(config.hidden, config.channels)
        self.mix = nn.Parameter(torch.randn(config.channels, config.channels) / config.channels**0.5)
        with torch.no_grad():
            self.scalar_out.weight.mul_(0.1)
            self.gate.weight.zero_()
            self.gate.bias.zero_()

    def forward(self, tokens: Tokens) -> Tokens:
        """Update tokens, each by itself."""
        inner = (linear(tokens.vectors, self.left) * linear(tokens.vectors, self.right)).mean(-2)
        hidden = gelu(self.hidden(torch.cat([self.norm(tokens.scalars), compressed(inner, 10)], -1)))
        vectors = self.gate(hidden)[..., None, :] * linear(tokens.vectors, self.mix)
        return Tokens(tokens.scalars + self.scalar_out(hidden), tokens.vectors + vectors)


@torch.no_grad()
def widened(weights: Mapping[str, Tensor], network: DiScoFormer) -> dict[str, Tensor]:
    """The weights of a network whose feed-forwards are narrower, as weights of this one: the same function.

    What is added to a feed-forward keeps the network's own weights, and is not read out at first. Weights of
    the network's own shapes stay as they are.
    """
    wide = {}
    for name, own in network.state_dict().items():
        weight = weights[name]
        read_out = name.endswith(("feed_forward.scalar_out.weight", "feed_forward.gate.weight"))
        wide[name] = torch.zeros_like(own) if read_out else own.clone()
        wide[name][tuple(slice(size) for size in weight.shape)] = weight
    return wide


def squared_norm(x: Tensor) -> Tensor:
    """|x|^2 over the last axis, which is kept."""
    return x.square().sum(-1, keepdim=True)


def mixed(mix: Tensor, vectors: Tensor) -> Tensor:
    """Combine channels by mix (H, P, C): vectors (B, n, D, C) to (B, n, H, D P)."""
    mixes = linear(vectors, mix.flatten(0, 1)).unflatten(-1, (mix.shape[0], -1))
    return mixes.transpose(2, 3).flatten(3)


def per_channel(mixes: Tensor, dim: int) -> Tensor:
    """Undo the layout of `mixed`: (B, n, H, D P) to (B, n, D, H P)."""
    return mixes.unflatten(-1, (dim, -1)).transpose(2, 3).flatten(3)


def normalised(log_weights: Tensor) -> Tensor:
    """Log-weights (B, N) of sum 1, absent points clamped to where they vanish."""
    return torch.log_softmax(log_weights.clamp(min=ABSENT), -1).clamp(min=ABSENT)


@torch.no_grad()
def set_kde(network: DiScoFormer, bandwidth: float) -> None:
    """Set the weights so that the network is Gaussian KDE in the frame, isotropic, with this bandwidth.

    Exactly so when the base and taming are off: `taming_radius`, `trust_radius` and `residual_bound` infinite
    (gamma is set to 0 here). One head of the first block does the work; nothing else is read out, so the rest
    is free to learn: this is also an initialisation for training. Needs at least 2 vector channels.
    """
    first = network.blocks[0]
    assert isinstance(first, Block)
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
    embedding, attention, heads = network.embedding, first.attention, network.heads
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
    heads.linear.bias[1] = 0.5 * (math.log(beta) - LOG_TWO_PI)
    heads.linear.bias[2 + 1] = beta
