"""The heads of the network: log-density and score at points, from token states and the base.

Both heads add a residual to a base density b. It mixes the base of the context (discoformer.base.base), of
density c, with a Student-t distribution predicted from the context. With r^2 = |y|^2 / D,

    T = gamma log b + omega (sqrt(D) t_0 + D t_1), the second term within residual_bound sqrt(D)
    S = gamma grad log b + omega (sum_c g_c V_c + g grad log c)
    omega = 1 / ((1 + q) (1 + (q / CUTOFF)^4)),    q = r^2 / trust_radius^2,

Here t and g V grow at most like powers of log r. So far from the context only gamma log b remains. Estimates
ask the heads no farther out than at the outermost context point: beyond it the base continues their answers
(discoformer.base.tails).

Shapes: B batch, n points, D dimensions, E scalars, C vector channels, G width of the sample embedding.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, softplus

from discoformer.base.arrays import log_gamma
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.point_features import Points, squared_radius

CUTOFF = 4.0  # q beyond which the residual falls off like q^-5


class HeavyTailedBase(nn.Module):
    """log b and its gradient: the base of the context, mixed with a Student-t centred in the frame.

    A linear map of the sample embedding gives the degrees of freedom nu > 1, the squared scale and the weight
    of the Student-t.
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
        mixture = points.log_density - softplus(logit)  # ONNX Runtime is off by 1e-3 in log sigmoid
        student = student + logit - softplus(logit)
        log_base = torch.maximum(mixture, student) + softplus(-(student - mixture).abs())
        share = torch.sigmoid(student - mixture)
        pull = share * (nu + dim) / (square_scale + point.square().sum(-1))
        return log_base, (1 - share)[..., None] * points.score - pull[..., None] * point


class Heads(nn.Module):
    """Log-density and score: the base plus a residual that vanishes far from the context."""

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
        """Return log-density (B, n) in nats and score (B, n, D).

        Args:
            scalars: of the tokens, (B, n, E).
            vectors: of the tokens, (B, n, D, C).
            points: features of the same n points.
            log_base: log b (B, n).
            base_score: its gradient (B, n, D).
        """
        dim = points.vectors.shape[-2]
        read = self.linear(scalars) + self.out(gelu(self.hidden(self.norm(scalars))))
        trust = trust_weight(squared_radius(points) / self.trust_radius**2)
        bound = self.residual_bound * dim**0.5
        residual = trust * (dim**0.5 * read[..., 0] + dim * read[..., 1]).clamp(-bound, bound)
        gates = trust[..., None] * read[..., 2:]
        residual_score = torch.cat([vectors, points.score[..., None]], -1)
        residual_score = (gates[..., None, :] * residual_score).sum(-1)
        return self.gamma * log_base + residual, self.gamma * base_score + residual_score


def trust_weight(q: Tensor) -> Tensor:
    """Return the weight omega of the residual at q = r^2 / trust_radius^2: about one half at q = 1."""
    return 1 / ((1 + q) * (1 + (q / CUTOFF).square().square()))
