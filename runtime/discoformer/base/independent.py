r"""The product: a density of independent coordinates.

Each coordinate along the independent axes of the context (see ``ica``) has a mixture of its own::

    p(z) = |det A| prod_d c_d(u_d),    u = z A

The mixture network makes ``c_d`` from the values of the coordinate alone, as a sample in one dimension. There
is no product if the effective size is below 8 D, since the covariance is then uncertain, nor for D = 1.

The functions take NumPy arrays and PyTorch tensors.
Shapes: B data sets, N points, D dimensions, J components of each coordinate. Float64.
"""

from typing import Generic, NamedTuple

from discoformer.base.arrays import TIE, ArrayT, FieldT, library
from discoformer.base.frame import Frames
from discoformer.base.ica import independent_axes
from discoformer.base.landmarks import take_landmarks
from discoformer.base.mixture import log_peak
from discoformer.deprecation import warn_renamed

LANDMARKS = 128  # greatest number of points of a coordinate that become components
SUBSET = 2048  # greatest number of points that the axes are found from


class IndependentMixture(NamedTuple, Generic[FieldT]):
    """A mixture of independent coordinates, in frame coordinates."""

    axes: FieldT  # (B, D, D) A
    log_scale: FieldT  # (B, D, J) includes the log-weights, and log|det A| / D
    means: FieldT  # (B, D, J)
    precision_factors: FieldT  # (B, D, J)
    freedom: FieldT  # (B, D, J)

    @property
    def factors(self) -> FieldT:
        """Deprecated: use ``precision_factors``."""
        warn_renamed("IndependentMixture.factors", "IndependentMixture.precision_factors")
        return self.precision_factors


class EvaluatedProduct(NamedTuple, Generic[FieldT]):
    """A product at n points, in frame coordinates."""

    log_density: FieldT  # (B, n) log p, nats
    score: FieldT  # (B, n, D) its gradient


def enough(dim: int) -> float:
    """Return the least effective size for a product: that of each half is then enough for the covariance."""
    return 8 * dim * (1 - TIE)


def axes_of(points: ArrayT, weights: ArrayT, size: ArrayT, precision_root: ArrayT) -> ArrayT:
    """Return the axes (B, D, D) of contexts in their frames, in columns. They whiten the points.

    Args:
        points: (B, N, D).
        weights: (B, N), not negative, of sum 1.
        size: (B,) effective sizes.
        precision_root: (B, D, D) symmetric root of the inverse covariance.
    """
    few, counts = take_landmarks(points, weights, size, SUBSET)
    few_size = counts.sum(-1)
    return precision_root @ independent_axes(few @ precision_root, counts / few_size[:, None], few_size)


def coordinates_along(
    axes: ArrayT, points: ArrayT, weights: ArrayT, size: ArrayT
) -> tuple[ArrayT, ArrayT, ArrayT]:
    """Return the coordinates of points (B, N, D) along axes (B, D, D), as B D samples of one dimension.

    Args:
        axes: from `axes_of`.
        points: (B, N, D).
        weights: (B, N), not negative, of sum 1.
        size: (B,) effective sizes.

    Returns:
        Values (B D, n, 1), with n at most SUBSET unless N is small, weights (B D, n) of sum 1, and effective
        sizes (B D,).
    """
    values = (points @ axes).mT.reshape(-1, points.shape[1], 1)
    repeated = weights[:, None] + 0 * values.reshape(len(axes), -1, points.shape[1])
    sizes = (size[:, None] + 0 * axes[:, 0]).reshape(-1)
    few, counts = take_landmarks(values, repeated.reshape(values.shape[:2]), sizes, SUBSET)
    return few, counts / counts.sum(-1)[:, None], sizes


def product_of(
    axes: ArrayT,
    frames: Frames[ArrayT],
    log_weights: ArrayT,
    means: ArrayT,
    scales: ArrayT,
    freedom: ArrayT,
) -> IndependentMixture[ArrayT]:
    """Collect the product from the mixtures of its coordinates, each in a frame of its own.

    Args:
        axes: (B, D, D).
        frames: of the coordinates, B D data sets of one dimension.
        log_weights: (B D, J), of the components of each coordinate in its frame.
        means: (B D, J, 1).
        scales: (B D, J, 1, 1).
        freedom: (B D, J).
    """
    xp, (batch, dim, _) = library(axes), axes.shape
    stretch = frames.linear[:, 0]  # (B D, 1)
    factors = stretch / xp.sqrt(scales[..., 0, 0])
    log_scale = log_weights + log_peak(factors[..., None, None], freedom)
    log_det = xp.linalg.slogdet(axes)[1]
    values = (log_scale, means[..., 0] / stretch + frames.center, factors, freedom)
    log_scale, means, factors, freedom = (value.reshape(batch, dim, -1) for value in values)
    return IndependentMixture(axes, log_scale + log_det[:, None, None] / dim, means, factors, freedom)


def no_product(axes: ArrayT) -> IndependentMixture[ArrayT]:
    """Return a placeholder for the product of data sets that have none, given any axes (B, D, D)."""
    one = library(axes).ones_like(axes[..., :1])  # (B, D, 1)
    return IndependentMixture(axes, 0 * one, 0 * one, one, one)


def evaluate_product(product: IndependentMixture[ArrayT], points: ArrayT) -> EvaluatedProduct[ArrayT]:
    """Evaluate the product at points (B, n, D)."""
    xp = library(points)
    log_scale, means, factors, freedom = (field[:, None] for field in product[1:])
    offset = factors * ((points @ product.axes)[..., None] - means)  # (B, n, D, J)
    square = offset * offset
    joint = log_scale - 0.5 * (freedom + 1) * xp.log1p(square / freedom)
    greatest = xp.amax(joint, -1)[..., None]
    share = xp.exp(joint - greatest)
    total = share.sum(-1)[..., None]
    slope = -(share / total * (freedom + 1) / (freedom + square) * offset * factors).sum(-1)
    log_density = (greatest + xp.log(total))[..., 0].sum(-1)
    return EvaluatedProduct(log_density, slope @ product.axes.mT)
