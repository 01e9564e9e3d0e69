"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from discoformer.analysis.folds import FOLDS
from discoformer.model import DEFAULT_NAME

EXIT_CODES = "Exit codes: 0 success, 1 error, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM."

INPUT = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

model_option = click.option(
    "--model", default=DEFAULT_NAME, show_default=True, help="Name of a model, or path of its folder."
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device of the network. auto takes cuda if it is available, else cpu.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Number of CPU threads. By default one for each core."
)
columns_option = click.option(
    "--columns", help="Columns of DATA to use, separated by commas as in CSV: a,b. By default all."
)
weights_option = click.option("--weights", metavar="COLUMN", help="Column of DATA with the row weights.")
effort_option = click.option(
    "--effort",
    type=click.Choice(["fast", "best"]),
    default="best",
    show_default=True,
    help="How DATA is read. fast turns it into a mixture by one pass of the network. best fits a base to it, "
    "which the network refines at each query.",
)
folds_option = click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=FOLDS,
    show_default=True,
    help="Number of parts that the rows are split into. Each part is held out in turn.",
)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def seed_option(text: str) -> Decorator:
    """Return the option ``--seed`` with a help text."""
    return click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help=text)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--model``, ``--device`` and ``--threads`` to a command."""
    return model_option(device_option(threads_option(command)))


def estimate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--effort``, ``--model``, ``--device`` and ``--threads`` to a command."""
    return effort_option(model_options(command))
