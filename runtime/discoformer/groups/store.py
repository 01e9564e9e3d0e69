"""The file of many estimates: an SQLite database with one row for each group.

It is written in batches, each of which is there completely or not at all. So a job that is killed goes on
after the last one. Until it is complete, the file is named ``NAME.partial``.

The file may come from anyone. Its schema must be exactly the one below, so nothing in it is run. The size of
a row is bounded, and each row has a SHA-256 of all it holds. The estimate in it is checked as a file of
``Estimate.save`` is.
"""

import hashlib
import json
import os
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from discoformer.errors import InputError
from discoformer.io.files import check_regular, put_in_place
from discoformer.io.keys import Key

FORMAT = 1  # raised when the meaning of the entries changes
_MAGIC = b"SQLite format 3\0"
_APPLICATION = 0x44534647  # "DSFG", which marks the database as one of these
_SCHEMA = {
    "about": "CREATE TABLE about (entry TEXT NOT NULL, checksum TEXT NOT NULL)",
    "groups": "CREATE TABLE groups (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, "
    "rows INTEGER NOT NULL, skipped TEXT NOT NULL, estimate BLOB NOT NULL, checksum TEXT NOT NULL)",
}
_OF_SYSTEM = (  # errors that say nothing about the content of a file
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)
_MOST_BYTES = 2**28  # of a value; estimates of the released models have less than 2^23


class Row(NamedTuple):
    """A group, as the file holds it."""

    key: Key
    rows: int  # complete rows of the sample
    skipped: str  # why there is no estimate; empty if there is one
    estimate: bytes  # of ``saved.pack_estimate``; empty if the group was skipped


