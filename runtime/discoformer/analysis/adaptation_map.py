"""The last linear map of the heads, the one thing that adaptation changes, in the files of a model.

A change x (n,) of the map holds its entries for the score, (E + 1)(C + 1) of them, and then the E + 1 entries
for the log-density (see ``adaptation_losses``). Adaptation begins along a basis (n, r) that lies in the
model's folder.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from discoformer.analysis.torch_network import weights_of
from discoformer.errors import ModelError, ModelNotFoundError
from discoformer.io.inputs import Floats
from discoformer.onnx.graphs import Graphs
from discoformer.onnx.weights import BASIS, read_weights_file, replaced

MAP = "heads.linear"  # the parameters that change: its .weight and .bias
_SCORE_ROWS = 2  # first row of the map that belongs to the score; row 0 belongs to the log-density


def basis_of(graphs: Graphs) -> Floats:
    """Return the basis (n, r) along which the first move goes.

    Raises:
        ModelError: The basis in the model's folder, or the weights, do not belong to the model.
        ModelNotFoundError: The model's folder holds no basis, or no weights.
    """
    entries = _entries(read_weights_file(weights_of(graphs)))
    path = graphs.folder / BASIS
    try:
        basis = read_weights_file(graphs.source.read(BASIS), path).get("basis", np.empty(0)).astype(float)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"no {BASIS} in {graphs.folder}, which adaptation needs: take the whole folder from its source, "
            "or run discoformer-train basis on the checkpoint and export it again"
        ) from error
    if basis.ndim != 2 or len(basis) != entries or not np.isfinite(basis).all():
        raise ModelError(
            f"{path} has a basis of shape {basis.shape}, needed finite numbers of shape ({entries}, r): take "
            "the whole folder from its source again"
        )
    return basis


def moved(weights: bytes, change: Floats) -> bytes:
    """Return a safetensors file of weights with a change (n,) of the map added."""
    old = read_weights_file(weights)
    matrix, bias = (np.array(old[f"{MAP}.{name}"], float) for name in ("weight", "bias"))
    channels = len(bias) - _SCORE_ROWS
    score, log_density = np.split(change, [channels * (matrix.shape[1] + 1)])
    added = np.zeros((len(bias), matrix.shape[1] + 1))
    added[0], added[_SCORE_ROWS:] = log_density, score.reshape(-1, channels).T
    return replaced(weights, {f"{MAP}.weight": matrix + added[:, :-1], f"{MAP}.bias": bias + added[:, -1]})


def _entries(parameters: Mapping[str, Any]) -> int:
    """Return the number n of entries of the map that change."""
    channels, columns = parameters[f"{MAP}.weight"].shape
    return int((channels - _SCORE_ROWS + 1) * (columns + 1))
