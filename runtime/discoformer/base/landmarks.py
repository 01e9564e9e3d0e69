"""Landmarks: a few points that represent many, to limit the cost.

They are evenly spaced in the ranks of ``|z|`` in the frame. So neither the order of the points nor an affine
map of the data changes which points are taken. The functions take NumPy arrays and PyTorch tensors.

Shapes: B data sets, N points, D dimensions.
"""

from discoformer.base.arrays import ArrayT, Indices, choose, index_range, library, take_rows, with_rows

ROUNDING = 1e-12  # tolerance of cumulative weights and of sizes


def evenly_spaced(radius: ArrayT, weights: ArrayT, count: int) -> ArrayT:
    """Return indices (B, count), evenly spaced in the weighted ranks of the radius (B, N)."""
    xp = library(radius)
    order = xp.argsort(radius, stable=True)
    mass = xp.cumsum(take_rows(weights, order), 1)
    wanted = ranks(index_range(count, weights), count)
    picked = xp.stack([xp.searchsorted(row, wanted) for row in mass])
    return take_rows(order, picked)


def ranks(place: ArrayT, count: ArrayT | int) -> ArrayT:
    """Return the weighted ranks, between 0 and 1, of landmarks at places 0 to count - 1."""
    return (place + 0.5) / count - ROUNDING


def too_many(weights: ArrayT, size: ArrayT, most: int) -> Indices:
    """Return which data sets (B,) have so many points, of weights (B, N), that few stand for them.

    Repeated points count once as long as memory allows: the effective sizes (B,) decide.
    """
    return (size > most) | ((weights > 0).sum(-1) > 4 * most)


def take_landmarks(points: ArrayT, weights: ArrayT, size: ArrayT, most: int) -> tuple[ArrayT, ArrayT]:
    """Take landmarks from data sets of effective size above ``most``, and all points from the others.

    A point may be repeated, so the number of rows does not decide. But landmarks are also taken from data
    sets with more than ``4 most`` rows.

    Args:
        points: (B, N, D) in the frame.
        weights: (B, N), not negative, of sum 1; 0 where a point is absent.
        size: (B,) effective sizes.
        most: Number of landmarks.

    Returns:
        Points (B, n, D) and their counts (B, n). A count is the number of points that a landmark represents.
        Counts sum to the effective size, or to ``most`` where that is less.
    """
    xp = library(points)
    all_points = points, weights * size[:, None]
    many = too_many(weights, size, most)
    if not many.any():
        return all_points
    picked = evenly_spaced((points * points).sum(-1), weights, most)
    counts = xp.clip(size, None, most)[:, None] / most + 0 * index_range(most, weights)
    landmarks = take_rows(points, picked), counts
    if many.all():
        return landmarks
    rows = max(points.shape[1], most)
    few, few_counts = (
        choose(many, with_rows(few, rows), with_rows(all_, rows))
        for few, all_ in zip(landmarks, all_points, strict=True)
    )
    return few, few_counts
