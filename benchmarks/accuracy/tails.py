"""Error of the log-density in the tails of Student-t distributions with 3 degrees of freedom.

Root mean square error of the log-density, in nats, over fresh queries of 16 draws (seed 0, N = 1024): for the
1 % of the queries with the least true density, for the others, and the ratio of the two.

    python -m benchmarks.accuracy.tails models/base
"""

import click
import numpy as np

from benchmarks.common.report import load_model
from discoformer_training.evaluation.baselines import BASELINES
from discoformer_training.evaluation.cells import Cell, draw

DRAWS, QUERIES = 16, 4096
CELLS = [Cell("student3", dim, 1024, queries=QUERIES) for dim in (2, 5, 20)]
OUTER = 0.01
OTHERS = ("kde_scott", "gaussian")


@click.command()
@click.argument("model")
def main(model: str) -> None:
    """Print a line per cell and estimator for MODEL, the name or folder of a released model."""
    loaded = load_model(model, threads=None)
    print("| D | estimator | outer 1 %, nats | the others, nats | ratio |\n|---|---|---|---|---|")
    for cell in CELLS:
        squares: dict[str, list[np.ndarray]] = {}
        for index in range(DRAWS):
            at = draw(cell, index)
            found = {
                effort: loaded.estimate(at.context, effort=effort).log_density(at.queries)
                for effort in ("best", "fast")
            }
            found |= {name: BASELINES[name](at.context, at.queries, at.truth).log_density for name in OTHERS}
            order = np.argsort(at.truth.log_density)
            for name, log_density in found.items():
                squares.setdefault(name, []).append(np.square(log_density - at.truth.log_density)[order])
        for name, errors in squares.items():
            inner, outer = (
                np.sqrt(np.mean([error[part] for error in errors]))
                for part in (slice(int(OUTER * QUERIES), None), slice(int(OUTER * QUERIES)))
            )
            figures = f"{outer:.3g} | {inner:.3g} | {outer / inner:.2g}"
            print(f"| {cell.dim} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
