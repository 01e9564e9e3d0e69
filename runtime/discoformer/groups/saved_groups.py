"""Many estimates in one file, one for each group, and answers of rows by their group.

Shapes: M queries, D columns.
"""

import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.errors import DataWarning, InputError, warn_caller
from discoformer.estimates import Estimate
from discoformer.groups.parts import split
from discoformer.groups.store import Store
from discoformer.io.files import atomic
from discoformer.io.frames import column_names
from discoformer.io.incomplete import complete
from discoformer.io.inputs import AnyFloats, Matrix, check_finite, shown
from discoformer.io.keyed import open_keyed
from discoformer.io.keys import Key, Keys, key_of, row_keys
from discoformer.io.outputs import like
from discoformer.model import Model, maker_of, restored
from discoformer.onnx.names import Effort, check_effort
from discoformer.saved import unpack_estimate

OPEN = 1024  # most estimates that are held in memory


class _Opened:
    """A file of groups, as one process has it open."""

    def __init__(self, path: Path) -> None:
        self.process = os.getpid()
        self.lock = threading.RLock()
        self.store = Store.open(path)
        self.estimates: OrderedDict[Key, Estimate] = OrderedDict()  # the one last used at the end


class SavedGroups:
    """Estimates of many groups, in one file; made by ``estimate_groups`` or ``load_groups``.

    Groups are read from the file when they are first needed, and the last 1,024 are kept in memory. An
    instance may be used by several threads, after a fork, and be pickled: only the path and the model travel.

    A key is text or a whole number, or a tuple of these if there are several columns of keys. Text of plain
    digits is the number that it writes.

    Attributes:
        path: The file.
        model: The ``discoformer.Model`` that made the estimates.
        by: Names of the columns of keys.
        columns: Names (D,) of the columns of the samples.
        effort: How the samples were read, ``"fast"`` or ``"best"``.
    """

    def __init__(self, path: Path, model: Model | str | os.PathLike[str] | None = None) -> None:
        self.path = path
        about = self._now.store.about()
        try:
            name, version, sha256 = (str(about[entry]) for entry in ("model", "version", "sha256"))
            self.by, self.columns = (tuple(map(str, about[entry])) for entry in ("by", "columns"))
            self.effort: Effort = about["effort"]
            check_effort(self.effort)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} does not say what its groups are ({error}): estimate again") from error
        self.model = maker_of(str(path), name, version, sha256, self.effort, model)
        self._made_by = name, version, sha256

    @property
    def skipped(self) -> Mapping[Key, str]:
        """The groups without an estimate, and why: they are too small, or have no density."""
        return {key: reason for key, reason in self._keys.items() if reason}

    def keys(self) -> list[Key]:
        """Return the keys of the groups that have an estimate, in the order of the file."""
        return [key for key, reason in self._keys.items() if not reason]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys())

    def __len__(self) -> int:
        return sum(not reason for reason in self._keys.values())

    def __contains__(self, key: object) -> bool:
        return self._keys.get(self._known(key), "unknown") == ""

    def __getitem__(self, key: Any) -> Estimate:
        """Return the estimate of a group.

        Raises:
            InputError: There is no such group, or it was skipped; or its estimate is damaged.
            ModelError: Another model made it.
        """
        found = self._estimate(self._known(key))
        if found is None:
            reason = self.skipped.get(self._known(key))
            what = f"was skipped: {reason}" if reason else "is not there"
            raise InputError(f"the group {shown(key)} {what}; list(groups) gives the keys of the others")
        return found

    def log_density(self, table: Any) -> Any:
        """Return the log-density (M,) of rows in their groups, in nats; see ``log_density_and_score``."""
        return self.log_density_and_score(table)[0]

    def score(self, table: Any) -> Any:
        """Return the score (M, D) of rows in their groups; see ``log_density_and_score``."""
        return self.log_density_and_score(table)[1]

    def log_density_and_score(self, table: Any) -> tuple[Any, Any]:
        """Return log-density (M,) in nats and score (M, D) in 1 / data units of rows in their groups.

        Args:
            table: A pandas or polars DataFrame or an Arrow table, with the columns of keys and those of the
                samples, by name.

        Returns:
            Series and DataFrame of the same library, NumPy arrays for an Arrow table. Rows get NaN if their
            key is missing, their group is unknown or was skipped, or a value is missing.

        Raises:
            InputError: ``table`` is none of these, lacks a column, or holds values that are no numbers.

        Warns:
            DataWarning: Some rows get NaN.
        """
        with open_keyed(table, self.by, self.columns) as rows:
            (block,) = rows.blocks
        log_density, score = self.answer(row_keys(block.labels), block.values)
        names = column_names(table) or ()
        picked = [names.index(name) for name in self.columns]
        return like(table, "log_density", log_density), like(table, "score", score, picked)

    def answer(self, keys: Iterable[Any], Y: Any) -> tuple[AnyFloats, AnyFloats]:
        """Return log-density (M,) and score (M, D) of rows, given the key of each.

        Args:
            keys: M keys: values, or tuples of values if there are several columns of keys. None is missing.
            Y: Array-like (M, D), data units, the columns in the order of ``columns``. NaN is missing.

        Raises:
            InputError: Y has another shape, holds infinite values, or a key is no key.

        Warns:
            DataWarning: As in ``log_density_and_score``.
        """
        values, index = np.asarray(Y), Keys()
        if values.dtype != np.float32:
            values = values.astype(np.float64, copy=False)
        numbers = index.numbers(keys)
        if values.shape != (len(numbers), len(self.columns)):
            raise InputError(
                f"Y must have {len(self.columns)} columns and a row for each of the {len(numbers)} keys, got "
                f"shape {values.shape}"
            )
        check_finite("Y", values, self.columns, missing=True)
        log_density, score = np.full(len(values), np.nan, values.dtype), np.full_like(values, np.nan)
        some, unknown = complete(values) & (numbers >= 0), []
        for number, rows in split(numbers[some], np.flatnonzero(some)):
            found = self._estimate(self._known(index.found[number]))
            if found is None:
                unknown.append((index.found[number], len(rows)))
                continue
            queries = Matrix(values[rows].astype(np.float64, copy=False), values.dtype, self.columns)
            log_density[rows], score[rows] = found.answer_queries(queries)
        self._warn(len(values), int((~some).sum()), unknown)
        return log_density, score

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copy the file, all of it or nothing.

        Raises:
            OSError: It cannot be read or written.
        """
        with self.path.open("rb") as source, atomic(Path(path)) as target:
            shutil.copyfileobj(source, target)

    def _warn(self, rows: int, incomplete: int, unknown: list[tuple[Key, int]]) -> None:
        if not (incomplete or unknown):
            return
        skipped = [count for key, count in unknown if key in self._keys]
        absent = [count for key, count in unknown if key not in self._keys]
        parts = (
            (sum(absent), f"of {len(absent)} unknown groups"),
            (sum(skipped), f"of {len(skipped)} groups that were skipped"),
            (incomplete, "with missing keys or values"),
        )
        said = ", ".join(f"{count} {what}" for count, what in parts if count)
        total = sum(count for count, _ in parts)
        warn_caller(f"The answers to {total} of {rows} rows are NaN: {said}.", DataWarning)

    def _known(self, key: Any) -> Any:
        """Return a key in the form that the file has; of one column, a tuple of one is its entry.

        Raises:
            InputError: It is no key.
        """
        found = key_of(key)
        return found[0] if isinstance(found, tuple) and len(found) == 1 else found

    @cached_property
    def _keys(self) -> dict[Key, str]:
        """All keys, and why a group was skipped, or nothing."""
        with self._now.lock:
            return dict(self._now.store.keys())

    def _estimate(self, key: Key) -> Estimate | None:
        """Return the estimate of a group, None if there is none."""
        now = self._now
        with now.lock:
            if key in now.estimates:
                now.estimates.move_to_end(key)
                return now.estimates[key]
            row = now.store.find(key)
        if row is None or row.skipped:
            return None
        name = f"{self.path}, group {key!r}"
        saved = unpack_estimate(name, row.estimate)
        about = (saved.model, saved.version, saved.sha256), saved.columns, saved.diagnostics.effort
        if about != (self._made_by, self.columns, self.effort):
            raise InputError(f"{name} has another model, columns or effort than the file: estimate again")
        found = restored(saved, self.model)
        with now.lock:
            now.estimates[key] = found
            while len(now.estimates) > OPEN:
                now.estimates.popitem(last=False)
        return found

    @property
    def _now(self) -> "_Opened":
        """The file, opened again after a fork."""
        opened: _Opened | None = self.__dict__.get("_opened")
        if opened is None or opened.process != os.getpid():
            opened = self._opened = _Opened(self.path)
        return opened

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "_keys")}

    def __repr__(self) -> str:
        by = ", ".join(self.by)
        return f"SavedGroups({str(self.path)!r}, groups={len(self)}, by={by!r}, effort={self.effort!r})"


def load_groups(
    path: str | os.PathLike[str], model: Model | str | os.PathLike[str] | None = None
) -> SavedGroups:
    """Open what ``estimate_groups`` wrote.

    Args:
        path: The file. It may come from anyone: it is checked, and names no other file.
        model: The model that made the estimates, or its folder; by default the released one of the name and
            version in the file.

    Raises:
        InputError: The file holds no groups, is damaged, or has a format that this version does not read.
        ModelError: The model is not the one that made the estimates.
        ModelNotFoundError: No released model of this version of discoformer made them.
        OSError: The file cannot be read.
    """
    return SavedGroups(Path(path), model)
