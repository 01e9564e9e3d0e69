"""The frame: affine coordinates read from the context, in which clusters are nearly isotropic.

    z = (x - m) A,    log f(x) = log f_z(z) + log|det A|,    s(x) = s_z(z) A^T    (rows)

From a seed, a few times, the *local scatter* S = sum_ij p_ij (z_i - z_j)(z_i - z_j)^T over pairs of near
neighbours, p_ij = max(0, 1 - d_ij^2 / h_i^2) with h_i the radius that holds a fixed fraction of the points,
is brought to the identity: S = L L^T, z <- z L^-T. Every step is affine-equivariant, so z is invariant up to
a rotation, to which the network is blind. Last, the median of |z|^2 / D is set to 1.

The seed is whitening: exact under every affine map. It hides clusters in high dimension, so beyond SEED_DIM
dimensions the rounds are run from the standardised coordinates as well, and that frame is taken where its
neighbourhoods fill less volume. Where N < 4 D no estimate is affine-equivariant: the standardised seed is
taken, and scatters are shrunk toward the identity by (1 - (N / 4D)^2)^2.

The runtime's NumPy frame (discoformer.base.frame) computes the same; tests hold the two together.
Shapes: B data sets, N context points, D dimensions. Everything is float64; weights are equal.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import threshold

WHITENED_ROUNDS = 5
STANDARDISED_ROUNDS = 2  # more rounds only fit noise: this seed already shows the clusters
SUBSET = 2048  # the rounds use at most this many points
SEED_DIM = 40  # up to here the whitened seed alone: exact affine equivariance
SEED_MARGIN = 0.5  # nats of log-volume by which the standardised seed must be tighter
ROUNDING = 1e-14  # relative: points this near coincide
EDGE = 1e-9  # pair weights below this are rounding errors at the very edge of a neighbourhood
GUARD = 1e-4  # share of the total covariance, measured against the scatter, that every local scatter keeps


@dataclass(frozen=True)
class Frame:
    """Affine frames of B contexts."""

    center: Tensor  # (B, D) m, data units
    linear: Tensor  # (B, D, D) A, 1 / data units
    log_abs_det: Tensor  # (B,) log|det A|, nats
    precision_root: Tensor  # (B, D, D) W, symmetric root of the inverse total covariance in the frame
    log_det_precision: Tensor  # (B,) log det W^2, nats
    effective_size: Tensor  # (B,) N

    def to_frame(self, points: Tensor) -> Tensor:
        """Map points (B, n, D) from data units to the frame."""
        return (points - self.center[:, None]) @ self.linear

    def from_frame(self, points: Tensor) -> Tensor:
        """Map points (B, n, D) from the frame to data units."""
        return torch.linalg.solve(self.linear, points, left=False) + self.center[:, None]

    def score_to_frame(self, score: Tensor) -> Tensor:
        """Map scores (B, n, D) from 1 / data units to the frame."""
        return torch.linalg.solve(self.linear.mT, score, left=False)

    def score_from_frame(self, score: Tensor) -> Tensor:
        """Map scores (B, n, D) from the frame to 1 / data units."""
        return score @ self.linear.mT


@dataclass(frozen=True)
class _Rounds:
    """Coordinates under way: z = u T of the standardised u, for the subset that the rounds use."""

    points: Tensor  # (B, n, D) z
    transform: Tensor  # (B, D, D) T
    log_det: Tensor  # (B,) log|det T|
    covariance: Tensor  # (B, D, D) total covariance in z

    def mapped(self, root: Tensor) -> "_Rounds":
        """Apply z <- z L^-T for the lower triangular root L (B, D, D)."""
        inverse = torch.linalg.inv(root).mT
        return _Rounds(
            points=self.points @ inverse,
            transform=self.transform @ inverse,
            log_det=self.log_det - root.diagonal(dim1=-2, dim2=-1).log().sum(-1),
            covariance=inverse.mT @ self.covariance @ inverse,
        )

    def chosen(self, other: "_Rounds", take_other: Tensor) -> "_Rounds":
        """Take the other's coordinates for the data sets where take_other (B,) is true."""
        many = take_other[:, None, None]
        return _Rounds(
            points=torch.where(many, other.points, self.points),
            transform=torch.where(many, other.transform, self.transform),
            log_det=torch.where(take_other, other.log_det, self.log_det),
            covariance=torch.where(many, other.covariance, self.covariance),
        )


