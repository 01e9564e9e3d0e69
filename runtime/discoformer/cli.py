"""The command line: ``discoformer estimate``, ``discoformer bench`` and ``discoformer doctor``.

Results go to stdout or to files, what is said about them to stderr. Exit codes: 0, 1 (error), 2 (usage),
130 (Ctrl-C).
"""

import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.answers import answer_columns, answers
from discoformer.errors import DeviceWarning, DiscoformerError, InputError, RangeWarning, require
from discoformer.estimates import Diagnostics, Estimate
from discoformer.model import DEFAULT_NAME, load
from discoformer.plot import grid, save_figure
from discoformer.readers import STDIN, Rows, rows_of
from discoformer.tables import Table, open_rows, read_table
from discoformer.writers import STDOUT_FORMATS, WRITERS, Writer, open_file, open_stdout

_GRID = {1: 512, 2: 128}  # points of --grid along each axis

_PICTURES = (".png", ".svg", ".pdf")

_INPUT = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
_model = click.option(
    "--model", default=DEFAULT_NAME, show_default=True, help="Name of a model, or its folder."
)
_device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)


_threads = click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads; by default as many as there are cores."
)


class _Output(click.Path):
    """The path of a file to write, with one of the suffixes that say in which format."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)
        self._suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix not in self._suffixes:
            self.fail(f"{path} must end in one of {', '.join(self._suffixes)}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}; make it first", param, ctx)
        return path


class _Interrupted(click.ClickException):
    exit_code = 128 + signal.SIGINT  # as shells have it


class _Ended(click.ClickException):
    exit_code = 128 + signal.SIGTERM


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a job as Ctrl-C does."""


@click.group()
@click.version_option(package_name="discoformer")
def main() -> None:
    """Density and score of the distribution behind a sample."""


@main.command()
@click.argument("data", type=_INPUT)
@click.option("--query", type=_INPUT, help="Points to answer at; by default the rows of DATA themselves.")
@click.option(
    "--grid", "on_grid", is_flag=True, help="Answer on a regular grid around DATA (1 or 2 columns)."
)
@click.option("--out", type=_Output(*WRITERS), help="Output file, .csv, .jsonl, .npy or .parquet.")
@click.option(
    "--format", "form", type=click.Choice(STDOUT_FORMATS), help="Of the output on stdout; by default csv."
)
@click.option("--plot", type=_Output(*_PICTURES), help="Draw the estimate into this file (.png, .svg, .pdf).")
@click.option("--columns", help="Columns of DATA to use, comma-separated; by default all.")
@click.option("--weights", metavar="COLUMN", help="Column of DATA that holds row weights.")
@click.option(
    "--landmarks",
    type=click.IntRange(min=1),
    help="Rows of DATA that the network reads at most (frame and components take all); by default as many as "
    "it was trained to read. Time grows with their square.",
)
@_model
@_device
@_threads
def estimate(
    data: Path,
    *,
    query: Path | None,
    on_grid: bool,
    out: Path | None,
    form: str | None,
    plot: Path | None,
    columns: str | None,
    weights: str | None,
    landmarks: int | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Log-density, density and score of the distribution that the rows of DATA come from.

    DATA and --query are CSV, NPY or Parquet files with one row for each point, or - for CSV on stdin. DATA is
    held in memory; queries are read, answered and written in blocks, however many there are.

    The output, on stdout or in --out, has one row for each query, in their order: the columns of the query,
    then log_density (nats), density, and score_COLUMN for each column. Numbers in text read back the same. A
    density too great for its float width is inf, in JSON lines null.

    Until it is complete, --out is written as OUT.partial. After an error or Ctrl-C that file holds the rows
    answered so far, and the message says how many.

    Exit codes: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    _check_usage(data, query, on_grid, out, form)
    with _errors_as_messages():
        _require_extras(out, plot)
        context, row_weights = _read_context(data, columns, weights)
        names = context.columns or tuple(f"x{j + 1}" for j in range(context.values.shape[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RangeWarning)  # said below, with the other doubts
            with _stages() as say:
                found = load(model, device, threads).estimate(context, row_weights, None, landmarks, say)
        _tell(found.diagnostics)
        with _open_queries(context, query, on_grid) as queries:
            _answer(found, queries, names, out, form)
        if plot:
            save_figure(plot, found, context.values.astype(np.float64), names, row_weights)


@main.command()
@_model
@_device
def doctor(model: str, device: Any) -> None:
    """What is installed, whether it works, and what to do if not.

    Exit codes: 0 when all is well, else 1.
    """
    from discoformer.doctor import examine

    advice = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeviceWarning)  # found by examine too
        for finding in examine(model, device):
            click.echo(f"{finding.name:12} {finding.value}")
            if finding.advice:
                advice.append(f"{finding.name}: {finding.advice}")
    for line in advice:
        click.echo(f"To do: {line}", err=True)
    if advice:
        raise SystemExit(1)


@main.command()
@_model
@_threads
@click.option("--dims", default="2,10,50", show_default=True, help="Dimensions D, comma-separated.")
@click.option(
    "--sizes", default="256,1024,4096,8192,16384", show_default=True, help="Numbers N = M, comma-separated."
)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="The best counts.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for bench.md, .json and .png."
)
def bench(
    model: str, threads: int | None, dims: str, sizes: str, repeats: int, seed: int, out: Path | None
) -> None:
    """Speed and error on the CPU, beside scikit-learn, SciPy and PyTorch where they are installed.

    Times N = M context points and queries in D dimensions, all estimators in turns.
    """
    from discoformer.bench import measure, save_picture, to_json, to_markdown

    with _errors_as_messages(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)
        if out:
            require("matplotlib")
            out.mkdir(parents=True, exist_ok=True)
        timings = []
        for timing in measure(
            load(model, "cpu", threads), _numbers("--dims", dims), _numbers("--sizes", sizes), repeats, seed
        ):
            timings.append(timing)
            click.echo(
                f"D={timing.dim} N=M={timing.n} {timing.estimator}: read {timing.fit_s:.3g} s, "
                f"answer {timing.query_s:.3g} s",
                err=True,
            )
            if out:  # what is measured is kept
                (out / "bench.md").write_text(to_markdown(timings), encoding="utf-8")
                (out / "bench.json").write_text(to_json(timings), encoding="utf-8")
                save_picture(out / "bench.png", timings)
        click.echo(to_markdown(timings), nl=False)


@main.command()
@_model
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser, or do not.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the site into this folder, to be hosted anywhere, instead of serving it.",
)
@click.option(
    "--onnxruntime-web",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the files of onnxruntime-web; by default they are fetched once and kept in a cache.",
)
def play(
    model: str, port: int, host: str, browser: bool, out: Path | None, onnxruntime_web: Path | None
) -> None:
    """A page in which the model runs in the browser: draw points, see their density and score.

    Served on this machine until Ctrl-C, or written with --out.
    """
    from discoformer.play.command import play

    with _errors_as_messages():
        play(model, host, port, browser, out, onnxruntime_web)


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise InputError(f"{option} must be whole numbers from 1 on, comma-separated, got {text!r}")
    return numbers


