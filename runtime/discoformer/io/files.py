"""Files: read within bounds, and written completely or not at all.

A model folder or a saved estimate may come from anyone, so ``read_file`` takes regular files alone. It
follows no symbolic link and never waits. The size is known before memory is taken.

A file is written under a new name in the same folder, which nobody can guess. Its bytes are on the disk
before it is renamed, and so is the folder afterwards. Whatever fails, and whenever the process is killed, the
old file or the new one is there, whole.
"""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, BufferedWriter, FileIO
from pathlib import Path
from typing import BinaryIO

from discoformer.errors import DiscoformerError

_KINDS: dict[str, Callable[[int], bool]] = {
    "a symbolic link": stat.S_ISLNK,
    "a folder": stat.S_ISDIR,
    "a pipe": stat.S_ISFIFO,
    "a socket": stat.S_ISSOCK,
}
_CAREFULLY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def read_file(path: Path, most: int, error: type[DiscoformerError]) -> bytes:
    """Read a regular file.

    Args:
        path: The file.
        most: Largest size in bytes.
        error: Class of the error if the file is refused.

    Raises:
        DiscoformerError: It is no regular file, or too large. The class is ``error``.
        OSError: It cannot be read.
    """
    try:
        check_regular(path, error)
        raw = FileIO(str(path), opener=lambda name, flags: os.open(name, flags | _CAREFULLY))
        with BufferedReader(raw) as file:
            status = os.fstat(file.fileno())
            _check_regular(path, status.st_mode, error)
            if status.st_size > most:
                raise error(f"{path} has {status.st_size} bytes, needed {most} at most: take another file")
            content = file.read(status.st_size)
            if len(content) < status.st_size or file.read(1):
                raise error(f"{path} changed while it was read: read it again")
    except ValueError as problem:  # a zero byte in the path
        if isinstance(problem, DiscoformerError):
            raise
        raise error(f"{str(path)!r} is no path of a file ({problem})") from problem
    return content


def check_regular(path: Path, error: type[DiscoformerError]) -> None:
    """Check that a path is that of a regular file.

    Raises:
        DiscoformerError: It is not. The class is ``error``.
        OSError: There is no such file.
    """
    _check_regular(path, path.lstat().st_mode, error)


def _check_regular(path: Path, mode: int, error: type[DiscoformerError]) -> None:
    if not stat.S_ISREG(mode):
        kind = next((kind for kind, is_so in _KINDS.items() if is_so(mode)), "a device")
        raise error(f"{path} is {kind}, needed a regular file: copy the file itself to this place")


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to; it takes the place of ``path`` if the block ends without an error.

    It has the permissions of ``path``. If ``path`` is a symbolic link, the file it points to is replaced.

    Raises:
        OSError: The file cannot be written. Then ``path`` is as it was, unless the folder alone could not be
            written to the disk.
    """
    path = target_of(path)
    raw = create_beside(path)
    part = Path(os.fsdecode(raw.name))
    try:
        file = BufferedWriter(raw)
        yield file
        file.flush()
        put_in_place(raw, path)
    except BaseException:
        with suppress(OSError):
            raw.close()
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes to a file atomically."""
    with atomic(path) as file:
        file.write(data)


def target_of(path: Path) -> Path:
    """Return the file that a path means: that at the end of its symbolic links.

    Raises:
        OSError: It is there and no regular file, so it cannot be replaced.
    """
    path = Path(os.path.realpath(path))
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if not stat.S_ISREG(mode):
            number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            raise OSError(number, "not a regular file, so it cannot be replaced", str(path))
    return path


def create_beside(path: Path) -> FileIO:
    """Create a file for writing in the folder of another one, with its permissions and a random name."""
    file = FileIO(str(path.with_name(f"{path.name[:50]}.{secrets.token_hex(8)}.partial")), "x")
    with suppress(FileNotFoundError):
        Path(os.fsdecode(file.name)).chmod(stat.S_IMODE(path.stat().st_mode))
    return file


def put_in_place(file: FileIO, path: Path) -> None:
    """Rename a file that ``create_beside`` made, once its bytes are on the disk, and close it.

    Raises:
        OSError: This failed.
    """
    os.fsync(file.fileno())
    file.close()
    os.replace(file.name, path)  # noqa: PTH105  # as for the calls beside it, tests make it fail
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
