"""Passes between the modes of a log-density, and how prominent these so are.

The prominence of a mode is the height that must be lost on the way to a higher one: ``T`` at the mode minus
``T`` at the highest pass, in nats; infinite for the highest mode. It is the persistence of the mode among the
superlevel sets of ``T`` (Chazal, Guibas, Oudot and Skraba, J. ACM 60, 41, 2013).

A pass is sought from the segment between two modes. Its nodes climb, but for their motion along the path,
and are spread evenly again, a few times (the string method: E, Ren and Vanden-Eijnden, J. Chem. Phys. 126,
164103, 2007). The lowest point of any path is no higher than the pass, so the higher of segment and bent path
counts.

Shapes: K modes, P pairs of them, L nodes of a path, D dimensions. Frame coordinates, float64.
"""

import numpy as np

from discoformer.analysis.ascent import TINY, Climb, Ints
from discoformer.io.inputs import Floats

NEAREST = 6  # modes that passes are sought to from each, beside those that connect all
NODES = 13  # of a path that is bent
BENDS = 8  # times
FINE = 4  # times as many nodes in its last evaluation


def pairs_of(peaks: Floats) -> Ints:
    """Pairs (P, 2) of modes (K, D) that passes are sought between: a connected graph of near ones."""
    distances = np.square(peaks[:, None] - peaks).sum(-1)
    np.fill_diagonal(distances, np.inf)
    pairs = {(min(i, j), max(i, j)) for i, j in _spanning_tree(distances)}
    for i, nearest in enumerate(distances.argsort(axis=1)[:, : min(NEAREST, len(peaks) - 1)]):
        pairs |= {(min(i, j), max(i, j)) for j in nearest.tolist()}
    return np.array(sorted(pairs), np.intp).reshape(-1, 2)


def pass_heights(climb: Climb, peaks: Floats, pairs: Ints) -> Floats:
    """The log-density (P,) of the pass between each pair of modes."""
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


def prominences(heights: Floats, pairs: Ints, passes: Floats) -> tuple[Floats, Ints]:
    """How prominent modes are, and which higher mode is behind the pass of each.

    Args:
        heights: Log-density (K,) of the modes.
        pairs: Pairs (P, 2) of modes that have a pass, which connect all.
        passes: Log-density (P,) of these.

    Returns:
        Prominences (K,), and modes (K,); behind the highest is itself.
    """
    lost, behind, top = np.full(len(heights), np.inf), np.arange(len(heights)), np.arange(len(heights))
    for index in np.argsort(-passes, kind="stable"):
        one, other = top[pairs[index]]  # the highest mode on either side, once the passes above are open
        if one == other:
            continue
        low, high = sorted((one, other), key=lambda mode: (heights[mode], -mode))
        lost[low], behind[low] = max(0.0, heights[low] - passes[index]), high
        top[top == low] = high
    return lost, behind


def _spanning_tree(distances: Floats) -> list[tuple[int, int]]:
    """Pairs that connect all by the shortest distances (Prim)."""
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
    """Paths (P, L, D) with so many nodes, evenly spaced along them."""
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
    """The lowest log-density (P,) along paths, at many nodes."""
    fine = _evenly(path, FINE * NODES)
    lowest: Floats = climb(fine.reshape(-1, path.shape[2])).log_density.reshape(len(path), -1).min(axis=1)
    return lowest
