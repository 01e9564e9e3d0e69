"""A context in its frame: the tensors that the network reads."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from discoformer.base.base import Base
from discoformer.base.frame import Frames
from discoformer.base.landmarks import take_landmarks

LANDMARKS = 1024  # context points that become tokens, at most


class Context(NamedTuple):
    """B contexts of N points in D dimensions, each in its own frame."""

    points: Tensor  # (B, N, D)
    log_weights: Tensor  # (B, N) log w_j up to a constant; network.ABSENT or less marks padding
    precision_root: Tensor  # (B, D, D) W, the symmetric root of the inverse total covariance
    log_det_precision: Tensor  # (B,)
    effective_size: Tensor  # (B,) N, or Kish's (sum w)^2 / sum w^2
    base: Base[Tensor] | None = None  # for the heads
    all_points: Tensor | None = None  # (B, all, D), if `points` are landmarks
    all_log_weights: Tensor | None = None  # (B, all)

    @property
    def whole(self) -> tuple[Tensor, Tensor]:
        """All points (B, all, D) and their log-weights (B, all)."""
        if self.all_points is None or self.all_log_weights is None:
            return self.points, self.log_weights
        return self.all_points, self.all_log_weights

    @property
    def known_base(self) -> Base[Tensor]:
        """The base.

        Raises:
            ValueError: there is none.
        """
        if self.base is None:
            raise ValueError("the context has no base, which the heads need: pass a proposal")
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


class Propose(Protocol):
    """What makes the base of contexts: see discoformer_training.nn.proposal."""

    def __call__(self, points: Tensor, frame: Frames[Tensor], context: Context) -> Base[Tensor]:
        """Return the base, given all points in the frame (float64), the frame, and what a network reads."""


def context_in_frame(
    context: Tensor, frame: Frames[Tensor], landmarks: int = LANDMARKS, propose: Propose | None = None
) -> Context:
    """Map contexts to their frames.

    Args:
        context: points (B, N, D) in data units, all of weight 1.
        frame: their frames.
        landmarks: greatest number of points that become tokens.
        propose: makes the base.

    Returns:
        the contexts, in float32.
    """
    points = frame.to_frame(context)
    weights = torch.full_like(points[..., 0], 1 / points.shape[1])
    read, counts = take_landmarks(points, weights, frame.effective_size, landmarks)
    few = read.shape != points.shape
    framed = Context(
        read,
        torch.zeros_like(counts),
        frame.precision_root,
        frame.log_det_precision,
        frame.effective_size,
        None,
        *((points, torch.zeros_like(weights)) if few else ()),
    ).each(Tensor.float)
    return framed if propose is None else framed._replace(base=propose(points, frame, framed))
