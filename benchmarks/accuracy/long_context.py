"""Seconds and peak resident memory for a long context: to read it, and to answer 1,000 queries.

    python -m benchmarks.accuracy.long_context [N] [D] [LANDMARKS]

131,072 points in 10 columns by default, of five Gaussians; by default the model chooses the landmarks.
"""

import resource
import sys
import time
import warnings

import numpy as np

import discoformer


def peak_mb() -> float:
    """The greatest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    """Print a line when the model is loaded, the context read, and the queries answered."""
    n, dim, *rest = [int(argument) for argument in sys.argv[1:]] + [131_072, 10][len(sys.argv) - 1 :]
    rng = np.random.default_rng(0)
    means = 3 * rng.normal(size=(5, dim))
    x, y = (means[rng.integers(5, size=rows)] + rng.normal(size=(rows, dim)) for rows in (n, 1000))
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    model = discoformer.load(device="cpu")
    print(f"loaded: {peak_mb():.0f} MB")
    start = time.perf_counter()
    p = model.estimate(x, landmarks=rest[0] if rest else None)
    took = time.perf_counter() - start
    print(f"{p.diagnostics.landmarks} of {n} points read: {took:.1f} s, {peak_mb():.0f} MB")
    start = time.perf_counter()
    p.log_density_and_score(y)
    print(f"1000 queries answered: {time.perf_counter() - start:.1f} s, {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
