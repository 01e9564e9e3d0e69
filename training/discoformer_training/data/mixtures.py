"""Random Gaussian mixtures with their exact log-density and score.

A mixture has diagonal covariances in its own coordinates y. One linear map G per mixture gives the data:

    y ~ sum_k pi_k N(mu_k, diag(v_k)),    x = y G    (rows)
    log f(x) = log sum_k pi_k N(x G^-1; mu_k, v_k) - log|det G|
    grad log f(x) = [sum_k r_k(y) (mu_k - y) / v_k] G^-T,    r = posterior membership

The published protocol (arXiv 2511.05924): 1 to 10 modes, means uniform in [-3, 3]^D, variances uniform in
[0.2, 1], one random rotation G per mixture, mode weights proportional to uniform draws in [0.2, 1].

Shapes: B mixtures, K modes, N points, D dimensions. Everything is float64.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from discoformer_training.data.randoms import uniform

MEAN_RANGE = 3.0
VARIANCE_RANGE = (0.2, 1.0)
WEIGHT_RANGE = (0.2, 1.0)


@dataclass(frozen=True)
class Mixtures:
    """A batch of B Gaussian mixtures in D dimensions."""

    log_weights: Tensor  # (B, K) log pi_k in nats, -inf where a mixture has fewer modes than K
    means: Tensor  # (B, K, D) mu_k, in the mixture's own coordinates
    variances: Tensor  # (B, K, D) v_k, in the same coordinates
    linear: Tensor  # (B, D, D) G: a row y of own coordinates gives the data point y G

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Draw n points from each mixture, (B, n, D) in data units."""
        mode = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)  # (B, n)
        index = mode[..., None].expand(-1, -1, self.means.shape[-1])
        noise = torch.randn(index.shape, generator=generator, device=mode.device, dtype=self.means.dtype)
        own = self.means.gather(1, index) + self.variances.gather(1, index).sqrt() * noise
        return own @ self.linear

    def log_density_and_score(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, n) in nats and score (B, n, D) in 1 / data units at points (B, n, D)."""
        own = torch.linalg.solve(self.linear, points, left=False)
        # (y - mu)^2 / v, expanded into products: this needs no (B, n, K, D) array.
        precision = 1 / self.variances
        square = (
            own.square() @ precision.mT
            - 2 * own @ (self.means * precision).mT
            + (self.means.square() * precision).sum(-1)[:, None]
        )  # (B, n, K)
        log_norm = self.log_weights - 0.5 * (self.variances.log() + math.log(2 * math.pi)).sum(-1)
        joint = log_norm[:, None] - 0.5 * square
        log_density = joint.logsumexp(-1)
        membership = (joint - log_density[..., None]).exp()
        own_score = membership @ (self.means * precision) - own * (membership @ precision)
        log_abs_det = torch.linalg.slogdet(self.linear).logabsdet
        score = torch.linalg.solve(self.linear.mT, own_score, left=False)
        return log_density - log_abs_det[:, None], score


def draw_mixtures(
    batch: int,
    dim: int,
    *,
    modes: tuple[int, int] = (1, 10),
    affine_condition: float = 1.0,
    generator: torch.Generator,
) -> Mixtures:
    """Draw mixtures by the published protocol.

    Args:
        batch: number of mixtures B.
        dim: dimension D.
        modes: least and greatest number of modes, inclusive. The number is uniform between them.
        affine_condition: 1 for random rotations. Above 1, half of the mixtures get a random invertible map
            instead. Its singular values are log-uniform, and their ratio is at most this.
        generator: source of randomness. The mixtures are on its device.
    """
    most = modes[1]
    count = torch.randint(modes[0], most + 1, (batch, 1), generator=generator, device=generator.device)
    weights = uniform(*WEIGHT_RANGE, batch, most, generator=generator)
    weights = weights * (torch.arange(most, device=generator.device) < count)
    linear = draw_linear(batch, dim, affine_condition, generator)
    return Mixtures(
        log_weights=(weights / weights.sum(-1, keepdim=True)).log(),
        means=uniform(-MEAN_RANGE, MEAN_RANGE, batch, most, dim, generator=generator),
        variances=uniform(*VARIANCE_RANGE, batch, most, dim, generator=generator),
        linear=linear,
    )


def draw_linear(batch: int, dim: int, affine_condition: float, generator: torch.Generator) -> Tensor:
    """Draw invertible maps (B, D, D): rotations, half of them stretched (see `draw_mixtures`)."""
    linear = draw_rotations(batch, dim, generator)
    if affine_condition > 1:
        half_log = 0.5 * math.log(affine_condition) * (uniform(0, 1, batch, 1, generator=generator) < 0.5)
        stretch = (half_log * uniform(-1, 1, batch, dim, generator=generator)).exp()
        linear = linear * stretch[:, None, :] @ draw_rotations(batch, dim, generator)
    return linear


def draw_rotations(batch: int, dim: int, generator: torch.Generator) -> Tensor:
    """Draw orthogonal matrices (B, D, D) from the Haar measure on O(D)."""
    normal = torch.randn(batch, dim, dim, generator=generator, device=generator.device, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
