"""Estimate the densities of many groups, in batches, into one file.

The network reads the samples of a batch together. Each batch is committed to the file, so a job that is
killed goes on after it. Batches only depend on the data and the options: so the file holds the same, however
often the job was killed.
"""

import hashlib
import itertools
import json
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from discoformer.errors import DataWarning, InputError, warn_caller
from discoformer.estimates import Estimate
from discoformer.fit import Sample, ignore, read_sample
from discoformer.groups.parts import InMemory, OnDisk, Parts
from discoformer.groups.saved_groups import SavedGroups
from discoformer.groups.store import FORMAT, Row, Store
from discoformer.io.files import target_of
from discoformer.io.incomplete import complete, warn_of_rows
from discoformer.io.inputs import Floats, Matrix, shown, whole_number
from discoformer.io.keyed import KEEP, KeyedRows, open_keyed
from discoformer.io.keys import Key, Keys, row_keys
from discoformer.io.text import ReadOptions
from discoformer.model import Model, model_or_default
from discoformer.onnx.names import Effort, check_effort
from discoformer.saved import pack_estimate
from discoformer.table.cells import Rounding

BATCH = 256  # most groups that are read and committed together
_BATCH_VALUES = 2**22  # most numbers in them, unless it is one group


class _How(NamedTuple):
    """How the samples are read."""

    columns: tuple[str, ...]
    effort: Effort
    landmarks: int | None
    min_rows: int
    rounding: Rounding
    allow_singular: bool


def estimate_groups(
    table: Any,
    by: str | Sequence[str],
    columns: Sequence[str] | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    effort: Effort = "fast",
    model: Model | None = None,
    landmarks: int | None = None,
    min_rows: int | None = None,
    rounding: Rounding = "auto",
    allow_singular: bool = False,
    reading: ReadOptions = KEEP,
    on_progress: Callable[[int, int], None] = ignore,
) -> SavedGroups:
    """Estimate the density of each group of rows of a table.

    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"sensor": [1] * 30 + [2] * 30, "x": rng.normal(size=60)})
    >>> groups = estimate_groups(table, by="sensor")
    >>> len(groups), groups[2].diagnostics.n
    (2, 30)

    Args:
        table: A pandas or polars DataFrame, an Arrow table, or the path of a Parquet or text file. Of a file,
            memory holds 1 / 64 of the numbers at a time, and the keys; the rest waits in temporary files.
        by: Names of the columns whose values say to which group a row belongs.
        columns: Names of the columns of the samples; by default all other columns that hold numbers.
        path: The file to write. It replaces another one only when it is complete. Until then, it is named
            ``PATH.partial``. If that is there from the same job, from the same data and options, the job goes
            on where it was. By default a temporary file, which is removed with the object.
        effort: As in ``Model.estimate``.
        model: The model; by default the default model.
        landmarks: As in ``Model.estimate``.
        min_rows: Groups with fewer complete rows are skipped; by default the fewest rows that the model was
            trained on.
        rounding: As in ``Model.estimate``, for each group.
        allow_singular: As in ``Model.estimate``. Without it, groups with a constant column or with collinear
            columns are skipped.
        reading: How a text file is read.
        on_progress: Called with the number of groups that are done, and the number of all.

    Returns:
        The groups. ``skipped`` says which have no estimate, and why. The reasons to doubt an estimate are in
        its ``diagnostics``.

    Raises:
        InputError: An argument is malformed, a column does not exist or is no column of numbers, a value is
            infinite, or ``PATH.partial`` is of another job.
        ModelError: The model has no files for this effort.
        OSError: A file cannot be read or written.

    Warns:
        DataWarning: Rows are left out, or groups are skipped.
    """
    names = (by,) if isinstance(by, str) else tuple(by)
    model = model_or_default(model)
    check_effort(effort)
    metadata = model.graphs.files(effort).metadata
    least = whole_number("min_rows", metadata.trained_context[0] if min_rows is None else min_rows, 1)
    if not names or set(names) & set(columns or ()):
        raise InputError(f"by must name columns, and none of columns, got {by!r}: name the columns of keys")
    in_file = isinstance(table, str | os.PathLike)
    with (
        open_keyed(table, names, columns, reading) as rows,
        OnDisk() if in_file else nullcontext(InMemory()) as parts,
    ):
        keys, source = _collect(rows, parts)
        how = _How(rows.columns, effort, landmarks, least, rounding, allow_singular)
        about = _about(model, names, how, source)
        target, temporary = _target(path)
        store = Store.create(target.with_name(f"{target.name}.partial"), about)
        try:
            _fill(store, model, how, keys, parts, on_progress)
            store.finish(target)
        finally:
            store.close()
    groups = SavedGroups(target, model)
    if temporary:
        weakref.finalize(groups, temporary.cleanup)
    if skipped := groups.skipped:
        key, reason = next(iter(skipped.items()))
        warn_caller(
            f"Skipped {len(skipped)} of {len(keys)} groups, which are too small or have no density; "
            f"{shown(key)}, for one: {reason}",
            DataWarning,
        )
    return groups


