"""``--by``: a density for each group of rows, and answers by it."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import click
import numpy as np

from discoformer.cli.answers import answer_columns, with_answers
from discoformer.cli.messages import progress_bar
from discoformer.cli.output import distinct_columns, open_output
from discoformer.cli.reading import names_in
from discoformer.groups import SavedGroups, estimate_groups
from discoformer.groups.saved_groups import OPEN
from discoformer.io.inputs import AnyFloats
from discoformer.io.keyed import KeyedBlock, KeyedRows, open_keyed
from discoformer.io.keys import row_keys
from discoformer.io.text import STDIN, ReadOptions
from discoformer.model import Model, load
from discoformer.table.cells import Rounding

_AT_ONCE = (
    2**23
)  # most numbers of queries that are answered together, if there are more groups than stay open

by_option = click.option(
    "--by",
    metavar="COLUMN,...",
    help="Estimate a density for each group of rows of DATA with the same values in these columns. Queries "
    "are answered by their groups. --effort fast and --no-allow-singular are then the defaults. Groups that "
    "are too small or have no density are skipped and counted.",
)


@dataclass(frozen=True)
class Groups:
    """The options of a command that reads DATA by groups."""

    data: Path
    by: tuple[str, ...]
    columns: list[str] | None
    reading: ReadOptions
    rounding: Rounding
    effort: Any
    allow_singular: bool
    model: Model


def groups_of(
    data: Path,
    by: str,
    query: Path | None,
    columns: str | None,
    reading: ReadOptions,
    rounding: str,
    effort: Any,
    allow_singular: bool,
    model: tuple[str, Any, int | None],
) -> Groups:
    """Check the options; ``model`` holds name, device and threads.

    Raises:
        UsageError: Some of them do not go together.
    """
    if data == STDIN and query is None:
        raise click.UsageError("--by reads DATA twice: put it in a file, or name another --query")
    if rounding not in ("auto", "none"):
        raise click.UsageError(f"--by needs --rounding auto or none, got {rounding}")
    steps: Rounding = "auto" if rounding == "auto" else None
    return Groups(
        data,
        tuple(names_in(by) or ()),
        names_in(columns),
        replace(reading, missing="error" if reading.missing == "error" else "keep"),
        steps,
        _unless_given("effort", effort, "fast"),
        _unless_given("allow_singular", allow_singular, False),
        load(*model),
    )


def _unless_given(option: str, value: Any, default: Any) -> Any:
    """Return the value of an option if it was given, else another default."""
    source = click.get_current_context().get_parameter_source(option)
    return default if source is click.core.ParameterSource.DEFAULT else value


def write_answers_by_group(
    options: Groups,
    query: Path | None,
    out: Path | None,
    form: str | None,
    landmarks: int | None,
    save: Path | None,
) -> None:
    """Estimate the groups of DATA, and answer queries, with progress bars."""
    with progress_bar(1, "groups", show_pos=True) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        groups = estimate_groups(
            options.data,
            options.by,
            options.columns,
            path=save,
            effort=options.effort,
            model=options.model,
            landmarks=landmarks,
            rounding=options.rounding,
            allow_singular=options.allow_singular,
            reading=options.reading,
            on_progress=on_progress,
        )
    with open_keyed(query or options.data, options.by, groups.columns, options.reading) as rows:
        header, blocks = answer_columns(groups.columns), _large(rows, len(groups))
        on_terminal = out is None and sys.stdout.isatty()
        with (
            open_grouped(options, out, form, header, rows) as writer,
            progress_bar(rows.length, "rows", hidden=on_terminal, iterable=blocks, show_pos=True) as bar,
        ):
            for block in blocks:
                writer.write(_answered(groups, block), block.labels)
                bar.update(len(block.values))


def open_grouped(
    options: Groups, out: Path | None, form: str | None, header: tuple[str, ...], rows: KeyedRows
) -> AbstractContextManager[Any]:
    """Open the output, with the columns of keys before the others."""
    distinct_columns(*options.by, *header)
    labels = dict(zip(options.by, rows.whole, strict=True))
    return open_output(out, form, header, np.dtype(np.float64), labels)


def _answered(groups: SavedGroups, block: KeyedBlock) -> AnyFloats:
    return with_answers(block.values, *groups.answer(row_keys(block.labels), block.values))


def _large(rows: KeyedRows, groups: int) -> Iterator[KeyedBlock]:
    """Yield the rows in larger blocks if there are so many groups that a block would open most of them."""
    most = _AT_ONCE // (2 * len(rows.columns) + 2) if groups > OPEN else 0
    held: list[KeyedBlock] = []
    for block in rows.blocks:
        held.append(block)
        if sum(len(part.values) for part in held) >= most:
            yield joined(held)
            held = []
    if held:
        yield joined(held)


def joined(blocks: list[KeyedBlock]) -> KeyedBlock:
    """Return blocks as one."""
    by_column = zip(*(block.labels for block in blocks), strict=True)
    labels = [list(chain.from_iterable(column)) for column in by_column]
    return KeyedBlock(labels, np.concatenate([block.values for block in blocks]))
