"""The mixture network: a set transformer whose tokens are the components of a mixture.

The context passes through all blocks (discoformer_training.nn.blocks). Each token j then reads local
statistics of the context: a few further kernels a_ji of weights that sum to 1 give

    mu_j = sum_i a_ji z_i,    S_j = sum_i a_ji (z_i - mu_j)(z_i - mu_j)^T,    s_j = tr S_j / D,

and becomes one Student-t component, with scalars a, b, t, g and nu read from the token and these statistics:

    log w_j = log-softmax over j of (log-weight of the point + a_j)
    m_j     = z_j + sum_c g_jc V_jc + sum_k g_jk (mu_jk - z_j)
    Sigma_j = sum_k exp(t_jk) S_jk + (sum_k exp(b_jk) s_jk) I          k: the kernels
    f(y)    = (1 - e) sum_j w_j t(y; m_j, Sigma_j, nu_j) + e t(y; 0, Sigma, nu)

with Sigma = exp(t) C + exp(b) tr C / D I the scale of one broad component, C the second moment of the
context. So f integrates to one, whatever the weights of the network are, and its score is its exact gradient.
Scalars are rotation invariants, and m and Sigma turn with the points: the density is exactly
O(D)-equivariant.

Shapes: B batch, N context points, M queries, D dimensions, K components, H kernels of the statistics,
E scalars, C vector channels, G width of the sample embedding. Log-densities are in nats, all coordinates in
the frame.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, softplus

from discoformer.base.arrays import identity_like, log_diagonal, trace
from discoformer_training.data.context import Context
from discoformer_training.nn.attention import Attend, attend_plain
from discoformer_training.nn.blocks import (
    Block,
    Embedding,
    Kernels,
    SampleEmbedding,
    Tokens,
    normalise_log_weights,
)
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.point_features import soft_clip

VECTORS = 3  # of a point
INVARIANTS = 10  # of a point
OF_KERNEL = 4  # invariants of the statistics of a kernel
OF_UPDATE = 7  # invariants of the statistics of an update
ROUNDING = 3e-5  # of a variance, relative to the mean of |z|^2 under the kernel: added to each isotropic part
ROUNDING_OF_UPDATE = 1e-9  # likewise, where the moments are float64
LEAST_SQUARE = 1e-3  # of that mean: copies of the centre of the frame have one of 0
MOST_LOG_FREEDOM = 14.0  # a Student-t distribution of a million degrees of freedom is Gaussian to 1e-6
LARGEST = 80.0  # nats: its exponential fits in float32
LEAST_SHARE, MOST_SHARE = 9.0, 3.0  # bounds of -b and of b and t


class Invert(Protocol):
    """A function from positive definite matrices (..., D, D) to their inverses and log-determinants (...)."""

    def __call__(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Return inverses and log-determinants."""


