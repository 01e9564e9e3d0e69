"""The DiScoFormer network: a set transformer, exactly O(D)-equivariant, with a density and a score head.

The network works in the frame of the context (discoformer.base.frame). Token i, a context point or a
query, has scalars s_i (E,) and vectors V_i (C, D). Scalars are functions of rotation invariants only. Vectors
are linear combinations of frame points with scalar coefficients. No layer has width D, so the same weights
serve every dimension.

An attention head is an adaptive Gaussian kernel over the context,

    l_ij = q_i . k_j - beta_i kappa_j / 2 |Q V_i - K V_j|^2 + D / 2 log kappa_j + log w_j,

with beta_i > 0 the inverse squared bandwidth of the query and kappa_j > 0 the sharpness of the context point.
It returns averages of scalars, mean shifts of vectors, sum_j a_ij V_j - V_i, and the log-normaliser
log sum_j exp l_ij. So a Gaussian KDE is one head of one block, exactly. Queries attend to the context, with
the weights that the context uses for itself, and never to each other.

The heads (discoformer_training.nn.heads) compute log-density and score from the last states.

Shapes: B batch, N context points, M queries, D dimensions, K components, H heads, E scalars, C vector
channels, L blocks, G width of the sample embedding. Vectors are stored as (D, C), so that a mixture of
channels is a linear map of the last axis, as for scalars. Log-densities are in nats, all coordinates in the
frame.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, softplus

from discoformer.base.base import Base
from discoformer_training.data.context import Context
from discoformer_training.nn.attention import Attend, attend_plain
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.heads import Heads, HeavyTailedBase
from discoformer_training.nn.point_features import (
    INVARIANTS,
    VECTORS,
    Points,
    component_std,
    point_features,
    soft_clip,
)

ABSENT = -1e4  # a context point with this log-weight, or a lower one, is absent


class Tokens(NamedTuple):
    """States of n tokens."""

    scalars: Tensor  # (B, n, E)
    vectors: Tensor  # (B, n, D, C)

    def part(self, start: int, stop: int | None) -> "Tokens":
        """Select the tokens from start to stop."""
        return Tokens(self.scalars[:, start:stop], self.vectors[:, start:stop])


class Encoded(NamedTuple):
    """An encoded context: all that queries need of it."""

    scalars: Tensor  # (B, L, N, E) states at the input of each block
    vectors: Tensor  # (B, L, N, D, C)
    sample: Tensor  # (B, G + 2) sample embedding, log N and log D


class DiScoFormer(nn.Module):
    """The network: log-density and score at queries, given a context.

    Args:
        config: sizes and constants.
        attend: implementation of attention; all give the same result.
    """

    def __init__(self, config: NetworkConfig, attend: Attend = attend_plain) -> None:
        super().__init__()
        self.config = config
        self.sample_embedding = SampleEmbedding(config)
        self.embedding = Embedding(config)
        self.blocks = nn.ModuleList(Block(config, attend) for _ in range(config.blocks))
        self.base = HeavyTailedBase(config)
        self.heads = Heads(config)

    def forward(self, context: Context, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, M) and score (B, M, D) at queries (B, M, D)."""
        log_weights = normalise_log_weights(context.log_weights)
        n = context.points.shape[1]
        points = point_features(torch.cat([context.points, queries], 1), context.precision_root, context.base)
        sample = self.sample_embedding(points.part(0, n), log_weights, context)
        tokens = self.embedding(points, sample)
        for block in self.blocks[:-1]:
            tokens = block(tokens, tokens.part(0, n), log_weights, sample)
        answers = self.blocks[-1](tokens.part(n, None), tokens.part(0, n), log_weights, sample)
        return self._read(answers, points.part(n, None), sample)

    def encode(self, context: Context) -> Encoded:
        """Encode a context once, for any number of queries."""
        log_weights = normalise_log_weights(context.log_weights)
        points = point_features(context.points, context.precision_root, context.base)
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
        base: Base[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Return log-density (B, M) and score (B, M, D) at queries (B, M, D), given the encoded context."""
        log_weights = normalise_log_weights(log_weights)
        points = point_features(queries, precision_root, base)
        return self._read(self.query_tokens(points, encoded, log_weights), points, encoded.sample)

    def query_tokens(self, points: Points, encoded: Encoded, log_weights: Tensor) -> Tokens:
        """Return the last states of queries, given their features and normalised log-weights (B, N)."""
        tokens: Tokens = self.embedding(points, encoded.sample)
        for layer, block in enumerate(self.blocks):
            context = Tokens(encoded.scalars[:, layer], encoded.vectors[:, layer])
            tokens = block(tokens, context, log_weights, encoded.sample)
        return tokens

    def _read(self, tokens: Tokens, points: Points, sample: Tensor) -> tuple[Tensor, Tensor]:
        log_base, base_score = self.base(points, sample)
        return self.heads(*tokens, points, log_base, base_score)


class SampleEmbedding(nn.Module):
    """A summary of the context, invariant to order and affine maps. Every token reads it."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.greatest_size = config.greatest_size
        self.point = nn.Sequential(nn.Linear(INVARIANTS, config.scalars), nn.GELU())
        self.summary = nn.Sequential(
            nn.Linear(config.scalars + 4, config.scalars), nn.GELU(), nn.Linear(config.scalars, config.sample)
        )

    def forward(self, points: Points, log_weights: Tensor, context: Context) -> Tensor:
        """Return the summary (B, G + 2) of N points with log-weights (B, N): log N and log D are last."""
        dim = context.points.shape[-1]
        pooled = (log_weights.exp()[:, None] @ self.point(points.invariants))[:, 0]  # (B, E)
        log_size = context.effective_size.clamp(max=self.greatest_size).log()[:, None]
        log_dim = torch.full_like(log_size, dim).log()
        log_det = context.log_det_precision[:, None] / dim
        log_std = component_std(context.base.components).log()[:, None]
        summary = self.summary(torch.cat([pooled, log_size, log_dim, log_det, log_std], -1))
        return torch.cat([summary, log_size, log_dim], -1)


class Embedding(nn.Module):
    """Initial tokens: scalars from the invariants, vectors from combinations of the input vectors."""

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
        combination = self.combination(hidden).unflatten(-1, (-1, VECTORS))  # (B, n, C, VECTORS)
        return Tokens(self.scalars(hidden), tamed @ combination.mT)


class Block(nn.Module):
    """Attention to the context, then a feed-forward layer, both residual."""

    def __init__(self, config: NetworkConfig, attend: Attend) -> None:
        super().__init__()
        self.attention = Attention(config, attend)
        self.feed_forward = FeedForward(config)

    def forward(self, tokens: Tokens, context: Tokens, log_weights: Tensor, sample: Tensor) -> Tokens:
        """Update n tokens from N context tokens of log-weights (B, N)."""
        return self.feed_forward(self.attention(tokens, context, log_weights, sample))


class Attention(nn.Module):
    """Adaptive Gaussian kernels over the context: averages, mean shifts and log-normalisers."""

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
        self.vector_key = nn.Parameter(mix.clone())  # K = Q at the start: the kernel depends on the distance
        self.vector_value = nn.Parameter(torch.randn_like(mix) / config.channels**0.5)
        self.sharpness = nn.Linear(config.scalars, config.heads)
        self.bandwidth = nn.Linear(config.scalars + config.sample + 2, config.heads)
        self.gate = nn.Linear(config.scalars, shifts)
        self.scalar_out = nn.Linear(width + config.heads, config.scalars)
        self.vector_out = nn.Parameter(torch.randn(config.channels, shifts) / shifts**0.5)
        with torch.no_grad():
            self.bandwidth.weight.mul_(0.1)
            self.bandwidth.weight[
                :, -1
            ] = -0.5  # beta ~ 1 / sqrt(D): the spread of the logits is the same for every D
            self.bandwidth.bias.copy_(torch.linspace(-2, 2, config.heads))
            self.sharpness.weight.zero_()
            self.sharpness.bias.zero_()
            self.gate.weight.zero_()
            self.gate.bias.fill_(1)

    def forward(self, tokens: Tokens, context: Tokens, log_weights: Tensor, sample: Tensor) -> Tokens:
        """Update n tokens from N context tokens of log-weights (B, N)."""
        dim = tokens.vectors.shape[-2]
        own, other = self.norm(tokens.scalars), self.norm(context.scalars)
        beta = self._inverse_bandwidth(own, sample)  # (B, n, H, 1)
        log_kappa = soft_clip(self.sharpness(other), 3)[..., None]  # (B, N, H, 1)
        kappa = log_kappa.exp()
        own_point = mix_channels(self.vector_query, tokens.vectors)
        other_point = mix_channels(self.vector_key, context.vectors)
        width = self.config.head_scalars
        # l_ij is one inner product of these.
        queries = [
            self._split(self.query(own)) / width**0.5,
            beta * own_point,
            -0.5 * beta,
            -0.5 * beta * squared_norm(own_point),
            torch.ones_like(beta),
        ]
        keys = [
            self._split(self.key(other)),
            kappa * other_point,
            kappa * squared_norm(other_point),
            kappa,
            log_weights[..., None, None] + 0.5 * dim * log_kappa,
        ]
        values = [self._split(self.value(other)), mix_channels(self.vector_value, context.vectors)]

        output, log_normaliser = self.attend(
            *(torch.cat(parts, -1).transpose(1, 2) for parts in (queries, keys, values))
        )
        output = output.transpose(1, 2)  # (B, n, H, Ev + Cv D)
        average, mean_vector = output[..., :width], output[..., width:]
        normaliser = log_normaliser.transpose(1, 2)[..., None] / dim**0.5
        scalars = torch.cat([average, normaliser], -1).flatten(2)
        own_vector = mix_channels(self.vector_value, tokens.vectors)
        shift = split_channels(mean_vector - own_vector, dim)  # (B, n, D, H Cv)
        vectors = linear(self.gate(own)[..., None, :] * shift, self.vector_out)
        return Tokens(tokens.scalars + self.scalar_out(scalars), tokens.vectors + vectors)

    def _inverse_bandwidth(self, scalars: Tensor, sample: Tensor) -> Tensor:
        sample = sample[:, None].expand(-1, scalars.shape[1], -1)
        beta: Tensor = softplus(self.bandwidth(torch.cat([scalars, sample], -1)))
        return beta[..., None]

    def _split(self, x: Tensor) -> Tensor:
        """Reshape (B, n, H e) to (B, n, H, e)."""
        return x.unflatten(-1, (self.config.heads, -1))


class FeedForward(nn.Module):
    """Scalars from scalars and inner products of channels; vectors mixed, and gated by scalars."""

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
        """Update each token separately."""
        inner = (linear(tokens.vectors, self.left) * linear(tokens.vectors, self.right)).mean(-2)
        hidden = gelu(self.hidden(torch.cat([self.norm(tokens.scalars), soft_clip(inner, 10)], -1)))
        vectors = self.gate(hidden)[..., None, :] * linear(tokens.vectors, self.mix)
        return Tokens(tokens.scalars + self.scalar_out(hidden), tokens.vectors + vectors)


def squared_norm(x: Tensor) -> Tensor:
    """Return |x|^2 over the last axis, which is kept."""
    return x.square().sum(-1, keepdim=True)


def mix_channels(mix: Tensor, vectors: Tensor) -> Tensor:
    """Mix the channels of vectors (B, n, D, C) by mix (H, P, C), and return (B, n, H, D P)."""
    mixes = linear(vectors, mix.flatten(0, 1)).unflatten(-1, (mix.shape[0], -1))
    return mixes.transpose(2, 3).flatten(3)


def split_channels(mixes: Tensor, dim: int) -> Tensor:
    """Reshape the output of `mix_channels`, (B, n, H, D P), to (B, n, D, H P)."""
    return mixes.unflatten(-1, (dim, -1)).transpose(2, 3).flatten(3)


def normalise_log_weights(log_weights: Tensor) -> Tensor:
    """Return log-weights (B, N) of weights that sum to 1, with absent points at ABSENT."""
    return torch.log_softmax(log_weights.clamp(min=ABSENT), -1).clamp(min=ABSENT)
