"""Atomic writes: a file is written completely or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces ``path`` if the block ends without an error.

    The temporary file is in the same folder. It has the suffix and the permissions of ``path``, and a random
    name, so that threads and processes can write at the same time. If ``path`` is a symbolic link, the file
    that it points to is replaced.
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


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes to a file atomically."""
    with atomic(path) as part:
        part.write_bytes(data)