def _collect(rows: KeyedRows, parts: Parts) -> tuple[list[Key], str]:
    """Read all rows; return the keys of the groups, and the hash of keys and values.

    Raises:
        InputError: There are no complete rows with a key.

    Warns:
        DataWarning: Rows without a key, or with missing values, are left out.
    """
    keys, digest, total, left_out = Keys(), hashlib.sha256(), 0, 0
    for block in rows.blocks:
        numbers = keys.numbers(row_keys(block.labels))
        kept = complete(block.values) & (numbers >= 0)
        numbers, values = numbers[kept], block.values[kept].astype(np.float64, copy=False)
        digest.update(numbers.astype("<i8").tobytes() + values.tobytes())
        parts.add(numbers, values)
        total, left_out = total + len(kept), left_out + int((~kept).sum())
    if total == left_out:
        raise InputError(
            f"{rows.name} must have complete rows with a key, got none of {total}: leave out columns with "
            "many missing values"
        )
    if left_out:
        warn_of_rows(rows.name, left_out, total)
    digest.update(json.dumps(keys.found).encode())
    return keys.found, digest.hexdigest()


def _about(model: Model, by: tuple[str, ...], how: _How, source: str) -> dict[str, Any]:
    files = model.graphs.files(how.effort)
    return {
        "kind": "discoformer groups",
        "format": FORMAT,
        "model": files.metadata.name,
        "version": files.metadata.version,
        "sha256": files.sha256,
        "by": by,
        **how._asdict(),
        "rounding": how.rounding if how.rounding in ("auto", None) else str(how.rounding),
        "source": source,
    }


def _target(path: str | os.PathLike[str] | None) -> tuple[Path, Any]:
    """Return the file to write, and the temporary folder that it is in, if it is in one."""
    if path is not None:
        return target_of(Path(path)), None
    folder = tempfile.TemporaryDirectory(prefix="discoformer-groups-", ignore_cleanup_errors=True)
    return Path(folder.name) / "groups", folder


def _fill(
    store: Store,
    model: Model,
    how: _How,
    keys: Sequence[Key],
    parts: Parts,
    on_progress: Callable[[int, int], None],
) -> None:
    """Write the groups that the file does not have yet.

    Groups without a complete row are skipped, too; they come first.
    """
    done = store.count()
    for batch in _batches(itertools.islice(_all_groups(keys, parts, len(how.columns)), done, None)):
        on_progress(done, len(keys))
        store.add(_estimated(model, how, batch))
        done += len(batch)
    on_progress(done, len(keys))


def _all_groups(keys: Sequence[Key], parts: Parts, dim: int) -> Iterator[tuple[Key, Floats]]:
    """Yield each key and the rows of its group: first those with rows, then those without any."""
    absent = set(range(len(keys)))
    for number, rows in parts.groups():
        absent.discard(number)
        yield keys[number], rows
    for number in sorted(absent):
        yield keys[number], np.empty((0, dim))


def _batches(groups: Iterator[tuple[Key, Floats]]) -> Iterator[list[tuple[Key, Floats]]]:
    batch: list[tuple[Key, Floats]] = []
    values = 0
    for key, rows in groups:
        if batch and (len(batch) == BATCH or values + rows.size > _BATCH_VALUES):
            yield batch
            batch, values = [], 0
        batch.append((key, rows))
        values += rows.size
    if batch:
        yield batch


def _estimated(model: Model, how: _How, batch: Sequence[tuple[Key, Floats]]) -> list[Row]:
    """Return the groups of a batch as they are written."""
    samples: dict[int, Sample] = {}
    skipped: dict[int, str] = {}
    for i, (_, rows) in enumerate(batch):
        try:
            samples[i] = _read(rows, how)
        except InputError as error:
            skipped[i] = str(error)
    found = _encoded(model, samples, how.landmarks)
    contents = {i: p if isinstance(p, str) else pack_estimate(p) for i, p in found.items()}
    return [
        Row(key, len(rows), content, b"") if isinstance(content, str) else Row(key, len(rows), "", content)
        for i, (key, rows) in enumerate(batch)
        for content in [skipped.get(i) or contents[i]]
    ]


def _read(rows: Floats, how: _How) -> Sample:
    if len(rows) < how.min_rows:
        raise InputError(f"{len(rows)} complete rows, needed {how.min_rows} or more")
    return read_sample(
        Matrix(rows, np.dtype(np.float64), how.columns),
        None,
        effort=how.effort,
        rounding=how.rounding,
        allow_singular=how.allow_singular,
    )


def _encoded(model: Model, samples: dict[int, Sample], landmarks: int | None) -> dict[int, Estimate | str]:
    """Return the estimate from each sample, or why there is none."""
    try:
        return dict(zip(samples, Estimate.of_batch(model, list(samples.values()), landmarks), strict=True))
    except InputError as error:
        if len(samples) <= 1:
            return dict.fromkeys(samples, str(error))
    each = (_encoded(model, {i: sample}, landmarks) for i, sample in samples.items())
    return {i: found for one in each for i, found in one.items()}
