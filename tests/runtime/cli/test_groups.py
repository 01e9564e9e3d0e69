"""``--by``: one density for each group, in files of every kind, and a job that is killed goes on."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import discoformer
from discoformer.cli import main
from discoformer.groups.store import Store

MODEL = ("--device", "cpu", "--threads", "1")


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), *MODEL])


def good(*arguments: Any) -> pd.DataFrame:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return pd.read_csv(io.StringIO(result.stdout))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    key = rng.permutation(np.repeat(np.arange(5), 40))
    x = rng.normal(3 * key[:, None], 1, (len(key), 2))
    frame = pd.DataFrame({"customer": [f"c{k}" for k in key], "id": key, "x": x[:, 0], "y": x[:, 1]})
    frame.loc[3, "x"] += 9
    return frame


@pytest.fixture(scope="module")
def data(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.parquet"
    table.to_parquet(path)
    return path


@pytest.fixture(scope="module")
def groups(table: pd.DataFrame) -> discoformer.SavedGroups:
    model = discoformer.load("base", "cpu", 1)
    return discoformer.estimate_groups(table, "customer", ["x", "y"], model=model)


def test_rows_are_answered_by_their_groups(
    data: Path, table: pd.DataFrame, groups: discoformer.SavedGroups
) -> None:
    found = good("estimate", data, "--by", "customer", "--columns", "x,y")
    names = ["customer", "x", "y", "log_density", "density", "score_x", "score_y"]
    assert list(found) == names
    assert (found.customer == table.customer).all()
    log_density, score = groups.log_density_and_score(table)
    np.testing.assert_allclose(found.log_density, log_density, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[["score_x", "score_y"]], score, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_queries_and_outputs_of_every_kind(
    data: Path, table: pd.DataFrame, groups: discoformer.SavedGroups, tmp_path: Path, suffix: str
) -> None:
    query, out = tmp_path / "query.csv", tmp_path / f"out.{suffix}"
    rows = table.head(20).assign(customer=lambda t: t.customer.where(t.id > 0, "new, one"))
    rows.to_csv(query, index=False)
    columns = ["--by", "customer,id", "--columns", "x,y"]
    result = run("estimate", data, *columns, "--query", query, "--out", out)
    assert result.exit_code == 0, result.stderr
    unknown = int((rows.id == 0).sum())
    assert f"{unknown} of 20 rows are NaN: {unknown} of 1 unknown groups" in result.stderr
    readers: dict[str, Any] = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": pd.read_json}
    found = readers[suffix](out, **({"lines": True} if suffix == "jsonl" else {}))
    assert found.customer.tolist() == rows.customer.tolist()
    assert found.id.astype(int).tolist() == rows.id.tolist()
    known = (rows.id > 0).to_numpy()
    assert found.log_density.isna().tolist() == (~known).tolist()
    want = groups.log_density(rows[known])
    np.testing.assert_allclose(found.log_density[known], want, rtol=1e-4, atol=1e-4)


def test_whole_numbers_stay_whole_in_parquet(data: Path, tmp_path: Path) -> None:
    run("estimate", data, "--by", "id", "--columns", "x,y", "--out", tmp_path / "out.parquet")
    assert pd.read_parquet(tmp_path / "out.parquet").id.dtype == np.int64


def test_npy_holds_no_keys(data: Path, tmp_path: Path) -> None:
    result = run("estimate", data, "--by", "id", "--columns", "x,y", "--out", tmp_path / "out.npy")
    assert result.exit_code == 1
    assert "an NPY file holds numbers, and no column such as 'id'" in result.stderr
    assert not list(tmp_path.iterdir())


def test_skipped_groups_are_counted(data: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    flat = pd.DataFrame({"customer": "flat", "id": 9, "x": 1.0, "y": np.arange(20.0)})
    pd.concat([table, flat, flat.head(3).assign(customer="few")]).to_csv(path, index=False)
    result = run("estimate", path, "--by", "customer", "--columns", "x,y")
    assert result.exit_code == 0
    assert "Skipped 2 of 7 groups" in result.stderr
    assert "NaN: 23 of 2 groups that were skipped" in result.stderr
    again = run("estimate", path, "--by", "customer", "--columns", "x,y", "--allow-singular")
    assert "Skipped 1 of 7 groups" in again.stderr


def test_save_and_many_groups_in_large_blocks(
    data: Path, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = tmp_path / "all.groups"
    plain = good("estimate", data, "--by", "customer", "--columns", "x,y", "--save", save)
    loaded = discoformer.load_groups(save)
    np.testing.assert_allclose(loaded.log_density(table), plain.log_density, rtol=1e-9)
    monkeypatch.setattr("discoformer.cli.groups.OPEN", 2)
    monkeypatch.setattr("discoformer.cli.groups._AT_ONCE", 64)
    monkeypatch.setattr("discoformer.io.keyed.BLOCK", 7)
    again = good("estimate", data, "--by", "customer", "--columns", "x,y")
    assert again.customer.tolist() == plain.customer.tolist()
    np.testing.assert_allclose(again.log_density, plain.log_density, rtol=1e-5, atol=1e-5)


def test_save_without_groups(data: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    found = good("estimate", data, "--columns", "x,y", "--effort", "fast", "--save", tmp_path / "p")
    p = discoformer.load_estimate(tmp_path / "p")
    np.testing.assert_allclose(p.log_density(table[["x", "y"]]), found.log_density, rtol=1e-6)


@pytest.mark.slow
def test_a_killed_command_goes_on(table: pd.DataFrame, tmp_path: Path) -> None:
    """Killed by -9 after its first batches; the second run estimates the others only."""
    rng = np.random.default_rng(0)
    key = np.repeat(np.arange(600), 12)
    many = pd.DataFrame({"key": key, "x": rng.normal(size=len(key))})
    many.to_parquet(tmp_path / "many.parquet")
    command = [sys.executable, "-c", "from discoformer.cli import main; main()", "estimate", *MODEL]
    command += [str(tmp_path / "many.parquet"), "--by", "key", "--query", str(tmp_path / "query.csv")]
    many.head(5).to_csv(tmp_path / "query.csv", index=False)

    def start(name: str) -> subprocess.Popen[str]:
        whole = [*command, "--save", str(tmp_path / name)]
        return subprocess.Popen(whole, stdout=subprocess.PIPE, text=True, cwd=tmp_path)

    part = tmp_path / "killed.groups.partial"
    process, deadline = start("killed.groups"), time.monotonic() + 120
    while not part.exists() or part.stat().st_size < 100_000:  # the first batch is written
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (tmp_path / "killed.groups").exists()
    answers = [start(name).communicate(timeout=240)[0] for name in ("killed.groups", "whole.groups")]
    assert answers[0] == answers[1]
    assert not part.exists()
    stores = [Store.open(tmp_path / name) for name in ("killed.groups", "whole.groups")]
    assert stores[0].about() == stores[1].about()
    assert list(stores[0].keys()) == list(stores[1].keys())
    assert all(stores[0].find(k) == stores[1].find(k) for k in range(600))


@pytest.mark.parametrize("query", [False, True])
def test_anomalies(data: Path, table: pd.DataFrame, tmp_path: Path, query: bool) -> None:
    arguments: list[Any] = [data, "--by", "customer", "--columns", "x,y", "--fdr", 0.2]
    if query:
        table.drop(3).to_parquet(tmp_path / "clean.parquet")
        table.head(10).to_csv(tmp_path / "query.csv", index=False)
        arguments = [tmp_path / "clean.parquet", *arguments[1:], "--query", tmp_path / "query.csv"]
    found = good("anomalies", *arguments)
    assert list(found) == ["customer", "x", "y", "p_value", "anomaly", "log_density", "push_x", "push_y"]
    rows = table.head(10) if query else table
    assert found.customer.tolist() == rows.customer.tolist()
    assert found.p_value.idxmin() == 3
    assert found.push_x[3] > 0.5
    if not query:
        assert found.anomaly[3] == 1
    own = rows.customer == rows.customer[3]  # as one group alone
    clean = table[(table.customer == rows.customer[3]) & ~(query & (table.index == 3))][["x", "y"]]
    model = discoformer.load("base", "cpu", 1)
    want = (
        discoformer.Reference(clean, model=model).p_values(rows[own][["x", "y"]])
        if query
        else discoformer.anomalies.find_anomalies(clean, model=model).p_values
    )
    np.testing.assert_allclose(found.p_value[own], want, rtol=1e-6)


def test_anomalies_of_groups_that_cannot_be_tested(table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    few = pd.DataFrame({"customer": "few", "x": [1.0, 2], "y": [1.0, 2]})
    pd.concat([table.drop(columns="id"), few]).to_csv(path, index=False)
    result = run("anomalies", path, "--by", "customer")
    assert "Skipped 1 of 6 groups, which are unknown, too small" in result.stderr
    found = pd.read_csv(io.StringIO(result.stdout))
    assert found.p_value.isna().tolist() == (found.customer == "few").tolist()
    assert found.anomaly[found.customer == "few"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["estimate", "-", "--by", "a"], "--by reads DATA twice"),
        (["estimate", "FILE", "--by", "customer", "--grid"], "--by cannot be used with --grid"),
        (["estimate", "FILE", "--by", "customer", "--weights", "x"], "--weights"),
        (["estimate", "FILE", "--by", "customer", "--rounding", "x=1"], "--by needs --rounding auto or none"),
        (["estimate", "FILE", "--by", "customer", "--effort", "fast", "--missing", "marginal"], "marginal"),
        (["anomalies", "FILE", "--by", "customer", "--plot", "p.png"], "--by cannot be used with --plot"),
    ],
)
def test_options_that_do_not_go_together(data: Path, arguments: list[str], message: str) -> None:
    result = run(*(str(data) if argument == "FILE" else argument for argument in arguments))
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_column_that_is_not_there(data: Path) -> None:
    result = run("estimate", data, "--by", "nobody")
    assert result.exit_code == 1
    assert "by must name different columns" in result.stderr
    assert "customer, id, x, y" in result.stderr
