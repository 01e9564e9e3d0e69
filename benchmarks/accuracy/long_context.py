"""Seconds and peak resident memory to read a long context, and to answer 1,000 queries.

The context is a sample of five Gaussians, by default of 131,072 points in 10 columns.

    python -m benchmarks.accuracy.long_context [N] [D] [LANDMARKS]
"""

import resource
import time

import click
import numpy as np

from benchmarks.common.report import load_model


def peak_mb() -> float:
    """Return the peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@click.command()
@click.argument("n", default=131_072)
@click.argument("dim", default=10)
@click.argument("landmarks", type=int, required=False)
def main(n: int, dim: int, landmarks: int | None) -> None:
    """Print a line after loading the model, after reading the context, and after the queries.

    N and DIM are the size of the context. By default the model chooses the number of LANDMARKS.
    """
    rng = np.random.default_rng(0)
    means = 3 * rng.normal(size=(5, dim))
    x, y = (means[rng.integers(5, size=rows)] + rng.normal(size=(rows, dim)) for rows in (n, 1000))
    model = load_model("base", threads=None)
    print(f"loaded: {peak_mb():.0f} MB")
    start = time.perf_counter()
    p = model.estimate(x, landmarks=landmarks)
    took = time.perf_counter() - start
    print(f"{p.diagnostics.landmarks} of {n} points read: {took:.1f} s, {peak_mb():.0f} MB")
    start = time.perf_counter()
    p.log_density_and_score(y)
    print(f"1000 queries answered: {time.perf_counter() - start:.1f} s, {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
