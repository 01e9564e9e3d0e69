"""Archives of plain arrays: a NumPy ``.npz`` file with a checksum of the whole file.

The last 64 bytes, the comment of the zip archive, are the SHA-256 of all bytes before them, so one changed
bit is noticed. A stranger can write the checksum, too. So all sizes are compared before memory is taken:
entries are not compressed, and no array is larger than its bytes in the file. There is no pickle, so no code
runs.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.errors import InputError
from discoformer.io.files import read_file, write_bytes

MOST_BYTES = 2**32 - 1  # largest size of a file, and that of the simple kind of zip archives

_MOST_ENTRIES = 64
_MOST_DIRECTORY = 2**14  # largest size in bytes of the directory at the end
_DIGEST = 64  # characters of the checksum
_END = b"PK\x05\x06"  # signature of the end of an archive, which has 22 bytes and then the comment
_LARGE_END = b"PK\x06\x07"  # signature of the 20 bytes before, in archives of another kind


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an archive, all of it or nothing.

    Raises:
        OSError: It cannot be written.
    """
    write_bytes(path, pack(arrays))


def pack(arrays: Mapping[str, Any]) -> bytes:
    """Return the bytes of an archive."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    body = file.getvalue()[:-2] + _DIGEST.to_bytes(2, "little")  # the length of the comment
    return body + hashlib.sha256(body).hexdigest().encode()


def read_arrays(path: Path) -> dict[str, Any]:
    """Read an archive.

    Raises:
        InputError: It is no regular file, or too large.
        OSError: It cannot be read.
        Exception: It is no archive of ``write_arrays``, or is damaged.
    """
    return unpack(read_file(path, MOST_BYTES, InputError))


def unpack(content: bytes) -> dict[str, Any]:
    """Return the arrays in the bytes of an archive.

    Raises:
        Exception: They are no archive of ``pack``, or are damaged.
    """
    body, digest = memoryview(content)[:-_DIGEST], content[-_DIGEST:]
    end = bytes(body[-22:])
    if not end.startswith(_END):
        raise ValueError("it has no checksum at its end: it is cut short, or from an older version")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("its checksum is that of another content")
    if int.from_bytes(end[12:16], "little") > _MOST_DIRECTORY or bytes(body[-42:-38]) == _LARGE_END:
        raise ValueError("its directory is too large")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        if len(names) < len(entries) or len(entries) > _MOST_ENTRIES:
            raise ValueError(f"{len(entries)} entries, of which {len(names)} have different names")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed")
        if sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("its entries overlap")
        return {entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in entries}


def _array(content: bytes) -> Any:
    """Return the array in an NPY file of numbers or text."""
    start = 10 + int.from_bytes(content[8:10], "little")
    shape, in_columns, dtype = _header(content[:start])
    values = np.frombuffer(content, dtype, offset=start)
    return values.reshape(shape, order="F" if in_columns else "C").copy(order="K")


@lru_cache(1024)
def _header(start: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return what the start of an NPY file says: shape, order and type. Many files start alike."""
    file = io.BytesIO(start)
    np.lib.format.read_magic(file)
    shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "fU":
        raise ValueError(f"an array of {dtype}")
    return shape, in_columns, dtype
