"""Rows, a saved estimate and saved groups, and the engines, which are the real ones.

An engine that is absent skips its tests, unless DISCOFORMER_REQUIRE_ENGINES is set.
"""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import discoformer
from discoformer import scorer as scorer_module
from discoformer.scorer import Scorer
from tests.engines.counted import notes

ROOT = Path(__file__).parents[2]
ROWS, BATCH = 40_000, 8192

# Workers import the package and these tests. Engines, and not the caller, say how many threads NumPy has.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), str(ROOT / "runtime"), os.environ.get("PYTHONPATH", "")]
)
os.environ["PYSPARK_PYTHON"] = sys.executable
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let engines warn of what they like: the checks are on answers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))


def engine(name: str) -> Any:
    """Import an engine, or skip the tests of the module."""
    if os.environ.get("DISCOFORMER_REQUIRE_ENGINES"):
        __import__(name)
    return pytest.importorskip(name)


@pytest.fixture(scope="session")
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "id": np.arange(ROWS),
            "a": rng.normal(size=ROWS),
            "unit": rng.choice(["m", "s"], ROWS),
            "b": rng.normal(size=ROWS).astype(np.float32),
            "sensor": rng.integers(0, 6, ROWS),
        }
    )


@pytest.fixture(scope="session")
def parquet(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(table, path, row_group_size=BATCH)
    return path


@pytest.fixture(scope="session")
def saved(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An estimate of effort best, which needs a session of ONNX Runtime in every worker."""
    path = tmp_path_factory.mktemp("saved") / "p.estimate"
    discoformer.estimate(table.slice(0, 100).select(["a", "b"])).save(path)
    return path


@pytest.fixture
def unopened(saved: Path, tmp_path: Path) -> Path:
    """The same estimate in a file that nothing has opened."""
    return Path(shutil.copy(saved, tmp_path / "unopened.estimate"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for notes of workers."""
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.fixture(scope="session")
def fast(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "p.estimate"
    discoformer.estimate(table.slice(0, 100).select(["a", "b"]), effort="fast").save(path)
    return path


@pytest.fixture(scope="session")
def groups(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Groups of sensors 0 to 4; sensor 5 is unknown."""
    path = tmp_path_factory.mktemp("groups") / "all.groups"
    some = table.slice(0, 600)
    known = some.filter(pa.compute.less(some["sensor"], 5))
    discoformer.estimate_groups(known, "sensor", ["a", "b"], path=path)
    return path


def opened_here() -> int:
    """Return how many files this process has opened so far."""
    return scorer_module._open.cache_info().misses


def plain(scorer: Scorer, table: pa.Table) -> pa.Table:
    """Answer in this process, in batches."""
    return pa.concat_tables(
        scorer(table.slice(start, BATCH)) for start in range(0, max(table.num_rows, 1), BATCH)
    )


def same(found: pa.Table, want: pa.Table, close: float = 1e-6) -> None:
    """Check rows, their order, all columns, and the answers; close=0 is to the bit."""
    assert found.column_names == want.column_names
    assert found.num_rows == want.num_rows
    for name in want.column_names:
        if want.schema.field(name).type == pa.float64() and name not in ("a", "b"):
            np.testing.assert_allclose(found[name].to_numpy(), want[name].to_numpy(), rtol=0, atol=close)
        else:
            assert found[name].to_pylist() == want[name].to_pylist()


@contextmanager
def killing(folder: Path, least: int = 1) -> Iterator[list[int]]:
    """Kill one worker, by its process id, once it has answered some rows; yield a list that gets its id."""
    killed: list[int] = []
    over = threading.Event()

    def work() -> None:
        while not (killed or over.is_set()):
            for process, note in notes(folder).items():
                if note["rows"] >= least and process != os.getpid():
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
                    return
            time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()
