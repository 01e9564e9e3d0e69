"""CPU seconds and peak resident memory of sampling and of particle flows, each in its own process.

The context is a sample of five Gaussians, by default of 10,000 points in 10 columns. As many points are drawn
or moved. Diffusion is measured per level of noise, flows and Bayesian sampling per step.

    python -m benchmarks.speed.flow_cost [N] [D]
"""

import resource
import subprocess
import sys
import time

import click
import numpy as np

import discoformer
from benchmarks.common.report import load_model
from discoformer.analysis.sampling import sample
from discoformer.particles import flow, heat, own_density
from discoformer.posterior import sample_posterior

STEPS = 2
LANGEVIN, LEVEL, FLOW, POSTERIOR = "langevin", "diffusion, a level", "flow, a step", "posterior, a step"


def run(method: str, x: np.ndarray, model: discoformer.Model) -> float:
    """Return the CPU seconds of a method."""
    stamps = [time.process_time()]

    def stamp(*_: object) -> None:
        stamps.append(time.process_time())

    if method == LANGEVIN:
        sample(model.estimate(x), len(x))
        return time.process_time() - stamps[0]
    if method == LEVEL:
        sample(model.estimate(x), len(x), "diffusion", steps=1 + STEPS, on_progress=stamp)
    elif method == FLOW:
        flow(x, heat(), 0.1, STEPS, own_density(model), stamp)
    else:
        sample_posterior(lambda points: -points, x, STEPS, 0, own_density(model), stamp)
    return (stamps[-1] - stamps[1]) / STEPS


@click.command()
@click.argument("n", default=10_000)
@click.argument("dim", default=10)
@click.argument("method", required=False)
def main(n: int, dim: int, method: str | None) -> None:
    """Print a line per METHOD, by default all, for N points in DIM columns."""
    if method is None:
        for each in (LANGEVIN, LEVEL, FLOW, POSTERIOR):
            command = [sys.executable, "-m", "benchmarks.speed.flow_cost", str(n), str(dim), each]
            subprocess.run(command, check=True)
        return
    rng = np.random.default_rng(0)
    means = 3 * rng.normal(size=(5, dim))
    x = means[rng.integers(5, size=n)] + rng.normal(size=(n, dim))
    seconds = run(method, x, load_model("base"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{method}: {seconds:.1f} s, {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
