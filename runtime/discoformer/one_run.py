"""One run of one graph, ``discoformer.onnx``: a sample and queries in, answers out, on one device.

Shapes: N points, M queries, D dimensions. Data units, float64.
"""

from typing import Any

from discoformer.base.arrays import ArrayT, all_finite, as_doubles, as_type, library, moved_to
from discoformer.base.tensors import read_tensor
from discoformer.errors import DegenerateDataError, InputError, RangeWarning, warn_caller
from discoformer.io.inputs import read_matrix, read_weights
from discoformer.io.tensors import check_device, is_tensor, refuse_gradients
from discoformer.onnx.graphs import Graphs

_NONE = -1e30  # log-weight of a point that is absent


def answer_raw(graphs: Graphs, X: Any, Y: Any, weights: Any) -> tuple[Any, Any]:
    """Read a sample and answer queries by one graph; see ``Model.log_density_and_score``."""
    points, _ = _read("X", X, graphs.device)
    at, width = _read("Y", Y, graphs.device)
    xp = library(points)
    if library(at) is not xp or at.shape[1] != points.shape[1]:
        raise InputError(
            f"Y must be of the kind of X and have {points.shape[1]} columns, got {type(Y).__name__} of shape "
            f"{tuple(at.shape)} and X of {type(X).__name__}"
        )
    for text in graphs.raw.metadata.out_of_range(*points.shape):
        warn_caller(text, RangeWarning)
    w = xp.ones_like(points[:, 0]) if weights is None else _read_weights(weights, points)
    log_weights = xp.where(w > 0, xp.log(xp.where(w > 0, w, 1)), _NONE)
    log_density, score = graphs.answer_raw(points, at, log_weights)
    if not (all_finite(log_density) and all_finite(score)):
        raise DegenerateDataError(
            "X has no density up to rounding (a column is constant, columns are collinear, or a row is very "
            "far out), or Y is too far away: discoformer.estimate(X) says which"
        )
    return as_type(log_density, width), as_type(score, width)


def _read(name: str, data: Any, device: str) -> tuple[Any, str]:
    """Return points (rows, D) in float64, and the width of answers to them."""
    if is_tensor(data):
        check_device(name, data, device)
        return read_tensor(name, data)
    matrix = read_matrix(name, data)
    return matrix.values, matrix.width.name


def _read_weights(weights: Any, points: ArrayT) -> ArrayT:
    """Return weights (N,) of points (N, D), of the same kind."""
    if not (is_tensor(weights) and is_tensor(points)):
        return moved_to(read_weights(weights, len(points)), points)
    refuse_gradients("weights", weights)
    w = as_doubles(weights)
    if tuple(w.shape) != (len(points),) or not (all_finite(w) and (w >= 0).all() and w.any()):
        raise InputError(
            f"weights must be finite, not negative, not all zero, and of shape ({len(points)},), got a "
            f"tensor of shape {tuple(w.shape)}"
        )
    return w
