"""The heads of the network: log-density and score at points, from their states and the base.

Both are residuals on a density b: the base of the context (discoformer.base.base), of density c, and a
Student-t read from the context. With r^2 = |y|^2 / D,

    T = gamma log b + omega (sqrt(D) t_0 + D t_1), the second term within residual_bound sqrt(D)
    S = gamma grad log b + omega (sum_c g_c V_c + g grad log c)
    omega = 1 / ((1 + q) (1 + (q / CUTOFF)^4)),    q = r^2 / trust_radius^2,

so that far from the context the base alone remains: t and g V grow like powers of log r at most.

Shapes: B batch, n points, D dimensions, E scalars, C vector channels, G width of the sample embedding.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, logsigmoid, softplus

from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.point_features import Points, squared_radius

LOG_TWO_PI = math.log(2 * math.pi)
CUTOFF = 4.0  # r^2 / trust_radius^2 beyond which the network's word soon counts for nothing


class Tail(nn.Module):
    """log b and its gradient: the base of the context, and a Student-t around the origin of the frame.

    Degrees of freedom nu > 1, squared scale and weight of the Student-t are read from the sample embedding.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.student = nn.Linear(config.sample + 2, 3)
        with torch.no_grad():
            self.student.weight.mul_(0.1)
            self.student.bias.copy_(torch.tensor([4.0, 0.0, -4.0]))

    def forward(self, points: Points, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Return log b (B, n) and its gradient (B, n, D)."""
        point = points.vectors[..., 0]
        dim = point.shape[-1]
        freedom, log_square_scale, logit = self.student(sample)[:, None].unbind(-1)  # (B, 1) each
        nu = 1 + softplus(freedom)
        square_scale = nu * log_square_scale.exp()
        student = (
            log_gamma((nu + dim) / 2)
            - log_gamma(nu / 2)
            - 0.5 * dim * (square_scale.log() + math.log(math.pi))
            - 0.5 * (nu + dim) * torch.log1p(point.square().sum(-1) / square_scale)
        )
        mixture = points.log_density + logsigmoid(-logit)
        student = student + logsigmoid(logit)
        log_base = torch.maximum(mixture, student) + softplus(-(student - mixture).abs())
        share = torch.sigmoid(student - mixture)
        pull = share * (nu + dim) / (square_scale + point.square().sum(-1))
        return log_base, (1 - share)[..., None] * points.score - pull[..., None] * point


class Heads(nn.Module):
    """Log-density and score: residuals on the base, trusted near the context."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.trust_radius = config.trust_radius
        self.residual_bound = config.residual_bound
        self.gamma = nn.Parameter(torch.ones(()))
        outputs = 2 + config.channels + 1
        self.linear = nn.Linear(config.scalars, outputs)
        self.norm = nn.LayerNorm(config.scalars)
        self.hidden = nn.Linear(config.scalars, 2 * config.scalars)
        self.out = nn.Linear(2 * config.scalars, outputs, bias=False)
        for parameter in (self.linear.weight, self.linear.bias, self.out.weight):
            nn.init.zeros_(parameter)

    def forward(
        self, scalars: Tensor, vectors: Tensor, points: Points, log_base: Tensor, base_score: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) and score (B, n, D) of tokens, with scalars and vectors, at points."""
        dim = points.vectors.shape[-2]
        read = self.linear(scalars) + self.out(gelu(self.hidden(self.norm(scalars))))
        trust = trusted(squared_radius(points) / self.trust_radius**2)
        bound = self.residual_bound * dim**0.5
        residual = trust * (dim**0.5 * read[..., 0] + dim * read[..., 1]).clamp(-bound, bound)
        gates = trust[..., None] * read[..., 2:]
        residual_score = torch.cat([vectors, points.score[..., None]], -1)
        residual_score = (gates[..., None, :] * residual_score).sum(-1)
        return self.gamma * log_base + residual, self.gamma * base_score + residual_score


def trusted(q: Tensor) -> Tensor:
    """The network's share omega at q = r^2 / trust_radius^2: one half at 1, then soon nothing."""
    return 1 / ((1 + q) * (1 + (q / CUTOFF).square().square()))


def log_gamma(x: Tensor) -> Tensor:
    """Log of the gamma function for x > 0: six steps of the recurrence, then Stirling's series."""
    shift = (x[..., None] + torch.arange(6, dtype=x.dtype, device=x.device)).log().sum(-1)
    y = x + 6
    series = (1 / 12 - (1 / 360 - 1 / 1260 / y.square()) / y.square()) / y
    return (y - 0.5) * y.log() - y + 0.5 * LOG_TWO_PI + series - shift
