"""Tokens and the blocks that update them: embedding, kernel attention and feed-forward layers.

Token i, a context point or a query, has scalars s_i (E,) and vectors V_i (C, D). Scalars are functions of
rotation invariants only. Vectors are linear combinations of frame points with scalar coefficients. No layer
has width D, so the same weights serve every dimension.

An attention head is an adaptive Gaussian kernel over the context,

    l_ij = q_i . k_j - beta_i kappa_j / 2 |Q V_i - K V_j|^2 + D / 2 log kappa_j + log w_j,

with beta_i > 0 the inverse squared bandwidth of the query and kappa_j > 0 the sharpness of the context point.
It returns averages of scalars, mean shifts of vectors, sum_j a_ij V_j - V_i, and the log-normaliser
log sum_j exp l_ij. So a Gaussian KDE is one head of one block, exactly.

Shapes: B batch, N context points, n tokens, D dimensions, H heads, E scalars, C vector channels, G width of
the sample embedding. Vectors are stored as (D, C), so that a mixture of channels is a linear map of the last
axis, as for scalars. All coordinates are in the frame.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, softplus

from discoformer_training.data.context import Context
from discoformer_training.nn.attention import Attend
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.point_features import soft_clip

ABSENT = -1e4  # a context point with this log-weight, or a lower one, is absent


class Tokens(NamedTuple):
    """States of n tokens."""

    scalars: Tensor  # (B, n, E)
    vectors: Tensor  # (B, n, D, C)

    def part(self, start: int, stop: int | None) -> "Tokens":
        """Select the tokens from start to stop."""
        return Tokens(self.scalars[:, start:stop], self.vectors[:, start:stop])


class SampleEmbedding(nn.Module):
    """A summary of the context, invariant to order and affine maps. Every token reads it.

    Args:
        config: sizes.
        invariants: number of invariants of a point.
        summaries: number of further summaries of the context.
    """

    def __init__(self, config: NetworkConfig, invariants: int, summaries: int) -> None:
        super().__init__()
        self.greatest_size = config.greatest_size
        self.point = nn.Sequential(nn.Linear(invariants, config.scalars), nn.GELU())
        self.summary = nn.Sequential(
            nn.Linear(config.scalars + 3 + summaries, config.scalars),
            nn.GELU(),
            nn.Linear(config.scalars, config.sample),
        )

    def forward(
        self, invariants: Tensor, log_weights: Tensor, context: Context, *summaries: Tensor
    ) -> Tensor:
        """Return the summary (B, G + 2): log N and log D are last.

        Args:
            invariants: of N points, (B, N, invariants).
            log_weights: of the points, (B, N).
            context: the context.
            summaries: further summaries, each (B,).
        """
        pooled = (log_weights.exp()[:, None] @ self.point(invariants))[:, 0]  # (B, E)
        log_size = context.effective_size.clamp(max=self.greatest_size).log()
        log_dim = torch.full_like(log_size, context.points.shape[-1]).log()
        log_det = context.log_det_precision / context.points.shape[-1]
        given = torch.stack([log_size, log_dim, log_det, *summaries], -1)
        return torch.cat([self.summary(torch.cat([pooled, given], -1)), given[:, :2]], -1)


class Embedding(nn.Module):
    """Initial tokens: scalars from the invariants, vectors from combinations of the input vectors.

    Args:
        config: sizes.
        invariants: number of invariants of a point.
        vectors: number of vectors of a point.
    """

    def __init__(self, config: NetworkConfig, invariants: int, vectors: int) -> None:
        super().__init__()
        self.taming_radius = config.taming_radius
        self.vectors = vectors
        self.point = nn.Linear(invariants, config.scalars)
        self.sample = nn.Linear(config.sample + 2, config.scalars)
        self.scalars = nn.Linear(config.scalars, config.scalars)
        self.combination = nn.Linear(config.scalars, config.channels * vectors)
        with torch.no_grad():
            self.combination.weight.mul_(0.1)
            self.combination.bias.normal_()

    def forward(self, invariants: Tensor, vectors: Tensor, sample: Tensor) -> Tokens:
        """Embed n points.

        Args:
            invariants: (B, n, invariants).
            vectors: (B, n, D, vectors).
            sample: the sample embedding (B, G + 2).
        """
        hidden = gelu(self.point(invariants) + self.sample(sample)[:, None])
        length = vectors.square().mean(-2, keepdim=True) / self.taming_radius**2
        tamed = vectors * (1 + length).rsqrt()
        combination = self.combination(hidden).unflatten(-1, (-1, self.vectors))  # (B, n, C, vectors)
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


class Kernels(nn.Module):
    """Adaptive Gaussian kernels of several heads, between tokens and a context.

    Args:
        config: sizes of the tokens and of a head.
        heads: number of heads H.
    """

    def __init__(self, config: NetworkConfig, heads: int) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        width = heads * config.head_scalars
        self.norm = nn.LayerNorm(config.scalars)
        self.query = nn.Linear(config.scalars, width, bias=False)
        self.key = nn.Linear(config.scalars, width, bias=False)
        mix = torch.randn(heads, config.head_channels, config.channels) / config.channels**0.5
        self.vector_query = nn.Parameter(mix.clone())  # Q
        self.vector_key = nn.Parameter(mix.clone())  # K = Q at the start: the kernel depends on the distance
        self.sharpness = nn.Linear(config.scalars, heads)
        self.bandwidth = nn.Linear(config.scalars + config.sample + 2, heads)
        with torch.no_grad():
            self.bandwidth.weight.mul_(0.1)
            self.bandwidth.weight[
                :, -1
            ] = -0.5  # beta ~ 1 / sqrt(D): the spread of the logits is the same for every D
            self.bandwidth.bias.copy_(torch.linspace(-2, 2, heads))
            self.sharpness.weight.zero_()
            self.sharpness.bias.zero_()

    def queries_and_keys(
        self, tokens: Tokens, context: Tokens, log_weights: Tensor, sample: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return queries (B, H, n, K) and keys (B, H, N, K), whose inner products are the logits l_ij."""
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
        return torch.cat(queries, -1).transpose(1, 2), torch.cat(keys, -1).transpose(1, 2)

    def _inverse_bandwidth(self, scalars: Tensor, sample: Tensor) -> Tensor:
        sample = sample[:, None].expand(-1, scalars.shape[1], -1)
        beta: Tensor = softplus(self.bandwidth(torch.cat([scalars, sample], -1)))
        return beta[..., None]

    def _split(self, x: Tensor) -> Tensor:
        """Reshape (B, n, H e) to (B, n, H, e)."""
        return x.unflatten(-1, (self.heads, -1))


