"""A neural spline flow, trained on each sample, on the draws of the benchmark.

It is that of ``benchmarks.common.estimators``: whitened coordinates, early stopping on held-out rows. The
draws are the first of ``discoformer-train benchmark``, so its errors stand beside those of other estimators.

    python -m benchmarks.accuracy.flows --draws 8 --out docs/flows
"""

from pathlib import Path

import click

from benchmarks.common.data_sets import Floats
from benchmarks.common.estimators import fitted_flow
from benchmarks.common.report import markdown, out_option, seed_option
from discoformer.io.files import write_bytes
from discoformer_training.evaluation.benchmark import Report, run_benchmark
from discoformer_training.evaluation.cells import Cell

CELLS = [Cell("gmm", 2, 1024), Cell("gmm", 10, 1024), Cell("laplace", 10, 1024), Cell("student3", 5, 1024)]


def estimate(context: Floats, queries: Floats) -> tuple[Floats, Floats]:
    """Train a flow on a context (N, D), and answer at queries (M, D)."""
    found = fitted_flow(context, queries, seed=0)
    return found.log_density, found.score


def to_markdown(report: Report) -> str:
    """Return the report as a page."""
    rows = [
        [str(row.cell), f"{row.score_percent.value:.3g} % / {row.log_density_mse.value:.3g}"]
        for row in report.rows
    ]
    return "\n".join(
        [
            "# Neural spline flows",
            "",
            "Relative score error / log-density MSE in nats² of a neural spline flow, trained on each sample",
            f"with early stopping. It is measured on the first {report.draws} of the 32 draws of",
            f"[the other estimators](../benchmarks/mixtures.md), seed {report.seed}.",
            "",
            f"`python -m benchmarks.accuracy.flows --draws {report.draws} --out docs/flows`",
            "",
            markdown(["density", "flow"], rows),
            "",
        ]
    )


@click.command()
@click.option("--draws", type=click.IntRange(1), default=32, show_default=True, help="Draws of each density.")
@seed_option
@out_option
def main(draws: int, seed: int, out: Path | None) -> None:
    """Measure a neural spline flow on draws of the benchmark."""
    report = run_benchmark({"flow": estimate}, CELLS, draws=draws, seed=seed, baselines={}, floors={})
    click.echo(to_markdown(report))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_bytes(out / "flows.md", to_markdown(report).encode())


if __name__ == "__main__":
    main()
