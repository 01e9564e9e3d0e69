"""The exported graphs: the network's own methods, as modules that take and give plain tensors.

`core` is the whole network; `encode` and `query` are the same computation split at the encoded context. Each
graph is a subclass of the network, so that its initialisers carry the parameters' names. Every axis but the
widths of the network is dynamic: B data sets, N context points, M queries, D dimensions, K components.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from discoformer.components import Components
from discoformer_export.attention import attend_scanned
from discoformer_training.attention import Attend, attend_plain
from discoformer_training.network import Context, DiScoFormer, Encoded, NetworkConfig


class Core(DiScoFormer):
    """Context and queries in the frame to log-density and score."""

    def forward(  # type: ignore[override]
        self,
        context: Tensor,
        queries: Tensor,
        log_weights: Tensor,
        precision_root: Tensor,
        log_det_precision: Tensor,
        effective_size: Tensor,
        component_log_scale: Tensor,
        component_means: Tensor,
        component_factors: Tensor,
        component_freedom: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `DiScoFormer.forward`; as encode then query, whose shapes are quicker to prove dynamic."""
        components = Components(component_log_scale, component_means, component_factors, component_freedom)
        encoded = self.encode(
            Context(context, log_weights, precision_root, log_det_precision, effective_size, *components)
        )
        return self.query(queries, encoded, log_weights, precision_root, components)


class Encode(DiScoFormer):
    """Context in the frame to what the queries need of it."""

    def forward(  # type: ignore[override]
        self,
        context: Tensor,
        log_weights: Tensor,
        precision_root: Tensor,
        log_det_precision: Tensor,
        effective_size: Tensor,
        component_log_scale: Tensor,
        component_means: Tensor,
        component_factors: Tensor,
        component_freedom: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `DiScoFormer.encode`."""
        components = Components(component_log_scale, component_means, component_factors, component_freedom)
        return self.encode(
            Context(context, log_weights, precision_root, log_det_precision, effective_size, *components)
        )


class Query(DiScoFormer):
    """Queries in the frame and an encoded context to log-density and score."""

    def forward(  # type: ignore[override]
        self,
        queries: Tensor,
        scalars: Tensor,
        vectors: Tensor,
        sample: Tensor,
        log_weights: Tensor,
        precision_root: Tensor,
        component_log_scale: Tensor,
        component_means: Tensor,
        component_factors: Tensor,
        component_freedom: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `DiScoFormer.query`."""
        components = Components(component_log_scale, component_means, component_factors, component_freedom)
        return self.query(queries, Encoded(scalars, vectors, sample), log_weights, precision_root, components)


@dataclass(frozen=True)
class Graph:
    """One exported file: its module, and the axes of its inputs and outputs by name (None: a fixed width)."""

    module: type[DiScoFormer]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attend: Attend = attend_plain
    with_shapes: bool = True  # of all values: quicker to open, but tract cannot read the names of their axes


AXES: dict[str, tuple[str | None, ...]] = {
    "data": ("B", "N", "D"),
    "data_log_weights": ("B", "N"),
    "context": ("B", "N", "D"),
    "queries": ("B", "M", "D"),
    "log_weights": ("B", "N"),
    "precision_root": ("B", "D", "D"),
    "log_det_precision": ("B",),
    "effective_size": ("B",),
    "component_log_scale": ("B", "K"),
    "component_means": ("B", "K", "D"),
    "component_factors": ("B", "K", "D", "D"),
    "component_freedom": ("B", "K"),
    "scalars": ("B", None, "N", None),
    "vectors": ("B", None, "N", "D", None),
    "sample": ("B", None),
    "center": ("B", "D"),
    "linear": ("B", "D", "D"),
    "log_abs_det": ("B",),
    "log_density": ("B", "M"),
    "score": ("B", "M", "D"),
}
COMPONENTS = tuple(f"component_{field}" for field in Components._fields)
CONTEXT = ("context", "log_weights", "precision_root", "log_det_precision", "effective_size", *COMPONENTS)
_STATES = ("scalars", "vectors", "sample")
_ANSWERS = ("log_density", "score")
GRAPHS = {
    "core": Graph(Core, ("context", "queries", *CONTEXT[1:]), _ANSWERS, with_shapes=False),
    "encode": Graph(Encode, CONTEXT, _STATES, attend_scanned),
    "query": Graph(Query, ("queries", *_STATES, "log_weights", "precision_root", *COMPONENTS), _ANSWERS),
}


def example_inputs(
    config: NetworkConfig, batch: int, n: int, m: int, dim: int, components: int, *, seed: int = 0
) -> dict[str, Tensor]:
    """Draw a value for every input of the graphs, shaped as AXES says, float32, as a frame gives them."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    root = torch.linalg.qr(normal(batch, dim, dim)).Q
    value = 1 + torch.rand(batch, dim, generator=generator)
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
        "scalars": normal(batch, config.blocks, n, config.scalars),
        "vectors": normal(batch, config.blocks, n, dim, config.channels),
        "sample": normal(batch, config.sample + 2),
    }
