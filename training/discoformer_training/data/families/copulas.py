"""Copulas with arbitrary margins: a density in latent coordinates, then an increasing map of each column.

An increasing map of a column does not change the copula. So the latent density may have any margins for
which its formulas are stable:

    Gaussian:     z is normal, correlated
    Student-t:    z is elliptical Student-t, correlated
    Archimedean:  z_j = log(E_j / V), E_j exponential, V > 0 a frailty:
                  f(z) = g(t) prod_j exp(z_j),    t = sum_j exp(z_j),    s_j(z) = 1 + (t g' / g) exp(z_j) / t
      Clayton:    V ~ Gamma(a),            g(t) = Gamma(a + D) / Gamma(a) (1 + t)^-(a + D)
      Gumbel:     V positive and a-stable, g(t) = exp(-t^a) t^-D sum_k c_Dk t^(a k),
                  c_11 = a, c_(d+1)k = (d - a k) c_dk + a c_d(k-1): no term is negative
    Vines:        see `vines`

    Margins:      asinh(z) = t v - e,    x = sinh(v), exp(v) or 1 / (1 + exp(-v))

Sources: Joe, *Dependence Modeling with Copulas*, 2014. For a-stable numbers: Kanter, *Annals of Probability*
3, 1975.

Shapes: B densities, n points, D dimensions. Everything is float64.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from discoformer_training.data.families.density import Affine, Density
from discoformer_training.data.families.elliptical import StudentMixtures
from discoformer_training.data.families.laws import Logistic, Product, log_cosh
from discoformer_training.data.families.maps import Mapped
from discoformer_training.data.families.products import gaussian, scaled, standardised
from discoformer_training.data.families.vines import draw_vine
from discoformer_training.data.mixtures import draw_rotations
from discoformer_training.data.randoms import choice, exponential, gamma, log_uniform, uniform

CORRELATION = 50.0  # greatest ratio of the singular values of the maps that correlate columns
FREEDOM = (3.0, 30.0)  # least and greatest degrees of freedom of a Student-t copula
TAU = (0.1, 0.8)  # least and greatest rank correlation (Kendall's) of an Archimedean copula
TAILS = ((0.8, 1.5), (1.0, 2.5), (0.7, 1.5))  # ranges of t for x = sinh(v), exp(v), 1 / (1 + exp(-v))


class Frailty(Protocol):
    """The common factor V of an Archimedean copula."""

    def log_sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw log V (B, n)."""

    def log_generator(self, log_t: Tensor) -> tuple[Tensor, Tensor]:
        """Return log g(t) and its derivative by log t, each (B, n)."""


@dataclass(frozen=True)
class Clayton:
    """V ~ Gamma(a)."""

    power: Tensor  # (B, 1) a
    dim: int

    def log_sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw log V (B, n): Gamma(a) is Gamma(a + 1) U^(1 / a), U uniform."""
        a = self.power.expand(-1, n)
        return gamma(a + 1, generator).log() - exponential(*a.shape, generator=generator) / a

    def log_generator(self, log_t: Tensor) -> tuple[Tensor, Tensor]:
        """Return log g(t) and its derivative by log t, each (B, n)."""
        a, total = self.power, self.power + self.dim
        fall = total * torch.logaddexp(log_t, torch.zeros_like(log_t))
        return total.lgamma() - a.lgamma() - fall, -total * log_t.sigmoid()


@dataclass(frozen=True)
class Gumbel:
    """V is positive and a-stable: E exp(-t V) = exp(-t^a)."""

    power: Tensor  # (B, 1) a, between 0 and 1
    log_coefficients: Tensor  # (B, D) log c_Dk for k from 1 to D

    def log_sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw log V (B, n)."""
        a = self.power
        angle = uniform(2**-54, math.pi, len(a), n, generator=generator)
        size = exponential(len(a), n, generator=generator)
        rest = ((1 - a) * angle).sin().log() - size.log()
        return (a * angle).sin().log() - angle.sin().log() / a + (1 - a) / a * rest

    def log_generator(self, log_t: Tensor) -> tuple[Tensor, Tensor]:
        """Return log g(t) and its derivative by log t, each (B, n)."""
        a, dim = self.power, self.log_coefficients.shape[-1]
        k = torch.arange(1, dim + 1, device=a.device)
        terms = self.log_coefficients[:, None] + (a * log_t)[..., None] * k  # (B, n, D)
        power = (a * log_t).exp()
        log_g = terms.logsumexp(-1) - power - dim * log_t
        return log_g, a * ((terms.softmax(-1) * k).sum(-1) - power) - dim


def gumbel(power: Tensor, dim: int) -> Gumbel:
    """Return the frailty of a Gumbel copula in D dimensions, given a (B, 1)."""
    k = torch.arange(1, dim + 1, device=power.device)
    log_c = torch.where(k == 1, power.log(), -math.inf)  # (B, D)
    nothing = torch.full_like(power, -math.inf)
    for d in range(1, dim):
        stay = log_c + (d - power * k).clamp(min=0).log()
        log_c = torch.logaddexp(stay, power.log() + torch.cat([nothing, log_c[:, :-1]], 1))
    return Gumbel(power, log_c)


