"""Softmax attention that also returns its log-normaliser.

    l_ij = q_i . k_j,    out_i = sum_j exp(l_ij) v_j / sum_j exp(l_ij),    log Z_i = log sum_j exp(l_ij)

`attend_plain` is the formula. `attend_fused` computes the same in blocks, never holding the (M, N) matrix; the
fused kernel already knows log Z, but drops its gradient g. The gradient of the logits is

    dl_ij = a_ij (do_i . v_j - delta_i + g_i),    delta_i = do_i . o_i

so it is enough to hand the kernel's backward delta - g: one more column, 0 in v, 1 in do and -g in o.

Shapes: queries (B, H, M, K), keys (B, H, N, K), values (B, H, N, V); no scaling is applied.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

_fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_fused_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Attend(Protocol):
    """Attention of queries to keys and values: output (B, H, M, V) and log-normaliser (B, H, M)."""

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Attend."""


def attend_plain(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Attend by the formula, on any device, differentiable any number of times."""
    logits = queries @ keys.mT
    log_normaliser = logits.logsumexp(-1, keepdim=True)
    return (logits - log_normaliser).exp() @ values, log_normaliser[..., 0]


def attend_fused(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Attend on the CPU in memory linear in M and N; differentiable once."""
    width = max(keys.shape[-1], values.shape[-1] + 1)

    def widened(x: Tensor) -> Tensor:
        return pad(x, (0, width - x.shape[-1])).contiguous()

    output, log_normaliser = _FusedAttention.apply(widened(queries), widened(keys), widened(values))
    return output[..., : values.shape[-1]], log_normaliser


class _FusedAttention(torch.autograd.Function):
    """The fused kernel on equal widths, the last column of the values being zero."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        output, log_normaliser = _fused(queries, keys, values, scale=1.0)
        ctx.save_for_backward(queries, keys, values, output, log_normaliser)
        return output, log_normaliser

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_log_normaliser: Tensor) -> tuple[Tensor, ...]:
        queries, keys, values, output, log_normaliser = ctx.saved_tensors
        grad_output, output = grad_output.clone(), output.clone()
        grad_output[..., -1] = 1
        output[..., -1] = -grad_log_normaliser
        grads: tuple[Tensor, ...] = _fused_backward(
            grad_output, queries, keys, values, output, log_normaliser, 0.0, False, scale=1.0
        )
        return grads