def by_cholesky(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Invert by the Cholesky decomposition."""
    root = torch.linalg.cholesky(matrices)
    return torch.cholesky_inverse(root), 2 * log_diagonal(root)


class Mixture(NamedTuple):
    """Mixtures of K Student-t distributions for B contexts, in the frame."""

    log_weights: Tensor  # (B, K) of weights that sum to 1
    means: Tensor  # (B, K, D)
    scales: Tensor  # (B, K, D, D) scale matrices
    freedom: Tensor  # (B, K) degrees of freedom

    def log_density_and_score(self, points: Tensor, invert: Invert = by_cholesky) -> tuple[Tensor, Tensor]:
        """Return log-density (B, M) and score (B, M, D) at points (B, M, D).

        With P_k the inverse of the scale matrix, q_k = (y - m_k)^T P_k (y - m_k) and h_k = (nu_k + D) / 2,

            log f = log sum_k exp(l_k - h_k log(1 + q_k / nu_k))
            grad log f = -sum_k r_k 2 h_k / (nu_k + q_k) P_k (y - m_k),    r = posterior membership

        where l_k holds the log-weight and the normalisation. Both are matrix products of [y y^T, y, 1] with
        [P, -2 P m, m^T P m]. They are float64, since they are small differences of large numbers for a narrow
        component far from the origin.
        """
        dim = points.shape[-1]
        joint, square, precision, pull = self._joint(points, invert)
        power, freedom = 0.5 * (self.freedom + dim)[:, None], self.freedom[:, None]
        log_density = joint.logsumexp(-1)
        share = ((joint - log_density[..., None]).exp() * (2 * power) / (freedom + square)).double()
        mean_precision = (share @ precision).unflatten(-1, (dim, dim))
        score = share @ pull - (mean_precision @ points[..., None].double())[..., 0]
        return log_density, score.to(points.dtype)

    def log_membership(self, points: Tensor, invert: Invert = by_cholesky) -> Tensor:
        """Return the log-membership (B, n, K) of points (B, n, D) in the components."""
        return self._joint(points, invert)[0].log_softmax(-1)

    def _joint(self, points: Tensor, invert: Invert) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return weighted log-densities and q (B, M, K), P (B, K, D D) and P m (B, K, D), both float64."""
        dim = points.shape[-1]
        precision, log_det = invert(self.scales)
        log_scale = self.log_weights + student_peak(self.freedom, dim) - 0.5 * log_det
        precision, means = precision.double(), self.means.double()
        pull = (precision @ means[..., None])[..., 0]  # P m
        offset = (pull * means).sum(-1, keepdim=True)
        flat = precision.flatten(2)
        square = monomials(points) @ torch.cat([flat, -2 * pull, offset], -1).mT
        square = square.clamp(min=0).to(points.dtype)
        power, freedom = 0.5 * (self.freedom + dim)[:, None], self.freedom[:, None]
        return log_scale[:, None] - power * torch.log1p(square / freedom), square, flat, pull


class MixtureNetwork(nn.Module):
    """The network: a mixture, given a context.

    Args:
        config: sizes and constants.
        attend: implementation of attention; all give the same result.
        invert: implementation of inverses and log-determinants; likewise.
    """

    def __init__(
        self, config: NetworkConfig, attend: Attend = attend_plain, invert: Invert = by_cholesky
    ) -> None:
        super().__init__()
        self.config = config
        self.sample_embedding = SampleEmbedding(config, INVARIANTS, summaries=0)
        self.embedding = Embedding(config, INVARIANTS, VECTORS)
        self.blocks = nn.ModuleList(Block(config, attend) for _ in range(config.blocks))
        self.components = ComponentHead(config, attend)
        self.broad = BroadComponent(config)
        self.updates = nn.ModuleList(Update(config, invert) for _ in range(config.updates))

    def forward(self, context: Context, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-density (B, M) and score (B, M, D) at queries (B, M, D)."""
        return self.mixture(context).log_density_and_score(queries)

    def mixture(self, context: Context) -> Mixture:
        """Return the mixture of each context: N components, and one for the tail."""
        log_weights = normalise_log_weights(context.log_weights)
        vectors, invariants = point_features(context.points, context.precision_root)
        sample = self.sample_embedding(invariants, log_weights, context)
        tokens = self.embedding(invariants, vectors, sample)
        for block in self.blocks:
            tokens = block(tokens, tokens, log_weights, sample)
        local = self.components(tokens, context.points, log_weights, sample)
        broad = self.broad(context.points, log_weights, sample)
        points, of_points = context.whole
        for update in self.updates:
            local = update(local, broad, tokens, points, normalise_log_weights(of_points), sample)
        return joined(local, broad)


class ComponentHead(nn.Module):
    """One component for each token, from the token and local statistics of the context."""

    def __init__(self, config: NetworkConfig, attend: Attend) -> None:
        super().__init__()
        self.attend = attend
        self.heads = config.statistics
        self.channels = config.channels
        self.kernels = Kernels(config, config.statistics)
        self.norm = nn.LayerNorm(config.scalars)
        given = config.scalars + OF_KERNEL * config.statistics + config.sample + 2
        self.hidden = nn.Linear(given, config.readout)
        self.out = nn.Linear(config.readout, 2 + config.channels + 3 * config.statistics)
        with torch.no_grad():
            self.out.weight.mul_(0.05)
            self.out.bias.zero_()
            self.out.bias[1] = math.log(20.0)  # degrees of freedom
            to_mean, isotropic, covariance = self.out.bias[2 + config.channels :].chunk(3)
            to_mean.fill_(0.7 / config.statistics)
            isotropic.fill_(math.log(0.2 / config.statistics))
            covariance.fill_(math.log(0.7 / config.statistics))

    def forward(self, tokens: Tokens, points: Tensor, log_weights: Tensor, sample: Tensor) -> Mixture:
        """Return N components.

        Args:
            tokens: of the context.
            points: (B, N, D) of the context.
            log_weights: (B, N), normalised.
            sample: the sample embedding (B, G + 2).
        """
        dim = points.shape[-1]
        shift, covariance, log_mass, rounding = self._statistics(tokens, points, log_weights, sample)
        variance = covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=rounding)  # (B, N, H)
        invariants = torch.stack(
            [
                variance.log(),
                log_mass,
                soft_clip(shift.square().mean(-1) / variance, 10),
                (covariance.square().sum((-1, -2)) / (dim * variance.square())).clamp(min=1e-3).log(),
            ],
            -1,
        ).flatten(2)
        of_sample = sample[:, None].expand(-1, points.shape[1], -1)
        hidden = gelu(self.hidden(torch.cat([self.norm(tokens.scalars), invariants, of_sample], -1)))
        log_weight, log_freedom, to_channels, of_kernels = self.out(hidden).split(
            [1, 1, self.channels, 3 * self.heads], -1
        )
        to_mean, isotropic, share = of_kernels.chunk(3, -1)
        means = (
            points + (tokens.vectors @ to_channels[..., None])[..., 0] + (to_mean[..., None] * shift).sum(2)
        )
        share, isotropic = share.clamp(max=MOST_SHARE).exp(), isotropic.clamp(-LEAST_SHARE, MOST_SHARE).exp()
        isotropic = (isotropic * variance + share * rounding).sum(-1)
        scale = (share[..., None, None] * covariance).sum(2)
        scale = scale + isotropic[..., None, None] * identity_like(scale)
        return Mixture(
            torch.log_softmax(log_weights + log_weight[..., 0], -1),
            means,
            scale,
            1 + log_freedom[..., 0].clamp(max=MOST_LOG_FREEDOM).exp(),
        )

    def _statistics(
        self, tokens: Tokens, points: Tensor, log_weights: Tensor, sample: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the statistics of the kernels.

        Returns:
            shifts (B, N, H, D), covariances (B, N, H, D, D), log-masses (B, N, H), and a bound on the
            rounding errors of the variances (B, N, H). The mass of a kernel is the weight of the sample under
            it, if its height at its own token is 1.
        """
        dim = points.shape[-1]
        queries, keys = self.kernels.queries_and_keys(tokens, tokens, log_weights, sample)
        values = torch.cat([points, outer(points)], -1)[:, None].expand(-1, self.heads, -1, -1)
        moments, log_normaliser = self.attend(queries, keys, values)
        log_mass = log_normaliser - (queries * keys).sum(-1) + log_weights[:, None]
        moments = moments.transpose(1, 2).unflatten(-1, (dim + 1, dim))  # one row is z, the others z z^T
        mean, second = moments[..., 0, :], moments[..., 1:, :]
        covariance = second - mean[..., :, None] * mean[..., None, :]
        rounding = ROUNDING * second.diagonal(dim1=-2, dim2=-1).sum(-1)
        return mean - points[:, :, None], covariance, log_mass.transpose(1, 2), rounding


class BroadComponent(nn.Module):
    """One Student-t component around the whole context: its tail."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.read = nn.Linear(config.sample + 2, 4)
        with torch.no_grad():
            self.read.weight.mul_(0.1)
            self.read.bias.copy_(torch.tensor([-4.0, 1.0, 0.0, -3.0]))

    def forward(self, points: Tensor, log_weights: Tensor, sample: Tensor) -> Mixture:
        """Return the component, with the log-odds (B, 1) of its weight in place of the log-weight.

        Args:
            points: (B, N, D) of the context.
            log_weights: (B, N), normalised.
            sample: the sample embedding (B, G + 2).
        """
        logit, freedom, share, isotropic = self.read(sample)[:, None].unbind(-1)  # (B, 1) each
        moment = (log_weights.exp()[..., None] * points).mT @ points
        variance = moment.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None]
        scale = share.exp()[..., None] * moment + (isotropic.exp() * variance)[..., None] * identity_like(
            moment
        )
        return Mixture(logit, torch.zeros_like(points[:, :1]), scale[:, None], 1 + softplus(freedom))


class Update(nn.Module):
    """A learned step of expectation and maximisation: components from all points that belong to them.

    Let r_ij be the membership of point i in component j, and n_j = sum_i w_i r_ij. The component moves toward
    the mean and the covariance of the points under the weights a_ji = w_i r_ij / n_j. Gates say how far. They
    are read from the token and these statistics.
    """

    def __init__(self, config: NetworkConfig, invert: Invert) -> None:
        super().__init__()
        self.invert = invert
        self.norm = nn.LayerNorm(config.scalars)
        self.hidden = nn.Linear(config.scalars + OF_UPDATE + config.sample + 2, config.readout)
        self.out = nn.Linear(config.readout, 6)
        with torch.no_grad():
            self.out.weight.mul_(0.05)
            self.out.bias.copy_(torch.tensor([0.0, 0.0, -2.0, -2.0, 0.0, -LEAST_SHARE / 2]))

    def forward(
        self,
        local: Mixture,
        broad: Mixture,
        tokens: Tokens,
        points: Tensor,
        log_weights: Tensor,
        sample: Tensor,
    ) -> Mixture:
        """Return the components (B, K) after the step.

        Args:
            local: the components (B, K).
            broad: the broad component.
            tokens: of the components.
            points: all points of the context, (B, N, D).
            log_weights: (B, N), normalised.
            sample: the sample embedding (B, G + 2).
        """
        dim = points.shape[-1]
        log_member = joined(local, broad).log_membership(points, self.invert)[..., :-1].mT  # (B, K, N)
        greatest = (log_member + log_weights[:, None]).detach().amax(-1, keepdim=True)
        relative = (log_member - greatest).clamp(max=LARGEST).exp()  # of absent points it does not matter
        share = relative * log_weights.exp()[:, None]
        total = share.sum(-1, keepdim=True)  # n / exp(greatest)
        relative, share = relative / total, share / total  # r / n, a
        log_mass = (greatest + total.log())[..., 0]
        moments = share.double() @ monomials(points)
        moments = (moments[..., :-1] / moments[..., -1:]).unflatten(-1, (dim + 1, dim))
        second, mean = moments[..., :-1, :], moments[..., -1, :]
        covariance = second - mean[..., :, None] * mean[..., None, :]
        mean, covariance, second = (moment.to(points.dtype) for moment in (mean, covariance, second))
        rounding = ROUNDING_OF_UPDATE * trace(second).clamp(min=LEAST_SQUARE)
        variance, before = trace(covariance).clamp(min=rounding) / dim, trace(local.scales) / dim
        shift = mean - local.means
        invariants = torch.stack(
            [
                variance.log(),
                -(share * relative).sum(-1).log(),  # effective part of the sample that belongs to it
                (log_mass - local.log_weights).clamp(-8, 8),
                (before / variance).log(),
                soft_clip(shift.square().mean(-1) / variance, 10),
                (covariance.square().sum((-1, -2)) / (dim * variance.square())).clamp(min=1e-3).log(),
                local.freedom.log(),
            ],
            -1,
        )
        of_sample = sample[:, None].expand(-1, mean.shape[1], -1)
        hidden = gelu(self.hidden(torch.cat([self.norm(tokens.scalars), invariants, of_sample], -1)))
        log_weight, log_freedom, to_mean, to_scale, log_factor, isotropic = self.out(hidden).unbind(-1)
        to_scale = to_scale.sigmoid()
        isotropic = isotropic.clamp(max=MOST_SHARE).exp() * variance + to_scale * rounding
        to_scale = to_scale[..., None, None]
        scales = (1 - to_scale) * local.scales + to_scale * covariance
        scales = log_factor.clamp(max=MOST_SHARE).exp()[..., None, None] * scales
        return Mixture(
            torch.log_softmax(local.log_weights + log_weight, -1),
            local.means + to_mean.sigmoid()[..., None] * shift,
            scales + isotropic[..., None, None] * identity_like(scales),
            1 + ((local.freedom - 1) * log_freedom.clamp(-3, 3).exp()).clamp(max=1e6),
        )


def joined(local: Mixture, broad: Mixture) -> Mixture:
    """Return the mixture of local components and a broad one, whose log-weight is that of its log-odds."""
    odds = broad.log_weights
    of_local = -softplus(odds)  # the logarithm of a sigmoid would be off by 1e-3 in ONNX Runtime
    local = local._replace(log_weights=local.log_weights + of_local)
    broad = broad._replace(log_weights=odds + of_local)
    return Mixture(*(torch.cat(fields, 1) for fields in zip(local, broad, strict=True)))


def monomials(points: Tensor) -> Tensor:
    """Return [z z^T, z, 1] of points (B, n, D), flat, (B, n, D D + D + 1), float64."""
    points = points.double()
    return torch.cat([outer(points), points, torch.ones_like(points[..., :1])], -1)


def outer(points: Tensor) -> Tensor:
    """Return z z^T of points (B, n, D), flat, (B, n, D D)."""
    return (points[..., :, None] * points[..., None, :]).flatten(2)


def student_peak(freedom: Tensor, dim: int) -> Tensor:
    """Return the log-density at the centre of a Student-t distribution of scale matrix I.

    That is lgamma(a + b) - lgamma(a) - b log(2 pi a) with a = freedom / 2 and b = D / 2, by recurrence and
    Stirling's series at x = a + 8. It is written without differences of large numbers: so it is exact to
    rounding in float32, also for millions of degrees of freedom.
    """
    a, b = freedom / 2, dim / 2
    x = a + 8
    peak = (x + b - 0.5) * torch.log1p(b / x) - b + _stirling(x + b) - _stirling(x) + b * torch.log1p(8 / a)
    for i in range(8):
        peak = peak - torch.log1p(b / (a + i))
    return peak - b * math.log(2 * math.pi)


def _stirling(x: Tensor) -> Tensor:
    """Return lgamma(x) - (x - 1 / 2) log x + x - log(2 pi) / 2 for x of 8 or more."""
    inverse = 1 / x.square()
    return (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / x


def point_features(points: Tensor, precision_root: Tensor) -> tuple[Tensor, Tensor]:
    """Return the vectors (B, n, D, VECTORS) and invariants (B, n, INVARIANTS) of points (B, n, D).

    The vectors express each point in two metrics, W = precision_root (B, D, D) and P = W^2. Each square
    enters as log(1 + square), and as sqrt(D) times the difference of that from log 2, since |y|^2 / D has a
    spread of 1 / sqrt(D) in high dimension.
    """
    dim = points.shape[-1]
    white = points @ precision_root
    dual = white @ precision_root
    pairs = ((points, points), (points, white), (white, white), (white, dual), (dual, dual))
    logs = torch.stack([torch.log1p((a * b).mean(-1)) for a, b in pairs], -1)
    return torch.stack([points, white, dual], -1), torch.cat(
        [logs, soft_clip(dim**0.5 * (logs - math.log(2)), 8)], -1
    )
