"""The Muon optimizer with matrices of equal shape stacked: fewer kernel launches, so faster on a GPU.

For a gradient G of the matrix W, with m its moving average,

    m <- mu m + (1 - mu) G,
    W <- (1 - eta lambda) W - .2 eta sqrt(max(rows, columns)) NS(mu m + (1 - mu) G),

where NS approximates the nearest orthogonal matrix, by Newton-Schulz steps from X / |X| in bfloat16,

    X <- a X + (b X X^T + c (X X^T)^2) X

(Jordan et al., 2024; step size from arXiv 2502.16982).
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Muon


class StackedMuon(Muon):
    """`torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`: equal up to rounding, with the same state."""

    def __init__(
        self, matrices: Iterable[Tensor], lr: float, weight_decay: float = 0.1, momentum: float = 0.95
    ) -> None:
        """Set up; the arguments are those of `torch.optim.Muon`."""
        super().__init__(
            matrices, lr=lr, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw"
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the matrices that have a gradient."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if not moved:
                continue
            gradients = [p.grad for p in moved]
            averages = [self._average(p) for p in moved]
            torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
            updates = torch._foreach_lerp(gradients, averages, group["momentum"])
            torch._foreach_mul_(moved, 1 - group["lr"] * group["weight_decay"])
            for shape, members in _by_shape(moved).items():
                stack = torch.stack([updates[index] for index in members])
                length = 0.2 * group["lr"] * math.sqrt(max(shape))
                moves = orthogonalised(stack, group).to(stack.dtype).unbind()
                torch._foreach_sub_([moved[index] for index in members], moves, alpha=length)

    def _average(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum_buffer"]
        return average


def orthogonalised(stack: Tensor, settings: dict[str, Any]) -> Tensor:
    """Return matrices (K, rows, columns) in bfloat16, with the singular values moved close to 1."""
    a, b, c = settings["ns_coefficients"]
    tall = stack.shape[1] > stack.shape[2]
    x = (stack.mT if tall else stack).bfloat16()
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=settings["eps"])
    for _ in range(settings["ns_steps"]):
        gram = x @ x.mT
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, gram, x, beta=a)
    return x.mT if tall else x


def _by_shape(matrices: list[Tensor]) -> dict[torch.Size, list[int]]:
    """Return the positions of the matrices of each shape."""
    members: defaultdict[torch.Size, list[int]] = defaultdict(list)
    for index, matrix in enumerate(matrices):
        members[matrix.shape].append(index)
    return members
