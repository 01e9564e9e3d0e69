"""``discoformer diagnose``: whether to trust the estimate of a file, and why."""

import json
from pathlib import Path
from typing import Any

import click

from discoformer.cli.shared import (
    INPUT,
    Output,
    check_usage,
    columns_option,
    errors_as_messages,
    model_options,
    read_context,
    read_estimate,
    weights_option,
)
from discoformer.errors import require
from discoformer.io.tables import read_table
from discoformer.plots.diagnosis import REPORTS, save_report


@click.command()
@click.argument("data", type=INPUT)
@click.option("--query", type=INPUT, help="Points that matter; by default those of DATA.")
@click.option("--out", type=Output(*REPORTS), help="Write a page with pictures (.html, .png, .svg, .pdf).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of folds and draws.")
@columns_option
@weights_option
@model_options
def diagnose(
    data: Path,
    *,
    query: Path | None,
    out: Path | None,
    as_json: bool,
    seed: int,
    columns: str | None,
    weights: str | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Says whether to trust the estimate of the rows of DATA, and why.

    Every finding has a level, fine, doubtful or bad, and says what to do. Measured are the data's size,
    condition, repeated rows and few-valued columns; the integral of the density; the likelihood of held-out
    rows beside KDE and one Gaussian; Stein's identities; and how far score and slope agree.

    Exit codes: 0 whatever is found, 1 after an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    check_usage(None, None, data, query)
    with errors_as_messages():
        if out:
            require("matplotlib")
        context, row_weights = read_context(data, columns, weights)
        queries = read_table(query, context.columns) if query else None
        found = read_estimate(context, row_weights, model, device, threads)
        diagnosis = found.diagnose(queries, seed)
        click.echo(json.dumps(diagnosis.as_dict(), indent=2) if as_json else str(diagnosis))
        if out:
            save_report(out, diagnosis, f"Diagnosis of {data.name}")
