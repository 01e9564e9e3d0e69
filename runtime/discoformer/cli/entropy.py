"""``discoformer entropy``: estimate the differential entropy of the distribution behind a file."""

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from discoformer.cli.messages import errors_as_messages, print_doubts
from discoformer.cli.options import (
    DROP_OR_ERROR,
    EXIT_CODES,
    INPUT,
    columns_option,
    estimate_options,
    folds_option,
    reading_options,
    seed_option,
)
from discoformer.cli.reading import read_data, rounding_of
from discoformer.errors import DataWarning, RangeWarning
from discoformer.information import Information
from discoformer.information import entropy as entropy_of
from discoformer.io.text import ReadOptions
from discoformer.model import load


@click.command(epilog=EXIT_CODES)
@click.argument("data", type=INPUT)
@folds_option
@seed_option("Random seed of the folds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@columns_option
@reading_options(*DROP_OR_ERROR)
@estimate_options
def entropy(
    data: Path,
    *,
    folds: int,
    seed: int,
    as_json: bool,
    columns: str | None,
    reading: ReadOptions,
    rounding: str,
    allow_singular: bool,
    effort: Any,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Estimate the differential entropy, in nats.

    DATA is a file with one row for each point, or - for CSV on stdin. The density is in the units of the
    columns, so its entropy may be negative.

    The entropy is estimated twice: from estimates that have not read the row in question (held out), and from
    estimates that have (in sample). The result is the mean of both. Half their difference indicates how large
    the bias may be.
    """
    with errors_as_messages():
        table, _ = read_data(data, columns, None, reading)
        loaded = load(model, device, threads)
        steps = rounding_of(rounding, table)
        print_doubts(table, loaded, effort, steps, allow_singular)
        with warnings.catch_warnings():
            for category in (RangeWarning, DataWarning):  # print_doubts has printed these
                warnings.simplefilter("ignore", category)
            found = entropy_of(
                table,
                model=loaded,
                folds=folds,
                seed=seed,
                effort=effort,
                rounding=steps,
                allow_singular=allow_singular,
            )
        rows, dim = table.values.shape
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
        f"possible bias (half the difference) {found.bias_check:.2g}"
    )