def _check_usage(data: Path, query: Path | None, on_grid: bool, out: Path | None, form: str | None) -> None:
    if query and on_grid:
        raise click.UsageError("--query and --grid exclude each other")
    if data == query == STDIN:
        raise click.UsageError("DATA and --query cannot both be -, stdin: put one of them into a file")
    if out and form and out.suffix != f".{form}":
        raise click.UsageError(f"--format {form} does not fit --out {out}, whose suffix says the format")


def _require_extras(out: Path | None, plot: Path | None) -> None:
    """Fails before any work is done where an output needs a package that is not installed."""
    if plot:
        require("matplotlib")
    if out and out.suffix == ".parquet":
        require("pyarrow")


def _read_context(data: Path, columns: str | None, weights: str | None) -> tuple[Table, Any]:
    """The context, and the column of weights where one is named."""
    wanted = None if columns is None else [name.strip() for name in columns.split(",")]
    if weights is None:
        return read_table(data, wanted), None
    if wanted is not None:
        wanted = [*(name for name in wanted if name != weights), weights]
    return read_table(data, wanted).split_off(weights)


def _open_queries(context: Table, query: Path | None, on_grid: bool) -> AbstractContextManager[Rows]:
    if query:
        return open_rows(query, context.columns)
    if not on_grid:
        return nullcontext(rows_of("DATA", context.values))
    dim = context.values.shape[1]
    if dim not in _GRID:
        raise InputError(
            f"--grid needs 1 or 2 columns, got {dim}: choose them with --columns, or use --query"
        )
    return nullcontext(rows_of("grid", grid(context.values, _GRID[dim])))


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


def _tell(diagnostics: Diagnostics) -> None:
    """What is worth knowing about the estimate."""
    if diagnostics.landmarks < diagnostics.n:
        click.echo(
            f"The network reads {diagnostics.landmarks} of the {diagnostics.n} points of DATA, frame and "
            "components all (see --landmarks).",
            err=True,
        )
    for doubt in diagnostics.warnings:
        click.echo(f"Warning: {doubt}", err=True)


def _answer(
    found: Estimate, queries: Rows, names: tuple[str, ...], out: Path | None, form: str | None
) -> None:
    """Writes the answers block by block, with a progress bar where someone may be watching."""
    blocks = answers(found, queries)
    with (
        _open_output(out, form, answer_columns(names), queries.dtype) as writer,
        click.progressbar(
            blocks,
            length=queries.length,
            label="rows",
            show_pos=True,
            file=sys.stderr,
            hidden=not sys.stderr.isatty() or (out is None and sys.stdout.isatty()),
        ) as bar,
    ):
        for block in blocks:
            writer.write(block)
            bar.update(len(block))


def _open_output(
    out: Path | None, form: str | None, columns: tuple[str, ...], dtype: Any
) -> AbstractContextManager[Writer]:
    return open_file(out, columns, dtype) if out else open_stdout(form or "csv", columns, dtype)


@contextmanager
def _errors_as_messages() -> Iterator[None]:
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
