"""The scorer: answers of a saved estimate or of saved groups, batch by batch, in any process."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import discoformer
from discoformer import scorer as module
from discoformer.scorer import Scorer


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"id": range(100), "a": rng.normal(size=100), "unit": ["m"] * 100, "b": rng.normal(size=100)}
    ).assign(g=lambda t: t.id % 2)


@pytest.fixture(scope="module")
def saved(rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "p"
    discoformer.estimate(rows[["a", "b"]], effort="fast").save(path)
    return path


@pytest.fixture(scope="module")
def groups(rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("groups") / "g"
    discoformer.estimate_groups(rows, "g", ["a", "b"], path=path)
    return path


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatch])
def test_columns_and_order_are_kept_and_outputs_come_after(
    rows: pd.DataFrame, saved: Path, kind: type
) -> None:
    batch = kind.from_pandas(rows, preserve_index=False)
    outputs = ("log_density", "score", "density")
    found = pickle.loads(pickle.dumps(Scorer(str(saved), outputs=outputs)))(batch)
    assert type(found) is kind
    assert found.schema.names == [*rows, "log_density", "score_a", "score_b", "density"]
    assert found.select(list(rows)).equals(batch)
    p = discoformer.load_estimate(saved)
    log_density, score = p.log_density_and_score(rows[["a", "b"]].to_numpy())
    np.testing.assert_array_equal(found.column("log_density"), log_density)
    np.testing.assert_array_equal(found.column("density"), np.exp(log_density))
    np.testing.assert_array_equal(np.c_[found.column("score_a"), found.column("score_b")], score)


def test_groups(rows: pd.DataFrame, groups: Path) -> None:
    renamed = rows.rename(columns={"a": "c", "g": "key"})
    found = Scorer(str(groups), ("c", "b"), by=("key",))(pa.table(renamed))
    want = discoformer.load_groups(groups).log_density(rows)
    np.testing.assert_array_equal(found.column("log_density"), want)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 100), max_size=5).map(sorted))
def test_any_cut_into_batches_gives_the_same(rows: pd.DataFrame, saved: Path, cuts: list[int]) -> None:
    scorer, table = Scorer(str(saved), outputs=("log_density", "score")), pa.table(rows)
    parts = [scorer(table.slice(low, high - low)) for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    joined, whole = pa.concat_tables(parts), scorer(table)
    assert joined.schema == whole.schema
    assert joined.column("id").equals(whole.column("id"))
    for name in ("log_density", "score_a", "score_b"):
        np.testing.assert_allclose(joined.column(name), whole.column(name), rtol=1e-9, atol=1e-9)


def test_missing_values_are_nan(saved: Path) -> None:
    batch = pa.table({"a": [0.1, None, 0.1], "b": pa.array([None, 1, 1], pa.int32())})
    found = Scorer(str(saved))(batch).column("log_density").to_numpy()
    assert np.isnan(found).tolist() == [True, True, False]


def test_the_file_is_opened_once_by_many_threads(rows: pd.DataFrame, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy"
    path.write_bytes(saved.read_bytes())
    before = module._open.cache_info().misses
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(Scorer(str(path)), [pa.table(rows)] * 16))
    assert module._open.cache_info().misses == before + 1
    assert all(table.equals(found[0]) for table in found)


def test_nothing_is_opened_before_the_first_batch(saved: Path) -> None:
    code = (
        "import sys; from discoformer.scorer import Scorer, _open; scorer = Scorer(sys.argv[1], ('a', 'b'));"
        "import pickle; pickle.dumps(scorer); print(_open.cache_info().misses)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(saved)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"
    assert len(pickle.dumps(Scorer(str(saved), ("a", "b")))) < 500


def test_wrong_arguments(rows: pd.DataFrame, saved: Path, tmp_path: Path) -> None:
    table = pa.table(rows)
    with pytest.raises(discoformer.InputError, match="lacks 'z'"):
        Scorer(str(saved), ("a", "z"))(table)
    with pytest.raises(discoformer.InputError, match="2 columns"):
        Scorer(str(saved), ("a",))(table)
    with pytest.raises(discoformer.InputError, match="must hold real numbers"):
        Scorer(str(saved), ("a", "unit"))(table)
    with pytest.raises(discoformer.InputError, match="outputs must be some of"):
        Scorer(str(saved), outputs=("gradient",))(table)  # type: ignore[arg-type]
    with pytest.raises(discoformer.InputError, match="a column 'density' already"):
        Scorer(str(saved), outputs=("density",))(table.append_column("density", table["a"]))
    with pytest.raises(discoformer.InputError, match="must be finite, got inf"):
        Scorer(str(saved))(pa.table({"a": [np.inf], "b": [1.0]}))
    discoformer.estimate(rows[["a", "b"]].to_numpy(), effort="fast").save(tmp_path / "unnamed")
    with pytest.raises(discoformer.InputError, match="has no names of columns: pass columns"):
        Scorer(str(tmp_path / "unnamed"))(table)
    with pytest.raises(FileNotFoundError):
        Scorer(str(tmp_path / "absent"))(table)
