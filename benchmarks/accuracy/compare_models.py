"""What one model costs and gains beside another, in every cell that both were measured in.

    python -m benchmarks.accuracy.compare_models models/base models/gmm

Errors of the first over those of the second, on the same draws, from the files benchmark.json and
wide/benchmark.json of their folders (`discoformer-train benchmark models/NAME [--cells wide] --out FOLDER`).
"""

import json
import sys
from pathlib import Path
from statistics import geometric_mean

from discoformer_training.evaluation.cells import Cell

FILES = ("benchmark.json", "wide/benchmark.json")
MEASURES = ("score_percent", "log_density_mse")
Errors = dict[Cell, tuple[float, float]]


def errors_of(file: Path) -> Errors:
    """Score error in % and log-density MSE in nats^2 of the model, by cell."""
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return {
        Cell(**row["cell"] | {"modes": tuple(row["cell"]["modes"])}): tuple(
            row[measure]["value"] for measure in MEASURES
        )
        for row in rows
        if row["name"] == "discoformer"
    }


def main() -> None:
    """Print a line per cell, and the geometric means of each file."""
    one, other = map(Path, sys.argv[1:3])
    print(f"| cell | {one.name} | {other.name} | score, ratio | log-density, ratio |\n|---|---|---|---|---|")
    for file in FILES:
        if not ((one / file).exists() and (other / file).exists()):
            continue
        first, second = errors_of(one / file), errors_of(other / file)
        ratios = {
            cell: [a / b for a, b in zip(first[cell], second[cell], strict=True)]
            for cell in first
            if cell in second
        }
        for cell, (score, log_density) in ratios.items():
            pairs = " | ".join(f"{a:.3g} % / {b:.3g}" for a, b in (first[cell], second[cell]))
            print(f"| {cell} | {pairs} | {score:.3g} | {log_density:.3g} |")
        means = " | ".join(f"{geometric_mean(column):.3g}" for column in zip(*ratios.values(), strict=True))
        print(f"| {len(ratios)} cells, geometric mean | | | {means} |")


if __name__ == "__main__":
    main()