def is_groups_file(path: Path) -> bool:
    """Return whether a file is a database, as groups are; ``read_about`` says whether it holds groups.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


class Store:
    """A database of groups: complete and read-only, or one that is being written.

    A connection may be used by several threads, one at a time.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        weakref.finalize(self, connection.close)

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open a complete file for reading.

        Raises:
            InputError: It is no file of groups, or is damaged.
            OSError: It cannot be read.
        """
        check_regular(path, InputError)
        with _no_groups(path):
            store = cls(_connect(path, "mode=ro&immutable=1"), path)
            with store._closed_after_error():
                store._check_schema()
        return store

    @classmethod
    def create(cls, path: Path, about: Mapping[str, Any]) -> "Store":
        """Open a file for writing, or go on with one of the same job.

        Args:
            path: The file.
            about: What the groups are, for JSON.

        Raises:
            InputError: The file is of another job, or another process is writing it.
            OSError: The file cannot be written.
        """
        if path.exists():
            check_regular(path, InputError)
        with _no_groups(path):
            store = cls(_connect(path, "mode=rwc"), path)
            with store._closed_after_error():
                store._begin(json.dumps(about))
        return store

    @contextmanager
    def _closed_after_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _begin(self, about: str) -> None:
        connection = self._connection
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_BUSY:
                raise
            raise InputError(
                f"{self.path} is being written by another process: wait for it, or give another path"
            ) from error
        if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            for statement in _SCHEMA.values():
                connection.execute(statement)
            connection.execute("INSERT INTO about VALUES (?, ?)", (about, _checksum(about)))
        connection.commit()
        self._check_schema()
        if self.about_text() != about:
            raise InputError(
                f"{self.path} was begun by another job, with other data or options: remove it and "
                "its -journal, or give another path"
            )

    def _check_schema(self) -> None:
        """Check that the database holds our tables and nothing else."""
        found = self._connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        if dict(found.fetchall()) != _SCHEMA:
            raise ValueError("it has other tables")
        ((version,),) = self._connection.execute("PRAGMA user_version").fetchall()
        if version != FORMAT:
            raise InputError(
                f"{self.path} has format {version}, this version of discoformer reads {FORMAT}: estimate the "
                "groups again, or use the version that wrote it"
            )

    def about_text(self) -> str:
        """Return what the groups are, as JSON.

        Raises:
            ValueError: It is damaged.
        """
        ((entry, checksum),) = self._connection.execute("SELECT entry, checksum FROM about").fetchall()
        if _checksum(entry) != checksum:
            raise ValueError("its checksum is that of another content")
        return str(entry)

    def about(self) -> dict[str, Any]:
        """Return what the groups are.

        Raises:
            InputError: It is damaged.
        """
        with _no_groups(self.path):
            found = json.loads(self.about_text())
            if not isinstance(found, dict):
                raise ValueError("it says nothing about the groups")
            return found

    def count(self) -> int:
        """Return how many groups the file holds, with those that were skipped."""
        with _no_groups(self.path):
            ((count,),) = self._connection.execute("SELECT count(*) FROM groups").fetchall()
            return int(count)

    def add(self, rows: Iterable[Row]) -> None:
        """Write groups, all of them or none.

        Raises:
            OSError: The disk is full, or the like.
        """
        with _no_groups(self.path), self._connection as connection:
            connection.executemany(
                "INSERT INTO groups (key, rows, skipped, estimate, checksum) VALUES (?, ?, ?, ?, ?)",
                ((*entry, _checksum(*entry)) for entry in map(_entry, rows)),
            )

    def find(self, key: Key) -> Row | None:
        """Return a group, None if there is no such one.

        Raises:
            InputError: The row is damaged.
        """
        with _no_groups(self.path):
            found = self._connection.execute(
                "SELECT key, rows, skipped, estimate, checksum FROM groups WHERE key = ?", (_text(key),)
            ).fetchone()
            return None if found is None else _row(found)

    def keys(self) -> Iterator[tuple[Key, str]]:
        """Yield the key of each group in the order of the file, and why it was skipped, if it was."""
        with _no_groups(self.path):
            for key, skipped in self._connection.execute("SELECT key, skipped FROM groups ORDER BY number"):
                yield _key(key), str(skipped)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def finish(self, path: Path) -> None:
        """Close the file and give it its name, once it is on the disk.

        Raises:
            OSError: This failed.
        """
        self.close()
        put_in_place(FileIO(str(self.path)), path)


def _connect(path: Path, how: str) -> sqlite3.Connection:
    name = f"file:{quote(os.path.abspath(path))}?{how}"  # noqa: PTH100  # which follows no link
    connection = sqlite3.connect(name, uri=True, check_same_thread=False, timeout=0)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _no_groups(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises into an ``InputError``."""
    try:
        yield
    except (InputError, OSError):
        raise
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_SYSTEM:
            raise OSError(
                f"{path} cannot be read or written ({error}): check its folder, permissions and disk"
            ) from error
        raise _damaged(path, error) from error
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is no file of groups, or is damaged ({type(error).__name__}: {str(error)[:200]}): estimate "
        "the groups again"
    )


def _entry(row: Row) -> tuple[str, int, str, bytes]:
    return _text(row.key), row.rows, row.skipped, row.estimate


def _row(found: tuple[Any, ...]) -> Row:
    *entry, checksum = found
    if _checksum(*entry) != checksum:
        raise ValueError(f"the checksum of the group {str(entry[0])[:80]} is that of another content")
    key, rows, skipped, estimate = entry
    return Row(_key(key), rows, skipped, estimate)


def _checksum(*entry: Any) -> str:
    """Return the SHA-256 of text, numbers and bytes, each with its type and its length."""
    digest = hashlib.sha256()
    for part in entry:
        content = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        digest.update(f"{type(part).__name__} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _text(key: Key) -> str:
    return json.dumps(key)


def _key(text: str) -> Key:
    key = json.loads(text)
    found = tuple(key) if isinstance(key, list) else key
    if not all(type(part) in (str, int) for part in (found if isinstance(found, tuple) else (found,))):
        raise ValueError(f"a key {text[:80]}")
    return found
