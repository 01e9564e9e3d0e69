"""Univariate distributions ("laws"), and densities with independent coordinates.

The docstring of each class states its density p(y). Parameters have shape (B, 1, D), one for each coordinate.
Points outside a bounded support have log-density -inf and slope 0.

Shapes: B densities, n points, D dimensions. Everything is float64.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from discoformer_training.data.randoms import exponential, gamma, normal, uniform

LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)


class Law(Protocol):
    """A univariate law, for D coordinates with parameters of their own."""

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of shape (B, n, D)."""

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative at each entry of y (B, n, D)."""


class NormalScored(Law, Protocol):
    """A law that is an increasing map of a normal one."""

    def normal_score(self, y: Tensor) -> Tensor:
        """Return the standard normal number that the map takes to y, infinite outside the support."""


@dataclass(frozen=True)
class Product:
    """B densities in D dimensions with independent coordinates, all of one law."""

    law: Law
    batch: int
    dim: int

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""
        return self.law.sample(self.batch, n, self.dim, generator=generator)

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""
        log_density, slope = self.law.log_density_and_slope(points)
        return log_density.sum(-1), slope


@dataclass(frozen=True)
class Normal:
    """p(y) = exp(-y^2 / 2) / sqrt(2 pi)."""

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        return normal(*shape, generator=generator)

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        return -y.square() / 2 - LOG_ROOT_TAU, -y

    def normal_score(self, y: Tensor) -> Tensor:
        """Return y."""
        return y


@dataclass(frozen=True)
class Laplace:
    """p(y) = exp(-|y|) / 2."""

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape, as differences of exponential numbers."""
        return exponential(*shape, generator=generator) - exponential(*shape, generator=generator)

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        return -y.abs() - math.log(2), -y.sign()


@dataclass(frozen=True)
class Logistic:
    """p(y) = 1 / (4 cosh(y / 2)^2)."""

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape, as log ratios of exponential numbers."""
        above, below = (exponential(*shape, generator=generator) for _ in range(2))
        return (above / below).log()

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        return logsigmoid(y) + logsigmoid(-y), -(y / 2).tanh()


@dataclass(frozen=True)
class Gumbel:
    """p(y) = exp(-y - exp(-y)): a steep left side (overflows below -709), an exponential right tail."""

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        return -exponential(*shape, generator=generator).log()

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        steep = (-y).exp()
        return -y - steep, steep - 1


@dataclass(frozen=True)
class Student:
    """p(y) proportional to (1 + y^2 / v)^(-(v + 1) / 2), v degrees of freedom."""

    freedom: Tensor  # (B, 1, D) v

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape by the polar method (Bailey, *Mathematics of Computation* 62, 1994)."""
        power = exponential(*shape, generator=generator) * (2 / self.freedom)
        angle = uniform(0, 2 * math.pi, *shape, generator=generator)
        return (self.freedom * power.expm1()).sqrt() * angle.cos()

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        v = self.freedom
        constant = ((v + 1) / 2).lgamma() - (v / 2).lgamma() - 0.5 * (math.pi * v).log()
        return constant - (v + 1) / 2 * (y.square() / v).log1p(), -(v + 1) * y / (v + y.square())


