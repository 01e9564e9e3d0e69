"""``discoformer adapt``: a model adapted to the rows of a file."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from discoformer.cli.shared import (
    INPUT,
    columns_option,
    errors_as_messages,
    model_options,
    read_context,
    read_estimate,
    tell,
    weights_option,
)
from discoformer.errors import require
from discoformer.estimates import Estimate


@click.command()
@click.argument("data", type=INPUT)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the adapted model; files of the same names are replaced.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Gradient steps that are tried.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the cut into parts."
)
@columns_option
@weights_option
@model_options
def adapt(
    data: Path,
    *,
    out: Path,
    steps: int,
    seed: int,
    columns: str | None,
    weights: str | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Adapts a model to the distribution that the rows of DATA come from.

    For data unlike anything in training: gradient steps on losses without labels, as many as held-out rows
    bear, none if they speak against it. The folder --out then holds a model for these data, which
    `discoformer estimate DATA --model OUT/` uses like any other, without PyTorch; adapting needs it.

    Exit codes: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    from discoformer.onnx.model_folder import save_model

    with errors_as_messages():
        torch = require("torch")
        if threads is not None:
            torch.set_num_threads(threads)
        context, row_weights = read_context(data, columns, weights)
        found = read_estimate(context, row_weights, model, device, threads)
        tell(found.diagnostics)
        adapted = _adapt(found, steps, seed)
        save_model(adapted.model.graphs, out, {"adaptation": asdict(adapted.adaptation)})  # type: ignore[arg-type]
        _report(adapted, steps, out)


def _adapt(found: Estimate, steps: int, seed: int) -> Estimate:
    """Adapts, with a progress bar where someone may be watching."""
    from discoformer.analysis.adaptation import PARTS

    hidden = not sys.stderr.isatty()
    with click.progressbar(length=PARTS, label="adapting", file=sys.stderr, hidden=hidden) as bar:
        return found.adapt(steps, seed, lambda done: bar.update(1))


def _report(adapted: Estimate, steps: int, out: Path) -> None:
    done = adapted.adaptation
    assert done is not None
    if done.steps == 0:
        click.echo(
            f"Held-out rows speak against adapting to these data: the model in {out} is as it was.",
            err=True,
        )
        return
    click.echo(
        f"{done.steps} of {steps} steps kept: held-out loss {done.held_out[done.steps]:+.3g} ± "
        f"{done.held_out_error[done.steps]:.2g}, score changed by {done.score_change:.1%}, log-density by "
        f"{done.log_density_change:.2g} nats. The adapted model is in {out}.",
        err=True,
    )
