"""Saddles between the modes of a log-density, and the prominence of the modes, which follows from them.

The prominence of a mode is the height that must be lost on the way to a higher mode: ``T`` at the mode minus
``T`` at the highest saddle, in nats. It is infinite for the highest mode. It equals the persistence of the
mode among the superlevel sets of ``T`` (Chazal, Guibas, Oudot and Skraba, J. ACM 60, 41, 2013).

The search for a saddle begins with the segment between two modes. A few times, the nodes of this path climb
at right angles to it and are then spaced evenly again (the string method: E, Ren and Vanden-Eijnden, J. Chem.
Phys. 126, 164103, 2007). The lowest point of any path is no higher than the saddle, so the higher result of
the segment and the bent path is used.

Shapes: K modes, P pairs of modes, L nodes of a path, D dimensions. Frame coordinates, float64.
"""

import numpy as np

from discoformer.analysis.ascent import TINY, Climb, Ints
from discoformer.io.inputs import Floats

NEAREST = 6  # nearest modes that each mode is paired with, besides the pairs of the spanning tree
NODES = 13  # nodes of a path while it is bent
BENDS = 8  # times that a path is bent
FINE = 4  # factor of the number of nodes at which its lowest point is sought


def pairs_of(peaks: Floats) -> Ints:
    """Return pairs (P, 2) of near modes (K, D), to seek saddles between; they form a connected graph."""
    distances = np.square(peaks[:, None] - peaks).sum(-1)
    np.fill_diagonal(distances, np.inf)
    pairs = {(min(i, j), max(i, j)) for i, j in _spanning_tree(distances)}
    for i, nearest in enumerate(distances.argsort(axis=1)[:, : min(NEAREST, len(peaks) - 1)]):
        pairs |= {(min(i, j), max(i, j)) for j in nearest.tolist()}
    return np.array(sorted(pairs), np.intp).reshape(-1, 2)


def saddle_heights(climb: Climb, peaks: Floats, pairs: Ints) -> Floats:
    """Return the log-density (P,) of the saddle between each pair of modes."""
    if not len(pairs):
        return np.empty(0)
    path = _evenly(peaks[pairs], NODES)
    heights = _lowest(climb, path)
    for _ in range(BENDS):
        step = climb(path[:, 1:-1].reshape(-1, path.shape[2])).step.reshape(len(path), NODES - 2, -1)
        along = path[:, 2:] - path[:, :-2]
        along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), TINY)
        path[:, 1:-1] += step - (step * along).sum(2, keepdims=True) * along
        path = _evenly(path, NODES)
    return np.maximum(heights, _lowest(climb, path))


def prominences(heights: Floats, pairs: Ints, saddles: Floats) -> tuple[Floats, Ints]:
    """Return the prominence of each mode, and the higher mode behind its highest saddle.

    Args:
        heights: Log-density (K,) of the modes.
        pairs: Pairs (P, 2) of modes, which connect all modes.
        saddles: Log-density (P,) of the saddle between each pair.

    Returns:
        Prominences (K,), and the index (K,) of the mode behind each; for the highest mode its own.
    """
    lost, behind, top = np.full(len(heights), np.inf), np.arange(len(heights)), np.arange(len(heights))
    for index in np.argsort(-saddles, kind="stable"):
        one, other = top[pairs[index]]  # the highest modes that each side reaches by higher saddles
        if one == other:
            continue
        low, high = sorted((one, other), key=lambda mode: (heights[mode], -mode))
        lost[low], behind[low] = max(0.0, heights[low] - saddles[index]), high
        top[top == low] = high
    return lost, behind


def _spanning_tree(distances: Floats) -> list[tuple[int, int]]:
    """Return the pairs of a minimum spanning tree (Prim)."""
    nearest, gap = np.zeros(len(distances), np.intp), distances[0].copy()
    tree = []
    for _ in range(len(distances) - 1):
        j = int(gap.argmin())
        tree.append((int(nearest[j]), j))
        closer = (distances[j] < gap) & (gap < np.inf)
        nearest[closer], gap[closer] = j, distances[j, closer]
        gap[j] = np.inf
    return tree


def _evenly(path: Floats, nodes: int) -> Floats:
    """Return paths (P, nodes, D) along the given ones (P, L, D), with evenly spaced nodes."""
    lengths = np.linalg.norm(np.diff(path, axis=1), axis=2)
    gone = np.concatenate([np.zeros((len(path), 1)), np.cumsum(lengths, axis=1)], axis=1)  # (P, L)
    wanted = gone[:, -1:] * np.linspace(0, 1, nodes)
    before = np.clip((gone[:, None, :] <= wanted[..., None]).sum(2) - 1, 0, path.shape[1] - 2)
    rows = np.arange(len(path))[:, None]
    span = np.maximum(lengths[rows, before], TINY)
    share = ((wanted - gone[rows, before]) / span)[..., None]
    found: Floats = path[rows, before] + share * (path[rows, before + 1] - path[rows, before])
    return found


def _lowest(climb: Climb, path: Floats) -> Floats:
    """Return the lowest log-density (P,) along paths, at many nodes."""
    fine = _evenly(path, FINE * NODES)
    lowest: Floats = climb(fine.reshape(-1, path.shape[2])).log_density.reshape(len(path), -1).min(axis=1)
    return lowest
