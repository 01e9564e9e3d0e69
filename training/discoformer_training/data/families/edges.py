"""Laws with hard edges and poles, and checkerboards.

The docstring of each law states its density p(y), as in `laws`. A law with a pole is cut off at a small
distance from it. So its log-densities and scores stay finite, and they are exact.

Shapes: B densities, n points, D dimensions. Everything is float64.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from discoformer_training.data.families.density import Density, Joint
from discoformer_training.data.families.laws import Law, Product, within
from discoformer_training.data.families.products import (
    ANY,
    WIDTH,
    Range,
    draw_any_product,
    scaled,
    split,
    standardised,
)
from discoformer_training.data.mixtures import WEIGHT_RANGE
from discoformer_training.data.randoms import choice, exponential, gamma, uniform

LIMIT = (1e-3, 1e-2)  # least and greatest distance of a limit from its pole, log-uniform


@dataclass(frozen=True)
class LongGamma:
    """p(y) proportional to y^(a - 1) exp(-y) for y > l: an exponential law for a = 1, a pole at 0 below."""

    shape: Tensor  # (B, 1, D) a > 0
    limit: Tensor  # (B, 1, D) l, 0 or more

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape, by rejection: Gamma(a) is Gamma(a + 1) U^(1 / a), U uniform."""
        a, limit = self.shape.expand(shape), self.limit.expand(shape)
        y = torch.zeros_like(a)
        while (missing := y <= limit).any():
            some = a[missing]
            fall = exponential(len(some), generator=generator) / some
            y[missing] = gamma(some + 1, generator) * (-fall).exp()
        return y

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        inside, a = y > self.limit, self.shape
        y = torch.where(inside, y, 1.0)
        constant = a.lgamma() + torch.special.gammaincc(a, self.limit).log()
        return within(inside, (a - 1) * y.log() - y - constant, (a - 1) / y - 1)


@dataclass(frozen=True)
class Pareto:
    """p(y) = a (1 + y)^-(a + 1) for y > 0."""

    index: Tensor  # (B, 1, D) a

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        return (exponential(*shape, generator=generator) / self.index).expm1()

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        inside, a = y > 0, self.index
        y = torch.where(inside, y, 1.0)
        return within(inside, a.log() - (a + 1) * y.log1p(), -(a + 1) / (1 + y))


