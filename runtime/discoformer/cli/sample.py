"""``discoformer sample``: draw new points from the distribution behind a file."""

from pathlib import Path
from typing import Any

import click

from discoformer.analysis.sampling import METHODS, STEPS, Sampling, default_method
from discoformer.analysis.sampling import sample as sample_of
from discoformer.cli.messages import errors_as_messages, print_diagnostics, progress_bar
from discoformer.cli.options import (
    DROP_OR_ERROR,
    EXIT_CODES,
    INPUT,
    columns_option,
    estimate_options,
    reading_options,
    seed_option,
    weights_option,
)
from discoformer.cli.output import check_usage, open_output, output_options, require_extras
from discoformer.cli.reading import names_of, read_data, read_estimate
from discoformer.estimates import Estimate
from discoformer.io.text import ReadOptions


@click.command(epilog=EXIT_CODES)
@click.argument("data", type=INPUT)
@click.option("-n", "count", type=click.IntRange(min=1), required=True, help="Number of points to draw.")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    help="How to draw; see above. By default langevin, and exact with --effort fast.",
)
@seed_option("Random seed. The same seed draws the same points.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=STEPS,
    show_default=True,
    help="Number of steps of the Markov chains, or of noise levels. Time grows with it.",
)
@output_options
@columns_option
@reading_options(*DROP_OR_ERROR)
@weights_option
@estimate_options
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
    reading: ReadOptions,
    weights: str | None,
    rounding: str,
    allow_singular: bool,
    effort: Any,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Draw new points from the distribution behind DATA.

    DATA is a file with one row for each point, or - for CSV on stdin. The output has the
    same columns, without the column of --weights.

    Methods: "langevin" runs Markov chains whose target is the estimated density, and prints the share of
    accepted moves. "diffusion" starts from noise and removes it step by step, and reads DATA again
    at each noise level. "ode" does the same without adding randomness on the way. "exact" draws from the
    mixture of --effort fast, without steps.
    """
    check_usage(out, form)
    with errors_as_messages():
        require_extras(out, None)
        table, row_weights = read_data(data, columns, weights, reading)
        names = names_of(table)
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
        method = method or default_method(effort)
        drawn = _draw(found, count, method, seed, steps)
        if method == "langevin":
            click.echo(
                f"Accepted {drawn.acceptance:.0%} of the moves along the score and {drawn.jumps:.0%} of the "
                "jumps to new points.",
                err=True,
            )
        with open_output(out, form, names, drawn.points.dtype) as writer:
            writer.write(drawn.points)


def _draw(found: Estimate, count: int, method: Any, seed: int, steps: int) -> Sampling:
    """Draw points, with a progress bar."""
    with progress_bar(steps, method, show_pos=True) as bar:
        return sample_of(found, count, method, seed, steps, lambda done, steps: bar.update(1))