@dataclass(frozen=True)
class Archimedean:
    """The density of z_j = log(E_j / V)."""

    frailty: Frailty
    batch: int
    dim: int

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""
        log_frailty = self.frailty.log_sample(n, generator=generator)
        return exponential(self.batch, n, self.dim, generator=generator).log() - log_frailty[..., None]

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""
        log_g, slope = self.frailty.log_generator(points.logsumexp(-1))
        return log_g + points.sum(-1), 1 + slope[..., None] * points.softmax(-1)


@dataclass(frozen=True)
class Margins:
    """An increasing map of each column: asinh(z) = t v - e, then x = sinh(v), exp(v) or 1 / (1 + exp(-v))."""

    skew: Tensor  # (B, 1, D) e
    tail: Tensor  # (B, 1, D) t
    dims: tuple[int, int, int]  # number of columns of each kind, in this order

    def forward(self, z: Tensor) -> Tensor:
        """Return x (B, n, D)."""
        real, positive, bounded = ((z.asinh() + self.skew) / self.tail).split(self.dims, -1)
        return torch.cat([real.sinh(), positive.exp(), bounded.sigmoid()], -1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, n, D) and log|det dz/dx| (B, n), -inf outside the support."""
        parts = zip(KINDS, x.split(self.dims, -1), strict=True)
        v, rise = (torch.cat(each, -1) for each in zip(*(undo(part) for undo, part in parts), strict=True))
        w = self.tail * v - self.skew
        return w.sinh(), (self.tail.log() + log_cosh(w) + rise).sum(-1)


def _undo_sinh(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return v and log dv/dx."""
    return x.asinh(), -0.5 * x.square().log1p()


def _undo_exp(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return v and log dv/dx, -inf outside the support."""
    inside = x > 0
    v = torch.where(inside, x, 1.0).log()
    return v, torch.where(inside, -v, -math.inf)


def _undo_sigmoid(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return v and log dv/dx, -inf outside the support."""
    inside = (x > 0) & (x < 1)
    x = torch.where(inside, x, 0.5)
    return x.logit(), torch.where(inside, -x.log() - (-x).log1p(), -math.inf)


KINDS = (_undo_sinh, _undo_exp, _undo_sigmoid)


def draw_copulas(batch: int, dim: int, generator: torch.Generator) -> Density:
    """Draw Gaussian, Student-t, Clayton or Gumbel copulas with random margins."""
    kind = choice(4, generator)
    if kind < 2:
        own = gaussian(batch, dim) if kind else _student(batch, dim, generator)
        stretch = log_uniform(1, CORRELATION, batch, dim, 1, generator=generator)
        linear = stretch * draw_rotations(batch, dim, generator)
        return _with_margins(Affine(own, linear, torch.zeros_like(linear[:, 0])), batch, dim, generator)
    tau = uniform(*TAU, batch, 1, generator=generator)
    frailty = Clayton((1 - tau) / (2 * tau), dim) if kind == 2 else gumbel(1 - tau, dim)
    # Columns turned round depend on the others the other way. All turned round have tails on the other side.
    several = uniform(0, 1, batch, 1, 1, generator=generator) < 0.5
    turned = uniform(0, 1, batch, 1, dim, generator=generator) < 0.5
    sign = 1 - 2 * torch.where(several, turned, turned[..., :1]).double()
    return _with_margins(scaled(Archimedean(frailty, batch, dim), sign), batch, dim, generator)


def draw_vines(batch: int, dim: int, generator: torch.Generator) -> Density:
    """Draw C-vines of Clayton and Frank copulas with random margins."""
    latent = Mapped(Product(Logistic(), batch, dim), (draw_vine(batch, dim, generator),))
    return _with_margins(latent, batch, dim, generator)


def _student(batch: int, dim: int, generator: torch.Generator) -> Density:
    """Draw spherical Student-t distributions."""
    freedom = log_uniform(*FREEDOM, batch, 1, generator=generator)
    zeros = torch.zeros(batch, 1, dim, dtype=torch.float64, device=generator.device)
    return StudentMixtures(torch.zeros_like(freedom), zeros, zeros + 1, freedom)


def _with_margins(latent: Density, batch: int, dim: int, generator: torch.Generator) -> Density:
    """Give each column a margin of one of three kinds, which is skewed."""
    edges = sorted(choice(dim + 1, generator) for _ in KINDS[1:])
    dims = (edges[0], edges[1] - edges[0], dim - edges[1])
    tails = [
        uniform(*between, batch, 1, size, generator=generator)
        for between, size in zip(TAILS, dims, strict=True)
    ]
    margins = Margins(uniform(-0.5, 0.5, batch, 1, dim, generator=generator), torch.cat(tails, -1), dims)
    return standardised(Mapped(standardised(latent, generator), (margins,)), generator)
