"""``discoformer adapt``: adapt a model to the rows of a file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from discoformer.cli.messages import errors_as_messages, print_diagnostics, progress_bar
from discoformer.cli.options import (
    DROP_OR_ERROR,
    EXIT_CODES,
    INPUT,
    allow_singular_option,
    columns_option,
    model_options,
    reading_options,
    rounding_option,
    seed_option,
    weights_option,
)
from discoformer.cli.reading import read_data, read_estimate
from discoformer.errors import require
from discoformer.estimates import Estimate
from discoformer.io.text import ReadOptions


@click.command(epilog=EXIT_CODES)
@click.argument("data", type=INPUT)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the adapted model. Files with the same names are replaced.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=256, show_default=True, help="Number of steps to try."
)
@seed_option("Random seed of the split into parts.")
@columns_option
@reading_options(*DROP_OR_ERROR)
@weights_option
@rounding_option
@allow_singular_option
@model_options
def adapt(
    data: Path,
    *,
    out: Path,
    steps: int,
    seed: int,
    columns: str | None,
    reading: ReadOptions,
    weights: str | None,
    rounding: str,
    allow_singular: bool,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Adapt a model to the rows of DATA.

    DATA is a file with one row for each point, or - for CSV on stdin.

    This is for data unlike anything in training. The command takes steps on losses that need no labels, and
    checks them on held-out rows. The first step is kept unless held-out rows contradict it; further steps
    only if these rows clearly support them. So the model may stay as it is.

    The folder --out then holds a model for these data. Use it like any other: `discoformer estimate DATA
    --model OUT/`. Adapting needs PyTorch; using the adapted model does not.
    """
    from discoformer.onnx.model_folder import save_model

    with errors_as_messages():
        torch = require("torch")
        if threads is not None:
            torch.set_num_threads(threads)
        table, row_weights = read_data(data, columns, weights, reading)
        found = read_estimate(
            table, row_weights, model, device, threads, rounding=rounding, allow_singular=allow_singular
        )
        print_diagnostics(found)
        adapted = _adapt(found, steps, seed)
        save_model(adapted.model.graphs, out, {"adaptation": asdict(adapted.adaptation)})  # type: ignore[arg-type]
        _report(adapted, steps, out)


def _adapt(found: Estimate, steps: int, seed: int) -> Estimate:
    """Adapt an estimate, with a progress bar."""
    from discoformer.analysis.adaptation_descent import PARTS

    with progress_bar(PARTS, "adapting") as bar:
        return found.adapt(steps, seed, lambda done: bar.update(1))


def _report(adapted: Estimate, steps: int, out: Path) -> None:
    """Print what adaptation did."""
    done = adapted.adaptation
    assert done is not None
    if done.steps == 0:
        click.echo(
            "No step was kept, because the loss on held-out rows clearly rose. "
            f"The model in {out} is unchanged.",
            err=True,
        )
        return
    click.echo(
        f"{done.steps} of {steps} steps kept. The loss on held-out rows changed by "
        f"{done.held_out[done.steps]:+.3g} ± {done.held_out_error[done.steps]:.2g}, the score by "
        f"{done.score_change:.1%} and the log-density by {done.log_density_change:.2g} nats. "
        f"The adapted model is in {out}.",
        err=True,
    )
