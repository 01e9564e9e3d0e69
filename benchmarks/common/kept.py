"""Results of a long benchmark, kept in a file as they come: a second run measures only what is not there."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

import discoformer
from benchmarks.common.report import read, write_results

again_option = click.option(
    "--again", multiple=True, help="Method to measure again, though its results are in the file."
)


class Kept:
    """The results in a file, one for each value of some keys.

    Args:
        path: The file; none is read or written if None.
        model: The model that is measured.
        seed: The seed of the benchmark.
        keys: Names of the columns that tell results apart. The last one names the method.
        ours: Methods that use the model. Results of another model are dropped.
        again: Methods whose results are dropped.

    Raises:
        click.UsageError: The results in the file have another seed.
    """

    def __init__(
        self,
        path: Path | None,
        model: discoformer.Model,
        seed: int,
        keys: Sequence[str],
        ours: Collection[str],
        again: Collection[str] = (),
    ) -> None:
        self.path, self.model, self.seed, self.keys = path, model, seed, keys
        self.results: list[dict[str, Any]] = []
        if path is not None and path.exists():
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["seed"] != seed:
                raise click.UsageError(f"{path} has results of seed {content['seed']}, not of {seed}")
            same = content["model"]["weights_sha256"] == model.metadata.weights_sha256
            dropped = {*again, *(() if same else ours)}
            self.results = [result for result in read(path) if result[keys[-1]] not in dropped]
        self._known = {tuple(result[key] for key in keys) for result in self.results}

    def has(self, *values: Any) -> bool:
        """Return whether there is a result of these values of the keys."""
        return values in self._known

    def add(self, result: dict[str, Any]) -> None:
        """Add a result, and write the file."""
        self.results.append(result)
        self._known.add(tuple(result[key] for key in self.keys))
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_results(self.path, self.model, self.seed, self.results)
