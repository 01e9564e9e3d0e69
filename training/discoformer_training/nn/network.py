"""The DiScoFormer network: a set transformer, exactly O(D)-equivariant, with a density and a score head.

The network works in the frame of the context (discoformer.base.frame). Context points and queries are tokens
(discoformer_training.nn.blocks). Queries attend to the context, with the weights that the context uses for
itself, and never to each other. The heads (discoformer_training.nn.heads) compute log-density and score from
the last states.

Shapes: B batch, N context points, M queries, D dimensions, E scalars, C vector channels, L blocks, G width of
the sample embedding. Log-densities are in nats, all coordinates in the frame.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from discoformer.base.base import Base
from discoformer_training.data.context import Context
from discoformer_training.nn.attention import Attend, attend_plain
from discoformer_training.nn.blocks import (
    Block,
    Embedding,
    SampleEmbedding,
    Tokens,
    normalise_log_weights,
)
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.heads import Heads, HeavyTailedBase
from discoformer_training.nn.point_features import (
    INVARIANTS,
    VECTORS,
    Points,
    mean_width,
    point_features,
)


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
        self.sample_embedding = SampleEmbedding(config, INVARIANTS, summaries=1)
        self.embedding = Embedding(config, INVARIANTS, VECTORS)
        self.blocks = nn.ModuleList(Block(config, attend) for _ in range(config.blocks))
        self.base = HeavyTailedBase(config)
        self.heads = Heads(config)

    def forward(self, context: Context, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, M) and score (B, M, D) at queries (B, M, D)."""
        log_weights = normalise_log_weights(context.log_weights)
        n = context.points.shape[1]
        points = point_features(
            torch.cat([context.points, queries], 1), context.precision_root, context.known_base
        )
        sample = self._embed_sample(points.part(0, n), log_weights, context)
        tokens = self.embedding(points.invariants, points.vectors, sample)
        for block in self.blocks[:-1]:
            tokens = block(tokens, tokens.part(0, n), log_weights, sample)
        answers = self.blocks[-1](tokens.part(n, None), tokens.part(0, n), log_weights, sample)
        return self._read(answers, points.part(n, None), sample)

    def encode(self, context: Context) -> Encoded:
        """Encode a context once, for any number of queries."""
        log_weights = normalise_log_weights(context.log_weights)
        points = point_features(context.points, context.precision_root, context.known_base)
        sample = self._embed_sample(points, log_weights, context)
        tokens = self.embedding(points.invariants, points.vectors, sample)
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
        tokens: Tokens = self.embedding(points.invariants, points.vectors, encoded.sample)
        for layer, block in enumerate(self.blocks):
            context = Tokens(encoded.scalars[:, layer], encoded.vectors[:, layer])
            tokens = block(tokens, context, log_weights, encoded.sample)
        return tokens

    def _embed_sample(self, points: Points, log_weights: Tensor, context: Context) -> Tensor:
        log_width = mean_width(context.known_base.components).log()
        sample: Tensor = self.sample_embedding(points.invariants, log_weights, context, log_width)
        return sample

    def _read(self, tokens: Tokens, points: Points, sample: Tensor) -> tuple[Tensor, Tensor]:
        log_base, base_score = self.base(points, sample)
        return self.heads(*tokens, points, log_base, base_score)
