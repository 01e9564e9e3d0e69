"""Landmarks: few points that stand for many, where the many would cost too much.

They are evenly spaced in the ranks of ``|z|`` in the frame, so neither the order of the points nor an affine
map of the data changes which ones are taken. One code for NumPy arrays and PyTorch tensors.

Shapes: B data sets, N points, D dimensions.
"""

from discoformer.base.arrays import Array, choose, index_range, library, take_rows, with_rows


def take_landmarks(points: Array, weights: Array, size: Array, most: int) -> tuple[Array, Array]:
    """Takes landmarks of the data sets whose points are worth more than ``most``, else all points.

    Rows are not what counts, since a point may be repeated, but there are at most ``4 most`` of them.

    Args:
        points: (B, N, D) in the frame.
        weights: (B, N), not negative, of sum 1; 0 where a point is absent.
        size: (B,) effective sizes.
        most: How many landmarks.

    Returns:
        Points (B, n, D), and what each counts for (B, n), in points: the sum is the size, ``most`` at most.
    """
    xp = library(points)
    all_points = points, weights * size[:, None]
    many = (size > most) | ((weights > 0).sum(-1) > 4 * most)  # (B,)
    if not many.any():
        return all_points
    order = xp.argsort((points * points).sum(-1), stable=True)
    mass = xp.cumsum(take_rows(weights, order), 1)
    wanted = (index_range(most, weights) + 0.5) / most - 1e-12
    picked = xp.stack([xp.searchsorted(row, wanted) for row in mass])
    counts = xp.minimum(size, xp.full_like(size, most))[:, None] / most + 0 * wanted
    landmarks = take_rows(points, take_rows(order, picked)), counts
    if many.all():
        return landmarks
    rows = max(points.shape[1], most)
    few, few_counts = (
        choose(many, with_rows(few, rows), with_rows(all_, rows))
        for few, all_ in zip(landmarks, all_points, strict=True)
    )
    return few, few_counts
