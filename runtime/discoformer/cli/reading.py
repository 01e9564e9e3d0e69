"""Reading DATA: the chosen columns, the row weights, and the estimate from them."""

import csv
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from discoformer.cli.messages import progress_bar
from discoformer.errors import DataWarning, InputError, RangeWarning
from discoformer.estimates import Estimate
from discoformer.io.tables import Table, read_table
from discoformer.io.text import ReadOptions, name_of
from discoformer.model import load
from discoformer.onnx.names import Effort
from discoformer.table.cells import Rounding


def read_data(
    data: Path, columns: str | None, weights: str | None, reading: ReadOptions
) -> tuple[Table, Any]:
    """Read the sample, and its weights if ``weights`` names their column.

    Raises:
        InputError: The file cannot be read as a table, or ``columns`` names only the column of weights.
    """
    return _split(_read(data, columns, weights, reading), weights)


def read_data_and_queries(
    data: Path, columns: str | None, weights: str | None, reading: ReadOptions
) -> tuple[Table, Any, Table]:
    """Read the sample and its weights, and all rows as queries, among them those with missing cells.

    Raises:
        InputError: As in ``read_data``.
    """
    whole = _read(data, columns, weights, reading)
    kept = whole.complete(f"the sample {name_of(data)}")
    return *_split(kept, weights), _split(whole, weights)[0]


def _read(data: Path, columns: str | None, weights: str | None, reading: ReadOptions) -> Table:
    wanted = names_in(columns)
    if weights is not None and wanted is not None:
        wanted = [name for name in wanted if name != weights]
        if not wanted:
            raise InputError(
                f"--columns names only {weights!r}, the column of --weights: name at least one other column"
            )
        wanted.append(weights)
    return read_table(data, wanted, reading)


def _split(table: Table, weights: str | None) -> tuple[Table, Any]:
    return (table, None) if weights is None else table.split_off(weights)


def names_in(columns: str | None) -> list[str] | None:
    """Return the names in the value of ``--columns``, a line of CSV."""
    if columns is None:
        return None
    return [name.strip() for name in next(csv.reader([columns], skipinitialspace=True)) or [""]]


def names_of(table: Table) -> tuple[str, ...]:
    """Return the names of the columns. Columns without names are called x1, x2, and so on."""
    return table.columns or tuple(f"x{j + 1}" for j in range(table.values.shape[1]))


def rounding_of(text: str, table: Table) -> Rounding:
    """Return the value of ``--rounding``, with columns by position.

    Raises:
        InputError: It is not valid, or names a column that is not there.
    """
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    steps, names = {}, names_of(table)
    for part in names_in(text) or ():
        name, _, step = part.rpartition("=")
        try:
            steps[names.index(name.strip())] = float(step)
        except ValueError as error:
            raise InputError(
                f"--rounding must be auto, none, or COLUMN=STEP,... with columns among {', '.join(names)}, "
                f"got {part!r}"
            ) from error
    return steps


def read_estimate(
    table: Table,
    weights: Any,
    model: str,
    device: Any,
    threads: int | None,
    effort: Effort = "best",
    landmarks: int | None = None,
    rounding: str = "auto",
    allow_singular: bool = True,
) -> Estimate:
    """Load the model and estimate the density, with a progress bar.

    Reasons to doubt the estimate are not printed here; ``messages.print_diagnostics`` prints them.
    """
    with warnings.catch_warnings(), _stages(3 if effort == "best" else 2) as on_progress:
        for category in (RangeWarning, DataWarning):
            warnings.simplefilter("ignore", category)
        loaded = load(model, device, threads)
        steps = rounding_of(rounding, table)
        return loaded.estimate(
            table,
            weights,
            None,
            landmarks,
            on_progress,
            effort,
            rounding=steps,
            allow_singular=allow_singular,
        )


@contextmanager
def _stages(count: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar, and yield the function to call at the start of each of its stages."""
    with progress_bar(count, "reading", show_eta=False, item_show_func=lambda stage: stage) as bar:
        begun: list[str] = []

        def on_progress(stage: str) -> None:
            bar.update(len(begun[:1]), stage)  # the start of a stage is the end of the one before
            begun.append(stage)
            bar.render_progress()

        yield on_progress
        bar.update(1)
