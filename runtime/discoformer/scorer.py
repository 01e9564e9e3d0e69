"""A saved estimate as a function from Arrow batches to Arrow batches, for engines that spread rows.

A scorer is a path and options, so it is pickled in a few bytes. The file and its model are opened once in
each process, when the first batch comes; a file that is replaced later is not opened again. Columns are found
by name. All columns and the order of the rows are kept.
"""

import threading
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from discoformer.errors import InputError, require
from discoformer.estimates import Estimate
from discoformer.groups import SavedGroups, is_groups_file, load_groups
from discoformer.io.inputs import AnyFloats, read_matrix
from discoformer.io.keyed import open_keyed
from discoformer.io.keys import row_keys
from discoformer.model import Model, load, load_estimate
from discoformer.onnx.finding import DEFAULT_NAME

Output: TypeAlias = Literal["log_density", "density", "score"]

_OUTPUTS = ("log_density", "density", "score")
_opening = threading.Lock()


@dataclass(frozen=True)
class Scorer:
    """Adds the answers of a saved estimate, or of saved groups, to batches of rows, in float64.

    Rows with missing values, and those of unknown groups, get NaN.
    """

    path: str  # of what Estimate.save or estimate_groups wrote; each worker must be able to read it
    columns: tuple[str, ...] | None = None  # of the batches, in the order of the sample; None: named as there
    outputs: tuple[Output, ...] = ("log_density",)  # "score" adds score_COLUMN for each column
    threads: int = 1  # CPU threads of the network: as many as the engine gives to a worker
    by: tuple[str, ...] | None = None  # of saved groups, the columns of keys; None: named as there
    model: str = DEFAULT_NAME  # the model that made the file: its name, or its folder

    def __call__(self, batch: Any) -> Any:
        """Return a record batch, or a table, with the outputs after its columns.

        Raises:
            InputError: As in ``schema`` and ``answer``.
            ModelError: Another model made the file.
        """
        arrow, schema = require("pyarrow"), self.schema(batch.schema)
        added = [arrow.array(column) for column in self.answer(batch).T]
        return type(batch).from_arrays([*batch.columns, *added], schema=schema)

    def schema(self, schema: Any) -> Any:
        """Return the Arrow schema of the answers to batches of a schema.

        Raises:
            InputError: The names of outputs are taken, or there is no such output.
        """
        arrow, names = require("pyarrow"), self.output_names
        if taken := set(names) & set(schema.names):
            raise InputError(f"the batch has a column {min(taken)!r} already: rename it, or leave it out")
        return arrow.schema([*schema, *((name, arrow.float64()) for name in names)], schema.metadata)

    def answer(self, table: Any) -> AnyFloats:
        """Return the outputs (M, K) for M rows, in the order of ``output_names``.

        Args:
            table: A pandas or polars DataFrame, or a table or record batch of Arrow.

        Raises:
            InputError: A column is absent or holds no numbers, a value is infinite, or the file is damaged.
            ModelError: Another model made the file.
        """
        opened = self.opened
        if isinstance(opened, SavedGroups):
            with open_keyed(table, self.keys, self.names) as rows:
                (block,) = rows.blocks
            log_density, score = opened.answer(row_keys(block.labels), block.values.astype(float, copy=False))
        else:
            values = read_matrix("table", table, True, self.names, keep_empty=True).values
            complete = ~np.isnan(values).any(axis=1)
            log_density, score = np.full(len(values), np.nan), np.full(values.shape, np.nan)
            log_density[complete], score[complete] = opened.answer(values[complete])
        with np.errstate(over="ignore", under="ignore"):
            found = {"log_density": log_density, "density": np.exp(log_density), "score": score}
        return np.column_stack([found[output] for output in self.outputs])

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names (K,) of the columns that are added.

        Raises:
            InputError: There is no such output.
        """
        if not self.outputs or not set(self.outputs) <= set(_OUTPUTS):
            raise InputError(f"outputs must be some of {', '.join(_OUTPUTS)}, got {self.outputs!r}")
        scores = tuple(f"score_{name}" for name in self.names) if "score" in self.outputs else ()
        return tuple(chain.from_iterable(scores if name == "score" else (name,) for name in self.outputs))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are read.

        Raises:
            InputError: The sample had no names of columns, or other many columns.
        """
        if self.columns is not None:
            return tuple(self.columns)
        if not (columns := self.opened.columns):
            raise InputError(f"{self.path} has no names of columns: pass columns=(...)")
        return columns

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of keys; none for a saved estimate."""
        opened = self.opened
        return (self.by or opened.by) if isinstance(opened, SavedGroups) else ()

    @property
    def opened(self) -> Estimate | SavedGroups:
        """The saved estimate or groups, opened once in this process."""
        with _opening:
            return _open(self.path, self.model, self.threads)


def opened_model(name: str = DEFAULT_NAME, threads: int = 1) -> Model:
    """Return a model on the CPU, loaded once in this process; arguments as in ``discoformer.load``."""
    with _opening:
        return _load(name, threads)


@cache
def _open(path: str, model: str, threads: int) -> Estimate | SavedGroups:
    loaded = _load(model, threads)
    return load_groups(path, loaded) if is_groups_file(Path(path)) else load_estimate(path, loaded)


@cache
def _load(name: str, threads: int) -> Model:
    return load(name, "cpu", threads)