class Attention(Kernels):
    """Attention to the context: averages, mean shifts and log-normalisers of the kernels."""

    def __init__(self, config: NetworkConfig, attend: Attend) -> None:
        super().__init__(config, config.heads)
        self.attend = attend
        width = config.heads * config.head_scalars
        shifts = config.heads * config.head_channels
        self.value = nn.Linear(config.scalars, width, bias=False)
        self.vector_value = nn.Parameter(torch.randn_like(self.vector_key) / config.channels**0.5)
        self.gate = nn.Linear(config.scalars, shifts)
        self.scalar_out = nn.Linear(width + config.heads, config.scalars)
        self.vector_out = nn.Parameter(torch.randn(config.channels, shifts) / shifts**0.5)
        with torch.no_grad():
            self.gate.weight.zero_()
            self.gate.bias.fill_(1)

    def forward(self, tokens: Tokens, context: Tokens, log_weights: Tensor, sample: Tensor) -> Tokens:
        """Update n tokens from N context tokens of log-weights (B, N)."""
        dim, width = tokens.vectors.shape[-2], self.config.head_scalars
        queries, keys = self.queries_and_keys(tokens, context, log_weights, sample)
        own, other = self.norm(tokens.scalars), self.norm(context.scalars)
        values = [self._split(self.value(other)), mix_channels(self.vector_value, context.vectors)]
        output, log_normaliser = self.attend(queries, keys, torch.cat(values, -1).transpose(1, 2))
        output = output.transpose(1, 2)  # (B, n, H, Ev + Cv D)
        average, mean_vector = output[..., :width], output[..., width:]
        normaliser = log_normaliser.transpose(1, 2)[..., None] / dim**0.5
        scalars = torch.cat([average, normaliser], -1).flatten(2)
        own_vector = mix_channels(self.vector_value, tokens.vectors)
        shift = split_channels(mean_vector - own_vector, dim)  # (B, n, D, H Cv)
        vectors = linear(self.gate(own)[..., None, :] * shift, self.vector_out)
        return Tokens(tokens.scalars + self.scalar_out(scalars), tokens.vectors + vectors)


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
