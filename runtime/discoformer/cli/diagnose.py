"""``discoformer diagnose``: report whether to trust the estimate from a file, and why."""

import json
from pathlib import Path
from typing import Any

import click

from discoformer.cli.messages import errors_as_messages
from discoformer.cli.options import (
    DROP_OR_ERROR,
    EXIT_CODES,
    INPUT,
    columns_option,
    estimate_options,
    reading_options,
    seed_option,
    weights_option,
)
from discoformer.cli.output import Output, check_usage
from discoformer.cli.reading import read_data, read_estimate
from discoformer.errors import require
from discoformer.io.tables import read_table
from discoformer.io.text import ReadOptions
from discoformer.plots.diagnosis import REPORTS, save_report


@click.command(epilog=EXIT_CODES)
@click.argument("data", type=INPUT)
@click.option("--query", type=INPUT, help="Queries to check the answers at. By default rows of DATA.")
@click.option(
    "--out",
    type=Output(*REPORTS),
    help="Also write a report with pictures into this file: .html, .png, .svg or .pdf.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@seed_option("Random seed of the folds and draws.")
@columns_option
@reading_options(*DROP_OR_ERROR)
@weights_option
@estimate_options
def diagnose(
    data: Path,
    *,
    query: Path | None,
    out: Path | None,
    as_json: bool,
    seed: int,
    columns: str | None,
    reading: ReadOptions,
    weights: str | None,
    rounding: str,
    allow_singular: bool,
    effort: Any,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Report whether to trust the estimate, and why.

    DATA and --query are files with one row for each point, or - for CSV on stdin.

    Each finding has a level (fine, doubtful or bad) and says what to do. The findings are about the data
    (size, condition, repeated rows, columns of few values); the integral of the density, which should be 1;
    the likelihood of held-out rows, compared with KDE and one Gaussian; Stein's identities, which every score
    satisfies; and the difference between the score and the slope of the log-density.

    The exit code does not depend on the findings.
    """
    check_usage(None, None, data, query)
    with errors_as_messages():
        if out:
            require("matplotlib")
        table, row_weights = read_data(data, columns, weights, reading)
        queries = read_table(query, table.columns, reading) if query else None
        found = read_estimate(
            table,
            row_weights,
            model,
            device,
            threads,
            effort,
            rounding=rounding,
            allow_singular=allow_singular,
        )
        diagnosis = found.diagnose(queries, seed)
        click.echo(json.dumps(diagnosis.as_dict(), indent=2) if as_json else str(diagnosis))
        if out:
            save_report(out, diagnosis, f"Diagnosis of {data.name}")
