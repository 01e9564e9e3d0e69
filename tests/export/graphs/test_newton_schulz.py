"""Iterations of matrix products find what LAPACK finds, up to a stated condition number, and NaN beyond."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from discoformer_export.graphs.newton_schulz import (
    LOG_TERMS,
    _log_coefficients,
    inverse,
    inverse_and_log_det,
    inverse_root,
    log_det,
)

DIMS = pytest.mark.parametrize("dim", [1, 2, 3, 10, 50, 100])
CONDITIONS = pytest.mark.parametrize("condition", [1, 1e2, 1e4, 1e6, 1e8])
EPS = torch.finfo(torch.float64).eps


def spectrum(dim: int, condition: float) -> Tensor:
    """Eigenvalues of this condition number, whose greatest is 1000."""
    return 1000 * torch.logspace(0, -math.log10(condition), dim, dtype=torch.float64)[:dim]


def with_spectrum(values: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A random symmetric matrix of these eigenvalues, and its eigenvectors."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.linalg.qr(
        torch.randn(len(values), len(values), dtype=torch.float64, generator=generator)
    ).Q
    matrix = (vectors * values) @ vectors.mT
    return 0.5 * (matrix + matrix.mT), vectors


def relative_error(found: Tensor, vectors: Tensor, values: Tensor) -> float:
    """Greatest error in the basis of the eigenvectors, relative to the eigenvalues."""
    scale = values.rsqrt()
    error = scale[:, None] * (vectors.mT @ found @ vectors) * scale - torch.eye(
        len(values), dtype=found.dtype
    )
    return float(error.abs().max())


@DIMS
@CONDITIONS
def test_inverses_and_roots_are_exact_to_the_rounding_of_the_matrix(dim: int, condition: float) -> None:
    values = spectrum(dim, condition)
    matrix, vectors = with_spectrum(values)
    rounding = 100 * EPS * condition
    assert relative_error(inverse(matrix), vectors, 1 / values) < rounding
    assert relative_error(inverse_root(matrix), vectors, values.rsqrt()) < rounding


@DIMS
@CONDITIONS
def test_log_determinants_are_exact_to_the_series(dim: int, condition: float) -> None:
    values = spectrum(dim, condition)
    found = log_det(with_spectrum(values)[0])
    assert float((found - values.log().sum()).abs()) < 3e-10 * dim + 100 * EPS * condition * dim**0.5


def test_matrices_of_a_batch_do_not_influence_each_other() -> None:
    matrices = torch.stack([with_spectrum(spectrum(4, 10.0**k), k)[0] for k in range(6)]).reshape(2, 3, 4, 4)
    found, found_log_det = inverse_and_log_det(matrices)
    for i in range(2):
        for j in range(3):
            one, one_log_det = inverse_and_log_det(matrices[i, j])
            torch.testing.assert_close(found[i, j], one, rtol=1e-12, atol=0)
            torch.testing.assert_close(found_log_det[i, j], one_log_det, rtol=1e-12, atol=0)


@pytest.mark.parametrize("function", [inverse, inverse_root, log_det])
def test_singular_matrices_give_nan(function) -> None:
    rank_one = torch.ones(3, 3, dtype=torch.float64)
    indefinite = torch.diag(torch.tensor([1.0, -0.5], dtype=torch.float64))
    for matrix in (rank_one, indefinite, torch.zeros(2, 2, dtype=torch.float64)):
        assert function(matrix).isnan().all()


def test_a_smaller_limit_of_the_condition_number_refuses_what_is_beyond_it() -> None:
    matrix, vectors = with_spectrum(spectrum(5, 1e4))
    assert relative_error(inverse(matrix, 1e5), vectors, 1 / spectrum(5, 1e4)) < 1e-5
    assert inverse(matrix, 1e2).isnan().all()


def test_the_series_of_the_logarithm_holds_on_the_whole_interval() -> None:
    x = np.linspace(0, 1, 10_001)
    coefficients = _log_coefficients()
    found = sum(c * x**p for p, c in coefficients.items())
    np.testing.assert_allclose(found, np.log1p(x), atol=3e-10)
    assert found[-1] == pytest.approx(np.log(2), abs=1e-15)
    assert all(p == 1 or bin(p).count("1") <= 2 for p in coefficients)
    assert max(coefficients) == 2**LOG_TERMS
