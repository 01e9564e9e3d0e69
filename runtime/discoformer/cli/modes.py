"""``discoformer modes``: the modes of the density of a file, and the rows that belong to each."""

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.analysis.modes import PROMINENCE, Modes, modes_of
from discoformer.cli.answers import distinct
from discoformer.cli.shared import (
    INPUT,
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
from discoformer.estimates import Estimate
from discoformer.io.inputs import AnyFloats
from discoformer.io.tables import Table
from discoformer.io.writers import WRITERS

LABELLED = ("label", "log_density")  # columns beside those of DATA
MODES = ("log_density", "prominence", "rows")  # beside the place of a mode


@click.command()
@click.argument("data", type=INPUT)
@output_options
@click.option("--modes", "modes_out", type=Output(*WRITERS), help="Write the modes into this file.")
@click.option(
    "--prominence",
    type=click.FloatRange(min=0),
    default=PROMINENCE,
    show_default=True,
    help="Nats that must be lost on the way from a mode to a higher one; 0 keeps every bump.",
)
@columns_option
@weights_option
@model_options
def modes(
    data: Path,
    *,
    out: Path | None,
    form: str | None,
    modes_out: Path | None,
    prominence: float,
    columns: str | None,
    weights: str | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Finds the modes of the density that the rows of DATA come from, and labels each row by its mode.

    The output, on stdout or in --out, has the rows of DATA in their order, then the label, from 0 for the
    highest mode on, and log_density (nats). The modes themselves are told on stderr, or written to --modes:
    their place, log_density, prominence (nats, inf for the highest) and number of rows.

    Exit codes: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    check_usage(out, form)
    with errors_as_messages():
        require_extras(out, None)
        require_extras(modes_out, None)
        context, row_weights = read_context(data, columns, weights)
        names = names_of(context)
        distinct(*names, *LABELLED)
        if modes_out:
            distinct(*names, *MODES)
        found = read_estimate(context, row_weights, model, device, threads)
        tell(found.diagnostics)
        modes = _climb(found, context).merged(prominence)
        _write_labels(found, context, modes, names, out, form)
        if modes_out:
            _write_modes(modes, names, modes_out)
        else:
            _tell_modes(modes, names)


def _climb(found: Estimate, context: Table) -> Modes:
    with click.progressbar(
        length=len(context.values), label="climbing", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        return modes_of(found, context, lambda arrived, _: bar.update(max(0, arrived - bar.pos)))


def _write_labels(
    found: Estimate,
    context: Table,
    modes: Modes,
    names: tuple[str, ...],
    out: Path | None,
    form: str | None,
) -> None:
    values = np.asarray(context.values)
    log_density = found.log_density(context)
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
    """Columns side by side; in text each with its own digits, so that labels stay whole numbers."""
    return np.concatenate([part.astype(str if text else dtype) for part in parts], axis=1)


def _tell_modes(modes: Modes, names: tuple[str, ...]) -> None:
    rows = np.bincount(modes.labels, minlength=len(modes.points))
    for label, point in enumerate(modes.points):
        place = ", ".join(f"{name}={value:.6g}" for name, value in zip(names, point, strict=True))
        click.echo(
            f"mode {label}: {rows[label]} rows, log-density {modes.log_density[label]:.4g}, prominence "
            f"{modes.prominence[label]:.3g}, at {place}",
            err=True,
        )
