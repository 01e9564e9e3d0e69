"""Whatever fails while a file is written, and whenever the process dies: the old file, or the new one."""

import errno
import io
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discoformer
from discoformer.errors import InputError
from discoformer.io import files
from discoformer.io.files import atomic, read_file, write_bytes
from discoformer.io.writers import WRITERS, open_file
from discoformer.plots.density import save_figure

OLD = b"the old content"


class Faults:
    """Counts writes, fsyncs and renames, makes one of them fail, and looks at the target at each.

    A process that is killed leaves what is there at that moment. So the target must be whole before and after
    every step. Of each file, no bytes may follow its last fsync before it is renamed.
    """

    def __init__(self, target: Path, failing: int | None = None, error: int = errno.ENOSPC) -> None:
        self.target, self.failing, self.error = target, failing, error
        self.steps: list[str] = []
        self.seen: set[bytes] = set()

    def step(self, name: str, act: Callable[..., Any], *given: Any, **options: Any) -> Any:
        self.look()
        self.steps.append(name)
        if len(self.steps) - 1 == self.failing:
            raise OSError(self.error, os.strerror(self.error))
        done = act(*given, **options)
        self.look()
        return done

    def look(self) -> None:
        self.seen.add(self.target.read_bytes() if self.target.exists() else b"")

    @contextmanager
    def at_work(self) -> Iterator["Faults"]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fsync", "replace"):
                act = getattr(os, name)
                patch.setattr(os, name, lambda *given, act=act, name=name: self.step(name, act, *given))
            faults = self

            class Raw(io.FileIO):
                def write(self, data: Any) -> int:
                    return faults.step("write", super().write, data)

                def truncate(self, size: int | None = None) -> int:
                    return faults.step("truncate", super().truncate, size)

            patch.setattr(files, "FileIO", Raw)
            yield self


def table(path: Path) -> None:
    with open_file(path, ["a", "b"], np.dtype(float)) as writer:
        for part in range(3):
            writer.write(np.full((4, 2), float(part)))


def survived(write: Callable[[Path], object], path: Path) -> int:
    """Writes a file once for each step that may fail and each error; returns the number of faults."""
    write(path)
    path.write_bytes(OLD)
    with Faults(path).at_work() as whole:
        write(path)
    new = path.read_bytes()
    assert whole.seen == {OLD, new}
    assert whole.steps[-3:] == ["fsync", "replace", "fsync"]  # nothing is written after the first of them
    assert "write" in whole.steps or path.suffix == ".parquet"  # which pyarrow writes itself
    for failing, name in enumerate(whole.steps):
        for error in (errno.ENOSPC, errno.EIO, errno.EINTR):
            path.write_bytes(OLD)
            failed = None
            with Faults(path, failing, error).at_work() as faults:
                try:
                    write(path)
                except OSError as caught:
                    failed = caught.errno
            assert failed == error or (error, name) == (errno.EINTR, "write")  # which is tried again
            in_place = failing == len(whole.steps) - 1  # the folder alone could not be written to the disk
            assert path.read_bytes() == (OLD if failed and not in_place else new), (failing, name)
            assert faults.seen <= {OLD, new}
            for partial in path.parent.glob("*.partial"):
                partial.unlink()
    return 3 * len(whole.steps)


@pytest.mark.parametrize("suffix", WRITERS)
def test_tables_survive_every_fault(tmp_path: Path, suffix: str) -> None:
    assert survived(table, tmp_path / f"t{suffix}") >= 9


def test_saved_estimates_survive_every_fault(tmp_path: Path, kde: discoformer.Model) -> None:
    p = kde.estimate(np.random.default_rng(0).normal(size=(20, 2)))
    assert survived(p.save, tmp_path / "p") >= 9
    assert [item.name for item in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_pictures_survive_every_fault(
    tmp_path: Path, kde: discoformer.Model, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # so that the files are the same each time
    import matplotlib as mpl

    x = np.random.default_rng(0).normal(size=(20, 1))
    p = kde.estimate(x)
    with mpl.rc_context({"svg.hashsalt": "same"}):
        assert survived(lambda path: save_figure(path, p, x, ("a",), None), tmp_path / f"p{suffix}") >= 9


def test_a_saved_model_is_whole_or_not_loaded(tmp_path: Path, kde: discoformer.Model) -> None:
    """A folder has several files, and the record of their hashes comes last: no mixture of two is loaded."""
    out = tmp_path / "model"
    kde.save(out)
    record = out / "config.json"
    with Faults(record).at_work() as whole:
        kde.save(out)
    for failing in range(len(whole.steps)):
        kde.save(out)
        with Faults(record, failing).at_work(), pytest.raises(OSError, match="No space"):
            kde.save(out)
        if record.exists():
            discoformer.load(out, "cpu")
        else:
            assert whole.steps[failing] != "write"  # a full disk leaves the old model as it is
            with pytest.raises(discoformer.ModelError, match=r"config\.json"):
                discoformer.load(out, "cpu")


def test_permissions_stay_and_links_are_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(OLD)
    path.chmod(0o600)
    link.symlink_to("file")
    write_bytes(link, b"new")
    assert link.is_symlink()
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "loop", Path(os.devnull)):
        with pytest.raises(OSError, match=r"not a regular file|symbolic links"):
            write_bytes(path, b"new")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["loop", "pipe"]


def test_a_very_long_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 125)
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device", "zero", "large"])
def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    (tmp_path / "file").write_bytes(bytes(11))
    match kind:
        case "link":
            path.symlink_to("file")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path = Path("/dev/zero")
        case "zero":
            path = Path("a\0b")
        case "large":
            os.truncate(tmp_path / "file", 1 << 40)  # of holes: it takes no space on the disk
            path = tmp_path / "file"
    with pytest.raises(InputError, match=r"needed a regular file|no path|needed 10 at most"):
        read_file(path, 10, InputError)


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(10_000)
    (tmp_path / "file").write_bytes(content)
    assert read_file(tmp_path / "file", 10_000, InputError) == content
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", 10, InputError)


WRITE = """
import sys
from pathlib import Path
from discoformer.io.files import write_bytes
path, k = Path(sys.argv[1]), 0
while True:
    k += 1
    write_bytes(path, bytes([k % 251]) * 300_000)
    if k == 1:
        print("ready", flush=True)
"""


def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for pause in np.random.default_rng(0).uniform(0, 0.05, 10):
        command = [sys.executable, "-c", WRITE, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        assert content == content[:1] * 300_000


def test_atomic_gives_a_file_beside_the_target(tmp_path: Path) -> None:
    with atomic(tmp_path / "file") as file:
        file.write(b"new")
        assert not (tmp_path / "file").exists()
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
