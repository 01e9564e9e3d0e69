"""``discoformer anomalies``: find rows of low density, with control of the false discovery rate."""

import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.anomalies import FOLDS, ROUNDS, Anomalies, Reference, find_anomalies
from discoformer.cli.group_anomalies import write_anomalies_by_group
from discoformer.cli.groups import by_option, groups_of
from discoformer.cli.messages import errors_as_messages, print_diagnostics, print_doubts, progress_bar
from discoformer.cli.options import (
    DROP_OR_ERROR,
    EXIT_CODES,
    INPUT,
    columns_option,
    estimate_options,
    folds_option,
    reading_options,
    seed_option,
)
from discoformer.cli.output import (
    PICTURES,
    Output,
    check_usage,
    distinct_columns,
    open_output,
    output_options,
    require_extras,
)
from discoformer.cli.reading import names_of, read_data, rounding_of
from discoformer.errors import DataWarning, RangeWarning
from discoformer.io.tables import Table, read_table
from discoformer.io.text import ReadOptions
from discoformer.model import Model, load
from discoformer.onnx.names import Effort
from discoformer.plots.anomalies import save_anomalies
from discoformer.table.cells import Rounding


@click.command(epilog=EXIT_CODES, context_settings={"default_map": {"effort": "fast", "folds": FOLDS}})
@click.argument("data", type=INPUT)
@click.option("--query", type=INPUT, help="New rows to test. By default the rows of DATA are tested.")
@click.option(
    "--fdr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="False discovery rate: upper bound on the expected share of false positives among the rows found.",
)
@click.option(
    "--method",
    type=click.Choice(["cross", "split"]),
    default="cross",
    show_default=True,
    help="How the p-values of --query are computed. cross uses every row of DATA both to estimate and to "
    "calibrate, and finds more. split estimates from one half of DATA and calibrates with the other; only "
    "with split is the bound --fdr proven.",
)
@by_option
@folds_option
@seed_option("Random seed of the folds.")
@output_options
@click.option("--plot", type=Output(*PICTURES), help="Draw the anomalies into this file: .png, .svg or .pdf.")
@columns_option
@reading_options(*DROP_OR_ERROR)
@estimate_options
def anomalies(
    data: Path,
    *,
    query: Path | None,
    fdr: float,
    method: Any,
    by: str | None,
    folds: int,
    seed: int,
    out: Path | None,
    form: str | None,
    plot: Path | None,
    columns: str | None,
    reading: ReadOptions,
    rounding: str,
    allow_singular: bool,
    effort: Any,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Find anomalies, with control of the false discovery rate.

    A row is an anomaly if its density is too low, or if its values are too rare in their columns.

    With --query, DATA is a sample without anomalies, and the rows of --query are tested against it. Their
    p-values are conformal: they assume nothing about the distribution.

    Without --query, DATA may contain anomalies. Each row is compared with a density estimated from other
    rows. p-values then assume that the tail of this comparison is about exponential, as it is for normal
    and for heavy-tailed data.

    DATA and --query are files with one row for each point, or - for CSV on stdin. Both are held in memory.

    The output has one row for each row tested, in the same order: its columns, then p_value, anomaly (1 or
    0), log_density (nats), and push_COLUMN for each column. push_COLUMN is the contribution of the column to
    the anomaly: positive if the value is too high, negative if it is too low.

    With --by, each row is compared with the rows of its group, and --fdr holds over all groups together. The
    columns of --by come first. Rows of groups that are skipped, and rows with missing values, get NaN.
    """
    check_usage(out, form, data, query)
    if method == "split" and query is None:
        raise click.UsageError("--method split needs --query: without it, the rows of DATA test each other")
    if by and plot:
        raise click.UsageError("--by cannot be used with --plot")
    with errors_as_messages(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)  # print_diagnostics and print_doubts print these
        require_extras(out, plot)
        if by:
            given = (data, by, query, columns, reading, rounding, effort, allow_singular)
            options = groups_of(*given, (model, device, threads))
            write_anomalies_by_group(options, query, out, form, fdr, method, folds, seed)
            return
        table, _ = read_data(data, columns, None, reading)
        header = output_columns(table)
        loaded, steps = load(model, device, threads), rounding_of(rounding, table)
        if query:
            rows = read_table(query, table.columns, reading)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)  # print_diagnostics prints these, too
                reference = Reference(
                    table,
                    method=method,
                    model=loaded,
                    folds=folds,
                    seed=seed,
                    effort=effort,
                    rounding=steps,
                    allow_singular=allow_singular,
                )
            print_diagnostics(reference.estimate)
            found = reference.find(rows, fdr)
        else:
            print_doubts(table, loaded, effort, steps, allow_singular)
            rows = table
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)  # print_doubts prints these
                found = _find_anomalies(table, fdr, loaded, folds, seed, effort, steps, allow_singular)
        values = np.asarray(rows.values, np.float64)
        results = np.column_stack([found.p_values, found.found, found.log_density, found.contributions])
        with open_output(out, form, header, values.dtype) as writer:
            writer.write(np.hstack([values, results]))
        if plot:
            save_anomalies(plot, found, values, fdr)
        click.echo(f"Anomalies: {found.found.sum()} of {len(values)} rows.", err=True)


def output_columns(table: Table) -> tuple[str, ...]:
    """Return the names of the columns of the output.

    Raises:
        InputError: Two names are the same.
    """
    names = names_of(table)
    return distinct_columns(*names, "p_value", "anomaly", "log_density", *(f"push_{name}" for name in names))


def _find_anomalies(
    table: Table,
    fdr: float,
    model: Model,
    folds: int,
    seed: int,
    effort: Effort,
    rounding: Rounding,
    allow_singular: bool,
) -> Anomalies:
    """Find the anomalies within a sample, with a progress bar."""
    with progress_bar(ROUNDS, "rounds", show_eta=False, item_show_func=lambda stage: stage) as bar:
        return find_anomalies(
            table,
            fdr,
            model=model,
            folds=folds,
            seed=seed,
            on_progress=lambda stage: bar.update(1, stage),
            effort=effort,
            rounding=rounding,
            allow_singular=allow_singular,
        )
