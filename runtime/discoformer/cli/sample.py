"""``discoformer sample``: new points from the distribution behind the rows of a file."""

import sys
from pathlib import Path
from typing import Any

import click

from discoformer.analysis.sampling import METHODS, STEPS, Sampling
from discoformer.analysis.sampling import sample as sample_of
from discoformer.cli.shared import (
    INPUT,
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
@output_options
@columns_option
@weights_option
@model_options
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
    check_usage(out, form)
    with errors_as_messages():
        require_extras(out, None)
        context, row_weights = read_context(data, columns, weights)
        names = names_of(context)
        found = read_estimate(context, row_weights, model, device, threads)
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
