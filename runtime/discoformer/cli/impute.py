"""``discoformer impute``: the missing cells of a file, filled in."""

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.analysis.imputation import SAMPLES, impute_rows, missing_rows
from discoformer.cli.shared import (
    INPUT,
    Output,
    columns_option,
    errors_as_messages,
    model_options,
    names_in,
    read_estimate,
    require_extras,
    tell,
)
from discoformer.errors import InputError
from discoformer.io.inputs import AnyFloats
from discoformer.io.missing import Gaps, read_gaps
from discoformer.io.tables import SUFFIXES, Table


@click.command()
@click.argument("data", type=INPUT)
@click.option("--out", type=Output(*SUFFIXES), help="Output file, in the format of DATA; stdout for CSV.")
@click.option("--draw", is_flag=True, help="Fill in draws, which keep the spread, not means.")
@click.option(
    "--samples",
    type=click.IntRange(2),
    default=SAMPLES,
    show_default=True,
    help="Points that a row is filled in from; more are slower and more exact.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of these points.")
@columns_option
@model_options
def impute(
    data: Path,
    *,
    out: Path | None,
    draw: bool,
    samples: int,
    seed: int,
    columns: str | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Fills in the missing cells of DATA, from their distribution given the other cells of their row.

    DATA is a CSV, NPY or Parquet file, or - for CSV on stdin. Missing are empty cells, NaN and null. The
    density is read from the complete rows. Everything else stays as it is, columns that --columns leaves out
    included.

    Exit codes: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    suffix = ".csv" if str(data) == "-" else data.suffix
    if suffix in SUFFIXES and suffix != (out.suffix if out else ".csv"):
        raise click.UsageError(f"the output has the format of DATA: --out must end in {suffix}")
    with errors_as_messages():
        require_extras(out, None)
        gaps = read_gaps(data, names_in(columns))
        gaps.write(_filled(gaps, model, device, threads, draw, samples, seed), out)


def _filled(
    gaps: Gaps, model: str, device: Any, threads: int | None, draw: bool, samples: int, seed: int
) -> AnyFloats:
    values = gaps.values
    complete = values[~np.isnan(values).any(axis=1)]
    holed, cells = missing_rows(values), int(np.isnan(values).sum())
    if len(complete) < 2:
        raise InputError(
            f"DATA has {len(complete)} complete rows of {len(values)}, where 2 or more are needed to read "
            "the density from: choose columns with fewer missing cells by --columns"
        )
    if not cells:
        click.echo(f"Nothing is missing in {len(values)} rows.", err=True)
        return values
    table = Table(complete, gaps.columns)
    found = read_estimate(table, None, model, device, threads)
    tell(found.diagnostics)
    with click.progressbar(
        length=holed, label="imputing", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        filled = impute_rows(found, values, 1 if draw else None, samples, seed, bar.update)[0]
    click.echo(f"Filled in {cells} cells of {holed} rows, from {len(complete)} complete rows.", err=True)
    return filled
