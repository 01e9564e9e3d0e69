"""Rows by index, order, ranks and counts, in operators that every runtime has: no loops, no GatherElements.

Shapes: B data sets, N points, k indices of each.
"""

from typing import Any

import torch
from torch import Tensor

from discoformer.base.landmarks import ranks


def known_later(count: Tensor) -> int:
    """Return a size that depends on the data, or 1 where that is less."""
    size: Any = count.clamp(min=1).item()
    torch._check(size >= 1)
    return size


def number_present(w: Tensor) -> Tensor:
    """Return how many points (B,) of weights (B, N) are present."""
    return (w > 0).sum(-1)


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


def evenly_spaced(order: Tensor, w: Tensor, places: Tensor, count: int) -> Tensor:
    """Return indices (B, k), evenly spaced in weighted ranks: at places (k,) of so many.

    Args:
        order: indices (B, N) of the points in ascending order.
        w: their weights (B, N), of sum 1.
        places: from 0 on.
        count: number of places.
    """
    relative = w / w.amax(-1, keepdim=True)  # equal weights are exactly 1, and so exact ties remain ties
    mass = take(relative, order).cumsum(-1)
    wanted = ranks(places.to(w.dtype), count) * relative.sum(-1, keepdim=True)
    # The place of a wanted rank among ranks and masses is the number of smaller ranks and smaller masses.
    merged = ascending(torch.cat([wanted, mass], 1))[1]
    smaller = ascending(merged)[1].index_select(1, places) - places
    tied = take(mass, (smaller - 1).clamp(min=0)) >= wanted  # some runtimes put the mass of a tie first
    place = smaller - (tied & (smaller > 0)).long()
    return take(order, place.clamp(max=w.shape[1] - 1))


def few_of(order: Tensor, w: Tensor, fewer: Tensor, most: int, size: int) -> tuple[Tensor, Tensor]:
    """Choose few points: `most` that are evenly spaced, or all that are present.

    Args:
        order: indices (B, N) of the points in ascending order.
        w: their weights (B, N), of sum 1.
        fewer: whether to choose fewer than all (B,).
        most: number of points in place of all.
        size: number of indices, N at most.

    Returns:
        Indices (B, size), and weights (B, size), which are 0 after the last point.
    """
    places, fewer = torch.arange(size), fewer[:, None]
    every = present_first(w).index_select(1, places)
    index = torch.where(fewer, evenly_spaced(order, w, places, most), every)
    equal = torch.where(places < most, torch.ones((), dtype=w.dtype) / most, 0.0)
    return index, torch.where(fewer, equal, take(w, index))
