"""C-vines: the dependence of many columns made of copulas of two columns each.

Each column has a logistic distribution. Tree k has a copula c of column k and each later column j, given the
columns before k:

    f(x) = prod_j f_j(x_j) prod_k prod_(j > k) c(F(x_k | x_1..x_k-1), F(x_j | x_1..x_k-1))
    F(x_j | x_1..x_k) = h(F(x_j | x_1..x_k-1) given F(x_k | x_1..x_k-1)),    h(v | u) = dC(u, v) / du

The last conditional of each column is uniform, and independent of the columns before it. So the vine is a map
of independent logistic numbers, z_j = logit F(x_j | columns before it), with log|det dz/dx| in closed form.

A number u between 0 and 1 is kept as log u and log(1 - u), since both ends matter:

    Clayton:  C = (u^-t + v^-t - 1)^(-1/t),    h = (1 + e^r)^-(1 + 1/t),    e^r = (v^-t - 1) u^t
    Frank:    logit h = t (v - u) + log(1 - e^(-t v)) - log(1 - e^(-t (1 - v)))

Trees after the first TREES have independent copulas. Source: Aas, Czado, Frigessi and Bakken, *Insurance:
Mathematics and Economics* 44, 2009.

Shapes: B densities, n points, D columns, J pairs. Everything is float64.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from discoformer_training.data.randoms import choice, log_uniform, uniform

TREES = 4  # greatest number of trees whose copulas are not independent
CLAYTON = (0.2, 6.0)  # least and greatest t of a Clayton copula: Kendall's rank correlation is 0.09 to 0.75
FRANK = (1.0, 15.0)  # of a Frank copula: 0.11 to 0.76


class Share(NamedTuple):
    """A number u between 0 and 1."""

    log: Tensor  # log u
    log_rest: Tensor  # log(1 - u)

    @classmethod
    def of_logit(cls, logit: Tensor) -> "Share":
        """Return 1 / (1 + exp(-logit))."""
        return cls(logsigmoid(logit), logsigmoid(-logit))

    @property
    def logit(self) -> Tensor:
        """log(u / (1 - u))."""
        return self.log - self.log_rest

    @property
    def log_depth(self) -> Tensor:
        """log(-log u)."""
        near_one = self.log_rest < -30
        return torch.where(near_one, self.log_rest, (-torch.where(near_one, -1.0, self.log)).log())

    def columns(self, which: slice) -> "Share":
        """Return some of the columns."""
        return Share(self.log[..., which], self.log_rest[..., which])

    def turned(self, where: Tensor) -> "Share":
        """Return 1 - u where a mask says so."""
        return Share(torch.where(where, self.log_rest, self.log), torch.where(where, self.log, self.log_rest))


class Copula(Protocol):
    """Copulas of J pairs of columns, symmetric in u and v."""

    def conditional(self, u: Share, v: Share) -> tuple[Share, Tensor]:
        """Return h(v | u) and the log-density of the copula."""

    def inverse(self, h: Share, u: Share) -> Share:
        """Return v from h(v | u)."""


@dataclass(frozen=True)
class Clayton:
    """Clayton copulas: columns depend most where both are small."""

    strength: Tensor  # (B, 1, J) t

    def conditional(self, u: Share, v: Share) -> tuple[Share, Tensor]:
        """Return h(v | u) and the log-density of the copula."""
        t, log_b = self.strength, self.strength.log() + v.log_depth
        r = log_b.exp() + _log_fall(log_b) + t * u.log
        log_power = (1 + 1 / t).log() + _log_softplus(r)  # log(-log h)
        both = torch.logaddexp(r, torch.zeros_like(r)) - t * u.log
        log_density = t.log1p() - (1 + t) * (u.log + v.log) - (2 + 1 / t) * both
        return Share(-log_power.exp(), _log_fall(log_power)), log_density

    def inverse(self, h: Share, u: Share) -> Share:
        """Return v from h(v | u)."""
        t, log_both = self.strength, h.log_depth - (1 + 1 / self.strength).log()
        log_depth = _log_softplus(log_both.exp() + _log_fall(log_both) - t * u.log) - t.log()
        return Share(-log_depth.exp(), _log_fall(log_depth))


@dataclass(frozen=True)
class Frank:
    """Frank copulas: columns depend in the middle as at the ends."""

    strength: Tensor  # (B, 1, J) t > 0

    def conditional(self, u: Share, v: Share) -> tuple[Share, Tensor]:
        """Return h(v | u) and the log-density of the copula."""
        t = self.strength
        ends = Share(*(_log_fall(t.log() + part) for part in v))
        h = Share.of_logit(t * (v.log.exp() - u.log.exp()) + ends.log - ends.log_rest)
        return h, h.log + h.log_rest + t.log() + _log_fall(t.log()) - ends.log - ends.log_rest

    def inverse(self, h: Share, u: Share) -> Share:
        """Return v from h(v | u)."""
        t, at = self.strength, h.logit + self.strength * u.log.exp()

        def part(high: Tensor) -> Tensor:
            low, high = _log_softplus(high - t), _log_softplus(high)
            return high + _log_fall((high - low).log()) - t.log()

        return Share(part(at), part(t - at))


class Tree(NamedTuple):
    """The copulas of one tree, turned round by chance in each of the two columns."""

    copula: Copula
    turns: tuple[Tensor, Tensor]  # (B, 1, J) whether 1 - u and 1 - v take the place of u and v

    def conditional(self, u: Share, v: Share) -> tuple[Share, Tensor]:
        """Return h(v | u) and the log-density of the copulas."""
        first, second = self.turns
        h, log_density = self.copula.conditional(u.turned(first), v.turned(second))
        return h.turned(second), log_density

    def inverse(self, h: Share, u: Share) -> Share:
        """Return v from h(v | u)."""
        first, second = self.turns
        return self.copula.inverse(h.turned(second), u.turned(first)).turned(second)


@dataclass(frozen=True)
class Vine:
    """The map from independent logistic numbers z to dependent ones x."""

    trees: tuple[Tree, ...]  # from the first on; tree k has D - k pairs

    def forward(self, z: Tensor) -> Tensor:
        """Return x (B, n, D)."""
        x = z
        for k, tree in reversed([*enumerate(self.trees)]):
            later = tree.inverse(Share.of_logit(x[..., k + 1 :]), Share.of_logit(z[..., k : k + 1]))
            x = torch.cat([x[..., : k + 1], later.logit], -1)
        return x

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, n, D) and log|det dz/dx| (B, n)."""
        shares = Share.of_logit(x)
        done, log_det = [], (shares.log + shares.log_rest).sum(-1)
        for tree in self.trees:
            root, later = (shares.columns(part) for part in (slice(1), slice(1, None)))
            done.append(root)
            shares, log_density = tree.conditional(root, later)
            log_det = log_det + log_density.sum(-1)
        done.append(shares)
        log_det = log_det - sum((share.log + share.log_rest).sum(-1) for share in done)
        return torch.cat([share.logit for share in done], -1), log_det


def draw_vine(batch: int, dim: int, generator: torch.Generator) -> Vine:
    """Draw a vine; each tree has Clayton or Frank copulas."""

    def tree(pairs: int) -> Tree:
        copula, among = ((Clayton, CLAYTON), (Frank, FRANK))[choice(2, generator)]
        strength = log_uniform(*among, batch, 1, pairs, generator=generator)
        first, second = (uniform(0, 1, batch, 1, pairs, generator=generator) < 0.5 for _ in range(2))
        return Tree(copula(strength), (first, second))

    return Vine(tuple(tree(dim - k) for k in range(1, min(dim - 1, TREES) + 1)))


def _log_fall(log_size: Tensor) -> Tensor:
    """Return log(1 - exp(-exp(log_size)))."""
    safe = log_size.clamp(-30, 7)  # outside, up to rounding: log_size, and 0
    return torch.where(log_size < -30, log_size, (-(-safe.exp()).expm1()).log())


def _log_softplus(x: Tensor) -> Tensor:
    """Return log(log(1 + exp(x)))."""
    safe = x.clamp(min=-30)  # below, up to rounding: x
    return torch.where(x < -30, x, torch.logaddexp(safe, torch.zeros_like(x)).log())
