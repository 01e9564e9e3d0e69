"""Inverses, inverse roots and log-determinants of positive definite matrices, by matrix products alone.

A graph without loops cannot decompose a matrix, since the number of columns is not known when it is traced.
Newton-Schulz iterations are a fixed number of products. Let E = I - A / s with s = |A|, the Frobenius norm.
The eigenvalues of E are between 0 and 1, so

    A^-1 = 1/s (I + E)(I + E^2)(I + E^4)(I + E^8) ...,
    log det A = D log s - log det(I + E) - log det(I + E^2) - log det(I + E^4) - ...

The log-determinants need no further products of matrices. With log(1 + x) = sum_p c_p x^p, they are sums of
traces of powers of E, and the trace of E^(2^i + 2^j) is the inner product of E^(2^i) and E^(2^j). So the
exponents p are 1 and the sums of two powers of two; see `_log_coefficients`. An inverse root is a product,
too:

    A^-1/2 = F_1 F_2 F_3 ... / sqrt(s),    F = r (3 I - r^2 M) / 2,    M <- F M F,    M = A / s at the start,

with r = sqrt(2) until the eigenvalues of M are between 1/2 and 1, and then r = 1.

The number of products limits the condition number |A| / (least eigenvalue). Matrices beyond the limit, and
singular ones, give NaN. An eigenvalue has the rounding errors of the greatest one, as in a decomposition.

Shapes: matrices (..., D, D). Source: Higham, Functions of Matrices (2008), chapters 5 and 6.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from discoformer.base.arrays import identity_like

CONDITION = 1e10  # greatest condition number, if not said otherwise
PLAIN_STEPS = 6  # of the inverse root with r = 1: from 1/2 to 1 - 1e-15
LOG_TERMS = 5  # exponents p are sums of two of this many powers of two: error 2e-10 for each eigenvalue
UNCONVERGED = 1e-6  # least residual that gives NaN


def inverse(matrices: Tensor, condition: float = CONDITION) -> Tensor:
    """Return the inverses."""
    norm = _norm(matrices)
    return _inverse(_powers(matrices / norm, condition)) / norm


def log_det(matrices: Tensor, condition: float = CONDITION) -> Tensor:
    """Return the log-determinants (...)."""
    norm = _norm(matrices)
    return matrices.shape[-1] * norm[..., 0, 0].log() + _log_det(_powers(matrices / norm, condition))


def inverse_and_log_det(matrices: Tensor, condition: float = CONDITION) -> tuple[Tensor, Tensor]:
    """Return the inverses and the log-determinants (...)."""
    norm = _norm(matrices)
    powers = _powers(matrices / norm, condition)
    return _inverse(powers) / norm, matrices.shape[-1] * norm[..., 0, 0].log() + _log_det(powers)


def inverse_root(matrices: Tensor, condition: float = CONDITION) -> Tensor:
    """Return the symmetric inverse roots."""
    norm = _norm(matrices)
    rest = matrices / norm
    identity = identity_like(rest)
    root = identity
    for scale in _scales(condition):
        factor = 1.5 * scale * identity - 0.5 * scale**3 * rest
        rest, root = factor @ rest @ factor, root @ factor
    return _or_nan(root / norm.sqrt(), _inner(rest - identity, rest - identity)[..., None, None])


def _norm(matrices: Tensor) -> Tensor:
    return _inner(matrices, matrices).sqrt()[..., None, None]


def _inner(one: Tensor, other: Tensor) -> Tensor:
    """Return the sum of the products of the elements, (...)."""
    return (one * other).sum((-2, -1))


def _or_nan(values: Tensor, residual: Tensor) -> Tensor:
    """Return the values where the iteration has converged, and NaN elsewhere."""
    return values.where(residual < UNCONVERGED, math.nan)


def _powers(matrices: Tensor, condition: float) -> list[Tensor]:
    """Return E, E^2, E^4, ... until the next one is negligible."""
    doublings = math.ceil(math.log2(condition * -math.log(UNCONVERGED)))
    powers = [identity_like(matrices) - matrices]
    while len(powers) < doublings:
        powers.append(powers[-1] @ powers[-1])
    return powers


def _inverse(powers: list[Tensor]) -> Tensor:
    """Return (I - E)^-1."""
    product = identity_like(powers[0]) + powers[0]
    for power in powers[1:]:
        product = product + product @ power
    return _or_nan(product, _inner(powers[-1], powers[-1])[..., None, None])


def _log_det(powers: list[Tensor]) -> Tensor:
    """Return log det(I - E)."""
    coefficients = _log_coefficients()
    traces = [(powers[0] * identity_like(powers[0])).sum((-2, -1))[..., None]]
    weights = [coefficients[1]]
    rows = [power[..., None, :, :] for power in powers]
    for i, row in enumerate(rows):
        window = range(i, min(i + LOG_TERMS, len(rows)))
        traces.append((row * torch.cat([rows[j] for j in window], -3)).sum((-2, -1)))
        for j in window:
            # E^(2^i + 2^j) is a term p of log(I + E^(2^k)) for every k with p 2^k = 2^i + 2^j.
            terms = [coefficients.get(2 ** (i - k) + 2 ** (j - k), 0.0) for k in range(i + 1)]
            weights.append(sum(terms) + (coefficients[1] if i == j else 0.0))
    total = -torch.cat(traces, -1) @ torch.tensor(weights, dtype=powers[0].dtype)
    return _or_nan(total, _inner(powers[-1], powers[-1]))


def _log_coefficients() -> dict[int, float]:
    """Return c_p by p: sum_p c_p x^p is log(1 + x) for x from 0 to 1, by least squares, and exactly at 1."""
    small = range(LOG_TERMS)
    exponents = sorted({1} | {2**i + 2**j for i in small for j in small})
    x = 0.5 - 0.5 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    terms = x[:, None] ** exponents
    rest = np.log1p(x) - np.log(2) * terms[:, 0]
    others = np.linalg.lstsq(terms[:, 1:] - terms[:, :1], rest, rcond=None)[0]
    return dict(zip(exponents, [float(np.log(2) - others.sum()), *others.tolist()], strict=True))


def _scales(condition: float) -> Iterator[float]:
    """Yield the scales r of the steps of the inverse root. Each of the first ones multiplies by 9/2."""
    for _ in range(math.ceil(math.log(condition / 2, 4.5))):
        yield math.sqrt(2)
    for _ in range(PLAIN_STEPS):
        yield 1.0
