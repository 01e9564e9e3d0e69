"""``discoformer impute``: fill in the missing cells of a file."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.analysis.imputation import SAMPLES, impute_rows, missing_rows
from discoformer.cli.messages import errors_as_messages, print_diagnostics, progress_bar
from discoformer.cli.options import (
    EXIT_CODES,
    INPUT,
    columns_option,
    estimate_options,
    reading_options,
    seed_option,
)
from discoformer.cli.output import Output, require_extras
from discoformer.cli.reading import names_in, read_estimate
from discoformer.errors import InputError
from discoformer.io.inputs import AnyFloats
from discoformer.io.missing import Gaps, read_gaps
from discoformer.io.tables import SUFFIXES, Table
from discoformer.io.text import TEXT, ReadOptions, is_text


@click.command(epilog=EXIT_CODES)
@click.argument("data", type=INPUT)
@click.option(
    "--out",
    type=Output(*SUFFIXES),
    help="Output file, in the format of DATA. By default stdout, for text only.",
)
@click.option(
    "--draw", is_flag=True, help="Fill in random draws, which keep the spread of the data, instead of means."
)
@click.option(
    "--samples",
    type=click.IntRange(2),
    default=SAMPLES,
    show_default=True,
    help="Number of random points from which each row is filled in. More are slower and more exact.",
)
@seed_option("Random seed of these points.")
@columns_option
@reading_options()
@estimate_options
def impute(
    data: Path,
    *,
    out: Path | None,
    draw: bool,
    samples: int,
    seed: int,
    columns: str | None,
    reading: ReadOptions,
    rounding: str,
    allow_singular: bool,
    effort: Any,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Fill in missing cells, given the other cells of their row.

    The density is estimated from the rows without missing cells. A missing cell gets its mean under this
    density, given the other cells of its row.

    DATA is a file with one row for each point, or - for CSV on stdin. NaN and null are missing; in text also
    empty cells, NA, N/A, none and ?. All other cells stay as they are, and so do columns of text and those
    that --columns leaves out.
    """
    suffixes = TEXT if is_text(data) else (data.suffix,)
    if suffixes[0] in SUFFIXES and (".csv" if out is None else out.suffix) not in suffixes:
        raise click.UsageError(
            f"the output has the format of DATA: --out must end in {' or '.join(suffixes)}"
        )
    with errors_as_messages():
        require_extras(out, None)
        gaps = read_gaps(data, names_in(columns), reading)
        gaps.write(
            _filled(gaps, model, device, threads, rounding, allow_singular, effort, draw, samples, seed), out
        )


def _filled(
    gaps: Gaps,
    model: str,
    device: Any,
    threads: int | None,
    rounding: str,
    allow_singular: bool,
    effort: Any,
    draw: bool,
    samples: int,
    seed: int,
) -> AnyFloats:
    """Return the table with its missing cells filled in, and print how many there were."""
    values = gaps.values
    rows = np.flatnonzero(~np.isnan(values).any(axis=1))
    incomplete, cells = missing_rows(values), int(np.isnan(values).sum())
    if len(rows) < 2:
        raise InputError(
            f"{len(rows)} of the {len(values)} rows of DATA are complete, but 2 or more are needed to "
            "estimate the density: use --columns to choose columns with fewer missing cells"
        )
    if not cells:
        click.echo(f"Nothing is missing in {len(values)} rows.", err=True)
        return values
    table = Table(values[rows], gaps.columns, rows)
    found = read_estimate(
        table, None, model, device, threads, effort, rounding=rounding, allow_singular=allow_singular
    )
    print_diagnostics(found)
    with progress_bar(incomplete, "imputing") as bar:
        filled = impute_rows(found, values, 1 if draw else None, samples, seed, bar.update)[0]
    click.echo(f"Filled in {cells} cells in {incomplete} rows, using {len(rows)} complete rows.", err=True)
    return filled
