"""Files that are too large are an error, early, and in little memory."""

import gzip
import os
import resource
import subprocess
import sys
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from discoformer.errors import InputError
from discoformer.io import limits
from discoformer.io.missing import read_gaps
from discoformer.io.tables import read_table
from discoformer.io.text import guess_dialect

MEMORY = 2**29  # bytes that reading may take, numpy and all
READ = "import sys; from pathlib import Path; from discoformer.io.{} import {} as f; f(Path(sys.argv[1]))"
READERS = [("tables", "read_table"), ("missing", "read_gaps")]


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are those of Linux")
@pytest.mark.parametrize(("module", "reader"), READERS)
@pytest.mark.parametrize("kind", ["zeros", "line", "bomb", "cells", "quote"])
def test_text_without_end_is_an_error_in_bounded_memory(
    tmp_path: Path, module: str, reader: str, kind: str
) -> None:
    path = tmp_path / "x.csv"
    if kind == "zeros":
        path = Path("-")
    elif kind == "bomb":
        path = tmp_path / "x.csv.gz"
        with gzip.open(path, "wb") as file:
            file.writelines(repeat(b"0" * 2**20, 300))
    else:
        text = {
            "line": "1," * 2**25,
            "cells": ("1," * 2**18 + "\n") * 50,
            "quote": '1,2\n"' + "1,2\n" * 2**20,
        }
        path.write_text(text[kind])
    with Path("/dev/zero").open("rb") as zeros:
        done = subprocess.run(
            [sys.executable, "-c", READ.format(module, reader), str(path)],
            stdin=zeros,
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=limit_memory,
            check=False,
        )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("discoformer.errors.InputError: ")
    assert "or fewer" in last or "field larger than field limit" in last


@pytest.mark.parametrize("suffix", ["csv", "npy", "parquet"])
def test_a_file_of_too_many_columns_is_an_error(tmp_path: Path, suffix: str) -> None:
    values, path = np.random.default_rng(0).normal(size=(3, limits.COLUMNS + 1)), tmp_path / f"x.{suffix}"
    if suffix == "csv":
        np.savetxt(path, values, delimiter=",")
    elif suffix == "npy":
        np.save(path, values)
    else:
        pq = pytest.importorskip("pyarrow.parquet")
        arrow = pytest.importorskip("pyarrow")
        pq.write_table(arrow.table({str(j): column for j, column in enumerate(values.T)}), path)
    for read in (read_table, read_gaps):
        with pytest.raises(InputError, match=r"must have 1024 columns of numbers or fewer, got 1025"):
            read(path)


def test_columns_that_are_not_read_may_be_many(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    names = [f"c{j}" for j in range(limits.COLUMNS + 1)]
    path.write_text("\n".join([",".join(names), *[",".join(map(str, range(len(names))))] * 3]))
    assert read_table(path, ["c5", "c900"]).values.tolist() == [[5, 900]] * 3


def test_an_array_larger_than_its_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((2, 2)))
    path.write_bytes(path.read_bytes().replace(b"(2, 2), }         ", b"(2000000000, 2), }"))
    for read in (read_table, read_gaps):
        with pytest.raises(InputError, match="is not an NPY file of numbers"):
            read(path)


def test_tables_in_memory_have_a_limit() -> None:
    limits.check_values("x.csv", limits.VALUES // 2, 2)
    with pytest.raises(InputError, match=r"x.csv must have 33554432 rows of 2 columns or fewer"):
        limits.check_values("x.csv", limits.VALUES // 2 + 1, 2)


def test_long_lines_that_fit_are_read_as_short_ones_are() -> None:
    long = [",".join(["0.12345678901234567890"] * 20_000)] * 2
    assert guess_dialect(long).delimiter == ","


def test_a_closed_stdin_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match="stdin is closed"):
        read_table(Path("-"))