@dataclass(frozen=True)
class SkewNormal:
    """p(y) = 2 phi(y) Phi(a y), phi and Phi the density and the distribution function of a normal."""

    slant: Tensor  # (B, 1, D) a

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape, from one normal number and the absolute value of another."""
        one, other = (normal(*shape, generator=generator) for _ in range(2))
        return (one + self.slant * other.abs()) / (1 + self.slant.square()).sqrt()

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        at = self.slant * y
        ratio = math.sqrt(2 / math.pi) / torch.special.erfcx(-at / math.sqrt(2))  # phi / Phi
        log_density = math.log(2) - y.square() / 2 - LOG_ROOT_TAU + torch.special.log_ndtr(at)
        return log_density, -y + self.slant * ratio


@dataclass(frozen=True)
class SinhArcsinh:
    """z = sinh(w) with w = t asinh(y) - e is standard normal (Jones and Pewsey, *Biometrika* 96, 2009)."""

    skew: Tensor  # (B, 1, D) e
    tail: Tensor  # (B, 1, D) t: heavier than a normal below 1, lighter above

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        return ((normal(*shape, generator=generator).asinh() + self.skew) / self.tail).sinh()

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        w, square = self.tail * y.asinh() - self.skew, 1 + y.square()
        rise = self.tail / square.sqrt()  # dw/dy
        log_density = -w.sinh().square() / 2 - LOG_ROOT_TAU + log_cosh(w) + rise.log()
        return log_density, rise * (w.tanh() - w.sinh() * w.cosh()) - y / square

    def normal_score(self, y: Tensor) -> Tensor:
        """Return z."""
        return (self.tail * y.asinh() - self.skew).sinh()


@dataclass(frozen=True)
class Gamma:
    """p(y) = y^(a - 1) exp(-y) / Gamma(a) for y > 0."""

    shape: Tensor  # (B, 1, D) a > 2, so that the mean squared slope is finite

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        return gamma(self.shape.expand(shape), generator)

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        inside = y > 0
        y, a = torch.where(inside, y, 1.0), self.shape
        return within(inside, (a - 1) * y.log() - y - a.lgamma(), (a - 1) / y - 1)


@dataclass(frozen=True)
class LogNormal:
    """log(y) is normal of mean 0 and standard deviation d."""

    deviation: Tensor  # (B, 1, D) d

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        return (self.deviation * normal(*shape, generator=generator)).exp()

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        inside = y > 0
        y = torch.where(inside, y, 1.0)
        z = y.log() / self.deviation
        log_density = -z.square() / 2 - LOG_ROOT_TAU - self.deviation.log() - y.log()
        return within(inside, log_density, -(z / self.deviation + 1) / y)

    def normal_score(self, y: Tensor) -> Tensor:
        """Return z, -inf outside the support."""
        inside = y > 0
        return torch.where(inside, torch.where(inside, y, 1.0).log() / self.deviation, -math.inf)


@dataclass(frozen=True)
class SoftplusNormal:
    """y = log(1 + exp(z)) with z normal of mean m and standard deviation d: y > 0, with a normal tail."""

    mean: Tensor  # (B, 1, D) m
    deviation: Tensor  # (B, 1, D) d

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        return softplus(self.mean + self.deviation * normal(*shape, generator=generator), threshold=40)

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        inside = y > 0
        y = torch.where(inside, y, 1.0)
        fall = -(-y).expm1()  # dy/dz
        z = (y + fall.log() - self.mean) / self.deviation
        log_density = -z.square() / 2 - LOG_ROOT_TAU - self.deviation.log() - fall.log()
        return within(inside, log_density, -(z / self.deviation + 1 - fall) / fall)

    def normal_score(self, y: Tensor) -> Tensor:
        """Return the standardised z, -inf outside the support."""
        inside = y > 0
        y = torch.where(inside, y, 1.0)
        return torch.where(inside, (y + (-(-y).expm1()).log() - self.mean) / self.deviation, -math.inf)


@dataclass(frozen=True)
class Beta:
    """p(y) proportional to y^(a - 1) (1 - y)^(b - 1) for 0 < y < 1."""

    left: Tensor  # (B, 1, D) a > 2, so that the mean squared slope is finite
    right: Tensor  # (B, 1, D) b > 2, for the same reason

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        one, other = (gamma(parameter.expand(shape), generator) for parameter in (self.left, self.right))
        return one / (one + other)

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        inside = (y > 0) & (y < 1)
        y, a, b = torch.where(inside, y, 0.5), self.left, self.right
        constant = (a + b).lgamma() - a.lgamma() - b.lgamma()
        log_density = constant + (a - 1) * y.log() + (b - 1) * (-y).log1p()
        return within(inside, log_density, (a - 1) / y - (b - 1) / (1 - y))


@dataclass(frozen=True)
class LogitNormal:
    """log(y / (1 - y)) is normal of mean m and standard deviation d, 0 < y < 1."""

    mean: Tensor  # (B, 1, D) m
    deviation: Tensor  # (B, 1, D) d

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        return (self.mean + self.deviation * normal(*shape, generator=generator)).sigmoid()

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        inside = (y > 0) & (y < 1)
        y = torch.where(inside, y, 0.5)
        rise = y * (1 - y)  # dy/dlogit
        z = (y.logit() - self.mean) / self.deviation
        log_density = -z.square() / 2 - LOG_ROOT_TAU - self.deviation.log() - rise.log()
        return within(inside, log_density, (2 * y - 1 - z / self.deviation) / rise)

    def normal_score(self, y: Tensor) -> Tensor:
        """Return the standardised logit, infinite outside the support."""
        inside = (y > 0) & (y < 1)
        z = (torch.where(inside, y, 0.5).logit() - self.mean) / self.deviation
        return torch.where(inside, z, torch.where(y > 0, math.inf, -math.inf))


@dataclass(frozen=True)
class Plateau:
    """p(y) = [S((y + 1) / h) - S((y - 1) / h)] / 2, S logistic: uniform on [-1, 1] plus logistic noise."""

    edge: Tensor  # (B, 1, D) h

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape, as sums of a uniform and a logistic number."""
        blur = Logistic().sample(*shape, generator=generator)
        return uniform(-1, 1, *shape, generator=generator) + self.edge * blur

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative, using S(u) - S(v) = S(u) S(-v) (1 - exp(v - u))."""
        high, low = (y + 1) / self.edge, (y - 1) / self.edge
        log_density = logsigmoid(high) + logsigmoid(-low) + (-(-2 / self.edge).exp()).log1p() - math.log(2)
        return log_density, ((-high).sigmoid() - low.sigmoid()) / self.edge


@dataclass(frozen=True)
class GeneralisedNormal:
    """p(y) = b exp(-|y|^b) / (2 Gamma(1 / b)): a plateau with smooth edges for large b."""

    power: Tensor  # (B, 1, D) b

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape: |y|^b ~ Gamma(1 / b), which is Gamma(1 / b + 1) U^b, U uniform."""
        size = gamma((1 + 1 / self.power).expand(shape), generator) ** (1 / self.power)
        return size * uniform(-1, 1, *shape, generator=generator)

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        b, size = self.power, y.abs()
        constant = b.log() - math.log(2) - (1 / b).lgamma()
        return constant - size**b, -b * size ** (b - 1) * y.sign()


def log_cosh(w: Tensor) -> Tensor:
    """Return log cosh(w), without overflow."""
    return w.abs() + (-2 * w.abs()).exp().log1p() - math.log(2)


def within(inside: Tensor, log_density: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Set log-density -inf and slope 0 outside the support."""
    return torch.where(inside, log_density, -math.inf), torch.where(inside, slope, 0.0)
