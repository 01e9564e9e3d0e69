"""The cache of baselines: error sums per draw in one JSON file, one line per seed, cell and baseline."""

import json
from dataclasses import asdict
from pathlib import Path

from discoformer.io.files import write_bytes
from discoformer_training.evaluation.cells import BenchmarkError, Cell
from discoformer_training.evaluation.metrics import ErrorSums

PROTOCOL = 1  # version of draws and baselines: increase it when either changes, and delete the cache


class BaselineCache:
    """The error sums of baselines per draw.

    Args:
        path: JSON file, which may not exist yet. With None, nothing is stored.

    Raises:
        BenchmarkError: the file has another protocol.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._entries: dict[str, list[ErrorSums]] = {}
        if path is not None and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        stored = json.loads(path.read_text())
        if stored["protocol"] != PROTOCOL:
            raise BenchmarkError(
                f"cache {path} has protocol {stored['protocol']}, needed {PROTOCOL}: "
                "delete it to compute it again"
            )
        for entry in stored["entries"]:
            columns = [entry.pop(name) for name in ErrorSums._fields]
            self._entries[json.dumps(entry)] = [ErrorSums(*sums) for sums in zip(*columns, strict=True)]

    def draws(self, seed: int, cell: Cell, baseline: str) -> list[ErrorSums]:
        """Return the list of sums of draws 0, 1, ... so far. Append to it to add draws."""
        key = json.dumps({"seed": seed, **asdict(cell), "baseline": baseline})
        return self._entries.setdefault(key, [])

    def save(self) -> None:
        """Write the file atomically."""
        if self.path is None:
            return
        lines = [
            json.dumps(
                json.loads(key) | dict(zip(ErrorSums._fields, zip(*sums, strict=True), strict=True)),
                separators=(",", ":"),
            )
            for key, sums in self._entries.items()
            if sums
        ]
        text = f'{{"protocol": {PROTOCOL}, "entries": [\n' + ",\n".join(lines) + "\n]}\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, text.encode())
