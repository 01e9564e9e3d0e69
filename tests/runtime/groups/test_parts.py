"""Rows collected by group: on disk as in memory, and with little memory."""

import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.groups.parts import PARTS, InMemory, OnDisk


@settings(max_examples=30, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 3 * PARTS), max_size=200),
    dim=st.integers(1, 4),
    cut=st.integers(1, 50),
)
def test_on_disk_as_in_memory(numbers: list[int], dim: int, cut: int) -> None:
    """Each group comes once, with its rows in their order; the same groups from memory and from disk."""
    values = np.random.default_rng(0).normal(size=(len(numbers), dim))
    ids = np.array(numbers, np.intp)
    want = {number: values[ids == number] for number in set(numbers)}
    with OnDisk() as disk:
        memory = InMemory()
        for parts in (memory, disk):
            for start in range(0, len(ids), cut):
                parts.add(ids[start : start + cut], values[start : start + cut])
            found = list(parts.groups())
            assert len(found) == len(want)
            for number, rows in found:
                np.testing.assert_array_equal(rows, want[number])


def test_files_are_removed_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail() -> None:
        with OnDisk() as disk:
            disk.add(np.array([1]), np.ones((1, 2)))
            assert list(tmp_path.iterdir())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_rows() -> None:
    rng = np.random.default_rng(0)
    rows = 8192
    with OnDisk() as disk:
        tracemalloc.start()
        for _ in range(100):  # 33 MB
            disk.add(rng.integers(0, 5000, rows), rng.normal(size=(rows, 4)))
        total = sum(len(values) for _, values in disk.groups())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert total == 100 * rows
    assert peak < 5e6
