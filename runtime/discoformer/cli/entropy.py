"""``discoformer entropy``: the differential entropy of the distribution behind a file."""

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from discoformer.analysis.folds import FOLDS
from discoformer.cli.shared import (
    INPUT,
    columns_option,
    errors_as_messages,
    model_options,
    read_context,
    tell_doubts,
)
from discoformer.errors import RangeWarning
from discoformer.information import Information
from discoformer.information import entropy as entropy_of
from discoformer.model import load


@click.command()
@click.argument("data", type=INPUT)
@click.option("--folds", type=click.IntRange(min=2), default=FOLDS, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the folds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@columns_option
@model_options
def entropy(
    data: Path,
    *,
    folds: int,
    seed: int,
    as_json: bool,
    columns: str | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Differential entropy of the distribution that the rows of DATA come from, in nats.

    DATA is a CSV, NPY or Parquet file, or - for CSV on stdin. The entropy is that of the density in the units
    of the columns, so it may be negative. Each row is asked of an estimate that has not seen it (held out)
    and of one that has (in sample); the value is the mean of both, and half their difference says what bias
    there may be.

    Exit codes: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    with errors_as_messages():
        context, _ = read_context(data, columns, None)
        loaded = load(model, device, threads)
        tell_doubts(context, loaded)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RangeWarning)  # said with the other doubts
            found = entropy_of(context, model=loaded, folds=folds, seed=seed)
        rows, dim = context.values.shape
        click.echo(_json(found, rows, dim) if as_json else _text(found, rows, dim))


def _json(found: Information, rows: int, dim: int) -> str:
    return json.dumps(
        asdict(found) | {"bias_check": found.bias_check, "unit": "nats", "rows": rows, "dim": dim}
    )


def _text(found: Information, rows: int, dim: int) -> str:
    return (
        f"entropy {found.value:.6g} nats, standard error {found.standard_error:.2g} "
        f"({rows} rows, {dim} columns)\n"
        f"held out {found.held_out:.6g}, in sample {found.in_sample:.6g}, "
        f"half the difference {found.bias_check:.2g}: bias may be so much"
    )
