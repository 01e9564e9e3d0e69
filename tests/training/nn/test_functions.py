"""Functions of numbers that the network uses."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.base.arrays import log_gamma
from discoformer_training.nn.point_features import soft_clip

FEW = settings(deadline=None, max_examples=10, derandomize=True)


@FEW
@given(x=st.floats(1e-3, 1e5))
def test_log_gamma_agrees_with_torch(x):
    value = torch.tensor(x, dtype=torch.float64)
    torch.testing.assert_close(log_gamma(value), torch.lgamma(value), rtol=1e-12, atol=4e-9)


def test_log_gamma_is_safe_in_float32_for_every_argument_met():
    value = torch.logspace(math.log10(0.5), 4, 1000)
    expected = torch.lgamma(value.double())
    torch.testing.assert_close(log_gamma(value).double(), expected, rtol=1e-6, atol=1e-5)


def test_log_gamma_agrees_at_every_half_integer_and_so_does_its_gradient():
    value = (torch.arange(1, 400, dtype=torch.float64) / 2).requires_grad_()
    ours, theirs = log_gamma(value), torch.lgamma(value)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=4e-9)
    slopes = [torch.autograd.grad(total.sum(), value)[0] for total in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-8)


@FEW
@given(x=st.floats(-1e6, 1e6), bound=st.floats(0.5, 20))
def test_soft_clip_is_bounded_odd_and_the_identity_near_zero(x, bound):
    value = torch.tensor(x, dtype=torch.float64)
    assert soft_clip(value, bound).abs() <= bound * (1 + 1e-12)
    assert soft_clip(-value, bound) == -soft_clip(value, bound)
    torch.testing.assert_close(soft_clip(1e-6 * value.tanh(), bound), 1e-6 * value.tanh(), rtol=1e-9, atol=0)
