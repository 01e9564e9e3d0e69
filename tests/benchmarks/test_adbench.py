"""The benchmark on the tables of ADBench: its detectors, its splits, and the command on made tables."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pyod.models.ecod import ECOD

from benchmarks.accuracy import adbench
from benchmarks.common import report

MODEL = Path(__file__).parents[2] / "models" / "base"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_ecod_is_that_of_pyod(rng: np.random.Generator) -> None:
    context, fresh = np.round(rng.exponential(size=(60, 3)), 1), np.round(rng.exponential(size=(9, 3)), 1)
    theirs = ECOD().fit(context)
    expected = np.r_[theirs.decision_scores_, [theirs.decision_function(row[None])[0] for row in fresh]]
    own = np.r_[np.arange(60), np.full(9, -1)]
    np.testing.assert_allclose(-adbench.ecod(context, np.r_[context, fresh], own, 0), expected)


def test_a_row_is_not_its_own_neighbour(rng: np.random.Generator) -> None:
    context, fresh = rng.normal(size=(40, 2)), rng.normal(size=(5, 2))
    own = np.r_[np.arange(40), np.full(5, -1)]
    found = adbench.nearest_neighbours(context, np.r_[context, fresh], own, 0)
    for row, place, score in zip(np.r_[context, fresh], own, found, strict=True):
        others = context if place < 0 else np.delete(context, place, axis=0)
        assert -score == pytest.approx(np.sort(np.linalg.norm(others - row, axis=1))[4])


def test_the_rows_read_and_scored() -> None:
    labels = np.r_[np.ones(20, int), np.zeros(20_000, int)]
    read, scored = adbench.split(labels, "one class", np.random.default_rng(0))
    assert len(read) == len(set(read)) == 4000
    assert not labels[read].any()
    assert len(scored) == len(set(scored)) == 8000
    assert labels[scored].sum() == 20
    assert not set(read) & set(scored)
    read, scored = adbench.split(labels[:3000], "unsupervised", np.random.default_rng(0))
    assert sorted(read) == sorted(scored) == list(range(3000))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of scikit-learn, about few rows
def test_the_command(tmp_path: Path, rng: np.random.Generator) -> None:
    normal, far = rng.normal(size=(200, 3)), 6 + rng.normal(size=(10, 3))
    rows, labels = np.r_[normal, far] * [1.0, 1e-3, 1e4], np.r_[np.zeros(200), np.ones(10)]
    np.savez(tmp_path / "far.npz", X=rows, y=labels)
    np.savez(tmp_path / "few.npz", X=rows[196:201], y=labels[196:201])
    options = [str(tmp_path), "--model", str(MODEL), "--out", str(tmp_path), "--draws", "2"]
    done = CliRunner().invoke(adbench.main, options)
    assert done.exit_code == 0, done.output
    path = tmp_path / "base_adbench.json"
    results = [adbench.Result(**result) for result in report.read(path)]
    assert len(results) == 2 * 2 * 2 * len(adbench.METHODS)
    assert min(r.area for r in results if (r.table, r.setting) == ("far", "one class")) > 0.95
    assert all(r.area is None and r.failure for r in results if (r.table, r.detector) == ("few", "k-NN"))
    assert "- few, one class, k-NN: " in done.output
    assert "mean over 1 tables that all read" in done.output
    before = path.read_bytes()
    assert CliRunner().invoke(adbench.main, options).exit_code == 0
    assert path.read_bytes() == before


def test_a_folder_without_tables_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(adbench.main, [str(tmp_path)])
    assert done.exit_code == 2
    assert "no files .npz" in done.output
