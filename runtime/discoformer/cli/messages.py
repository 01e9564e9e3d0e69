"""Messages on stderr: progress, reasons to doubt an estimate, and errors. Results never go to stderr.

Exit codes: 0 (success), 1 (error), 2 (wrong usage), 130 (Ctrl-C), 143 (SIGTERM), 129 (SIGHUP).
"""

import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TextIO

import click

from discoformer.errors import DataWarning, DiscoformerError
from discoformer.estimates import Estimate
from discoformer.fit import read_sample
from discoformer.io.tables import Table
from discoformer.model import Model
from discoformer.onnx.names import Effort
from discoformer.table.cells import Rounding


class _Interrupted(click.ClickException):
    exit_code = 128 + signal.SIGINT  # the convention of shells


class _Ended(click.ClickException):
    exit_code = 128 + signal.SIGTERM


class _HungUp(click.ClickException):
    exit_code = 128 + 1  # SIGHUP, which not all systems have


_ENDING: dict[int, tuple[str, type[click.ClickException]]] = {signal.SIGTERM: ("terminated", _Ended)}
if hasattr(signal, "SIGHUP"):
    _ENDING[signal.SIGHUP] = ("hung up", _HungUp)


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP was received; it ends a command as Ctrl-C does."""


def progress_bar(
    length: int | None, label: str, *, hidden: bool = False, **options: Any
) -> AbstractContextManager[Any]:
    """Return a progress bar on stderr, hidden if stderr is not a terminal.

    Args:
        length: Number of steps.
        label: Text before the bar.
        hidden: Whether to hide it in any case.
        **options: Further options of ``click.progressbar``.
    """
    hidden = hidden or not sys.stderr.isatty()
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden, **options)


def print_diagnostics(found: Estimate) -> None:
    """Print how DATA is read, unless values and rows are all read as they are, and the reasons for doubt."""
    diagnostics = found.diagnostics
    names = found.columns or tuple(f"x{j + 1}" for j in range(diagnostics.dim))
    steps = [f"{name} {step:.6g}" for name, step in zip(names, diagnostics.steps, strict=True) if step]
    if steps:
        click.echo(
            f"Rounded values are spread over cells as wide as their step: {', '.join(steps)}. Use --rounding "
            "none to read them as they are.",
            err=True,
        )
    if diagnostics.landmarks < diagnostics.n:
        click.echo(
            f"The network reads {diagnostics.landmarks} landmarks out of the {diagnostics.n} rows of DATA. "
            "The mixture uses all rows.",
            err=True,
        )
    _print_warnings(diagnostics.warnings)


def print_doubts(
    table: Table, model: Model, effort: Effort, rounding: Rounding, allow_singular: bool
) -> None:
    """Print the reasons to doubt estimates from parts of a table, as far as the whole table shows them."""
    metadata = model.graphs.files(effort).metadata
    sample = read_sample(table, None, effort=effort, rounding=rounding, allow_singular=allow_singular)
    size = len(sample.data.points), sample.frame.rank
    _print_warnings(metadata.out_of_range(*size) + sample.doubts())


def _print_warnings(doubts: tuple[str, ...]) -> None:
    for doubt in doubts:
        click.echo(f"Warning: {doubt}", err=True)


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Turn errors and signals into a message and an exit code, and warnings into a message.

    Unexpected errors keep their traceback.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
                signal.signal(number, _terminate)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", DataWarning)
            warnings.showwarning = _print_warning
            yield
    except BrokenPipeError:
        raise  # the reader of stdout has closed it; click exits quietly
    except _Terminated as error:
        said, kind = _ENDING[error.args[0]]
        raise kind(_with_notes(said, error)) from error
    except KeyboardInterrupt as error:
        raise _Interrupted(_with_notes("interrupted", error)) from error
    except (DiscoformerError, OSError) as error:
        raise click.ClickException(_with_notes(str(error), error)) from error


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _print_warnings((str(message),))


def _terminate(number: int, frame: Any) -> None:
    raise _Terminated(number)


def _with_notes(message: str, error: BaseException) -> str:
    return "\n".join([message, *getattr(error, "__notes__", ())])
