"""Densities along curves of the plane.

    Rings:    x = R (cos a, sin a) + d z,  a uniform, z standard normal:
              f(x) = exp(-(r^2 + R^2) / (2 d^2)) I_0(r R / d^2) / (2 pi d^2),    r = |x|
              s(x) = (R I_1 / I_0 - r) x / (r d^2)
    Spirals:  Gaussians of one width, close together along r = R sqrt(u), angle = A sqrt(u) + phase of the
              arm, 0 < u < 1. They are evenly spaced except on the innermost turn.
    Curves:   spirals, or Gaussians evenly spaced along closed curves, with uneven weights
              exp(sum_k c_k cos(2 pi (k u + p_k))), where u runs from 0 to 1 along all Gaussians

The mass of rings and spirals is even along the curve. A network trained on these alone would learn to assume
that, hence the uneven curves.

Shapes: B densities, n points, K Gaussians. Everything is float64.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from discoformer_training.data.mixtures import Mixtures
from discoformer_training.data.randoms import choice, log_uniform, normal, uniform

STEPS = 128  # number of Gaussians along an arm of a spiral; a closed curve has twice as many
HARMONICS = 4  # number of harmonics of a closed curve, and of the weights along a curve


@dataclass(frozen=True)
class Rings:
    """B circles in the plane with Gaussian noise."""

    radius: Tensor  # (B, 1) R
    noise: Tensor  # (B, 1) d

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, 2)."""
        angle = uniform(0, 2 * math.pi, len(self.radius), n, generator=generator)
        circle = self.radius[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
        return circle + self.noise[..., None] * normal(*circle.shape, generator=generator)

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, 2) at points (B, n, 2)."""
        variance = self.noise.square()
        r = (points.square().sum(-1) + 1e-60).sqrt()  # differentiable at the centre
        at = r * self.radius / variance
        bessel = torch.special.i0e(at)  # exp(-at) I_0(at)
        log_density = -(r - self.radius).square() / (2 * variance) + bessel.log()
        pull = self.radius * torch.special.i1e(at) / bessel - r
        score = (pull / (r * variance))[..., None] * points
        return log_density - math.log(2 * math.pi) - variance.log(), score


def draw_rings(batch: int, generator: torch.Generator) -> Rings:
    """Draw rings with noise between 1/20 and 1/3 of the radius."""
    radius = uniform(1.5, 3, batch, 1, generator=generator)
    return Rings(radius, radius * log_uniform(1 / 20, 1 / 3, batch, 1, generator=generator))


def draw_spirals(batch: int, generator: torch.Generator) -> Mixtures:
    """Draw spirals with one to three arms of one to two turns."""
    arms = 1 + choice(3, generator)
    along = ((torch.arange(STEPS, device=generator.device, dtype=torch.float64) + 0.5) / STEPS).sqrt()
    phase = 2 * math.pi / arms * torch.arange(arms, device=generator.device, dtype=torch.float64)
    turns = 2 * math.pi * uniform(1, 2, batch, 1, 1, generator=generator)
    angle = (turns * along + phase[:, None]).flatten(1)  # (B, K)
    radius = (3 * along).expand(arms, -1).flatten()
    width = log_uniform(0.1, 0.35, batch, 1, 1, generator=generator)
    return Mixtures(
        log_weights=torch.full_like(angle, -math.log(arms * STEPS)),
        means=radius[:, None] * torch.stack([angle.cos(), angle.sin()], -1),
        variances=width.square().expand(-1, arms * STEPS, 2),
        linear=torch.eye(2, device=generator.device, dtype=torch.float64).expand(batch, -1, -1),
    )


def draw_curves(batch: int, generator: torch.Generator) -> Mixtures:
    """Draw spirals or closed curves with uneven mass along them."""
    curves = (draw_spirals if choice(2, generator) else draw_closed)(batch, generator)
    count = curves.log_weights.shape[1]
    along = torch.arange(count, device=generator.device, dtype=torch.float64) / count
    k = torch.arange(1, HARMONICS + 1, device=generator.device)[:, None]
    size = uniform(0, 1, batch, 1, 1, generator=generator) * normal(batch, HARMONICS, 1, generator=generator)
    phase = uniform(0, 1, batch, HARMONICS, 1, generator=generator)
    waves = size / k.sqrt() * (2 * math.pi * (k * along + phase)).cos()
    return replace(curves, log_weights=waves.sum(1).log_softmax(-1))


def draw_closed(batch: int, generator: torch.Generator) -> Mixtures:
    """Draw closed curves of a few harmonics, each with evenly spaced Gaussians."""
    fine = torch.linspace(0, 2 * math.pi, 64 * STEPS + 1, device=generator.device, dtype=torch.float64)
    k = torch.arange(1, HARMONICS + 1, device=generator.device)
    waves = torch.cat([(k[:, None] * fine).cos(), (k[:, None] * fine).sin()])  # (2 harmonics, n)
    sizes = normal(batch, 2, 2 * HARMONICS, generator=generator) / torch.cat([k, k]) ** 1.5
    curve = (sizes @ waves).mT  # (B, n, 2)
    curve = 2 * curve / curve.square().sum(-1).mean(-1).sqrt()[:, None, None]
    length = curve.diff(dim=1).norm(dim=-1).cumsum(-1)  # (B, n - 1), up to the end of each piece
    steps = (torch.arange(2 * STEPS, device=generator.device, dtype=torch.float64) + 0.5) / (2 * STEPS)
    pieces = torch.searchsorted(length, steps * length[:, -1:])
    width = log_uniform(0.1, 0.35, batch, 1, 1, generator=generator)
    return Mixtures(
        log_weights=torch.full_like(pieces, -math.log(2 * STEPS), dtype=torch.float64),
        means=curve[:, 1:].gather(1, pieces[..., None].expand(-1, -1, 2)),
        variances=width.square().expand(-1, 2 * STEPS, 2),
        linear=torch.eye(2, device=generator.device, dtype=torch.float64).expand(batch, -1, -1),
    )
