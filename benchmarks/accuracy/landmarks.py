"""What landmarks cost in accuracy and save in time, in ONNX Runtime on the CPU.

For each cell and each number of landmarks: relative score error / squared error of the log-density (nats^2),
pooled over 8 draws of the benchmark, and the seconds that reading the context and answering 512 queries took.
"none" is the mixture that the network refines, by itself.

    python -m benchmarks.accuracy.landmarks models/gmm
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np

import discoformer
from discoformer_training.evaluation.baselines import base_alone
from discoformer_training.evaluation.cells import Cell, Draw, draw
from discoformer_training.evaluation.metrics import Values, sum_errors

DRAWS = 8
CELLS = [Cell("gmm", dim, n) for n in (4096, 16384) for dim in (1, 2, 10)]
LANDMARKS = (None, 1024, 2048, 4096)


def answer(model: discoformer.Model, at: Draw, landmarks: int | None) -> Values:
    """Log-density and score at the queries of a draw."""
    if landmarks is None:
        return base_alone(at.context, at.queries, at.truth)
    return Values(*model.estimate(at.context, landmarks=landmarks).log_density_and_score(at.queries))


def main() -> None:
    """Print a line per cell."""
    model = discoformer.load(Path(sys.argv[1]), device="cpu")
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    print("| D, N |", " | ".join("none" if most is None else str(most) for most in LANDMARKS), "|")
    print("|---" * (1 + len(LANDMARKS)) + "|")
    for cell in CELLS:
        entries = []
        for most in LANDMARKS:
            sums, seconds = np.zeros(3), 0.0
            for index in range(DRAWS):
                at = draw(cell, index)
                start = time.perf_counter()
                found = answer(model, at, most)
                seconds += time.perf_counter() - start
                sums += sum_errors(found, at.truth)
            score_error, density_error = sums[0] / sums[1], sums[2] / (DRAWS * cell.queries)
            entries.append(f"{100 * score_error:.3g} % / {density_error:.3g}, {seconds / DRAWS:.1f} s")
        print(f"| {cell.dim}, {cell.context_size} | {' | '.join(entries)} |", flush=True)


if __name__ == "__main__":
    main()
