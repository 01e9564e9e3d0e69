"""A job that is killed goes on where it was, and its file then holds what it would have held anyway."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import discoformer
from discoformer.groups import estimating

GROUPS, BATCH = 40, 4
JOB = f"""
import os, signal, sys
import discoformer
from discoformer.groups import estimating
estimating.BATCH = {BATCH}
source, path, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
def on_progress(done, total):
    print(done, flush=True)
    if done == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
model = discoformer.load("base", "cpu", 1)
discoformer.estimate_groups(source, "key", path=path, model=model, on_progress=on_progress)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("source") / "table.parquet"
    keys = rng.permutation(np.repeat(np.arange(GROUPS), 30))
    table = pd.DataFrame({"key": keys, "x": rng.normal(size=len(keys)), "y": rng.normal(size=len(keys))})
    table.loc[table.key == 7, "x"] = 1.0  # a group that is skipped
    table.to_parquet(path)
    return path


def job(source: Path, path: Path, kill_at: int = -1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", JOB, str(source), str(path), str(kill_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def contents(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        about = connection.execute("SELECT * FROM about").fetchall()
        return about + connection.execute("SELECT * FROM groups ORDER BY number").fetchall()


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a job writes that nobody kills."""
    path = tmp_path_factory.mktemp("whole") / "all.groups"
    process = job(source, path)
    steps = process.communicate(timeout=120)[0].split()
    assert process.returncode == 0
    assert steps == [str(done) for done in range(0, GROUPS + 1, BATCH)]
    assert not list(path.parent.glob("*.partial*"))
    return contents(path)


@pytest.mark.slow
def test_a_job_killed_between_batches_goes_on(source: Path, whole: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "all.groups"
    for kill_at in (12, 28):
        process = job(source, path, kill_at)
        steps = process.communicate(timeout=120)[0].split()
        assert process.returncode == -signal.SIGKILL
        assert not path.exists()
        assert int(steps[0]) == (0 if kill_at == 12 else 12)
    assert job(source, path).communicate(timeout=120)[0].split()[0] == "28"
    assert contents(path) == whole
    assert set(discoformer.load_groups(path).skipped) == {7}
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_job_killed_at_any_time_goes_on(source: Path, whole: list[Any], tmp_path: Path, seed: int) -> None:
    path, wait = tmp_path / "all.groups", np.random.default_rng(seed).uniform(0, 0.3)
    process = job(source, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    time.sleep(wait)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    second = job(source, path)
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert contents(path) == whole


def test_the_file_of_another_job_is_refused_and_an_old_file_stays(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "all.groups"
    path.write_text("old")
    job(source, path, 8).communicate(timeout=120)
    model = discoformer.load("base", "cpu", 1)
    with pytest.raises(discoformer.InputError, match="begun by another job"):
        discoformer.estimate_groups(source, "key", path=path, model=model, min_rows=20)
    table = pd.read_parquet(source)
    table.loc[3, "y"] += 1e-9
    with pytest.raises(discoformer.InputError, match="begun by another job"):
        discoformer.estimate_groups(table, "key", path=path, model=model)
    assert path.read_text() == "old"


def test_an_error_or_ctrl_c_keeps_what_is_done(
    source: Path, whole: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimating, "BATCH", BATCH)
    path, model, seen = tmp_path / "all.groups", discoformer.load("base", "cpu", 1), []

    def interrupt(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        discoformer.estimate_groups(source, "key", path=path, model=model, on_progress=interrupt)
    with pytest.warns(discoformer.DataWarning, match="Skipped 1 of 40"):
        discoformer.estimate_groups(
            source, "key", path=path, model=model, on_progress=lambda done, _: seen.append(done)
        )
    assert seen[2:4] == [8, 8]
    assert contents(path) == whole


def test_two_jobs_do_not_write_one_file(source: Path, tmp_path: Path) -> None:
    path, model = tmp_path / "all.groups", discoformer.load("base", "cpu", 1)

    def again(done: int, total: int) -> None:
        with pytest.raises(discoformer.InputError, match="is being written by another process"):
            discoformer.estimate_groups(source, "key", path=path, model=model)

    with pytest.warns(discoformer.DataWarning, match="Skipped 1 of 40"):
        discoformer.estimate_groups(source, "key", path=path, model=model, on_progress=again)
    assert len(discoformer.load_groups(path)) == GROUPS - 1
