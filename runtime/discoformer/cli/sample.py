"""``discoformer sample``: new points from the distribution behind the rows of a file."""

import sys
import warnings
from pathlib import Path
from typing import Any

import click

from discoformer.cli.shared import (
    INPUT,
    Output,
    columns_option,
    device_option,
    errors_as_messages,
    model_option,
    open_output,
    read_context,
    require_extras,
    stages,
    tell,
    threads_option,
    weights_option,
)
from discoformer.errors import RangeWarning
from discoformer.estimates import Estimate
from discoformer.model import load
from discoformer.sampling import METHODS, STEPS, Sampling
from discoformer.sampling import sample as sample_of
from discoformer.writers import STDOUT_FORMATS, WRITERS


@click.command()
@click.argument("data", type=INPUT)
@click.option("-n", "count", type=click.IntRange(min=1), required=True, help="How many points.")
@click.option("--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=STEPS,
    show_default=True,
    help="Of the Langevin chains, or levels of noise.",
)
@click.option("--out", type=Output(*WRITERS), help="Output file, .csv, .jsonl, .npy or .parquet.")
@click.option(
    "--format", "form", type=click.Choice(STDOUT_FORMATS), help="Of the output on stdout; by default csv."
)
@columns_option
@weights_option
@model_option
@device_option
@threads_option
def sample(
    data: Path,
    *,
    count: int,
    method: Any,
    seed: int,
    steps: int,
    out: Path | None,
    form: str | None,
    columns: str | None,
    weights: str | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """New points from the distribution that the rows of DATA come from.

    DATA is a CSV, NPY or Parquet file with one row for each point, or - for CSV on stdin. The output, on
    stdout or in --out, has its columns, without that of --weights.

    "langevin" draws from the estimated density by Markov chains, and says which share of the moves was
    accepted. "diffusion" turns noise into points, and encodes DATA anew at each level of noise; "ode" does so
    without randomness on the way.

    Exit codes: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    if out and form and out.suffix != f".{form}":
        raise click.UsageError(f"--format {form} does not fit --out {out}, whose suffix says the format")
    with errors_as_messages():
        require_extras(out, None)
        context, row_weights = read_context(data, columns, weights)
        names = context.columns or tuple(f"x{j + 1}" for j in range(context.values.shape[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RangeWarning)  # said below, with the other doubts
            with stages() as say:
                found = load(model, device, threads).estimate(context, row_weights, say=say)
        tell(found.diagnostics)
        drawn = _draw(found, count, method, seed, steps)
        if method == "langevin":
            click.echo(
                f"{drawn.acceptance:.0%} of the moves and {drawn.jumps:.0%} of the jumps accepted.", err=True
            )
        with open_output(out, form, names, drawn.points.dtype) as writer:
            writer.write(drawn.points)


def _draw(found: Estimate, count: int, method: Any, seed: int, steps: int) -> Sampling:
    """The points, with a progress bar where someone may be watching."""
    with click.progressbar(
        length=steps, label=method, show_pos=True, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        return sample_of(found, count, method, seed, steps, lambda done, steps: bar.update(1))
