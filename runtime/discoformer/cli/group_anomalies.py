"""``discoformer anomalies --by``: each row is compared with the rows of its group."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import click
import numpy as np

from discoformer.anomalies import Anomalies, Reference, benjamini_hochberg, find_anomalies
from discoformer.cli.groups import Groups, joined, open_grouped
from discoformer.cli.messages import progress_bar
from discoformer.errors import DataWarning, InputError, RangeWarning, warn_caller
from discoformer.groups.parts import split
from discoformer.io.incomplete import complete
from discoformer.io.inputs import Floats
from discoformer.io.keyed import KeyedBlock, KeyedRows, open_keyed
from discoformer.io.keys import Key, Keys, row_keys
from discoformer.io.limits import check_values

Find: TypeAlias = Callable[[Floats, Floats], Anomalies]


class _Table(NamedTuple):
    """A table in memory."""

    rows: KeyedRows
    block: KeyedBlock
    groups: dict[Key, Any]  # positions of the complete rows of each group


def write_anomalies_by_group(
    options: Groups,
    query: Path | None,
    out: Path | None,
    form: str | None,
    fdr: float,
    method: Any,
    folds: int,
    seed: int,
) -> None:
    """Find the anomalies of each group, with control of the false discovery rate over all rows together."""
    how: dict[str, Any] = {"model": options.model, "folds": folds, "seed": seed, "effort": options.effort}
    how |= {"rounding": options.rounding, "allow_singular": options.allow_singular}

    def find(clean: Floats, asked: Floats) -> Anomalies:
        if query is None:
            return find_anomalies(clean, fdr, **how)
        return Reference(clean, method=method, **how).find(asked, fdr)

    sample = _read(options, options.data, options.columns)
    rows = sample if query is None else _read(options, query, list(sample.rows.columns))
    results = _results(options, sample, rows, find)
    tested = np.isfinite(results[:, 0])
    results[tested, 1] = benjamini_hochberg(results[tested, 0], fdr)
    names = sample.rows.columns
    header = (*names, "p_value", "anomaly", "log_density", *(f"push_{name}" for name in names))
    with open_grouped(options, out, form, header, rows.rows) as writer:
        writer.write(np.hstack([rows.block.values, results]), rows.block.labels)
    click.echo(f"Anomalies: {int(results[tested, 1].sum())} of {len(results)} rows.", err=True)


def _results(options: Groups, sample: _Table, rows: _Table, find: Find) -> Floats:
    """Return p-value, whether it is an anomaly, log-density and contributions (M, D + 3) of each row.

    Rows of groups that are skipped, and rows with missing values, get NaN.
    """
    least = options.model.graphs.files(options.effort).metadata.trained_context[0]
    results, skipped = np.full((len(rows.block.values), len(rows.rows.columns) + 3), np.nan), 0
    with progress_bar(len(rows.groups), "groups", show_pos=True) as bar, warnings.catch_warnings():
        for category in (RangeWarning, DataWarning):  # of single groups
            warnings.simplefilter("ignore", category)
        for key, where in rows.groups.items():
            clean = sample.block.values[sample.groups.get(key, [])]
            try:
                if len(clean) < least:
                    raise InputError(f"{len(clean)} complete rows, needed {least} or more")
                found = find(clean, rows.block.values[where])
            except InputError:
                skipped += 1
            else:
                answers = found.p_values, found.found, found.log_density, found.contributions
                results[where] = np.column_stack(answers)
            bar.update(1)
    if skipped:
        warn_caller(
            f"Skipped {skipped} of {len(rows.groups)} groups, which are unknown, too small or have no "
            "density: their rows have no p-value.",
            DataWarning,
        )
    return results


def _read(options: Groups, path: Path, columns: list[str] | None) -> _Table:
    with open_keyed(path, options.by, columns, options.reading) as rows:
        blocks, read = [], 0
        for block in rows.blocks:
            read += len(block.values)
            check_values(rows.name, read, len(rows.columns))
            blocks.append(block)
    if not blocks:
        raise InputError(f"{rows.name} must have one row or more, got none: check that it is the right file")
    whole, keys = joined(blocks), Keys()
    numbers = keys.numbers(row_keys(whole.labels))
    some = complete(whole.values) & (numbers >= 0)
    positions = split(numbers[some], np.flatnonzero(some))
    return _Table(rows, whole, {keys.found[number]: where for number, where in positions})
