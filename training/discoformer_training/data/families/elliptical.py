"""Mixtures of one or more elliptical Student-t distributions, with exact log-density and score.

    f(y) = sum_k pi_k t(y; v_k, m_k, diag(c_k)),    q_k = sum_d (y_d - m_kd)^2 / c_kd
    log t = lgamma((v + D) / 2) - lgamma(v / 2) - (D / 2) log(v pi) - sum_d log(c_d) / 2
            - (v + D) / 2 log(1 + q / v)
    s(y) = sum_k r_k (v_k + D) / (v_k + q_k) (m_k - y) / c_k,    r = posterior membership

Shapes: B densities, K modes, n points, D dimensions. Everything is float64.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from discoformer_training.data.randoms import gamma, normal


@dataclass(frozen=True)
class StudentMixtures:
    """A batch of B mixtures of Student-t distributions in D dimensions."""

    log_weights: Tensor  # (B, K) log pi_k in nats
    means: Tensor  # (B, K, D) m_k
    scales: Tensor  # (B, K, D) c_k: the variances are c_k v / (v - 2)
    freedom: Tensor  # (B, K) v_k

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each, (B, n, D)."""
        mode = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)  # (B, n)
        index = mode[..., None].expand(-1, -1, self.means.shape[-1])
        half = self.freedom.gather(1, mode) / 2
        stretch = (half / gamma(half, generator)).sqrt()[..., None]
        noise = stretch * normal(*index.shape, generator=generator)
        return self.means.gather(1, index) + self.scales.gather(1, index).sqrt() * noise

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) at points (B, n, D)."""
        dim, v, precision = points.shape[-1], self.freedom, 1 / self.scales
        away = points[:, :, None] - self.means[:, None]  # (B, n, K, D): K is small
        square = (away.square() * precision[:, None]).sum(-1)  # (B, n, K)
        log_norm = (
            self.log_weights
            + ((v + dim) / 2).lgamma()
            - (v / 2).lgamma()
            - (dim / 2) * (math.pi * v).log()
            - self.scales.log().sum(-1) / 2
        )
        joint = log_norm[:, None] - ((v + dim) / 2)[:, None] * (square / v[:, None]).log1p()
        log_density = joint.logsumexp(-1)
        pull = (joint - log_density[..., None]).exp() * (v + dim)[:, None] / (v[:, None] + square)
        return log_density, pull @ (self.means * precision) - points * (pull @ precision)
