"""Attention with its log-normaliser: the blocked form equals the formula in value and gradient."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from discoformer_training.nn import attention
from discoformer_training.nn.attention import Attend, attend_blocked, attend_plain

FEW = settings(deadline=None, max_examples=25, derandomize=True)
BOTH = pytest.mark.parametrize("attend", [attend_plain, attend_blocked])


def draw(*sizes: int, spread: float = 1.0) -> list[Tensor]:
    """Draw queries, keys and values that need gradients, of sizes B, H, M, N, K, V."""
    batch, heads, m, n, k, v = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, heads, m, k), (batch, heads, n, k), (batch, heads, n, v)
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    tensors[0] *= spread
    return [tensor.requires_grad_() for tensor in tensors]


def value_and_gradient(attend: Attend, inputs: list[Tensor]) -> list[Tensor]:
    """Output, log-normaliser, and the gradients of a loss that depends on both, unevenly."""
    output, log_normaliser = attend(*inputs)
    weight = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
    slope = torch.linspace(-2, 1, log_normaliser.numel(), dtype=output.dtype).reshape(log_normaliser.shape)
    loss = (weight * output).sum() + (slope * log_normaliser).sum() + (output[..., 0] * log_normaliser).sum()
    return [output, log_normaliser, *torch.autograd.grad(loss, inputs)]


def assert_blocked_equals_plain(inputs: list[Tensor], tolerance: float = 1e-10) -> None:
    blocked, plain = (value_and_gradient(attend, inputs) for attend in (attend_blocked, attend_plain))
    for ours, theirs in zip(blocked, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@BOTH
def test_attention_is_the_formula(attend):
    queries, keys, values = draw(2, 3, 4, 5, 6, 7)
    logits = torch.einsum("bhmk,bhnk->bhmn", queries, keys)
    expected = torch.einsum("bhmn,bhnv->bhmv", logits.softmax(-1), values)
    output, log_normaliser = attend(queries, keys, values)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_normaliser, logits.logsumexp(-1), rtol=1e-12, atol=1e-12)


@FEW
@given(
    sizes=st.tuples(*[st.integers(1, high) for high in (3, 3, 9, 9, 4, 4)]),
    block=st.sampled_from([1, 7, 20, 10_000]),
)
def test_blocked_equals_plain_in_value_and_gradient_at_every_block_boundary(sizes, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(attention.BLOCK, "cpu", block)
        assert_blocked_equals_plain(draw(*sizes))


@pytest.mark.parametrize("spread", [0.0, 10.0, 300.0])
def test_blocked_equals_plain_for_flat_and_for_peaked_logits(monkeypatch, spread):
    monkeypatch.setitem(attention.BLOCK, "cpu", 32)
    assert_blocked_equals_plain(draw(2, 2, 7, 11, 3, 4, spread=spread), 1e-9 if spread > 100 else 1e-10)


@pytest.mark.parametrize("absent", [-1e4, -100.0])
def test_keys_of_very_negative_logits_count_for_nothing(monkeypatch, absent):
    """As absent points do: their log-weight is one more coordinate of the keys, met by a 1 in the queries."""
    monkeypatch.setitem(attention.BLOCK, "cpu", 32)
    queries, keys, values = (tensor.detach() for tensor in draw(2, 2, 7, 11, 3, 4))
    queries = torch.cat([queries, torch.ones_like(queries[..., :1])], -1)
    log_weights = torch.where(torch.arange(11) < 6, 0.0, absent).double()
    keys = torch.cat([keys, log_weights[:, None].expand(2, 2, 11, 1)], -1)
    inputs = [tensor.requires_grad_() for tensor in (queries, keys, values)]
    assert_blocked_equals_plain(inputs)
    present = [queries, keys[:, :, :6], values[:, :, :6]]
    for ours, theirs in zip(attend_blocked(*inputs), attend_plain(*present), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    gradients = value_and_gradient(attend_blocked, inputs)[3:]
    for gradient in gradients:
        assert gradient[:, :, 6:].abs().max() < 1e-20


@BOTH
def test_logits_all_shifted_shift_the_log_normaliser_alone(attend):
    """Even where every exponential would overflow, or vanish."""
    queries, keys, values = draw(1, 2, 5, 6, 3, 2)
    output, log_normaliser = attend(queries, keys, values)
    for shift in (-1e4, 1e4):
        ones = torch.ones_like(queries[..., :1])
        shifted = torch.cat([keys, torch.full_like(keys[..., :1], shift)], -1)
        moved = attend(torch.cat([queries, ones], -1), shifted, values)
        torch.testing.assert_close(moved[0], output, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(moved[1], log_normaliser + shift, rtol=1e-12, atol=1e-10)


def test_gradcheck_of_blocked_attention(monkeypatch):
    monkeypatch.setitem(attention.BLOCK, "cpu", 13)
    assert torch.autograd.gradcheck(attend_blocked, draw(2, 2, 3, 4, 3, 2))


@pytest.mark.parametrize(
    "used", [lambda output, _: output.sum(), lambda _, log_normaliser: log_normaliser.sum()]
)
def test_gradient_is_right_when_one_of_the_two_outputs_is_unused(used: Callable[[Tensor, Tensor], Tensor]):
    inputs = draw(1, 2, 5, 6, 3, 2)
    blocked, plain = (
        torch.autograd.grad(used(*attend(*inputs)), inputs, allow_unused=True, materialize_grads=True)
        for attend in (attend_blocked, attend_plain)
    )
    for ours, theirs in zip(blocked, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_plain_attention_is_differentiable_twice_and_blocked_says_that_it_is_not():
    inputs = draw(1, 1, 2, 3, 2, 2)
    assert torch.autograd.gradgradcheck(attend_plain, inputs)
    (gradient,) = torch.autograd.grad(
        attend_blocked(*inputs)[0].square().sum(), inputs[:1], create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_float32_keeps_its_width_and_is_close():
    inputs = draw(2, 2, 5, 40, 3, 4)
    narrow = [tensor.detach().float() for tensor in inputs]
    for ours, theirs in zip(attend_blocked(*narrow), attend_plain(*inputs), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
