"""Errors of one released model relative to another, in every cell of the benchmarks.

    python -m benchmarks.accuracy.compare_models models/base benchmarks/base_7 [--effort fast]

The errors are on the same draws. They come from the files benchmark.json, wide/benchmark.json and
small/benchmark.json in both folders (`discoformer-train benchmark MODEL [--cells wide] --out FOLDER`).
"""

import json
from pathlib import Path
from statistics import geometric_mean

import click

from discoformer_training.evaluation.cells import Cell

FILES = ("benchmark.json", "wide/benchmark.json", "small/benchmark.json")
MEASURES = ("score_percent", "log_density_mse")
Errors = dict[Cell, tuple[float, float]]


def errors_of(file: Path, name: str) -> Errors:
    """Return the score error in % and the log-density MSE in nats^2 of an estimator, by cell."""
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return {
        Cell(**row["cell"] | {"modes": tuple(row["cell"]["modes"])}): tuple(
            row[measure]["value"] for measure in MEASURES
        )
        for row in rows
        if row["name"] == name
    }


@click.command()
@click.argument("one", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--effort", type=click.Choice(["best", "fast"]), default="best", help="Of ONE.")
def main(one: Path, other: Path, effort: str) -> None:
    """Print a line per cell for the models in the folders ONE and OTHER, and geometric means per file.

    OTHER is read with effort best.
    """
    name = "fast" if effort == "fast" else "discoformer"
    print(f"| cell | {one.name} | {other.name} | score, ratio | log-density, ratio |\n|---|---|---|---|---|")
    for file in FILES:
        if not ((one / file).exists() and (other / file).exists()):
            continue
        first, second = errors_of(one / file, name), errors_of(other / file, "discoformer")
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
