"""``discoformer modes``: find the modes of the density of a file, and label its rows."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.analysis.modes import PROMINENCE, Modes, modes_of
from discoformer.cli.messages import errors_as_messages, print_diagnostics, progress_bar
from discoformer.cli.options import (
    DROP_OR_ERROR,
    EXIT_CODES,
    INPUT,
    columns_option,
    estimate_options,
    reading_options,
    weights_option,
)
from discoformer.cli.output import (
    Output,
    check_usage,
    distinct_columns,
    open_output,
    output_options,
    require_extras,
)
from discoformer.cli.reading import names_of, read_data, read_estimate
from discoformer.estimates import Estimate
from discoformer.io.inputs import AnyFloats
from discoformer.io.tables import Table
from discoformer.io.text import ReadOptions
from discoformer.io.writers import WRITERS

LABELLED = ("label", "log_density")  # columns of the output after those of DATA
MODES = ("log_density", "prominence", "rows")  # columns of --modes after the position of the mode


@click.command(epilog=EXIT_CODES)
@click.argument("data", type=INPUT)
@output_options
@click.option(
    "--modes",
    "modes_out",
    type=Output(*WRITERS),
    help="Write the modes into this file instead of printing them.",
)
@click.option(
    "--prominence",
    type=click.FloatRange(min=0),
    default=PROMINENCE,
    show_default=True,
    help="Least prominence of a mode, in nats: the drop of the log-density on the best path to a higher "
    "mode. Modes with less are merged into that mode; 0 keeps all.",
)
@columns_option
@reading_options(*DROP_OR_ERROR)
@weights_option
@estimate_options
def modes(
    data: Path,
    *,
    out: Path | None,
    form: str | None,
    modes_out: Path | None,
    prominence: float,
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
    """Find the modes of the density, and label the rows by mode.

    DATA is a file with one row for each point, or - for CSV on stdin. Each row gets the
    label of the mode that it reaches by climbing the density: its cluster.

    The output has the rows of DATA in the same order, then label and log_density (nats). The highest mode has
    label 0, the next label 1, and so on. The modes are printed on stderr or written into --modes: position,
    log_density, prominence (nats; inf for the highest mode) and number of rows.
    """
    check_usage(out, form)
    with errors_as_messages():
        require_extras(out, None)
        require_extras(modes_out, None)
        table, row_weights = read_data(data, columns, weights, reading)
        names = names_of(table)
        distinct_columns(*names, *LABELLED)
        if modes_out:
            distinct_columns(*names, *MODES)
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
        print_diagnostics(found)
        modes = _climb(found, table).merged(prominence)
        _write_labels(found, table, modes, names, out, form)
        if modes_out:
            _write_modes(modes, names, modes_out)
        else:
            _print_modes(modes, names)


def _climb(found: Estimate, table: Table) -> Modes:
    """Find the modes and the label of each row, with a progress bar."""
    with progress_bar(len(table.values), "climbing") as bar:
        return modes_of(found, table, lambda arrived, _: bar.update(max(0, arrived - bar.pos)))


def _write_labels(
    found: Estimate,
    table: Table,
    modes: Modes,
    names: tuple[str, ...],
    out: Path | None,
    form: str | None,
) -> None:
    values = np.asarray(table.values)
    log_density = found.log_density(table)
    parts = [values, modes.labels[:, None], np.asarray(log_density)[:, None]]
    text = out is None or out.suffix in (".csv", ".jsonl")
    with open_output(out, form, (*names, *LABELLED), values.dtype) as writer:
        writer.write(_joined(parts, text, values.dtype))


def _write_modes(modes: Modes, names: tuple[str, ...], out: Path) -> None:
    rows = np.bincount(modes.labels, minlength=len(modes.points))
    parts = [modes.points, modes.log_density[:, None], modes.prominence[:, None], rows[:, None]]
    with open_output(out, None, (*names, *MODES), np.dtype(float)) as writer:
        writer.write(_joined(parts, out.suffix in (".csv", ".jsonl"), np.dtype(float)))


def _joined(parts: list[Any], text: bool, dtype: Any) -> AnyFloats:
    """Return columns side by side. In text each keeps its own format, so that labels stay whole numbers."""
    return np.concatenate([part.astype(str if text else dtype) for part in parts], axis=1)


def _print_modes(modes: Modes, names: tuple[str, ...]) -> None:
    rows = np.bincount(modes.labels, minlength=len(modes.points))
    for label, point in enumerate(modes.points):
        position = ", ".join(f"{name}={value:.6g}" for name, value in zip(names, point, strict=True))
        click.echo(
            f"mode {label}: {rows[label]} rows, log-density {modes.log_density[label]:.4g}, prominence "
            f"{modes.prominence[label]:.3g}, at {position}",
            err=True,
        )
