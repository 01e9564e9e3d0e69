"""The exported graph of the mixture network: a context in the frame to a mixture, without loops."""

from collections.abc import Mapping

from torch import Tensor

from discoformer_export.graphs.attention import attend_by_head
from discoformer_export.graphs.newton_schulz import inverse_and_log_det
from discoformer_training.data.context import Context
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.mixture_network import Invert, MixtureNetwork

SCALE_CONDITION = 1e7  # greatest condition number of a scale matrix


class MixtureGraph(MixtureNetwork):
    """The mixture network, as a module that takes tensors by name and can be traced.

    Args:
        config: sizes and constants.
        invert: implementation of inverses and log-determinants.
    """

    def __init__(self, config: NetworkConfig, invert: Invert) -> None:
        super().__init__(config, attend_by_head, invert)

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:  # type: ignore[override]
        """See `MixtureNetwork.mixture`. The inputs are FRAMED and WHOLE, the outputs MIXTURE."""
        return self.mixture(
            Context(
                points=given["context"],
                log_weights=given["log_weights"],
                precision_root=given["precision_root"],
                log_det_precision=given["log_det_precision"],
                effective_size=given["effective_size"],
                all_points=given["all_points"],
                all_log_weights=given["all_log_weights"],
            )
        )


def by_products(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return inverses and log-determinants of scale matrices, by float64 products: any runtime has these."""
    inverse, log_det = inverse_and_log_det(matrices.double(), SCALE_CONDITION)
    return inverse.to(matrices), log_det.to(matrices)
