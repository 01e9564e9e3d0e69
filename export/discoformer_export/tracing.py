"""What the traced modules need of indices: sizes that depend on the data, rows, ranks and landmarks.

Shapes: B data sets, N points, n landmarks, D dimensions. Float64.
"""

from typing import Any

import torch
from torch import Tensor


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
    """`discoformer.landmarks.take_landmarks`."""
    n = points.shape[1]
    taken = (size.max() > most) | (torch.full((), n) > 4 * most)
    count = known_later(torch.where(taken, most, n))
    index = evenly_spaced((points * points).sum(-1), w, count)
    index = torch.where(taken, index, torch.arange(count).clamp(max=n - 1))
    counts = torch.where(
        taken, torch.minimum(size, most + 0 * size)[:, None] / most, w.gather(1, index) * size[:, None]
    )
    return rows(points, index), counts


def evenly_spaced(radius: Tensor, w: Tensor, count: int) -> Tensor:
    """So many indices (B, count), evenly spaced in the weighted ranks of the radius (B, N)."""
    order = radius.topk(radius.shape[1], largest=False).indices
    mass = w.gather(1, order).cumsum(-1)
    wanted = (torch.arange(count, dtype=w.dtype) + 0.5) / count - 1e-12
    return order.gather(1, first_at_least(wanted, mass))


def first_at_least(wanted: Tensor, ascending: Tensor) -> Tensor:
    """The first places (B, k) in ascending rows (B, N) that hold a wanted value (k,) or more, or the last."""
    places = torch.searchsorted(ascending, wanted.expand(ascending.shape[0], -1).contiguous())
    return places.clamp(max=ascending.shape[1] - 1)
