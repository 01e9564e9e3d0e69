"""Files that are all there or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to; it replaces ``path`` when the block ends without an error.

    It has the suffix of ``path``, the permissions of what was there, and a name of its own, whatever other
    threads and processes write. Where ``path`` is a link, what it points to is replaced.
    """
    path = Path(os.path.realpath(path))
    part = path.with_name(f".part-{secrets.token_hex(8)}{path.suffix}")
    part.touch(exist_ok=False)
    try:
        if path.exists():
            shutil.copymode(path, part)
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
