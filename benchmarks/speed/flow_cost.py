"""CPU seconds and peak resident memory of sampling and particles, each in a process of its own.

As many points are drawn or moved as the context has: 10,000 in 10 columns by default, of five Gaussians.
Diffusion is measured by the level of noise, particle flows and Bayesian sampling by the step.

    python -m benchmarks.speed.flow_cost [N] [D]
"""

import resource
import subprocess
import sys
import time
import warnings

import numpy as np

import discoformer
from discoformer.analysis.sampling import sample
from discoformer.particles import flow, heat, own_density
from discoformer.posterior import sample_posterior

STEPS = 2
LANGEVIN, LEVEL, FLOW, POSTERIOR = "langevin", "diffusion, a level", "flow, a step", "posterior, a step"


def run(what: str, x: np.ndarray, model: discoformer.Model) -> float:
    """CPU seconds of one of them."""
    stamps = [time.process_time()]

    def stamp(*_: object) -> None:
        stamps.append(time.process_time())

    if what == LANGEVIN:
        sample(model.estimate(x), len(x))
        return time.process_time() - stamps[0]
    if what == LEVEL:
        sample(model.estimate(x), len(x), "diffusion", steps=1 + STEPS, on_progress=stamp)
    elif what == FLOW:
        flow(x, heat(), 0.1, STEPS, own_density(model), stamp)
    else:
        sample_posterior(lambda points: -points, x, STEPS, 0, own_density(model), stamp)
    return (stamps[-1] - stamps[1]) / STEPS


def main() -> None:
    """Print a line for each."""
    n, dim, *only = sys.argv[1:] + ["10000", "10"][len(sys.argv) - 1 :]
    if not only:
        for what in (LANGEVIN, LEVEL, FLOW, POSTERIOR):
            subprocess.run([sys.executable, "-m", "benchmarks.speed.flow_cost", n, dim, what], check=True)
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
