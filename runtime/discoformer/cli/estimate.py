"""``discoformer estimate``: density and score at the rows of a file."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.cli.answers import answer_columns, answers
from discoformer.cli.shared import (
    INPUT,
    PICTURES,
    Output,
    check_usage,
    columns_option,
    errors_as_messages,
    model_options,
    names_of,
    open_output,
    output_options,
    read_context,
    read_estimate,
    require_extras,
    tell,
    weights_option,
)
from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.io.readers import Rows, rows_of
from discoformer.io.tables import Table, open_rows
from discoformer.plots.density import grid, save_figure

_GRID = {1: 512, 2: 128}  # points of --grid along each axis


@click.command()
@click.argument("data", type=INPUT)
@click.option("--query", type=INPUT, help="Points to answer at; by default the rows of DATA themselves.")
@click.option(
    "--grid", "on_grid", is_flag=True, help="Answer on a regular grid around DATA (1 or 2 columns)."
)
@output_options
@click.option("--plot", type=Output(*PICTURES), help="Draw the estimate into this file (.png, .svg, .pdf).")
@columns_option
@weights_option
@click.option(
    "--landmarks",
    type=click.IntRange(min=1),
    help="Rows of DATA that the network reads at most (frame and base take all); by default as many as "
    "it was trained to read. Time grows with their square.",
)
@model_options
def estimate(
    data: Path,
    *,
    query: Path | None,
    on_grid: bool,
    out: Path | None,
    form: str | None,
    plot: Path | None,
    columns: str | None,
    weights: str | None,
    landmarks: int | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Log-density, density and score of the distribution that the rows of DATA come from.

    DATA and --query are CSV, NPY or Parquet files with one row for each point, or - for CSV on stdin. DATA is
    held in memory; queries are read, answered and written in blocks, however many there are.

    The output, on stdout or in --out, has one row for each query, in their order: the columns of the query,
    then log_density (nats), density, and score_COLUMN for each column. Numbers in text read back the same. A
    density too great for its float width is inf, in JSON lines null.

    Until it is complete, --out is written as OUT.partial. After an error or Ctrl-C that file holds the rows
    answered so far, and the message says how many.

    Exit codes: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    if query and on_grid:
        raise click.UsageError("--query and --grid exclude each other")
    check_usage(out, form, data, query)
    with errors_as_messages():
        require_extras(out, plot)
        context, row_weights = read_context(data, columns, weights)
        names = names_of(context)
        found = read_estimate(context, row_weights, model, device, threads, landmarks)
        tell(found.diagnostics)
        with _open_queries(context, query, on_grid) as queries:
            _answer(found, queries, names, out, form)
        if plot:
            save_figure(plot, found, context.values.astype(np.float64), names, row_weights)


def _open_queries(context: Table, query: Path | None, on_grid: bool) -> AbstractContextManager[Rows]:
    if query:
        return open_rows(query, context.columns)
    if not on_grid:
        return nullcontext(rows_of("DATA", context.values))
    dim = context.values.shape[1]
    if dim not in _GRID:
        raise InputError(
            f"--grid needs 1 or 2 columns, got {dim}: choose them with --columns, or use --query"
        )
    return nullcontext(rows_of("grid", grid(context.values, _GRID[dim])))


def _answer(
    found: Estimate, queries: Rows, names: tuple[str, ...], out: Path | None, form: str | None
) -> None:
    """Writes the answers block by block, with a progress bar where someone may be watching."""
    blocks = answers(found, queries)
    with (
        open_output(out, form, answer_columns(names), queries.dtype) as writer,
        click.progressbar(
            blocks,
            length=queries.length,
            label="rows",
            show_pos=True,
            file=sys.stderr,
            hidden=not sys.stderr.isatty() or (out is None and sys.stdout.isatty()),
        ) as bar,
    ):
        for block in blocks:
            writer.write(block)
            bar.update(len(block))
