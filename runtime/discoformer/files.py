"""Files that are all there or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to; it replaces ``path`` when the block ends without an error."""
    part = path.with_name(f".part{os.getpid()}-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
