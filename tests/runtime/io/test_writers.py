"""Files are written completely; after an error a valid partial file is left."""

import csv
import json
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from discoformer.errors import MissingExtraError
from discoformer.io.writers import WRITERS, open_file

NAMES = ("a", "b c", 'd"')
SUFFIXES = tuple(WRITERS)


def read(path: Path, suffix: str) -> npt.NDArray[np.float64]:
    """Read a file with the libraries csv, json, NumPy or pyarrow; null becomes nan."""
    if suffix == ".npy":
        return np.load(path)
    if suffix == ".parquet":
        return np.column_stack([column.to_numpy() for column in pq.read_table(path).columns])
    text = path.read_text()
    assert text.endswith("\n") or not text
    if suffix == ".csv":
        return np.array([list(map(float, row)) for row in list(csv.reader(text.splitlines()))[1:]])
    return np.array([list(json.loads(line).values()) for line in text.splitlines()], dtype=np.float64)


def fill(path: Path, blocks: Iterable[npt.NDArray[np.generic]], stop: BaseException | None = None) -> None:
    """Write blocks of float64 to a file, then raise the error if one is given."""
    with open_file(path, NAMES, np.dtype(np.float64)) as writer:
        for block in blocks:
            writer.write(block)
        if stop:
            raise stop


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Limit the size of all files, in bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip_in_blocks(
    tmp_path: Path, suffix: str, dtype: type[np.floating], rng: np.random.Generator
) -> None:
    path = tmp_path / f"table{suffix}"
    values = (rng.normal(size=(1000, 3)) * 10.0 ** rng.integers(-30, 30, (1000, 3))).astype(dtype)
    with open_file(path, NAMES, values.dtype) as writer:
        for start in range(0, 1000, 300):
            writer.write(values[start : start + 300])
        assert not path.exists()
    np.testing.assert_array_equal(read(path, suffix).astype(dtype), values)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_names_and_row_groups(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        with open_file(tmp_path / f"t{suffix}", NAMES, np.dtype(np.float32)) as writer:
            writer.write(np.ones((2, 3), np.float32))
            writer.write(np.ones((1, 3), np.float32))
    parquet = pq.ParquetFile(tmp_path / "t.parquet")
    assert parquet.schema_arrow.names == list(NAMES)
    assert [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)] == [2, 1]
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == 'a,b c,"d"""'
    assert json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0]) == dict.fromkeys(NAMES, 1.0)
    assert np.load(tmp_path / "t.npy", mmap_mode="r").dtype == np.float32


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    fill(path, [])
    assert read(path, suffix).size == 0


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl"):
        fill(tmp_path / f"t{suffix}", [np.array([[np.inf, -np.inf, 0.1]])])
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "inf,-inf,0.1"
    assert list(json.loads((tmp_path / "t.jsonl").read_text()).values()) == [None, None, 0.1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_leaves_the_old_file_and_a_valid_partial_one(tmp_path: Path, suffix: str) -> None:
    path, values = tmp_path / f"t{suffix}", np.arange(15.0).reshape(5, 3)
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt) as stopped:
        fill(path, [values[:3], values[3:]], KeyboardInterrupt())
    (partial,) = tmp_path.glob(f"t{suffix}.*.partial")
    assert stopped.value.__notes__ == [f"Stopped after 5 rows of answers, kept in {partial}"]
    np.testing.assert_array_equal(read(partial, suffix), values)
    assert path.read_text() == "old"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_whole_blocks(tmp_path: Path, suffix: str, rng: np.random.Generator) -> None:
    path, blocks = tmp_path / f"t{suffix}", rng.normal(size=(50, 1000, 3))
    with full_disk(300_000), pytest.raises(OSError, match="File too large") as stopped:
        fill(path, blocks)
    (partial,) = tmp_path.glob(f"t{suffix}.*.partial")
    kept = read(partial, suffix)
    assert 3000 <= len(kept) < 15_000
    assert len(kept) % 1000 == 0
    np.testing.assert_array_equal(kept, np.concatenate(blocks)[: len(kept)])
    assert stopped.value.__notes__ == [f"Stopped after {len(kept)} rows of answers, kept in {partial}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_before_the_first_row_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="none") as stopped:
        fill(tmp_path / f"t{suffix}", [], ValueError("none"))
    assert stopped.value.__notes__ == ["Stopped before the first row of answers."]
    assert not list(tmp_path.iterdir())


def test_a_killed_job_leaves_a_valid_matrix(tmp_path: Path) -> None:
    with open_file(tmp_path / "t.npy", NAMES, np.dtype(np.float64)) as writer:
        for rows in (2, 4):
            writer.write(np.ones((2, 3)))
            (partial,) = tmp_path.glob("t.npy.*.partial")
            assert np.load(partial).shape == (rows, 3)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install pyarrow"):
        fill(tmp_path / "t.parquet", [])
    assert not list(tmp_path.iterdir())


def test_of_two_jobs_that_write_one_file_the_last_to_end_determines_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with open_file(path, ["a"], np.dtype(float)) as first:
        first.write(np.ones((2, 1)))
        with open_file(path, ["a"], np.dtype(float)) as second:
            second.write(np.zeros((1, 1)))
        assert path.read_text() == "a\n0.0\n"
        first.write(np.ones((1, 1)))
    assert path.read_text() == "a\n1.0\n1.0\n1.0\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path, suffix: str) -> None:
    target, link = tmp_path / f"target{suffix}", tmp_path / f"link{suffix}"
    link.symlink_to(target.name)
    fill(link, [np.ones((2, 3))])
    assert link.is_symlink()
    np.testing.assert_array_equal(read(target, suffix), np.ones((2, 3)))


def test_a_link_where_partial_files_used_to_be_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "t.csv.partial").symlink_to(victim)
    fill(tmp_path / "t.csv", [np.ones((2, 3))])
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "t.csv", [np.ones((2, 3))], KeyboardInterrupt())
    assert victim.read_text() == "precious"