def fit_frame(context: Tensor) -> Frame:
    """Find the frames of contexts (B, N, D), float64, without constant or collinear columns."""
    n, dim = context.shape[1:]
    center = context.mean(1)
    centered = context - center[:, None]
    deviation = centered.square().mean(1).sqrt()
    standard = centered / deviation[:, None]
    correlation = _shrink(standard.mT @ standard / n, n)

    seed = _Rounds(
        points=standard,
        transform=torch.eye(dim, dtype=context.dtype, device=context.device).expand_as(correlation),
        log_det=torch.zeros(len(context), dtype=context.dtype, device=context.device),
        covariance=correlation,
    )
    root = torch.linalg.cholesky(correlation)
    if n > SUBSET:
        radius = torch.linalg.solve_triangular(root, standard.mT, upper=False).square().sum(1)
        rank = ((torch.arange(SUBSET, device=context.device) + 0.5) * n / SUBSET).ceil().long() - 1
        subset = radius.argsort(dim=1, stable=True)[:, rank]
        seed = _Rounds(
            standard.gather(1, subset[..., None].expand(-1, -1, dim)),
            seed.transform,
            seed.log_det,
            correlation,
        )
    if n < 4 * dim:
        found = _scatter_rounds(seed, STANDARDISED_ROUNDS)
    else:
        found = _scatter_rounds(seed.mapped(root), WHITENED_ROUNDS)
        if dim > SEED_DIM:
            other = _scatter_rounds(seed, STANDARDISED_ROUNDS)
            found = found.chosen(other, _log_volume(other) < _log_volume(found) - SEED_MARGIN)

    radius = (standard @ found.transform).square().sum(-1) / dim
    median = radius.sort(1).values[:, (n + 1) // 2 - 1]
    scale = torch.where(median > 1e-12 * radius.mean(1), median, radius.mean(1)).rsqrt()
    value, vector = torch.linalg.eigh(found.covariance * scale[:, None, None].square())
    return Frame(
        center=center,
        linear=found.transform / deviation[..., None] * scale[:, None, None],
        log_abs_det=found.log_det - deviation.log().sum(-1) + dim * scale.log(),
        precision_root=vector * value.rsqrt()[:, None] @ vector.mT,
        log_det_precision=-value.log().sum(-1),
        effective_size=torch.full_like(scale, n),
    )


def _shrink(scatter: Tensor, effective_size: float) -> Tensor:
    """Shrink scatters (B, D, D) of trace D toward the identity; untouched from 4 D points on."""
    dim = scatter.shape[-1]
    amount = max(0.0, 1 - (effective_size / (4 * dim)) ** 2) ** 2
    return (1 - amount) * scatter + amount * torch.eye(dim, dtype=scatter.dtype, device=scatter.device)


def _squared_distances(points: Tensor) -> Tensor:
    """Squared distances (B, n, n) between the rows of points (B, n, D)."""
    square = points.square().sum(-1)
    distances = (square[:, None] + square[..., None]).baddbmm_(points, points.mT, alpha=-2)
    return distances.masked_fill_(distances <= 2 * ROUNDING * square[..., None], 0.0)


def _neighbour_radius(distances: Tensor) -> Tensor:
    """The squared radius (B, n) around each point that holds max(10, n / 50) others."""
    n = distances.shape[-1]
    held = min(n, math.ceil(max(10, n / 50) + 1 - 1e-9))
    return distances.topk(held, largest=False, sorted=False).values.amax(-1).clamp(min=1e-300)


def _scatter_rounds(found: _Rounds, rounds: int) -> _Rounds:
    n, dim = found.points.shape[1:]
    for _ in range(rounds):
        distances = _squared_distances(found.points)
        radius = _neighbour_radius(distances)
        distances.masked_fill_(distances <= 0, torch.inf)  # a pair that coincides says nothing
        pairs = threshold(distances.div_(radius[..., None]).neg_().add_(1), EDGE, 0.0, inplace=True)
        degree = (pairs.sum(-1) + pairs.sum(-2))[..., None]
        scatter = found.points.mT @ (degree * found.points - pairs @ found.points - pairs.mT @ found.points)
        trace = _trace(scatter)
        flat = trace <= 1e-300 * n * n  # nothing but duplicates nearby: keep the coordinates
        scatter = torch.where(flat[:, None, None], found.covariance, scatter)
        trace = _trace(scatter)
        scatter = _shrink(scatter * (dim / trace)[:, None, None], n)
        # A neighbourhood may be flat (discrete data): keep it from being blown up without bound.
        share = _trace(torch.linalg.solve(found.covariance, scatter)) / dim
        root = torch.linalg.cholesky(scatter + GUARD * share[:, None, None] * found.covariance)
        found = found.mapped(torch.where(flat[:, None, None], torch.eye(dim).to(root), root))
    return found


def _log_volume(found: _Rounds) -> Tensor:
    """Mean log-volume (B,) of the neighbourhoods, standardised units, up to a constant, in nats."""
    radius = _neighbour_radius(_squared_distances(found.points))
    return 0.5 * found.points.shape[-1] * radius.clamp(min=1e-12).log().mean(-1) - found.log_det


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
