"""Output of the commands: its options, its columns, and the file or stdout that it is written to."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from discoformer.errors import InputError, require
from discoformer.io.text import STDIN
from discoformer.io.writers import NO_LABELS, STDOUT_FORMATS, WRITERS, Labels, Writer, open_file, open_stdout

PICTURES = (".png", ".svg", ".pdf")


class Output(click.Path):
    """Type of an option that names an output file; its suffix gives the format."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)
        self._suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check the suffix and the folder, and return the path."""
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix not in self._suffixes:
            self.fail(f"{path} must end in one of {', '.join(self._suffixes)}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}; create it first", param, ctx)
        return path


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--out`` and ``--format`` to a command."""
    form = click.option(
        "--format", "form", type=click.Choice(STDOUT_FORMATS), help="Format on stdout. By default csv."
    )
    out = click.option(
        "--out",
        type=Output(*WRITERS),
        help="Output file: .csv, .jsonl, .npy or .parquet. By default the output goes to stdout.",
    )
    return out(form(command))


def check_usage(out: Path | None, form: str | None, *inputs: Path | None) -> None:
    """Raise a usage error if ``--format`` contradicts ``--out``, or if two inputs are stdin."""
    if inputs.count(STDIN) > 1:
        raise click.UsageError("DATA and --query cannot both be - (stdin): put one of them in a file")
    if out and form and out.suffix != f".{form}":
        raise click.UsageError(f"--format {form} does not fit --out {out}: the suffix gives the format")


def require_extras(out: Path | None, plot: Path | None) -> None:
    """Raise an error, before any work is done, if an output needs a package that is not installed."""
    if plot:
        require("matplotlib")
    if out and out.suffix == ".parquet":
        require("pyarrow")


def distinct_columns(*columns: str) -> tuple[str, ...]:
    """Return the names of the columns of an output.

    Raises:
        InputError: Two names are the same.
    """
    double = [name for name in columns if columns.count(name) > 1]
    if double:
        raise InputError(
            f"the output would have more than one column {double[0]!r}: rename that column of DATA, "
            "or leave it out with --columns"
        )
    return columns


def open_output(
    out: Path | None, form: str | None, columns: tuple[str, ...], dtype: Any, labels: Labels = NO_LABELS
) -> AbstractContextManager[Writer]:
    """Open the file ``--out``, or stdout if none is given."""
    if out:
        return open_file(out, columns, dtype, labels)
    return open_stdout(form or "csv", columns, dtype, labels)