class Shape(Protocol):
    """A law on 0 < y < 1 with its distribution function and its inverse in closed form."""

    def below(self, y: Tensor) -> Tensor:
        """Return the chance of a number below y."""

    def quantile(self, chance: Tensor) -> Tensor:
        """Return the number that the law is below with a chance."""

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative, for 0 < y < 1."""


@dataclass(frozen=True)
class Arcsine:
    """p(y) = 1 / (pi sqrt(y (1 - y)))."""

    def below(self, y: Tensor) -> Tensor:
        """Return the chance of a number below y."""
        return 2 / math.pi * y.sqrt().asin()

    def quantile(self, chance: Tensor) -> Tensor:
        """Return the number that the law is below with a chance."""
        return (math.pi / 2 * chance).sin().square()

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        return -0.5 * (y.log() + (-y).log1p()) - math.log(math.pi), (y - 0.5) / (y * (1 - y))


@dataclass(frozen=True)
class Kumaraswamy:
    """p(y) = a b y^(a - 1) (1 - y^a)^(b - 1): uniform for a = b = 1, poles for a < 1 or b < 1."""

    low: Tensor  # (B, 1, D) a
    high: Tensor  # (B, 1, D) b

    def below(self, y: Tensor) -> Tensor:
        """Return the chance of a number below y."""
        return 1 - (1 - y**self.low) ** self.high

    def quantile(self, chance: Tensor) -> Tensor:
        """Return the number that the law is below with a chance."""
        return (-((-chance).log1p() / self.high).expm1()) ** (1 / self.low)

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        a, b, power = self.low, self.high, y**self.low
        log_density = a.log() + b.log() + (a - 1) * y.log() + (b - 1) * (-power).log1p()
        return log_density, (a - 1) / y - (b - 1) * a * power / (y * (1 - power))


@dataclass(frozen=True)
class Between:
    """A law on 0 < y < 1, given that y is farther than a limit from both ends."""

    law: Shape
    limit: Tensor  # (B, 1, D) 0 or more, below 1 / 2

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        least, most = self.law.below(self.limit), self.law.below(1 - self.limit)
        return self.law.quantile(least + (most - least) * uniform(2**-54, 1, *shape, generator=generator))

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        inside = (y > self.limit) & (y < 1 - self.limit)
        log_density, slope = self.law.log_density_and_slope(torch.where(inside, y, 0.5))
        mass = self.law.below(1 - self.limit) - self.law.below(self.limit)
        return within(inside, log_density - mass.log(), slope)


EDGED: dict[str, Callable[[Range], Law]] = {
    "uniform": lambda among: Between(Kumaraswamy(among(1, 1), among(1, 1)), among(0, 0)),
    "arcsine": lambda among: Between(Arcsine(), _limit(among)),
    "kumaraswamy": lambda among: Between(Kumaraswamy(among(0.3, 1.5), among(0.3, 1.5)), _limit(among)),
    "exponential": lambda among: LongGamma(among(1, 1), among(0, 0)),
    "gamma": lambda among: LongGamma(among(0.3, 1), _limit(among)),
    "pareto": lambda among: Pareto(among(2.2, 6)),
}


@dataclass(frozen=True)
class Checkerboard:
    """A density in the plane that is even within each of m x m squares of side 1. Its score is 0."""

    log_shares: Tensor  # (B, m, m) log of the chance of each square, -inf for the empty ones

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, 2)."""
        batch, side, _ = self.log_shares.shape
        square = self.log_shares.exp().flatten(1).multinomial(n, replacement=True, generator=generator)
        corner = torch.stack([square // side, square % side], -1)
        return corner + uniform(2**-40, 1, batch, n, 2, generator=generator)

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, 2) at points (B, n, 2)."""
        side = self.log_shares.shape[1]
        inside = ((points > 0) & (points < side)).all(-1)
        row, column = torch.where(inside[..., None], points, 0).long().unbind(-1)
        log_density = self.log_shares.flatten(1).gather(1, row * side + column)
        return torch.where(inside, log_density, -math.inf), torch.zeros_like(points)


def draw_edges(batch: int, dim: int, generator: torch.Generator, parts: Sequence[str] = ANY) -> Density:
    """Draw two or three independent groups of columns: one or more with hard edges, the others of any law."""
    names = [*EDGED]

    def among(size: int) -> Range:
        return lambda low, high: uniform(low, high, batch, 1, size, generator=generator)

    def group(size: int) -> Density:
        return Product(EDGED[names[choice(len(names), generator)]](among(size)), batch, size)

    dims = split(dim, min(dim, 2 + choice(2, generator)))
    others = (
        group(size) if choice(3, generator) else draw_any_product(batch, size, generator, parts)
        for size in dims[1:]
    )
    return standardised(Joint((group(dims[0]), *others), dims), generator)


def draw_checkerboard(batch: int, generator: torch.Generator) -> Density:
    """Draw checkerboards of 2 x 2 to 6 x 6 squares; half of the squares hold the points, unevenly."""
    side = 2 + choice(5, generator)
    shares = uniform(*WEIGHT_RANGE, batch, side, side, generator=generator)
    if choice(2, generator):
        row = torch.arange(side, device=generator.device)
        full = ((row[:, None] + row) % 2 == 0).expand(batch, -1, -1)
    else:
        order = uniform(0, 1, batch, side**2, generator=generator).argsort(1).argsort(1)
        full = (order < side**2 // 2).unflatten(1, (side, side))
    shares = shares * full
    shares = shares / shares.sum((1, 2), keepdim=True)
    return scaled(Checkerboard(shares.log()), torch.full_like(shares[:, :1, :2], WIDTH / side))


def _limit(among: Range) -> Tensor:
    return among(*map(math.log, LIMIT)).exp()
