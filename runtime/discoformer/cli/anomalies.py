"""``discoformer anomalies``: rows of low density, with control of the false discovery rate."""

import sys
import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.analysis.folds import FOLDS
from discoformer.anomalies import ROUNDS, Anomalies, Reference, find_anomalies
from discoformer.cli.answers import distinct
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
    require_extras,
    tell,
    tell_doubts,
)
from discoformer.errors import RangeWarning
from discoformer.io.tables import Table, read_table
from discoformer.model import Model, load
from discoformer.plots.anomalies import save_anomalies


@click.command()
@click.argument("data", type=INPUT)
@click.option("--query", type=INPUT, help="New rows to judge; by default the rows of DATA themselves.")
@click.option(
    "--fdr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="False discovery rate: the mean share of false ones among the rows found, at most.",
)
@click.option(
    "--method",
    type=click.Choice(["cross", "split"]),
    default="cross",
    show_default=True,
    help="Of the p-values of --query: cross uses all of DATA and finds more; split reads one half and "
    "calibrates with the other, and control is exact.",
)
@click.option("--folds", type=click.IntRange(min=2), default=FOLDS, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of folds and draws.")
@output_options
@click.option("--plot", type=Output(*PICTURES), help="Draw what was found into this file (.png, .svg, .pdf).")
@columns_option
@model_options
def anomalies(
    data: Path,
    *,
    query: Path | None,
    fdr: float,
    method: Any,
    folds: int,
    seed: int,
    out: Path | None,
    form: str | None,
    plot: Path | None,
    columns: str | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Rows of low density: which, how surely, and because of which columns.

    With --query, DATA is a clean sample, and new rows are held against it: their p-values are conformal,
    which assumes nothing of the distribution. Without, DATA may hold anomalies itself: each row is held
    against the density estimated from others, and control is as good as that estimate. Both are CSV, NPY or
    Parquet files, or - for CSV on stdin, and are held in memory.

    The output, on stdout or in --out, has one row for each row judged, in their order: its columns, then
    p_value, anomaly (1 or 0), log_density (nats), and for each column push_COLUMN, its share in what is
    strange about the row: positive where the value is too high, negative where it is too low.

    Exit codes: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    check_usage(out, form, data, query)
    if method == "split" and query is None:
        raise click.UsageError("--method split needs --query: rows of DATA are judged by each other")
    with errors_as_messages(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)  # said with the other doubts
        require_extras(out, plot)
        context, _ = read_context(data, columns, None)
        header = output_columns(context)
        loaded = load(model, device, threads)
        if query:
            rows = read_table(query, context.columns)
            reference = Reference(context, method=method, model=loaded, folds=folds, seed=seed)
            tell(reference.estimate.diagnostics)
            found = reference.find(rows, fdr)
        else:
            tell_doubts(context, loaded)
            rows, found = context, _against_itself(context, fdr, loaded, folds, seed)
        values = np.asarray(rows.values, np.float64)
        marks = np.column_stack([found.p_values, found.found, found.log_density, found.contributions])
        with open_output(out, form, header, values.dtype) as writer:
            writer.write(np.hstack([values, marks]))
        if plot:
            save_anomalies(plot, found, values, fdr)
        click.echo(f"{found.found.sum()} of {len(values)} rows found.", err=True)


def output_columns(context: Table) -> tuple[str, ...]:
    """What the columns of the output are called.

    Raises:
        InputError: Two would be called the same.
    """
    names = names_of(context)
    return distinct(*names, "p_value", "anomaly", "log_density", *(f"push_{name}" for name in names))


def _against_itself(context: Table, fdr: float, model: Model, folds: int, seed: int) -> Anomalies:
    """Finds the anomalies of a sample, with a progress bar where someone may be watching."""
    with click.progressbar(
        length=ROUNDS,
        label="rounds",
        show_eta=False,
        item_show_func=lambda stage: stage,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    ) as bar:
        return find_anomalies(
            context, fdr, model=model, folds=folds, seed=seed, on_progress=lambda stage: bar.update(1, stage)
        )
