"""Accuracy and time by the number of landmarks, in ONNX Runtime on the CPU.

Each entry is relative score error / squared error of the log-density (nats^2), pooled over 8 draws of the
benchmark, and the seconds to read the context and answer 512 queries. "fast" is the mixture alone, with the
landmarks of training.

    python -m benchmarks.accuracy.landmarks models/base
"""

import time

import click
import numpy as np

import discoformer
from benchmarks.common.report import load_model, markdown
from discoformer_training.evaluation.cells import Cell, Draw, draw
from discoformer_training.evaluation.metrics import Values, sum_errors

DRAWS = 8
CELLS = [Cell("gmm", dim, n) for n in (4096, 16384) for dim in (1, 2, 10)]
LANDMARKS = (None, 1024, 2048, 4096)


def answer(model: discoformer.Model, at: Draw, landmarks: int | None) -> Values:
    """Return log-density and score at the queries of a draw."""
    estimate = model.estimate(at.context, landmarks=landmarks, effort="best" if landmarks else "fast")
    return Values(*estimate.log_density_and_score(at.queries))


@click.command()
@click.argument("model")
def main(model: str) -> None:
    """Print a line per cell for MODEL, the name or folder of a released model."""
    loaded = load_model(model, threads=None)
    rows = []
    for cell in CELLS:
        entries = []
        for most in LANDMARKS:
            sums, seconds = np.zeros(3), 0.0
            for index in range(DRAWS):
                at = draw(cell, index)
                start = time.perf_counter()
                found = answer(loaded, at, most)
                seconds += time.perf_counter() - start
                sums += sum_errors(found, at.truth)
            score_error, density_error = sums[0] / sums[1], sums[2] / (DRAWS * cell.queries)
            entries.append(f"{100 * score_error:.3g} % / {density_error:.3g}, {seconds / DRAWS:.1f} s")
        rows.append([f"{cell.dim}, {cell.context_size}", *entries])
    header = ["D, N", *("fast" if most is None else str(most) for most in LANDMARKS)]
    click.echo(markdown(header, rows))


if __name__ == "__main__":
    main()
