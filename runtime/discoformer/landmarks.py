"""Landmarks: few points that stand for many, where the many would cost too much.

They are evenly spaced in the ranks of ``|z|`` in the frame, so neither the order of the points nor an affine
map of the data changes which ones are taken. One code for NumPy arrays and PyTorch tensors.

Shapes: B data sets, N points, D dimensions.
"""

from discoformer.arrays import Array, index_range, library, take_rows


def take_landmarks(points: Array, weights: Array, size: Array, most: int) -> tuple[Array, Array]:
    """Takes landmarks where the points are worth more than ``most``, else all of them.

    Rows are not what counts, since a point may be repeated, but there are at most ``4 most`` of them.

    Args:
        points: (B, N, D) in the frame.
        weights: (B, N), not negative, of sum 1.
        size: (B,) effective sizes.
        most: How many landmarks.

    Returns:
        Points (B, n, D), and what each counts for (B, n), in points: the sum is the size, ``most`` at most.
    """
    xp = library(points)
    if float(size.max()) <= most and points.shape[1] <= 4 * most:
        return points, weights * size[:, None]
    order = xp.argsort((points * points).sum(-1), stable=True)
    mass = xp.cumsum(take_rows(weights, order), 1)
    wanted = (index_range(most, weights) + 0.5) / most - 1e-12
    picked = xp.stack([xp.searchsorted(row, wanted) for row in mass])
    counts = xp.minimum(size, xp.full_like(size, most))[:, None] / most
    return take_rows(points, take_rows(order, picked)), counts + 0 * wanted
