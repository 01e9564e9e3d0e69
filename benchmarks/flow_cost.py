"""CPU seconds and peak resident memory of sampling and particles, each in a process of its own.

As many points are drawn or moved as the context has: 10,000 in 10 columns by default, of five Gaussians. A
flow and a posterior take two steps here; theirs are the figures for one more.

    python benchmarks/flow_cost.py [N] [D]
"""

import resource
import subprocess
import sys
import time
import warnings
from typing import get_args

import numpy as np

import discoformer
from discoformer.particles import flow, heat, own_density
from discoformer.posterior import sample_posterior
from discoformer.sampling import Method

STEPS = 2


def run(what: str, x: np.ndarray, model: discoformer.Model) -> float:
    """CPU seconds of one of them."""
    since = time.process_time()
    if what in get_args(Method):
        model.estimate(x).sample(len(x), what)  # type: ignore[arg-type]
        return time.process_time() - since
    stamps: list[float] = []

    def stamp(_: object) -> None:
        stamps.append(time.process_time())

    if what == "flow, a step":
        flow(x, heat(), 0.1, STEPS, own_density(model), stamp)
    else:
        sample_posterior(lambda points: -points, x, STEPS, 0, own_density(model), stamp)
    return (stamps[-1] - stamps[0]) / STEPS


def main() -> None:
    """Print a line for each."""
    n, dim, *only = sys.argv[1:] + ["10000", "10"][len(sys.argv) - 1 :]
    if not only:
        for what in (*get_args(Method), "flow, a step", "posterior, a step"):
            subprocess.run([sys.executable, __file__, n, dim, what], check=True)
        return
    rng = np.random.default_rng(0)
    means = 3 * rng.normal(size=(5, int(dim)))
    x = means[rng.integers(5, size=int(n))] + rng.normal(size=(int(n), int(dim)))
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    seconds = run(only[0], x, discoformer.load(device="cpu", threads=1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{only[0]}: {seconds:.1f} s, {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
