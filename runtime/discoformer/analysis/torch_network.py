"""The network of a model in PyTorch, for adaptation and for speed comparisons.

This is the only module of the runtime that imports ``discoformer_training``. It does so only when its
functions are called, and needs the extra ``[adapt]``.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from discoformer.analysis.adaptation_losses import Read
from discoformer.base.arrays import ArrayT, moved_to
from discoformer.base.base import Base
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer.base.tails import across, answer_base, continued, radius_of, stretch_of
from discoformer.errors import ModelError, ModelNotFoundError, require
from discoformer.io.inputs import Floats
from discoformer.onnx.graphs import Encoded, Graphs
from discoformer.onnx.names import STATES
from discoformer.onnx.sessions import Float32s
from discoformer.onnx.weights import FILE, read_weights_file


def weights_of(graphs: Graphs) -> bytes:
    """Return the safetensors file with the weights of a model.

    Raises:
        ModelError: The weights in the file are not those of the graphs.
        ModelNotFoundError: The model's folder holds no weights.
    """
    if graphs.weights is not None:
        return graphs.weights
    path = graphs.folder / FILE
    try:
        weights = graphs.source.read(FILE)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"no {FILE} in {graphs.folder}, which adaptation needs: take the whole folder from its source"
        ) from error
    found, wanted = hashlib.sha256(weights).hexdigest(), graphs.metadata.weights_sha256
    if found != wanted:
        raise ModelError(
            f"the weights in {path} (SHA-256 {found[:12]}) are not those of the graphs in the same folder "
            f"({wanted[:12]}): take the whole folder from its source again"
        )
    return weights


def network_of(graphs: Graphs) -> Any:
    """Build the network of a model, a ``discoformer_training.nn.network.DiScoFormer``.

    Raises:
        MissingExtraError: PyTorch is not installed.
        ModelError: The weights do not fit the graphs.
        ModelNotFoundError: The model's folder holds no weights.
    """
    require("torch")
    from discoformer_training.nn import readout

    path, weights = graphs.folder / FILE, weights_of(graphs)
    try:
        return readout.network_of(read_weights_file(weights, path), graphs.metadata.config)
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"the weights in {path} do not fit the graphs in the same folder: {error}: take the whole folder "
            "from its source again"
        ) from error


def read(network: Any, encoded: Mapping[str, Float32s], queries: Floats) -> Read:
    """Answer queries in the frame, and return the inputs of the last linear map of the heads there.

    Beyond the outermost context point, these are the inputs at the edge, as the tail depends on them (see
    ``base.tails``); that the ratio c changes with the map is left out.

    Args:
        network: The network.
        encoded: Inputs and outputs of the encode graph for one sample, by name.
        queries: Points (M, D) in the frame.
    """
    from discoformer_training.nn import readout

    radius = radius_of(encoded["context"][0])
    stretch = stretch_of(queries, radius)
    edge = queries / stretch[:, None]
    found = readout.read(network, encoded, edge)
    far = stretch > 1
    if far.any():
        base = Base.from_inputs(encoded).each(lambda array: array.astype(float))
        tail = partial(answer_base, base, MixtureAnswers(base.components))
        at = edge[far], stretch[far]
        found.log_density[far], found.score[far] = continued(
            tail, *at, found.log_density[far], found.score[far]
        )
        found.vectors[far] = across(found.vectors[far], edge[far]) / stretch[far, None, None]
    return found


class EagerGraphs(Graphs):
    """The network of a model in PyTorch, with the interface of its graphs."""

    def __init__(self, graphs: Graphs, threads: int) -> None:
        vars(self).update(vars(graphs) | {"placement": graphs.placement._replace(device="cpu")})
        self._network = network_of(graphs)
        self._torch = require("torch")
        self._torch.set_num_threads(threads)

    def encode(self, given: Mapping[str, Float32s]) -> dict[str, Float32s]:
        """Encode contexts; see ``Graphs.encode``."""
        with self._torch.no_grad():
            states = self._network.encode(self._context(given))
        return {name: state.numpy() for name, state in zip(STATES, states, strict=True)}

    def query(self, queries: ArrayT, encoded: Encoded) -> tuple[ArrayT, ArrayT]:
        """Answer one chunk of queries; see ``Graphs.query``."""
        from discoformer_training.nn.network import Encoded as States

        context = self._context(encoded.arrays)
        states = States(*(self._torch.as_tensor(encoded.arrays[name]) for name in STATES))
        with self._torch.no_grad():
            log_density, score = self._network.query(
                self._torch.as_tensor(queries[None]).float(),
                states,
                context.log_weights,
                context.precision_root,
                context.base,
            )
        found = (moved_to(answer[0].double().numpy(), queries) for answer in (log_density, score))
        return next(found), next(found)

    def _context(self, arrays: Mapping[str, Float32s]) -> Any:
        from discoformer_training.data.context import Context

        return Context.from_inputs({name: self._torch.as_tensor(array) for name, array in arrays.items()})
