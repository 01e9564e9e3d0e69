"""Groups answer as the estimates of their rows do, in any library, from memory and from files."""

import multiprocessing
import pickle
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import discoformer

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # a batch pads its samples, which changes the order of sums in float32


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load("base", "cpu", 1)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Eight groups of 20 to 90 rows in random order, each with a mean and a scale of its own."""
    rng = np.random.default_rng(0)
    parts = []
    for key in range(8):
        x = rng.normal(key, 1 + key / 4, (rng.integers(20, 90), 2))
        parts.append(pd.DataFrame({"sensor": key, "site": "ab"[key % 2], "x": x[:, 0], "y": x[:, 1]}))
    return pd.concat(parts).sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def groups(table: pd.DataFrame, model: discoformer.Model) -> discoformer.SavedGroups:
    return discoformer.estimate_groups(table, "sensor", ["x", "y"], model=model)


def expected(table: pd.DataFrame, model: discoformer.Model) -> np.ndarray:
    """Log-density and score of each row, by the estimate of its own group alone."""
    found = np.empty((len(table), 3))
    for key in table.sensor.unique():
        rows = (table.sensor == key).to_numpy()
        points = table.loc[rows, ["x", "y"]].to_numpy()
        found[rows] = np.c_[model.estimate(points, effort="fast").log_density_and_score(points)]
    return found


def test_rows_are_answered_by_the_estimate_of_their_group(
    groups: discoformer.SavedGroups, table: pd.DataFrame, model: discoformer.Model
) -> None:
    log_density, score = groups.log_density_and_score(table)
    np.testing.assert_allclose(np.c_[log_density, score], expected(table, model), **CLOSE)
    assert log_density.index.equals(table.index)
    assert list(score) == ["x", "y"]


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas], ids=["polars", "arrow"])
def test_tables_of_other_libraries(
    groups: discoformer.SavedGroups, table: pd.DataFrame, model: discoformer.Model, make: Any
) -> None:
    again = discoformer.estimate_groups(make(table), ["sensor"], ["x", "y"], model=model)
    assert list(again) == list(groups)
    np.testing.assert_array_equal(again.log_density(make(table)), groups.log_density(table))
    np.testing.assert_array_equal(again.score(make(table)), groups.score(table))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "csv.gz"])
def test_files_are_read_as_tables_are(
    groups: discoformer.SavedGroups,
    table: pd.DataFrame,
    model: discoformer.Model,
    tmp_path: Path,
    suffix: str,
) -> None:
    path = tmp_path / f"table.{suffix}"
    table.to_parquet(path) if suffix == "parquet" else table.to_csv(path, index=False)
    again = discoformer.estimate_groups(path, "sensor", ["x", "y"], model=model)
    assert set(again) == set(groups)
    np.testing.assert_allclose(again.log_density(table), groups.log_density(table), **CLOSE)


def test_keys_of_several_columns(table: pd.DataFrame, model: discoformer.Model) -> None:
    groups = discoformer.estimate_groups(table, ["site", "sensor"], model=model)
    assert groups.columns == ("x", "y")
    assert set(groups) == {("ab"[key % 2], key) for key in range(8)}
    assert groups["b", 1].diagnostics.n == (table.sensor == 1).sum()
    assert ("a", 1) not in groups


def test_a_group_is_an_estimate(
    groups: discoformer.SavedGroups, table: pd.DataFrame, model: discoformer.Model
) -> None:
    points = table.loc[table.sensor == 3, ["x", "y"]]
    alone = model.estimate(points, effort="fast")
    np.testing.assert_allclose(groups[3].log_density(points), alone.log_density(points), **CLOSE)
    assert groups["3"].diagnostics == groups[3.0].diagnostics == groups[3].diagnostics
    assert 3 in groups
    assert 8 not in groups
    assert len(groups) == 8
    with pytest.raises(discoformer.InputError, match="group 8 is not there"):
        groups[8]


def test_unknown_groups_and_missing_values_are_nan_with_one_warning(
    groups: discoformer.SavedGroups,
) -> None:
    rows = pl.DataFrame({"sensor": [3, 77, None, 3, 78], "x": [3.0, 3, 3, None, 3], "y": [3.0] * 5})
    with pytest.warns(discoformer.DataWarning) as found:
        log_density = groups.log_density(rows).to_numpy()
    assert np.isnan(log_density).tolist() == [False, True, True, True, True]
    (warning,) = found
    assert "4 of 5 rows are NaN: 2 of 2 unknown groups, 2 with missing keys" in str(warning.message)
    assert warning.filename == __file__


def test_groups_that_have_no_density_are_skipped_with_the_reason(
    table: pd.DataFrame, model: discoformer.Model
) -> None:
    flat = pd.DataFrame({"sensor": "flat", "x": 1.0, "y": np.arange(30.0)})
    small = pd.DataFrame({"sensor": "small", "x": [1.0, 2], "y": [1.0, 5]})
    empty = pd.DataFrame({"sensor": "empty", "x": [np.nan], "y": [1.0]})
    whole = pd.concat([flat, table[["sensor", "x", "y"]], small, empty])
    with pytest.warns(discoformer.DataWarning) as found:
        groups = discoformer.estimate_groups(whole, "sensor", model=model)
    assert "Skipped 3 of 11 groups" in str(found[-1].message)
    assert set(groups) == set(range(8))
    assert set(groups.skipped) == {"flat", "small", "empty"}
    assert "'x'" in groups.skipped["flat"]
    assert groups.skipped["small"] == "2 complete rows, needed 8 or more"
    assert groups.skipped["empty"].startswith("0 complete rows")
    with pytest.raises(discoformer.InputError, match="'small' was skipped: 2 complete rows"):
        groups["small"]
    with pytest.warns(discoformer.DataWarning, match="2 of 1 groups that were skipped"):
        assert groups.log_density(small).isna().all()
    kept = discoformer.estimate_groups(flat, "sensor", model=model, allow_singular=True, min_rows=2)
    assert kept["flat"].diagnostics.rank == 1


def test_a_file_of_groups_answers_as_before_in_other_threads_and_after_a_pickle(
    groups: discoformer.SavedGroups, table: pd.DataFrame, tmp_path: Path, model: discoformer.Model
) -> None:
    groups.save(tmp_path / "all.groups")
    want = groups.log_density(table)
    loaded = discoformer.load_groups(tmp_path / "all.groups")
    assert loaded.by == ("sensor",)
    found: list[Any] = []

    def work() -> None:
        found.append(loaded.log_density(table))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found += [pickle.loads(pickle.dumps(loaded)).log_density(table)]
    assert len(found) == 5
    for answers in found:
        np.testing.assert_array_equal(answers, want)


def test_after_a_fork(groups: discoformer.SavedGroups, table: pd.DataFrame) -> None:
    want = groups.log_density(table)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for found in pool.map(groups.log_density, [table] * 3):
            np.testing.assert_array_equal(found, want)


def test_the_temporary_file_is_removed_with_its_groups(table: pd.DataFrame, model: discoformer.Model) -> None:
    groups = discoformer.estimate_groups(table, "sensor", ["x", "y"], model=model)
    path = groups.path
    assert path.exists()
    del groups
    assert not path.parent.exists()


def test_few_open_groups_answer_as_many(
    groups: discoformer.SavedGroups, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("discoformer.groups.saved_groups.OPEN", 2)
    again = discoformer.load_groups(groups.path)
    np.testing.assert_array_equal(again.log_density(table), groups.log_density(table))


def test_progress_and_small_batches(
    groups: discoformer.SavedGroups,
    table: pd.DataFrame,
    model: discoformer.Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("discoformer.groups.estimating.BATCH", 3)
    seen: list[tuple[int, int]] = []
    again = discoformer.estimate_groups(
        table, "sensor", ["x", "y"], model=model, on_progress=lambda *state: seen.append(state)
    )
    assert seen == [(0, 8), (3, 8), (6, 8), (8, 8)]
    np.testing.assert_allclose(again.log_density(table), groups.log_density(table), **CLOSE)


def test_effort_best(table: pd.DataFrame, model: discoformer.Model) -> None:
    some = table[table.sensor < 2]
    groups = discoformer.estimate_groups(some, "sensor", ["x", "y"], model=model, effort="best")
    points = some.loc[some.sensor == 1, ["x", "y"]]
    alone = model.estimate(points, effort="best")
    np.testing.assert_allclose(groups[1].log_density(points), alone.log_density(points), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "nothing"}, "by must name different columns of table"),
        ({"by": []}, "by must name columns"),
        ({"by": "x", "columns": ["x", "y"]}, "none of columns"),
        ({"by": "sensor", "columns": ["z"]}, "lacks 'z'"),
        ({"by": "sensor", "columns": ["site"]}, "must hold real numbers"),
        ({"by": "x"}, "a key must be text, a whole number"),
        ({"by": "sensor", "min_rows": 0}, "min_rows must be a whole number"),
        ({"by": "sensor", "effort": "slow"}, "effort must be"),
    ],
)
def test_arguments_that_are_wrong(
    table: pd.DataFrame, model: discoformer.Model, arguments: dict[str, Any], message: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", discoformer.DataWarning)  # of the column of text
        with pytest.raises(discoformer.InputError, match=message):
            discoformer.estimate_groups(table, model=model, **arguments)


def test_what_is_no_table(model: discoformer.Model, tmp_path: Path) -> None:
    with pytest.raises(discoformer.InputError, match="must be a pandas or polars DataFrame"):
        discoformer.estimate_groups(np.zeros((3, 2)), "a", model=model)
    (tmp_path / "t.csv").write_text("1,2\n3,4\n")
    with pytest.raises(discoformer.InputError, match="no column names to group by"):
        discoformer.estimate_groups(tmp_path / "t.csv", "a", model=model)
    (tmp_path / "t.csv").write_text("a,b\nk,inf\n")
    with pytest.raises(discoformer.InputError, match="column 'b' holds 'inf'"):
        discoformer.estimate_groups(tmp_path / "t.csv", "a", ["b"], model=model)
    (tmp_path / "t.csv").write_text("a,b\nk,\n,1\n")
    with pytest.raises(discoformer.InputError, match="must have complete rows with a key, got none of 2"):
        discoformer.estimate_groups(tmp_path / "t.csv", "a", ["b"], model=model)


def test_answers_to_arrays_with_keys(groups: discoformer.SavedGroups, table: pd.DataFrame) -> None:
    points = table[["x", "y"]].to_numpy()
    log_density, score = groups.answer(table.sensor, points)
    np.testing.assert_array_equal(log_density, groups.log_density(table))
    narrow = groups.answer(table.sensor.astype(str), points.astype(np.float32))[1]
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, score, rtol=1e-3, atol=1e-3)
    with pytest.raises(discoformer.InputError, match=r"2 columns and a row for each of the 1 keys"):
        groups.answer([1], points)
