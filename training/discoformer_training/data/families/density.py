"""Batches of densities with exact log-density and score, and densities composed of others.

    Affine:  x = y G + c              log f(x) = log g(y) - log|det G|,      s(x) = s_g(y) G^-T    (rows)
    Joint:   x = (x_1, x_2, ..)       log f(x) = sum_p log f_p(x_p),         independent groups of coordinates
    Mixed:   x ~ f_p with chance w_p  log f(x) = log sum_p w_p f_p(x),       s = sum_p r_p s_p

with r_p the posterior membership. Where a density is zero, its log-density is -inf, and its score is finite
but has no meaning.

Shapes: B densities, n points, D dimensions, P parts. Everything is float64.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Density(Protocol):
    """A batch of B densities in D dimensions."""

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""


@dataclass(frozen=True)
class Affine:
    """A density after an invertible affine map."""

    own: Density  # of y
    linear: Tensor  # (B, D, D) G
    center: Tensor  # (B, D) c

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""
        return self.own.sample(n, generator=generator) @ self.linear + self.center[:, None]

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""
        own = torch.linalg.solve(self.linear, points - self.center[:, None], left=False)
        log_density, own_score = self.own.log_density_and_score(own)
        log_abs_det = torch.linalg.slogdet(self.linear).logabsdet
        score = torch.linalg.solve(self.linear.mT, own_score, left=False)
        return log_density - log_abs_det[:, None], score


@dataclass(frozen=True)
class Joint:
    """The joint density of independent groups of coordinates."""

    parts: tuple[Density, ...]
    dims: tuple[int, ...]  # of each part

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""
        return torch.cat([part.sample(n, generator=generator) for part in self.parts], -1)

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""
        groups = points.split(self.dims, -1)
        answers = [part.log_density_and_score(x) for part, x in zip(self.parts, groups, strict=True)]
        log_densities, scores = zip(*answers, strict=True)
        return torch.stack(log_densities).sum(0), torch.cat(scores, -1)


@dataclass(frozen=True)
class Mixed:
    """A mixture of arbitrary densities."""

    log_weights: Tensor  # (B, P) log w_p in nats
    parts: tuple[Density, ...]

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""
        part = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)  # (B, n)
        draws = torch.stack([part.sample(n, generator=generator) for part in self.parts])  # (P, B, n, D)
        return draws.gather(0, part[None, ..., None].expand(1, -1, -1, draws.shape[-1]))[0]

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""
        log_densities, scores = zip(*(part.log_density_and_score(points) for part in self.parts), strict=True)
        joint = torch.stack(log_densities) + self.log_weights.mT[..., None]  # (P, B, n)
        log_density = joint.logsumexp(0)
        membership = (joint - log_density).exp()[..., None]
        # A part of membership 0 does not count. Where the density is zero, no part does.
        score = torch.where(membership > 0, membership * torch.stack(scores), 0.0).sum(0)
        return log_density, score
