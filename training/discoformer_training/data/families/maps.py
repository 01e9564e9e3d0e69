"""Densities after smooth invertible maps, with the score by the chain rule.

    x = g(z):    log f(x) = log h(z) + log|det dz/dx|,    s(x) = (dz/dx)^T s_h(z) + grad log|det dz/dx|

Each map has its inverse and log-determinant in closed form. Autograd computes products with dz/dx.

Shapes: B densities, n points, D dimensions. Everything is float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from discoformer_training.data.families.density import Density
from discoformer_training.data.families.laws import log_cosh
from discoformer_training.data.mixtures import draw_rotations
from discoformer_training.data.randoms import normal, uniform

WIDTH = 4  # hidden width of the functions of a coupling


class Map(Protocol):
    """A batch of B smooth invertible maps of D dimensions."""

    def forward(self, z: Tensor) -> Tensor:
        """Return x (B, n, D)."""

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, n, D) and log|det dz/dx| (B, n)."""


@dataclass(frozen=True)
class Mapped:
    """A density after a chain of maps, in the order of the tuple."""

    own: Density
    maps: tuple[Map, ...]

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""
        points = self.own.sample(n, generator=generator)
        for one in self.maps:
            points = one.forward(points)
        return points

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""
        kept = points.requires_grad  # then the result is differentiable, too
        with torch.enable_grad():
            x = points if kept else points.detach().requires_grad_()
            z, log_det = x, torch.zeros_like(x[..., 0])
            for one in reversed(self.maps):
                z, change = one.inverse(z)
                log_det = log_det + change
            log_density, own_score = self.own.log_density_and_score(z if kept else z.detach())
            product = (z * own_score.detach()).sum() + log_det.sum()
            (score,) = torch.autograd.grad(product, x, retain_graph=kept)
        total = log_density + log_det
        return (total if kept else total.detach()), score


@dataclass(frozen=True)
class Rotation:
    """x = z Q (rows), Q orthogonal."""

    linear: Tensor  # (B, D, D) Q

    def forward(self, z: Tensor) -> Tensor:
        """Return x (B, n, D)."""
        return z @ self.linear

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, n, D) and log|det dz/dx| (B, n)."""
        return x @ self.linear.mT, torch.zeros_like(x[..., 0])


@dataclass(frozen=True)
class Coupling:
    """x_a = z_a and x_b = z_b exp(k(z_a)) + t(z_a), a the first coordinates and b the others."""

    passive: int  # number of coordinates in a
    log_scale: Callable[
        [Tensor], Tensor
    ]  # k, from (B, n, passive) to a shape that broadcasts to (B, n, D - passive)
    shift: Callable[[Tensor], Tensor]  # t, with the same shapes

    def forward(self, z: Tensor) -> Tensor:
        """Return x (B, n, D)."""
        a, b = z[..., : self.passive], z[..., self.passive :]
        return torch.cat([a, b * self.log_scale(a).exp() + self.shift(a)], -1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, n, D) and log|det dz/dx| (B, n)."""
        a, b = x[..., : self.passive], x[..., self.passive :]
        log_scale = self.log_scale(a).expand_as(b)
        return torch.cat([a, (b - self.shift(a)) * (-log_scale).exp()], -1), -log_scale.sum(-1)


@dataclass(frozen=True)
class Bent:
    """On each coordinate: sinh^-1(z) = t sinh^-1(x) - e, with skew e; tails are heavier where t < 1."""

    skew: Tensor  # (B, 1, D) e
    tail: Tensor  # (B, 1, D) t

    def forward(self, z: Tensor) -> Tensor:
        """Return x (B, n, D)."""
        return ((z.asinh() + self.skew) / self.tail).sinh()

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, n, D) and log|det dz/dx| (B, n)."""
        w = self.tail * x.asinh() - self.skew
        return w.sinh(), (self.tail.log() + log_cosh(w) - 0.5 * x.square().log1p()).sum(-1)


@dataclass(frozen=True)
class Radial:
    """On the radius r = |.| / sqrt(D): sinh^-1(r_z) = t sinh^-1(r_x)."""

    tail: Tensor  # (B, 1) t: tails are heavier below 1

    def forward(self, z: Tensor) -> Tensor:
        """Return x (B, n, D)."""
        r = _radius(z)
        return z * ((r.asinh() / self.tail).sinh() / r)[..., None]

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, n, D) and log|det dz/dx| (B, n)."""
        r = _radius(x)
        w = self.tail * r.asinh()
        ratio = w.sinh() / r
        along = self.tail.log() + log_cosh(w) - 0.5 * r.square().log1p()
        return x * ratio[..., None], along + (x.shape[-1] - 1) * ratio.log()


def _radius(points: Tensor) -> Tensor:
    return (points.square().mean(-1) + 1e-60).sqrt()  # differentiable at 0


def draw_maps(batch: int, dim: int, generator: torch.Generator) -> tuple[Map, ...]:
    """Draw a chain of maps: `Bent`, two rotations each with a coupling, and `Radial`."""

    def rotation() -> Map:
        return Rotation(draw_rotations(batch, dim, generator))

    bent = Bent(
        uniform(-0.5, 0.5, batch, 1, dim, generator=generator),
        uniform(0.75, 1.25, batch, 1, dim, generator=generator),
    )
    radial = Radial(uniform(0.75, 1.25, batch, 1, generator=generator))
    couplings = (_draw_coupling(batch, dim, generator) for _ in range(2))
    return (bent, *(one for coupling in couplings if coupling for one in (rotation(), coupling)), radial)


def _draw_coupling(batch: int, dim: int, generator: torch.Generator) -> Coupling | None:
    """Draw a coupling of the second half of the coordinates to the first; None in one dimension."""
    if dim == 1:
        return None
    passive = dim // 2
    strength = uniform(0, 1, batch, 1, 1, generator=generator)

    def function(bound: float) -> Callable[[Tensor], Tensor]:
        inward = normal(batch, passive, WIDTH, generator=generator) / math.sqrt(passive)
        offset = normal(batch, 1, WIDTH, generator=generator)
        outward = strength * bound * normal(batch, WIDTH, dim - passive, generator=generator) / WIDTH**0.5
        return lambda a: (a @ inward + offset).tanh() @ outward

    return Coupling(passive, function(0.5), function(1.5))


def bananas(bend: Tensor) -> Coupling:
    """Return x_1 = z_1, x_d = z_d + b_d (z_1^2 - 1), with bend b (B, 1, D - 1) and D >= 2."""
    return Coupling(1, torch.zeros_like, lambda a: bend * (a.square() - 1))


def funnels(slope: Tensor) -> Coupling:
    """Return x_1 = z_1, x_d = z_d exp(k z_1), with slope k (B, 1, 1); overflows where k x_1 < -350."""
    return Coupling(1, lambda a: slope * a, torch.zeros_like)
