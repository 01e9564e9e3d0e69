"""The proposal: the base that a mixture network makes of a context, for the heads to refine."""

import torch
from torch import Tensor

from discoformer.base.base import Base, halves, share_of_product
from discoformer.base.frame import Frames, fit_frames
from discoformer.base.independent import (
    LANDMARKS,
    IndependentMixture,
    axes_of,
    coordinates_along,
    enough,
    evaluate_product,
    no_product,
    product_of,
)
from discoformer.base.mixture import Components, log_peak
from discoformer_training.data.context import Context, context_in_frame
from discoformer_training.nn.mixture_network import Mixture, MixtureNetwork


class Proposal:
    """Makes bases, without gradients.

    Args:
        network: the mixture network.
    """

    def __init__(self, network: MixtureNetwork) -> None:
        self.network = network.requires_grad_(False).eval()

    @torch.no_grad()
    def __call__(self, points: Tensor, frame: Frames[Tensor], context: Context) -> Base[Tensor]:
        """Return the base, in float32.

        Args:
            points: all points of the contexts (B, N, D), in their frames, float64, of weight 1.
            frame: their frames.
            context: what the network reads of them.
        """
        components = components_of(self.network.mixture(context))
        size, dim = frame.effective_size, points.shape[-1]
        if dim == 1 or float(size.min()) < enough(dim):
            product, share = no_product(frame.precision_root), 0 * size
        else:
            product, share = self._product_of(points, frame), self._share_of(points, size)
        return Base(components, product, share).each(Tensor.float)

    def _product_of(self, points: Tensor, frame: Frames[Tensor]) -> IndependentMixture[Tensor]:
        """Return the product of points (B, N, D); `frame` has their second moments and sizes."""
        weights = torch.full_like(points[..., 0], 1 / points.shape[1])
        axes = axes_of(points, weights, frame.effective_size, frame.precision_root)
        values, _, sizes = coordinates_along(axes, points, weights, frame.effective_size)
        frames = fit_frames(values, effective_size=sizes)
        mixture = self.network.mixture(context_in_frame(values, frames, LANDMARKS))
        return product_of(axes, frames, *(field.double() for field in mixture))

    def _share_of(self, points: Tensor, size: Tensor) -> Tensor:
        """Return the share (B,) of the product: both densities are made from half of the points."""
        weights = torch.full_like(points[..., 0], 1 / points.shape[1])
        seen, held_out = halves(points, weights, size)
        frame = fit_frames(seen)
        asked = frame.to_frame(held_out)
        mixture = self.network.mixture(context_in_frame(seen, frame))
        product = self._product_of(frame.to_frame(seen), frame)
        log_mixture, _ = mixture.log_density_and_score(asked.float())
        return share_of_product(log_mixture.double(), evaluate_product(product, asked).log_density)


def components_of(mixture: Mixture) -> Components[Tensor]:
    """Return the components of mixtures, float64."""
    log_weights, means, scales, freedom = (field.double() for field in mixture)
    root = torch.linalg.cholesky(scales)
    identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device).expand_as(root)
    factors = torch.linalg.solve_triangular(root, identity, upper=False)
    return Components(log_weights + log_peak(factors, freedom), means, factors, freedom)
