"""Rounded columns, and columns with atoms.

    Rounded: x is rounded to a multiple of h, and then spread evenly in its cell. The density to learn is that
             of the cell around x, g(x) = [F(x + h / 2) - F(x - h / 2)] / h. It is smooth, and in the middle
             of a cell it is the chance of the cell, divided by its width. The laws are positive on the whole
             line, or g would be 0 in parts of the cells at their ends.
    Atoms:   a share of the numbers, or all numbers below a limit, lie close to one place. Their law is normal
             there, not even in a cell: with a score of 0 in the cell, it would pay to learn broad atoms.

The columns are independent within each of a few clusters. So the chance of a cell is a product.

Shapes: B densities, n points, D dimensions. Everything is float64.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from discoformer_training.data.families.density import Affine, Density, Joint, Mixed
from discoformer_training.data.families.laws import Law, Normal, NormalScored, Product, within
from discoformer_training.data.families.products import ANY, LAWS, SAMPLE, log_weights, split
from discoformer_training.data.randoms import choice, log_uniform, normal, uniform

WHOLE = ("sinh_arcsinh",)  # the laws, other than the normal one, that are NormalScored, on the whole line
SCORED = (*WHOLE, "log_normal", "softplus_normal", "logit_normal")  # all of them
CLUSTERS = 4  # greatest number of clusters
SIZES = (0.4, 1.2)  # least and greatest deviation of a cluster
CENTER = 2.0  # greatest distance of the centre of a cluster from 0, in each column
STEPS = (0.05, 0.8)  # least and greatest step of a rounded column, log-uniform
ATOMS = (0.001, 0.01)  # least and greatest deviation of an atom, log-uniform


@dataclass(frozen=True)
class Celled:
    """p(y) = [F(y + h) - F(y - h)] / (2 h) with F the distribution function of a law; the law where h = 0."""

    law: NormalScored
    half: Tensor  # (B, 1, D) h

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        blur = self.half * uniform(-1, 1, *shape, generator=generator)
        return self.law.sample(*shape, generator=generator) + blur

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        plain, plain_slope = self.law.log_density_and_slope(y)
        rounded = self.half > 0
        half = torch.where(rounded, self.half, 1.0)
        low, high = y - half, y + half
        log_chance = log_normal_between(self.law.normal_score(low), self.law.normal_score(high))
        inside = log_chance > -math.inf
        safe = torch.where(inside, log_chance, 0.0)
        below, above = ((self.law.log_density_and_slope(end)[0] - safe).exp() for end in (low, high))
        log_density, slope = within(inside, log_chance - (2 * half).log(), above - below)
        return torch.where(rounded, log_density, plain), torch.where(rounded, slope, plain_slope)


@dataclass(frozen=True)
class Atomic:
    """A law whose numbers are moved to one place: those below a limit, and a share of the others."""

    law: NormalScored
    at: Tensor  # (B, 1, D) the place
    width: Tensor  # (B, 1, D) deviation from it
    share: Tensor  # (B, 1, D)
    limit: Tensor  # (B, 1, D) -inf for none

    def sample(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw numbers of a shape."""
        y = self.law.sample(*shape, generator=generator)
        moved = (y <= self.limit) | (uniform(0, 1, *shape, generator=generator) < self.share)
        return torch.where(moved, self.at + self.width * normal(*shape, generator=generator), y)

    def log_density_and_slope(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and its derivative."""
        log_density, slope = self.law.log_density_and_slope(y)
        rest = torch.where(y > self.limit, (-self.share).log1p() + log_density, -math.inf)
        moved = self.share + (1 - self.share) * torch.special.ndtr(self.law.normal_score(self.limit))
        away = (y - self.at) / self.width
        near = Normal().log_density_and_slope(away)[0] + (moved / self.width).log()
        atom = torch.where(moved > 0, near, -math.inf)
        both = torch.logaddexp(rest, atom)
        inside = both > -math.inf
        share = (rest - torch.where(inside, both, 0.0)).exp()  # of the law, at y
        return within(inside, both, share * slope - (1 - share) * away / self.width)


@dataclass(frozen=True)
class Rounded:
    """A density, rounded to a lattice and spread in its cells, with the answers of another."""

    smooth: Density  # before rounding
    cells: Density  # of the cells
    step: Tensor  # (B, 1, D) of each column; 0: not rounded

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""
        points = self.smooth.sample(n, generator=generator)
        step = torch.where(self.step > 0, self.step, 1.0)
        return torch.where(self.step > 0, step * spread((points / step).round(), generator), points)

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""
        return self.cells.log_density_and_score(points)


def spread(cells: Tensor, generator: torch.Generator) -> Tensor:
    """Spread integers (B, n, D) in their cells. Of m equal ones, each falls in one of m equal parts."""
    order = (cells + uniform(0, 0.5, *cells.shape, generator=generator)).argsort(1)
    ranked = cells.gather(1, order).mT.contiguous()  # (B, D, n)
    first, last = (torch.searchsorted(ranked, ranked, right=right) for right in (False, True))
    rank = torch.arange(cells.shape[1], device=cells.device) - first
    place = (rank + uniform(0, 1, *ranked.shape, generator=generator)) / (last - first) - 0.5
    return torch.empty_like(cells).scatter_(1, order, (ranked + place).mT)


def log_normal_between(low: Tensor, high: Tensor) -> Tensor:
    """Return log(Phi(high) - Phi(low)), Phi the standard normal distribution function."""
    turned = low + high > 0  # then the upper tails are exact
    low, high = torch.where(turned, -high, low), torch.where(turned, -low, high)
    log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    some = log_high > log_low
    fall = torch.where(some, log_low - log_high, -1.0)
    return torch.where(some, log_high + (-fall.expm1()).log(), -math.inf)


@dataclass(frozen=True)
class _Group:
    """Neighbouring columns of one law in one cluster: x = size y + center."""

    law: NormalScored
    size: Tensor  # (B, 1, d)
    center: Tensor  # (B, 1, d)
    columns: slice

    def own(self, x: Tensor) -> Tensor:
        """Return y for numbers of all columns (B, 1, D)."""
        return (x[..., self.columns] - self.center) / self.size

    def own_size(self, width: Tensor) -> Tensor:
        """Return widths of all columns (B, 1, D) in the unit of y."""
        return width[..., self.columns] / self.size


def _draw_clusters(
    batch: int, dim: int, generator: torch.Generator, names: Sequence[str]
) -> Callable[[Callable[[_Group], Law]], Density]:
    """Draw one to four clusters of one to three groups of columns, each normal or of one of the laws named.

    Returns:
        a function that makes a density of them, each law changed by a given function.
    """
    dims = split(dim, min(dim, 1 + choice(3, generator)))
    count = 1 + choice(CLUSTERS, generator)
    log_shares = log_weights(batch, count, generator)
    far = CENTER * (count > 1)

    def group(start: int, width: int) -> _Group:
        def draw(low: float, high: float) -> Tensor:
            return uniform(low, high, batch, 1, width, generator=generator)

        one = choice(len(names) + 1, generator)
        law = cast(NormalScored, LAWS[names[one]](draw)) if one < len(names) else Normal()
        sample = law.sample(batch, SAMPLE, width, generator=generator)
        size = draw(*SIZES) / sample.std(1, keepdim=True)
        center = draw(-far, far) - size * sample.mean(1, keepdim=True)
        return _Group(law, size, center, slice(start, start + width))

    starts = [sum(dims[:k]) for k in range(len(dims))]
    clusters = [[group(*place) for place in zip(starts, dims, strict=True)] for _ in range(count)]

    def made(one: _Group, change: Callable[[_Group], Law]) -> Density:
        own = Product(change(one), batch, one.size.shape[-1])
        return Affine(own, one.size[:, 0].diag_embed(), one.center[:, 0])

    def density(change: Callable[[_Group], Law]) -> Density:
        joints = (Joint(tuple(made(one, change) for one in groups), dims) for groups in clusters)
        return Mixed(log_shares, tuple(joints))

    return density


def draw_rounded(batch: int, dim: int, generator: torch.Generator, parts: Sequence[str] = ANY) -> Rounded:
    """Draw clusters in which the first column and most of the others are rounded."""
    density = _draw_clusters(batch, dim, generator, [name for name in parts if name in WHOLE])
    rounded = uniform(0, 1, batch, 1, dim, generator=generator) < 0.7
    rounded[..., 0] = True
    step = rounded * log_uniform(*STEPS, batch, 1, dim, generator=generator)
    cells = density(lambda group: Celled(group.law, group.own_size(step / 2)))
    return Rounded(density(lambda group: group.law), cells, step)


def draw_atoms(batch: int, dim: int, generator: torch.Generator, parts: Sequence[str] = ANY) -> Density:
    """Draw clusters with atoms at the same places, in the first column and in most of the others."""
    density = _draw_clusters(batch, dim, generator, [name for name in parts if name in SCORED])
    draw = partial(uniform, generator=generator)
    kind = draw(0, 1, batch, 1, dim)
    kind[..., 0] /= 2
    at = draw(-1.5, 0.5, batch, 1, dim)
    limit = torch.where(kind < 0.25, at, -math.inf)
    width = log_uniform(*ATOMS, batch, 1, dim, generator=generator)

    def atomic(group: _Group) -> Law:
        some = ((kind >= 0.25) & (kind < 0.6))[..., group.columns]
        share = some * draw(0.02, 0.7, *some.shape)
        return Atomic(group.law, group.own(at), group.own_size(width), share, group.own(limit))

    return density(atomic)
