"""The exported graphs: methods of the network, as modules that take tensors by name.

`encode` and `query` split the network at the encoded context. Each graph is a subclass of the network, so its
initialisers have the names of the parameters. All axes are dynamic except the widths of the network: B data
sets, N context points, M queries, D dimensions, K components, J components of each coordinate of the product.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from discoformer.base.base import BASE, Base
from discoformer.onnx.names import ANSWERS, CONTEXT, STATES
from discoformer_training.data.context import Context
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.network import DiScoFormer, Encoded


class Encode(DiScoFormer):
    """The first part: a context in the frame to its encoding."""

    def forward(self, given: Mapping[str, Tensor]) -> Encoded:  # type: ignore[override]
        """See `DiScoFormer.encode`."""
        return self.encode(Context.from_inputs(given))


class Query(DiScoFormer):
    """The second part: queries in the frame and an encoded context to log-density and score."""

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """See `DiScoFormer.query`."""
        encoded = Encoded(*(given[name] for name in STATES))
        base = Base.from_inputs(given)
        return self.query(given["queries"], encoded, given["log_weights"], given["precision_root"], base)


@dataclass(frozen=True)
class Graph:
    """One exported file: its module, and the names of its inputs and outputs, whose axes are in AXES."""

    module: type[DiScoFormer]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


AXES: dict[str, tuple[str | None, ...]] = {  # None: a width of the network
    "context": ("B", "N", "D"),
    "queries": ("B", "M", "D"),
    "log_weights": ("B", "N"),
    "precision_root": ("B", "D", "D"),
    "log_det_precision": ("B",),
    "effective_size": ("B",),
    "all_points": ("B", "A", "D"),
    "all_log_weights": ("B", "A"),
    "component_log_scale": ("B", "K"),
    "component_means": ("B", "K", "D"),
    "component_factors": ("B", "K", "D", "D"),
    "component_freedom": ("B", "K"),
    "product_axes": ("B", "D", "D"),
    "product_log_scale": ("B", "D", "J"),
    "product_means": ("B", "D", "J"),
    "product_factors": ("B", "D", "J"),
    "product_freedom": ("B", "D", "J"),
    "product_share": ("B",),
    "scalars": ("B", None, "N", None),
    "vectors": ("B", None, "N", "D", None),
    "sample": ("B", None),
    "center": ("B", "D"),
    "linear": ("B", "D", "D"),
    "inverse": ("B", "D", "D"),
    "log_abs_det": ("B",),
    "mixture_log_weights": ("B", "K"),
    "mixture_means": ("B", "K", "D"),
    "mixture_scales": ("B", "K", "D", "D"),
    "mixture_freedom": ("B", "K"),
    "framed_mixture_log_weights": ("B", "K"),
    "framed_mixture_means": ("B", "K", "D"),
    "framed_mixture_scales": ("B", "K", "D", "D"),
    "framed_mixture_freedom": ("B", "K"),
    "log_density": ("B", "M"),
    "score": ("B", "M", "D"),
}
GRAPHS = {
    "encode": Graph(Encode, CONTEXT, STATES),
    "query": Graph(Query, ("queries", *STATES, "log_weights", "precision_root", *BASE), ANSWERS),
}


def example_inputs(
    config: NetworkConfig,
    batch: int,
    n: int,
    m: int,
    dim: int,
    components: int,
    per_coordinate: int,
    *,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Draw a value (float32) for every input of the graphs, with the shape that AXES gives."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    root = torch.linalg.qr(normal(batch, dim, dim)).Q
    value = 1 + torch.rand(batch, dim, generator=generator)
    coordinates = batch, dim, per_coordinate
    return {
        "context": normal(batch, n, dim),
        "queries": 1.5 * normal(batch, m, dim),
        "log_weights": 0.3 * normal(batch, n),
        "precision_root": root * value.rsqrt()[:, None] @ root.mT,
        "log_det_precision": -value.log().sum(-1),
        "effective_size": torch.full((batch,), float(n)),
        "component_log_scale": normal(batch, components),
        "component_means": normal(batch, components, dim),
        "component_factors": torch.eye(dim) + 0.3 * normal(batch, components, dim, dim).tril() / dim**0.5,
        "component_freedom": 5 + 100 * torch.rand(batch, components, generator=generator),
        "product_axes": root + 0.1 * normal(batch, dim, dim) / dim**0.5,
        "product_log_scale": normal(*coordinates) - 1,
        "product_means": normal(*coordinates),
        "product_factors": 1 + 0.3 * torch.rand(coordinates, generator=generator),
        "product_freedom": 5 + 100 * torch.rand(coordinates, generator=generator),
        "product_share": torch.rand(batch, generator=generator),
        "scalars": normal(batch, config.blocks, n, config.scalars),
        "vectors": normal(batch, config.blocks, n, dim, config.channels),
        "sample": normal(batch, config.sample + 2),
        "all_points": normal(batch, n + 6, dim),
        "all_log_weights": 0.3 * normal(batch, n + 6),
    }
