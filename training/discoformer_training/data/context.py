"""A context in its frame: the tensors that the network reads."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from discoformer.base.base import Base, fit_base
from discoformer.base.frame import Frames
from discoformer.base.landmarks import take_landmarks

LANDMARKS = 4096  # context points that the network reads at most


class Context(NamedTuple):
    """B contexts of N points in D dimensions, each in its own frame."""

    points: Tensor  # (B, N, D)
    log_weights: Tensor  # (B, N) log w_j up to a constant; network.ABSENT or less marks padding
    precision_root: Tensor  # (B, D, D) W, the symmetric root of the inverse total covariance
    log_det_precision: Tensor  # (B,)
    effective_size: Tensor  # (B,) N, or Kish's (sum w)^2 / sum w^2
    base: Base[Tensor] | None = None  # fitted to the points, for the network that needs it
    all_points: Tensor | None = None  # (B, all, D), if `points` are landmarks of a network without a base
    all_log_weights: Tensor | None = None  # (B, all)

    @property
    def whole(self) -> tuple[Tensor, Tensor]:
        """All points (B, all, D) and their log-weights (B, all)."""
        if self.all_points is None or self.all_log_weights is None:
            return self.points, self.log_weights
        return self.all_points, self.all_log_weights

    @property
    def fitted_base(self) -> Base[Tensor]:
        """The base.

        Raises:
            ValueError: there is none.
        """
        if self.base is None:
            raise ValueError("the context has no base, which this network needs: draw it with fitted_base")
        return self.base

    @classmethod
    def from_inputs(cls, given: Mapping[str, Tensor]) -> "Context":
        """Collect a context from the inputs of a graph, by name."""
        return cls(
            given["context"],
            given["log_weights"],
            given["precision_root"],
            given["log_det_precision"],
            given["effective_size"],
            Base.from_inputs(given),
        )

    def each(self, change: Callable[[Tensor], Tensor]) -> "Context":
        """Apply a function to every tensor."""
        return Context(
            change(self.points),
            change(self.log_weights),
            change(self.precision_root),
            change(self.log_det_precision),
            change(self.effective_size),
            None if self.base is None else self.base.each(change),
            *(None if field is None else change(field) for field in (self.all_points, self.all_log_weights)),
        )


def context_in_frame(
    context: Tensor, frame: Frames[Tensor], landmarks: int = LANDMARKS, *, fitted: bool = True
) -> Context:
    """Map contexts to their frames.

    Args:
        context: points (B, N, D) in data units, all of weight 1.
        frame: their frames. The frame and the base use all N points.
        landmarks: greatest number of points that the network reads.
        fitted: whether to fit a base.

    Returns:
        the contexts, in float32.
    """
    points = frame.to_frame(context)
    weights = torch.full_like(points[..., 0], 1 / points.shape[1])
    base = None
    if fitted:
        given = (points, weights, frame.effective_size, frame.precision_root, frame.log_det_precision)
        base = fit_base(*(tensor.numpy() for tensor in given)).each(torch.as_tensor)  # faster than in PyTorch
    read, counts = take_landmarks(points, weights, frame.effective_size, landmarks)
    few = not fitted and read.shape != points.shape
    return Context(
        read,
        torch.zeros_like(counts),
        frame.precision_root,
        frame.log_det_precision,
        frame.effective_size,
        base,
        *((points, torch.zeros_like(weights)) if few else ()),
    ).each(Tensor.float)
