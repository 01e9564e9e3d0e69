"""Rows by index, order and ranks, in operators that every runtime has: no loops, no GatherElements.

Shapes: B data sets, N points, k indices of each.
"""

import torch
from torch import Tensor

from discoformer.base.landmarks import ranks


def take(array: Tensor, index: Tensor) -> Tensor:
    """Return rows (B, ..., *) of array (B, N, *) by index (B, ...)."""
    sets = torch.arange(array.shape[0])
    return array[sets[(..., *[None] * (index.ndim - 1))], index]


def ascending(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values (B, N) in ascending order, and their indices. Ties keep their order."""
    ordered, order = values.topk(values.shape[1], largest=False)
    return ordered, order


def present_first(w: Tensor) -> Tensor:
    """Return the indices (B, N) of the points of positive weight, in their order, and then the others."""
    return ascending(torch.where(w > 0, torch.arange(w.shape[1], dtype=w.dtype), 1e30))[1]


def evenly_spaced(order: Tensor, w: Tensor, count: int) -> Tensor:
    """Return indices (B, count), evenly spaced in weighted ranks.

    Args:
        order: indices (B, N) of the points in ascending order.
        w: their weights (B, N), of sum 1.
        count: number of indices.
    """
    mass = take(w, order).cumsum(-1)
    wanted = ranks(torch.arange(count, dtype=w.dtype), count).expand(w.shape[0], -1)
    # The place of a wanted rank among ranks and masses is the number of smaller ranks and smaller masses.
    merged = ascending(torch.cat([wanted, mass], 1))[1]
    place = torch.arange(count)
    smaller = ascending(merged)[1].index_select(1, place) - place
    return take(order, smaller.clamp(max=w.shape[1] - 1))


def few_of(order: Tensor, w: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Choose few points: all that are present, or if there are more, evenly spaced ones in place of them.

    Args:
        order: indices (B, N) of the points in ascending order.
        w: their weights (B, N), of sum 1.
        count: number of points to choose, N or less.

    Returns:
        Indices (B, count), weights (B, count), and whether they stand for more points (B,).
    """
    more = ((w > 0).sum(-1) > count)[:, None]
    every = present_first(w).index_select(1, torch.arange(count))
    index = torch.where(more, evenly_spaced(order, w, count), every)
    equal = torch.ones((), dtype=w.dtype) / count
    return index, torch.where(more, equal, take(w, index)), more[:, 0]
