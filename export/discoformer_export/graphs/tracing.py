"""What the traced modules need of indices: sizes that depend on the data, rows, ranks and landmarks.

Shapes: B data sets, N points, n landmarks, D dimensions. Float64.
"""

from typing import Any

import torch
from torch import Tensor

from discoformer.base.landmarks import ranks


def for_each(x: Tensor, times: int) -> Tensor:
    """Each row of x (B, ...) so many times, (B times, ...)."""
    return x[:, None].expand(-1, times, *x.shape[1:]).flatten(0, 1)


def known_later(count: Tensor) -> int:
    """A size that depends on the data; 1 at least, where these have no density and all is NaN."""
    size: Any = count.clamp(min=1).item()
    torch._check(size >= 1)
    return size


def rows(array: Tensor, index: Tensor) -> Tensor:
    """Rows of array (B, N, ...) by index (B, n)."""
    for _ in range(array.ndim - 2):
        index = index[..., None]
    return array.gather(1, index.expand(-1, -1, *array.shape[2:]))


def landmarks(points: Tensor, w: Tensor, size: Tensor, most: Tensor | int) -> tuple[Tensor, Tensor]:
    """`discoformer.base.landmarks.take_landmarks`; of the absent points only those that the longest need."""
    n, present = points.shape[1], number_present(w)
    many = (size > most) | (present > 4 * most)
    count = known_later(torch.where(many, most, present).max())
    place, many = torch.arange(count), many[:, None]
    spaced = evenly_spaced((points * points).sum(-1), w, place, most)
    index = torch.where(many, spaced, present_first(w).gather(1, place.clamp(max=n - 1).expand_as(spaced)))
    few_counts = torch.minimum(size, most + 0 * size)[:, None] / most * (place < most)
    return rows(points, index), torch.where(
        many, few_counts, w.gather(1, index) * size[:, None] * (place < torch.full((), n))
    )


def number_present(w: Tensor) -> Tensor:
    """How many points (B,) of weights (B, N) are not absent."""
    return (w > 0).sum(-1)


def present_first(w: Tensor) -> Tensor:
    """Indices (B, N) of the points that are present, in their order, and then of the others."""
    n = w.shape[1]
    return torch.where(w > 0, torch.arange(n, dtype=w.dtype), torch.inf).topk(n, largest=False).indices


def evenly_spaced(radius: Tensor, w: Tensor, place: Tensor, count: Tensor | int) -> Tensor:
    """Indices (B, k), evenly spaced in the weighted ranks of the radius (B, N): at places (k,) of so many."""
    order = radius.topk(radius.shape[1], largest=False).indices
    mass = w.gather(1, order).cumsum(-1)
    return order.gather(1, first_at_least(ranks(place.to(w.dtype), count), mass))


def first_at_least(wanted: Tensor, ascending: Tensor) -> Tensor:
    """The first places (B, k) in ascending rows (B, N) that hold a wanted value (k,) or more, or the last."""
    places = torch.searchsorted(ascending, wanted.expand(ascending.shape[0], -1).contiguous())
    return places.clamp(max=ascending.shape[1] - 1)
