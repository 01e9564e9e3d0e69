"""Mixtures of many Gaussians along random curves and surfaces, as images and sensors give.

    m(u) = sum_h c_h sin(2 pi (w_h . u + p_h)),    u in [0, 1]^d, d = 1 or 2
    f(x) = sum_k w_k N(x; m(u_k), s_k^2 I + T_k^T T_k),    T_k along the surface, to its neighbours

With M_k = s_k^2 I + T_k T_k^T, the inverse covariance is (I - T_k^T M_k^-1 T_k) / s_k^2, and the logarithm of
the determinant of the covariance is (D - d) log s_k^2 + log det M_k. So no D x D matrix is needed.

Shapes: B densities, n points, K Gaussians, C surfaces, H waves, D dimensions, d dimensions of a surface.
Everything is float64.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from discoformer_training.data.randoms import choice, log_uniform, normal, uniform

WAVES = 6  # number H of waves of a surface
WIDTHS = (0.02, 0.2)  # least and greatest width s, log-uniform; the surfaces have a deviation of about 1
GOLDEN = ((0.618033988749895,), (0.754877666246693, 0.569840290998053))  # steps that fill [0, 1]^d evenly


@dataclass(frozen=True)
class LowRankMixtures:
    """A batch of B Gaussian mixtures, each covariance round but for d directions."""

    log_weights: Tensor  # (B, K) log w_k in nats
    means: Tensor  # (B, K, D) m_k
    variances: Tensor  # (B, K) s_k^2
    steps: Tensor  # (B, K, d, D) T_k

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""
        which = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)  # (B, n)
        batch = torch.arange(len(which), device=which.device)[:, None]
        means, steps, width = (
            self.means[batch, which],
            self.steps[batch, which],
            self.variances.sqrt().gather(1, which),
        )
        along = normal(*which.shape, 1, steps.shape[2], generator=generator) @ steps
        return means + along[:, :, 0] + width[..., None] * normal(*means.shape, generator=generator)

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""
        means, steps, variances = self.means, self.steps, self.variances
        dim, rank = points.shape[-1], steps.shape[2]
        identity = torch.eye(rank, dtype=means.dtype, device=means.device)
        factor = torch.linalg.cholesky(variances[..., None, None] * identity + steps @ steps.mT)  # of M
        rows = torch.linalg.solve_triangular(factor, steps, upper=False)  # (B, K, d, D)
        offset = (rows @ means[..., None])[..., 0]  # (B, K, d)
        along = (points @ rows.flatten(1, 2).mT).unflatten(-1, offset.shape[1:]) - offset[:, None]
        square = (
            points.square().sum(-1, keepdim=True) - 2 * points @ means.mT + means.square().sum(-1)[:, None]
        )
        square = (square - along.square().sum(-1)) / variances[:, None]  # (B, n, K)
        log_det = (dim - rank) * variances.log() + 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        joint = (self.log_weights - 0.5 * (log_det + dim * math.log(2 * math.pi)))[:, None] - 0.5 * square
        log_density = joint.logsumexp(-1)
        pull = (joint - log_density[..., None]).exp() / variances[:, None]
        score = pull @ means - points * pull.sum(-1, keepdim=True)
        return log_density, score + (pull[..., None] * along).flatten(2) @ rows.flatten(1, 2)


def draw_manifolds(batch: int, dim: int, generator: torch.Generator) -> LowRankMixtures:
    """Draw about 256 to 1024 Gaussians along one to four random curves, or 1024 along as many surfaces."""
    rank, count = 1 + choice(2, generator), 1 + choice(4, generator)
    each = (1024 if rank == 2 else 256 * 2 ** choice(3, generator)) // count
    golden = torch.tensor(GOLDEN[rank - 1], dtype=torch.float64, device=generator.device)
    place = (torch.arange(each, device=generator.device)[:, None] * golden) % 1  # (K / C, d)
    turns = torch.randint(-2, 3, (batch, count, rank, WAVES), generator=generator, device=generator.device)
    turns = torch.where((turns == 0).all(2, keepdim=True), 1, turns).double()  # w
    angle = 2 * math.pi * (place @ turns + uniform(0, 1, batch, count, 1, WAVES, generator=generator))
    sizes = normal(batch, count, WAVES, dim, generator=generator) / turns.norm(dim=2)[..., None]  # c
    center = 0.7 * (count > 1) * normal(batch, count, 1, dim, generator=generator)
    means = angle.sin() @ sizes / WAVES**0.5 + center
    slope = angle.cos()[..., None, :] * (2 * math.pi * turns)[:, :, None] @ (sizes / WAVES**0.5)[:, :, None]
    width = log_uniform(*WIDTHS, batch, count, 1, generator=generator)
    width = width * (0.3 * normal(batch, count, each, generator=generator)).exp()
    weights = uniform(0, 1.5, batch, 1, 1, generator=generator) * angle.sin()[..., 0]
    return LowRankMixtures(
        log_weights=weights.flatten(1).log_softmax(-1),
        means=means.flatten(1, 2),
        variances=width.flatten(1).square(),
        steps=0.7 * slope.flatten(1, 2) / each ** (1 / rank),
    )
