"""What the commands share: options, the reading of a context, progress, and errors as messages.

Results go to stdout or to files, what is said about them to stderr. Exit codes: 0, 1 (error), 2 (usage),
130 (Ctrl-C), 143 (SIGTERM).
"""

import csv
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import click

from discoformer.errors import DiscoformerError, InputError, RangeWarning, require
from discoformer.estimates import Estimate
from discoformer.fit import read_sample
from discoformer.fitted import Diagnostics
from discoformer.io.readers import STDIN
from discoformer.io.tables import Table, read_table
from discoformer.io.writers import STDOUT_FORMATS, WRITERS, Writer, open_file, open_stdout
from discoformer.model import DEFAULT_NAME, Model, load

PICTURES = (".png", ".svg", ".pdf")

INPUT = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
model_option = click.option(
    "--model", default=DEFAULT_NAME, show_default=True, help="Name of a model, or its folder."
)
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads; by default as many as there are cores."
)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options ``--model``, ``--device`` and ``--threads`` of a command that reads DATA."""
    return model_option(device_option(threads_option(command)))


columns_option = click.option(
    "--columns", help="Columns of DATA to use, as in a line of CSV: a,b; by default all."
)
weights_option = click.option("--weights", metavar="COLUMN", help="Column of DATA that holds row weights.")


class Output(click.Path):
    """The path of a file to write, with one of the suffixes that say in which format."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)
        self._suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Checks the suffix and the folder."""
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix not in self._suffixes:
            self.fail(f"{path} must end in one of {', '.join(self._suffixes)}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}; make it first", param, ctx)
        return path


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options ``--out`` and ``--format`` of a command that writes rows."""
    form = click.option(
        "--format", "form", type=click.Choice(STDOUT_FORMATS), help="Of the output on stdout; by default csv."
    )
    out = click.option("--out", type=Output(*WRITERS), help="Output file, .csv, .jsonl, .npy or .parquet.")
    return out(form(command))


def check_usage(out: Path | None, form: str | None, *inputs: Path | None) -> None:
    """Fails where ``--out`` and ``--format`` do not fit, or two inputs are stdin."""
    if inputs.count(STDIN) > 1:
        raise click.UsageError("DATA and --query cannot both be -, stdin: put one of them into a file")
    if out and form and out.suffix != f".{form}":
        raise click.UsageError(f"--format {form} does not fit --out {out}, whose suffix says the format")


class _Interrupted(click.ClickException):
    exit_code = 128 + signal.SIGINT  # as shells have it


class _Ended(click.ClickException):
    exit_code = 128 + signal.SIGTERM


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a job as Ctrl-C does."""


def require_extras(out: Path | None, plot: Path | None) -> None:
    """Fails before any work is done where an output needs a package that is not installed."""
    if plot:
        require("matplotlib")
    if out and out.suffix == ".parquet":
        require("pyarrow")


def read_context(data: Path, columns: str | None, weights: str | None) -> tuple[Table, Any]:
    """The context, and the column of weights where one is named."""
    wanted = names_in(columns)
    if weights is None:
        return read_table(data, wanted), None
    if wanted is not None:
        wanted = [name for name in wanted if name != weights]
        if not wanted:
            raise InputError(
                f"--columns names no column but {weights!r}, that of --weights: name others, too"
            )
        wanted.append(weights)
    return read_table(data, wanted).split_off(weights)


def names_in(columns: str | None) -> list[str] | None:
    """The names in the value of ``--columns``, a line of CSV."""
    if columns is None:
        return None
    return [name.strip() for name in next(csv.reader([columns], skipinitialspace=True)) or [""]]


def names_of(context: Table) -> tuple[str, ...]:
    """What its columns are called, x1 and so on where they have no names."""
    return context.columns or tuple(f"x{j + 1}" for j in range(context.values.shape[1]))


def read_estimate(
    context: Table, weights: Any, model: str, device: Any, threads: int | None, landmarks: int | None = None
) -> Estimate:
    """Loads the model and reads the context, saying how far it has come; doubts are left to ``tell``."""
    with warnings.catch_warnings(), _stages() as say:
        warnings.simplefilter("ignore", RangeWarning)
        return load(model, device, threads).estimate(context, weights, None, landmarks, say)


@contextmanager
def _stages() -> Iterator[Callable[[str], None]]:
    """Gives what shows, where someone may be watching, how far the reading of the context has come."""
    with click.progressbar(
        length=3,
        label="reading",
        show_eta=False,
        item_show_func=lambda stage: stage,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    ) as bar:
        begun: list[str] = []

        def say(stage: str) -> None:
            bar.update(len(begun[:1]), stage)  # one stage is done where another begins
            begun.append(stage)
            bar.render_progress()

        yield say
        bar.update(1)


def tell(diagnostics: Diagnostics) -> None:
    """What is worth knowing about the estimate."""
    if diagnostics.landmarks < diagnostics.n:
        click.echo(
            f"The network reads {diagnostics.landmarks} of the {diagnostics.n} points of DATA, frame and "
            "components all.",
            err=True,
        )
    for doubt in diagnostics.warnings:
        click.echo(f"Warning: {doubt}", err=True)


def tell_doubts(context: Table, model: Model) -> None:
    """What is worth knowing about rows of which no estimate is made as they are."""
    sample = read_sample(context, None)
    for doubt in model.metadata.out_of_range(*sample.z.shape) + sample.doubts():
        click.echo(f"Warning: {doubt}", err=True)


def open_output(
    out: Path | None, form: str | None, columns: tuple[str, ...], dtype: Any
) -> AbstractContextManager[Writer]:
    """Opens ``--out``, or stdout where it is not given."""
    return open_file(out, columns, dtype) if out else open_stdout(form or "csv", columns, dtype)


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Turns errors that name their own remedy, and signals, into a message and an exit code."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has seen enough; click ends quietly
    except _Terminated as error:
        raise _Ended(_with_notes("terminated", error)) from error
    except KeyboardInterrupt as error:
        raise _Interrupted(_with_notes("interrupted", error)) from error
    except (DiscoformerError, OSError) as error:
        raise click.ClickException(_with_notes(str(error), error)) from error


def _terminate(number: int, frame: Any) -> None:
    raise _Terminated


def _with_notes(message: str, error: BaseException) -> str:
    return "\n".join([message, *getattr(error, "__notes__", ())])
