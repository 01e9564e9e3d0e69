"""``discoformer estimate``: density and score at the rows of a file."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.cli.answers import answer_columns, answers
from discoformer.cli.groups import by_option, groups_of, write_answers_by_group
from discoformer.cli.messages import errors_as_messages, print_diagnostics, progress_bar
from discoformer.cli.options import (
    EXIT_CODES,
    INPUT,
    columns_option,
    estimate_options,
    reading_options,
    weights_option,
)
from discoformer.cli.output import (
    PICTURES,
    Output,
    check_usage,
    open_output,
    output_options,
    require_extras,
)
from discoformer.cli.reading import names_of, read_data_and_queries, read_estimate
from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.io.readers import Rows, rows_of
from discoformer.io.tables import Table, open_rows
from discoformer.io.text import ReadOptions
from discoformer.plots.density import grid, save_figure

_GRID = {1: 512, 2: 128}  # points of --grid along each axis, by number of columns


@click.command(epilog=EXIT_CODES)
@click.argument("data", type=INPUT)
@click.option("--query", type=INPUT, help="Queries. By default the rows of DATA.")
@click.option(
    "--grid", "on_grid", is_flag=True, help="Query a regular grid around DATA (1 or 2 columns only)."
)
@by_option
@click.option(
    "--save",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Save the estimate, or with --by all groups, into this file. If a job with --by is killed, the same "
    "command goes on with the groups that are not yet in SAVE.partial.",
)
@output_options
@click.option("--plot", type=Output(*PICTURES), help="Draw the estimate into this file: .png, .svg or .pdf.")
@columns_option
@reading_options("drop", "error", "marginal")
@weights_option
@click.option(
    "--landmarks",
    type=click.IntRange(min=1),
    help="Largest number of rows of DATA that the network reads. By default the number that it was trained "
    "to read. Time grows with its square. The mixture always uses all rows.",
)
@estimate_options
def estimate(
    data: Path,
    *,
    query: Path | None,
    on_grid: bool,
    by: str | None,
    save: Path | None,
    out: Path | None,
    form: str | None,
    plot: Path | None,
    columns: str | None,
    reading: ReadOptions,
    weights: str | None,
    landmarks: int | None,
    rounding: str,
    allow_singular: bool,
    effort: Any,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Estimate density and score, at the rows of DATA or elsewhere.

    DATA is the sample. The queries are the points at which its density and score are evaluated. DATA and
    --query are files with one row for each point, or - for CSV on stdin. DATA is held in memory. Queries are
    read, answered and written in blocks, so there may be any number of them. The columns of --query are those
    of DATA, by name.

    The output has one row for each query, in the same order: its columns, then log_density (nats), density,
    and score_COLUMN for each column. Numbers written as text read back to the same values. A density too
    large for its float width is inf, or null in JSON lines.

    With --by, the columns of --by come first, as they were read. Rows of groups without an estimate, and rows
    with missing values, get NaN.

    Until it is complete, --out is named OUT.RANDOM.partial. After an error or Ctrl-C, that file holds the
    rows answered so far, and the error message gives its name and their number.
    """
    if query and on_grid:
        raise click.UsageError("--query and --grid cannot be used together: choose one")
    check_usage(out, form, data, query)
    if reading.missing == "keep" and effort != "fast":
        raise click.UsageError("--missing marginal needs --effort fast, whose marginals have a closed form")
    if by and (on_grid or plot or weights or reading.missing == "keep"):
        raise click.UsageError("--by cannot be used with --grid, --plot, --weights or --missing marginal")
    with errors_as_messages():
        require_extras(out, plot)
        if by:
            given = (data, by, query, columns, reading, rounding, effort, allow_singular)
            options = groups_of(*given, (model, device, threads))
            write_answers_by_group(options, query, out, form, landmarks, save)
            return
        table, row_weights, asked = read_data_and_queries(data, columns, weights, reading)
        names = names_of(table)
        found = read_estimate(
            table, row_weights, model, device, threads, effort, landmarks, rounding, allow_singular
        )
        print_diagnostics(found)
        if save:
            found.save(save)
        with _open_queries(table, query, on_grid, asked, reading) as queries:
            _write_answers(found, queries, names, out, form)
        if plot:
            save_figure(plot, found, table.values.astype(np.float64), names, row_weights)


def _open_queries(
    table: Table, query: Path | None, on_grid: bool, asked: Table, reading: ReadOptions
) -> AbstractContextManager[Rows]:
    if query:
        return open_rows(query, table.columns, reading)
    if not on_grid:
        return nullcontext(rows_of("DATA", asked.values))
    dim = table.values.shape[1]
    if dim not in _GRID:
        raise InputError(
            f"--grid needs 1 or 2 columns, got {dim}: choose them with --columns, or use --query"
        )
    return nullcontext(rows_of("grid", grid(table.values, _GRID[dim])))


def _write_answers(
    found: Estimate, queries: Rows, names: tuple[str, ...], out: Path | None, form: str | None
) -> None:
    """Write the answers block by block, with a progress bar unless the answers go to the terminal."""
    blocks = answers(found, queries)
    on_terminal = out is None and sys.stdout.isatty()
    with (
        open_output(out, form, answer_columns(names), queries.dtype) as writer,
        progress_bar(queries.length, "rows", hidden=on_terminal, iterable=blocks, show_pos=True) as bar,
    ):
        for block in blocks:
            writer.write(block)
            bar.update(len(block))
