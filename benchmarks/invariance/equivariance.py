"""Exactness of affine equivariance of a released model in ONNX Runtime, on raw data.

The data are mixtures of 1 to 10 modes, for D from 1 to 40 and N = 4 D, 16 D and 64 D (at least 32). The maps
x -> x A + b are random, of condition 30, or 1 for a rotation. The figures are the greatest values of

    |S(XA + b) A^T - S(X)| / rms |S(X)|    and    |T(XA + b) + log|det A| - T(X)|

over the queries of 8 draws.

    python -m benchmarks.invariance.equivariance models/base
"""

import click
import numpy as np
from numpy.typing import NDArray

import discoformer
from benchmarks.common.report import load_model, markdown
from discoformer_training.evaluation.cells import Cell, draw

DRAWS = 8
QUERIES = 128

Floats = NDArray[np.float64]


def random_map(rng: np.random.Generator, dim: int, condition: float) -> Floats:
    """Draw a matrix (D, D) with log-uniform singular values and, for D > 1, exactly this condition."""
    left, right = (np.linalg.qr(rng.normal(size=(dim, dim)))[0] for _ in range(2))
    logs = rng.uniform(0, np.log(condition), dim)
    logs[0], logs[-1] = 0, np.log(condition)
    product: Floats = left * np.exp(logs) @ right
    return product


def errors(model: discoformer.Model, cell: Cell, index: int, condition: float) -> tuple[float, float]:
    """Return the greatest relative error of the score, and error of the log-density (nats), of a draw."""
    at = draw(cell, index)
    rng = np.random.default_rng([cell.dim, cell.context_size, index])
    linear, shift = random_map(rng, cell.dim, condition), rng.normal(size=cell.dim)
    log_density, score = model.estimate(at.context).log_density_and_score(at.queries)
    mapped = model.estimate(at.context @ linear + shift)
    log_mapped, score_mapped = mapped.log_density_and_score(at.queries @ linear + shift)
    off = np.linalg.norm(score_mapped @ linear.T - score, axis=1) / np.sqrt(np.square(score).sum(1).mean())
    return float(off.max()), float(np.abs(log_mapped + np.linalg.slogdet(linear)[1] - log_density).max())


@click.command()
@click.argument("model")
def main(model: str) -> None:
    """Print a line per dimension and size for MODEL, the name or folder of a released model."""
    loaded = load_model(model, threads=None)
    rows = []
    for dim in (1, 2, 5, 10, 20, 40):
        for n in sorted({max(32, rows_per_dim * dim) for rows_per_dim in (4, 16, 64)}):
            cell = Cell("gmm", dim, n, queries=QUERIES)
            worst = [
                max(values)
                for condition in (1.0, 30.0)
                for values in zip(*(errors(loaded, cell, i, condition) for i in range(DRAWS)), strict=True)
            ]
            rows.append([f"{dim}, {n}", *(f"{x:.1e}" for x in worst)])
    header = (
        "D, N",
        "score, rotation",
        "log-density, rotation",
        "score, condition 30",
        "log-density, condition 30",
    )
    click.echo(markdown(header, rows))


if __name__ == "__main__":
    main()
