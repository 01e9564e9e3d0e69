"""Softmax attention that also returns its log-normaliser.

    l_ij = q_i . k_j,    log Z_i = log sum_j exp l_ij,    a_ij = exp(l_ij - log Z_i),    o_i = sum_j a_ij v_j

`attend_plain` is this formula. `attend_blocked` gives the same result, one block of queries at a time. Its
backward pass recomputes the logits of a block instead of storing them. With g the gradient of log Z,

    dl_ij = a_ij (do_i . v_j - do_i . o_i + g_i),    dq = dl k,    dk = dl^T q,    dv = a^T do.

Shapes: queries (B, H, M, K), keys (B, H, N, K), values (B, H, N, V). The logits are not scaled.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

BLOCK = {"cpu": 2**19, "cuda": 2**27}  # logits per block: they fit the CPU cache, or occupy a GPU
FLOOR = -60.0  # least logit below the greatest: smaller weights are negligible, and their exp is slow


class Attend(Protocol):
    """A function from queries, keys and values to the output (B, H, M, V) and log-normaliser (B, H, M)."""

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return output and log-normaliser."""


def attend_plain(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Compute attention by the formula: differentiable any number of times, memory proportional to M N."""
    logits = queries @ keys.mT
    greatest = logits.detach().amax(-1, keepdim=True)
    weights = (logits - greatest).exp()  # one exponential per pair; logsumexp would need a second
    total = weights.sum(-1, keepdim=True)
    return (weights @ values) / total, (greatest + total.log())[..., 0]


def attend_blocked(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Compute attention in blocks: differentiable once, memory linear in M and N."""
    output, log_normaliser = _BlockedAttention.apply(queries, keys, values)  # type: ignore[no-untyped-call]
    return output, log_normaliser


class _BlockedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        output = queries.new_empty(*queries.shape[:-1], values.shape[-1])
        log_normaliser = queries.new_empty(queries.shape[:-1])
        for block in _blocks(queries, keys):
            logits = queries[:, :, block] @ keys.mT
            greatest = logits.amax(-1, keepdim=True)
            weights = logits.sub_(greatest).clamp_(min=FLOOR).exp_()
            total = weights.sum(-1, keepdim=True)
            output[:, :, block] = (weights @ values).div_(total)
            log_normaliser[:, :, block] = (greatest + total.log())[..., 0]
        ctx.save_for_backward(queries, keys, values, output, log_normaliser)
        return output, log_normaliser

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_log_normaliser: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values, output, log_normaliser = ctx.saved_tensors
        offset = grad_log_normaliser - (grad_output * output).sum(-1)
        grad_queries = torch.empty_like(queries)
        grad_keys, grad_values = torch.zeros_like(keys), torch.zeros_like(values)
        for block in _blocks(queries, keys):
            own = queries[:, :, block]
            weights = (own @ keys.mT).sub_(log_normaliser[:, :, block, None]).clamp_(min=FLOOR).exp_()
            grad_values += weights.mT @ grad_output[:, :, block]
            grad_logits = (grad_output[:, :, block] @ values.mT).add_(offset[:, :, block, None]).mul_(weights)
            grad_queries[:, :, block] = grad_logits @ keys
            grad_keys += grad_logits.mT @ own
        return grad_queries, grad_keys, grad_values


def _blocks(queries: Tensor, keys: Tensor) -> Iterator[slice]:
    """Split the M queries into blocks of at most BLOCK logits and at least one query."""
    batch, heads, m, _ = queries.shape
    block = BLOCK.get(queries.device.type, BLOCK["cuda"])
    rows = max(1, block // (batch * heads * keys.shape[2]))
    return (slice(start, start + rows) for start in range(0, m, rows))
