"""The command line: ``discoformer estimate`` and ``discoformer info``.

Results go to stdout or to files, what is said about them to stderr. Exit codes: 0, 1 (error), 2 (usage).
"""

import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from discoformer import __version__
from discoformer.errors import DiscoformerError, InputError, RangeWarning, require
from discoformer.estimates import Estimate
from discoformer.inputs import Floats
from discoformer.model import DEFAULT_NAME, load
from discoformer.plot import grid, save_figure
from discoformer.tables import SUFFIXES, Table, read_table, write_csv, write_table

_BLOCK = 4096  # queries between two steps of the progress bar
_GRID = {1: 512, 2: 128}  # points of --grid along each axis

_PICTURES = (".png", ".svg", ".pdf")

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_model = click.option(
    "--model", default=DEFAULT_NAME, show_default=True, help="Name of a model, or its folder."
)
_device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
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
        return path


@click.group()
@click.version_option(__version__, package_name="discoformer")
def main() -> None:
    """Density and score of the distribution behind a sample."""


@main.command()
@click.argument("data", type=_FILE)
@click.option("--query", type=_FILE, help="Points to answer at; by default the rows of DATA themselves.")
@click.option(
    "--grid", "on_grid", is_flag=True, help="Answer on a regular grid around DATA (1 or 2 columns)."
)
@click.option(
    "--out", type=_Output(*SUFFIXES), help="Output file, .csv, .npy or .parquet; by default CSV on stdout."
)
@click.option("--plot", type=_Output(*_PICTURES), help="Draw the estimate into this file (.png, .svg, .pdf).")
@click.option("--columns", help="Columns of DATA to use, comma-separated; by default all.")
@click.option("--weights", metavar="COLUMN", help="Column of DATA that holds row weights.")
@_model
@_device
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads; by default as many as there are cores."
)
def estimate(
    data: Path,
    *,
    query: Path | None,
    on_grid: bool,
    out: Path | None,
    plot: Path | None,
    columns: str | None,
    weights: str | None,
    model: str,
    device: Any,
    threads: int | None,
) -> None:
    """Log-density, density and score of the distribution that the rows of DATA come from.

    DATA is a CSV, NPY or Parquet file with one row for each point. The output has the columns of the queries,
    then log_density (nats), density, and score_COLUMN for each column.
    """
    if query and on_grid:
        raise click.UsageError("--query and --grid exclude each other")
    with _errors_as_messages():
        _require_extras(out, plot)
        context, row_weights = _read_context(data, columns, weights)
        names = context.columns or tuple(f"x{j + 1}" for j in range(context.values.shape[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RangeWarning)  # said below, with the other doubts
            found = load(model, device, threads).estimate(context, row_weights)
        for doubt in found.diagnostics.warnings:
            click.echo(f"Warning: {doubt}", err=True)
        queries = context.values
        if query:
            queries = read_table(query, context.columns).values
        elif on_grid:
            queries = _grid(context.values)
        _write(out, names, queries, *_answer(found, queries))
        if plot:
            save_figure(plot, found, context.values.astype(np.float64), names, row_weights)


@main.command()
@_model
@_device
def info(model: str, device: Any) -> None:
    """Version, model, trained ranges, and where things are."""
    with _errors_as_messages():
        loaded = load(model, device)
        about = loaded.metadata
        ort = require("onnxruntime")
        lines = {
            "discoformer": __version__,
            "python": f"{platform.python_version()} ({sys.executable})",
            "onnxruntime": f"{ort.__version__} ({', '.join(ort.get_available_providers())})",
            "device": loaded.device,
            "model": f"{about.name} {about.version} ({about.licence})",
            "folder": loaded.folder,
            "weights sha256": about.weights_sha256,
            "trained": f"step {about.training_step}, commit {about.training_commit}",
            "exported": f"{about.exporter}, opset {about.opset}",
            "columns": "{} to {}".format(*about.trained_dim),
            "rows": "{} to {}".format(*about.trained_context),
            "modes": "{} to {}".format(*about.trained_modes),
        }
    for name, value in lines.items():
        click.echo(f"{name:15} {value}")


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
    return read_table(data, None if wanted is None else [*wanted, weights]).split_off(weights)


def _grid(points: npt.NDArray[Any]) -> Floats:
    dim = points.shape[1]
    if dim not in _GRID:
        raise InputError(
            f"--grid needs 1 or 2 columns, got {dim}: choose them with --columns, or use --query"
        )
    return grid(points, _GRID[dim])


def _answer(found: Estimate, queries: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Log-density and score at the queries, with a progress bar where someone may be watching."""
    starts = range(0, max(len(queries), 1), _BLOCK)
    with click.progressbar(starts, file=sys.stderr, label="queries", hidden=not sys.stderr.isatty()) as bar:
        parts = [found.log_density_and_score(queries[start : start + _BLOCK]) for start in bar]
    log_density, score = (np.concatenate(part) for part in zip(*parts, strict=True))
    return log_density, score


def _write(
    out: Path | None,
    names: tuple[str, ...],
    queries: npt.NDArray[Any],
    log_density: npt.NDArray[Any],
    score: npt.NDArray[Any],
) -> None:
    columns = (*names, "log_density", "density", *(f"score_{name}" for name in names))
    with np.errstate(over="ignore", under="ignore"):
        values = np.column_stack([queries, log_density, np.exp(log_density), score])
    if out is None:
        write_csv(sys.stdout, columns, values)
    else:
        write_table(out, columns, values)


@contextmanager
def _errors_as_messages() -> Iterator[None]:
    """Turns errors that name their own remedy into one line and exit code 1."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has seen enough; click ends quietly
    except (DiscoformerError, OSError) as error:
        raise click.ClickException(str(error)) from error
