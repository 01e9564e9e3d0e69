"""Structural equations: each column is a random function of a few columns before it, plus noise.

    x_j = f_j(x_pa(j)) + exp(k_j(x_pa(j))) z_j,    z_j independent, of any law
    log f(x) = sum_j log p_j(z_j) - k_j(x_pa(j)),  the product of the conditional densities

    h_j = a(W_j x_pa(j) + b_j)    a: tanh or sin, the same in all columns
    f_j = u_j . h_j + c_j . x_pa(j),    k_j = log s_j + v_j . h_j

The columns form layers. The parents pa(j) lie in layers before that of j.

Shapes: B densities, n points, D columns, P parents of each, W hidden units. Everything is float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from discoformer_training.data.families.density import Density
from discoformer_training.data.families.maps import Mapped
from discoformer_training.data.families.products import ANY, draw_groups, split, standardised
from discoformer_training.data.randoms import choice, log_uniform, normal, uniform

LAYERS = 8  # greatest number of layers
PARENTS = 4  # greatest number of parents
HIDDEN = 6  # number of hidden units of each column
NOISE = (0.05, 1.0)  # least and greatest size s_j of the noise, log-uniform; 1 without parents


@dataclass(frozen=True)
class Structural:
    """The map from the noises z to the columns x."""

    dims: tuple[int, ...]  # number of columns of each layer
    activation: Callable[[Tensor], Tensor]  # a
    parents: Tensor  # (B, D, P) indices pa(j)
    inward: Tensor  # (B, D, P, W) W, 0 where a column has fewer parents
    offset: Tensor  # (B, D, W) b
    outward: Tensor  # (B, D, W) u
    linear: Tensor  # (B, D, P) c, 0 where a column has fewer parents
    scaling: Tensor  # (B, D, W) v
    log_noise: Tensor  # (B, D) log s

    def forward(self, z: Tensor) -> Tensor:
        """Return x (B, n, D)."""
        x, start = z[..., :0], 0
        for size in self.dims:
            end = start + size
            shift, log_scale = self._functions(x, start, end)
            x = torch.cat([x, shift + log_scale.exp() * z[..., start:end]], -1)
            start = end
        return x

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, n, D) and log|det dz/dx| (B, n)."""
        shift, log_scale = self._functions(x, 0, x.shape[-1])
        return (x - shift) * (-log_scale).exp(), -log_scale.sum(-1)

    def _functions(self, x: Tensor, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Return f and k of the columns from start to end, each (B, n, end - start)."""
        log_noise = self.log_noise[:, None, start:end]
        if not x.shape[-1]:  # the first layer has no parents
            return torch.zeros_like(log_noise), log_noise
        at = self.parents[:, start:end].flatten(1)[:, None].expand(-1, x.shape[1], -1)
        given = x.gather(-1, at).unflatten(-1, (end - start, PARENTS))
        inward, linear = self.inward[:, start:end], self.linear[:, start:end]
        hidden = torch.einsum("bncp,bcpw->bncw", given, inward) + self.offset[:, None, start:end]
        hidden = self.activation(hidden)
        shift = (hidden * self.outward[:, None, start:end]).sum(-1) + (given * linear[:, None]).sum(-1)
        return shift, log_noise + (hidden * self.scaling[:, None, start:end]).sum(-1)


def draw_structural(batch: int, dim: int, generator: torch.Generator, parts: Sequence[str] = ANY) -> Density:
    """Draw structural equations with noises of one to three laws."""
    layers = min(dim, 2 + choice(LAYERS - 1, generator))
    dims = split(dim, layers)
    before = torch.tensor([sum(dims[:layer]) for layer, size in enumerate(dims) for _ in range(size)])
    before = before.to(generator.device)[:, None]  # (D, 1) number of columns in the layers before
    parents = (uniform(0, 1, batch, dim, PARENTS, generator=generator) * before).long()
    present = (uniform(0, 1, batch, dim, PARENTS, generator=generator) < 0.6) & (before > 0)
    shares = present / present.sum(-1, keepdim=True).clamp(min=1).double().sqrt()  # (B, D, P)
    has_parents = present.any(-1, keepdim=True)
    size = has_parents / HIDDEN**0.5  # (B, D, 1)
    bend = 0.5 * uniform(0, 1, batch, 1, 1, generator=generator)
    noise = log_uniform(*NOISE, batch, dim, generator=generator)
    equations = Structural(
        dims=dims,
        activation=(torch.tanh, torch.sin)[choice(2, generator)],
        parents=parents,
        inward=1.5 * shares[..., None] * normal(batch, dim, PARENTS, HIDDEN, generator=generator),
        offset=normal(batch, dim, HIDDEN, generator=generator),
        outward=size * normal(batch, dim, HIDDEN, generator=generator),
        linear=0.5 * shares * normal(batch, dim, PARENTS, generator=generator),
        scaling=bend * size * normal(batch, dim, HIDDEN, generator=generator),
        log_noise=noise.log() * has_parents[..., 0],
    )
    noises = standardised(draw_groups(batch, dim, generator, parts), generator)
    return Mapped(noises, (equations,))
