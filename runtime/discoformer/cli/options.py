"""Options that several commands share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from discoformer.analysis.folds import FOLDS
from discoformer.io.text import ReadOptions
from discoformer.onnx.finding import DEFAULT_NAME

EXIT_CODES = "Exit codes: 0 success, 1 error, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM."

INPUT = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

model_option = click.option(
    "--model", default=DEFAULT_NAME, show_default=True, help="Name of a model, or path of its folder."
)
device_option = click.option(
    "--device",
    metavar="auto|cpu|cuda|cuda:N",
    default="auto",
    show_default=True,
    help="Device of the network. auto takes cuda if it is available, else cpu; cuda:1 is the second GPU.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Number of CPU threads. By default one for each core."
)
columns_option = click.option(
    "--columns",
    help="Columns of DATA to use, separated by commas as in CSV: a,b. By default all that hold numbers.",
)
weights_option = click.option("--weights", metavar="COLUMN", help="Column of DATA with the row weights.")
effort_option = click.option(
    "--effort",
    type=click.Choice(["fast", "best"]),
    default="best",
    show_default=True,
    help="How DATA is read. fast turns it into a mixture by one pass of the network. best refines the "
    "mixture at each query.",
)
rounding_option = click.option(
    "--rounding",
    metavar="auto|none|COLUMN=STEP,...",
    default="auto",
    show_default=True,
    help="How rounded values of DATA are read. auto finds the step of each column, and spreads its values "
    "over cells as wide as the step. none reads values as they are. COLUMN=STEP,... gives the step of "
    "columns, 0 for those to be read as they are; others are found.",
)
allow_singular_option = click.option(
    "--allow-singular/--no-allow-singular",
    default=True,
    show_default=True,
    help="Whether DATA may have constant or collinear columns. Then the density is that on the affine hull "
    "of its rows, and 0 elsewhere.",
)
folds_option = click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=FOLDS,
    show_default=True,
    help="Number of parts that the rows are split into. Each part is held out in turn.",
)
host_option = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
port_option = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes any free port.",
)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
DROP_OR_ERROR = ("drop", "error")


def reading_options(*rules: str) -> Decorator:
    """Return the options that say how files are read; the command gets them as one argument, ``reading``.

    Args:
        rules: Choices of ``--missing``, the default first; none if the command has no such option.
    """
    options = [
        click.option("--encoding", default="utf-8", show_default=True, help="Encoding of text files."),
        click.option(
            "--header/--no-header",
            default=None,
            help="Whether the first row of text files holds names. By default guessed.",
        ),
        click.option(
            "--decimal", type=click.Choice([".", ","]), help="Decimal mark of text files. By default guessed."
        ),
    ]
    if rules:
        marginal = (
            " marginal, for --effort fast: leave them out of the sample; queries get the density of the "
            "values that are present."
        )
        options.append(
            click.option(
                "--missing",
                type=click.Choice(rules),
                default=rules[0],
                show_default=True,
                help="What to do with rows with missing values. drop: leave them out and count them. error: "
                "stop." + (marginal if "marginal" in rules else ""),
            )
        )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def read(
            *args: Any,
            encoding: str,
            header: bool | None,
            decimal: str | None,
            missing: Any = "error",
            **others: Any,
        ) -> Any:
            rule: Any = "keep" if missing == "marginal" else missing
            return command(*args, reading=ReadOptions(encoding, header, decimal, rule), **others)

        for option in reversed(options):
            option(read)
        return read

    return add


def seed_option(text: str) -> Decorator:
    """Return the option ``--seed`` with a help text."""
    return click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help=text)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--model``, ``--device`` and ``--threads`` to a command."""
    return model_option(device_option(threads_option(command)))


def estimate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a sample is read, and those of ``model_options``, to a command."""
    return rounding_option(allow_singular_option(effort_option(model_options(command))))
