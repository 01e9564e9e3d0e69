"""The exported graphs: the network's own methods, as modules that take and give plain tensors.

`core` is the whole network; `encode` and `query` are the same computation split at the encoded context. Each
graph is a subclass of the network, so that its initialisers carry the parameters' names. Every axis but the
widths of the network is dynamic: B data sets, N context points, M queries, D dimensions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

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
    ) -> tuple[Tensor, Tensor]:
        """See `DiScoFormer.forward`; as encode then query, whose shapes are quicker to prove dynamic."""
        encoded = self.encode(
            Context(context, log_weights, precision_root, log_det_precision, effective_size)
        )
        return self.query(queries, encoded, log_weights, precision_root, log_det_precision)


class Encode(DiScoFormer):
    """Context in the frame to what the queries need of it."""

    def forward(  # type: ignore[override]
        self,
        context: Tensor,
        log_weights: Tensor,
        precision_root: Tensor,
        log_det_precision: Tensor,
        effective_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `DiScoFormer.encode`."""
        return self.encode(Context(context, log_weights, precision_root, log_det_precision, effective_size))


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
        log_det_precision: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `DiScoFormer.query`."""
        encoded = Encoded(scalars, vectors, sample)
        return self.query(queries, encoded, log_weights, precision_root, log_det_precision)


@dataclass(frozen=True)
class Graph:
    """One exported file: its module, and the axes of its inputs and outputs by name (None: a fixed width)."""

    module: type[DiScoFormer]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


AXES: dict[str, tuple[str | None, ...]] = {
    "context": ("B", "N", "D"),
    "queries": ("B", "M", "D"),
    "log_weights": ("B", "N"),
    "precision_root": ("B", "D", "D"),
    "log_det_precision": ("B",),
    "effective_size": ("B",),
    "scalars": ("B", None, "N", None),
    "vectors": ("B", None, "N", None, "D"),
    "sample": ("B", None),
    "log_density": ("B", "M"),
    "score": ("B", "M", "D"),
}
_KNOWN = ("log_weights", "precision_root", "log_det_precision")
_STATES = ("scalars", "vectors", "sample")
_ANSWERS = ("log_density", "score")
GRAPHS = {
    "core": Graph(Core, ("context", "queries", *_KNOWN, "effective_size"), _ANSWERS),
    "encode": Graph(Encode, ("context", *_KNOWN, "effective_size"), _STATES),
    "query": Graph(Query, ("queries", *_STATES, *_KNOWN), _ANSWERS),
}


def example_inputs(
    config: NetworkConfig, batch: int, n: int, m: int, dim: int, *, seed: int = 0
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
        "scalars": normal(batch, config.blocks, n, config.scalars),
        "vectors": normal(batch, config.blocks, n, config.channels, dim),
        "sample": normal(batch, config.sample + 2),
    }
