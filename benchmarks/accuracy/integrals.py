"""The integral of the estimated density by family and dimension: 1 if the estimate is normalised.

For each family in D = 1, 2, 5 and 10 (N = 512, 4 draws, seed 0) the table has the median of the integral over
the draws, by `normalization` with 4,096 samples, and the largest standard error. It has "--" if the number of
effective samples is below 100.

    python -m benchmarks.accuracy.integrals models/base
"""

import math
from statistics import median

import click

from benchmarks.common.report import load_model
from discoformer_training.data.families import FAMILIES as STREAMED
from discoformer_training.evaluation.cells import FAMILIES, Cell, draw

DRAWS, SIZE = 4, 512
DIMS = (1, 2, 5, 10)
ENOUGH = 100.0  # effective samples


@click.command()
@click.argument("model")
def main(model: str) -> None:
    """Print a line per family for MODEL, the name or folder of a released model."""
    loaded = load_model(model, threads=None)
    print("| family | " + " | ".join(f"D = {dim}" for dim in DIMS) + " |")
    print("|---" * (1 + len(DIMS)) + "|")
    off: dict[int, list[float]] = {dim: [] for dim in DIMS}
    for family in FAMILIES:
        entries = []
        for dim in DIMS:
            if family in STREAMED and dim < STREAMED[family].least_dim:
                entries.append("")
                continue
            cell = Cell(family, dim, SIZE)
            contexts = [draw(cell, index).context for index in range(DRAWS)]
            found = [estimate.normalization() for estimate in loaded.estimate_batch(contexts)]
            known = [one for one in found if one.effective_samples >= ENOUGH]
            if not known:
                entries.append("--")
                continue
            integrals = [math.exp(one.log_integral) for one in known]
            off[dim] += [abs(integral - 1) for integral in integrals]
            entries.append(f"{median(integrals):.3f} ± {max(one.standard_error for one in known):.3f}")
        print(f"| {family} | " + " | ".join(entries) + " |", flush=True)
    typical = (f"{100 * median(off[dim]):.2g} %" if off[dim] else "--" for dim in DIMS)
    print("| off by, median | " + " | ".join(typical) + " |")


if __name__ == "__main__":
    main()
