"""Softmax attention that also returns its log-normaliser, and a second moment along a direction.

    l_ij = q_i . k_j,    log Z_i = log sum_j exp l_ij,    a_ij = exp(l_ij - log Z_i)
    o_i = sum_j a_ij v_j,    c_i = sum_j a_ij (u_i . p_j) p_j

`attend_plain` is the formula. `attend_blocked` computes the same a block of queries at a time, and in the
backward pass computes the block's logits again instead of keeping them: with g the gradient of log Z,

    dl_ij = a_ij (do_i . v_j - do_i . o_i + (u_i . p_j) (dc_i . p_j) - dc_i . c_i + g_i)
    dq = dl k,    dk = dl^T q,    dv = a^T do
    du_i = sum_j a_ij (dc_i . p_j) p_j,    dp_j = sum_i a_ij ((u_i . p_j) dc_i + (dc_i . p_j) u_i).

Shapes: queries (B, H, M, K), keys (B, H, N, K), values (B, H, N, V), directions u (B, H, M, P), points p
(B, H, N, P); no scaling is applied.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

BLOCK = {"cpu": 2**19, "cuda": 2**27}  # logits held at a time: what fits a cache, or feeds a GPU
FLOOR = -60.0  # logits this far below the greatest count for nothing; exponentials of lower ones are slow


class Attended(NamedTuple):
    """What queries find."""

    average: Tensor  # (B, H, M, V) o
    log_normaliser: Tensor  # (B, H, M) log Z
    moment: Tensor  # (B, H, M, P) c


class Attend(Protocol):
    """Attention of queries to keys, values and points."""

    def __call__(
        self, queries: Tensor, keys: Tensor, values: Tensor, directions: Tensor, points: Tensor
    ) -> Attended:
        """Attend."""


def attend_plain(
    queries: Tensor, keys: Tensor, values: Tensor, directions: Tensor, points: Tensor
) -> Attended:
    """Attend by the formula, differentiable any number of times; memory grows with M N."""
    logits = queries @ keys.mT
    log_normaliser = logits.logsumexp(-1, keepdim=True)
    weights = (logits - log_normaliser).exp()
    moment = (weights * (directions @ points.mT)) @ points
    return Attended(weights @ values, log_normaliser[..., 0], moment)


def attend_blocked(
    queries: Tensor, keys: Tensor, values: Tensor, directions: Tensor, points: Tensor
) -> Attended:
    """Attend in memory linear in M and N; differentiable once."""
    parts = _BlockedAttention.apply(queries, keys, values, directions, points)  # type: ignore[no-untyped-call]
    return Attended(*parts)


class _BlockedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, directions: Tensor, points: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        average = queries.new_empty(*queries.shape[:-1], values.shape[-1])
        log_normaliser = queries.new_empty(queries.shape[:-1])
        moment = torch.empty_like(directions)
        for block in _blocks(queries, keys):
            logits = queries[:, :, block] @ keys.mT
            greatest = logits.amax(-1, keepdim=True)
            weights = logits.sub_(greatest).clamp_(min=FLOOR).exp_()
            total = weights.sum(-1, keepdim=True)
            average[:, :, block] = (weights @ values).div_(total)
            log_normaliser[:, :, block] = (greatest + total.log())[..., 0]
            weights *= directions[:, :, block] @ points.mT
            moment[:, :, block] = (weights @ points).div_(total)
        ctx.save_for_backward(queries, keys, values, directions, points, average, log_normaliser, moment)
        return average, log_normaliser, moment

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_average: Tensor, grad_log_normaliser: Tensor, grad_moment: Tensor
    ) -> tuple[Tensor, ...]:
        queries, keys, values, directions, points, average, log_normaliser, moment = ctx.saved_tensors
        offset = grad_log_normaliser - (grad_average * average).sum(-1) - (grad_moment * moment).sum(-1)
        grad_queries, grad_directions = torch.empty_like(queries), torch.empty_like(directions)
        grad_keys, grad_values, grad_points = map(torch.zeros_like, (keys, values, points))
        for block in _blocks(queries, keys):
            own, direction, pull = (x[:, :, block] for x in (queries, directions, grad_moment))
            weights = (own @ keys.mT).sub_(log_normaliser[:, :, block, None]).clamp_(min=FLOOR).exp_()
            grad_values += weights.mT @ grad_average[:, :, block]
            along, pulled = direction @ points.mT, pull @ points.mT  # u . p and dc . p
            grad_logits = (grad_average[:, :, block] @ values.mT).add_(offset[:, :, block, None])
            grad_logits.addcmul_(along, pulled).mul_(weights)
            grad_queries[:, :, block] = grad_logits @ keys
            grad_keys += grad_logits.mT @ own
            along, pulled = along.mul_(weights), pulled.mul_(weights)
            grad_directions[:, :, block] = pulled @ points
            grad_points += along.mT @ pull + pulled.mT @ direction
        return grad_queries, grad_keys, grad_values, grad_directions, grad_points


def _blocks(queries: Tensor, keys: Tensor) -> Iterator[slice]:
    """Split the M queries into blocks of at most BLOCK logits, but one query at least."""
    batch, heads, m, _ = queries.shape
    block = BLOCK.get(queries.device.type, BLOCK["cuda"])
    rows = max(1, block // (batch * heads * keys.shape[2]))
    return (slice(start, start + rows) for start in range(0, m, rows))
