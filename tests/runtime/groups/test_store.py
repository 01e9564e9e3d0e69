"""A file of groups may come from anyone: damage and foreign content are errors, and nothing in it runs."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import discoformer
from discoformer.groups.store import Row, Store

CHANGES = {
    "a byte of an estimate": "UPDATE groups SET estimate = zeroblob(length(estimate)) WHERE number = 1",
    "the estimate of another group": "UPDATE groups SET estimate = (SELECT estimate FROM groups "
    "WHERE number = 2) WHERE number = 1",
    "the key": "UPDATE groups SET key = '1' WHERE number = 2",
    "a reason": "UPDATE groups SET skipped = 'because' WHERE number = 1",
    "rows": "UPDATE groups SET rows = 1 WHERE number = 1",
    "a type": "UPDATE groups SET estimate = 'text' WHERE number = 1",
}
FOREIGN = {
    "a view": "CREATE VIEW v AS SELECT 1",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON groups BEGIN SELECT 1; END",
    "another table": "CREATE TABLE other (a)",
    "an index": "CREATE INDEX i ON groups (rows)",
    "a view as a table": "DROP TABLE about; CREATE VIEW about AS SELECT 'a' AS entry, 'b' AS checksum",
    "no description": "DELETE FROM about",
    "two descriptions": "INSERT INTO about SELECT * FROM about",
    "another description": "UPDATE about SET entry = '{}'",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"key": np.repeat([0, 1, 2], 20), "x": rng.normal(size=60)})
    path = tmp_path_factory.mktemp("original") / "all.groups"
    discoformer.estimate_groups(table, "key", path=path)
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "all.groups"))


def change(path: Path, statements: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(statements)
    connection.close()


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_row_is_an_error_and_others_answer(path: Path, statement: str) -> None:
    if "key = '1'" in statement:
        change(path, "DELETE FROM groups WHERE number = 2")  # keys are unique
        statement = "UPDATE groups SET key = '1' WHERE number = 3"
    change(path, statement)
    groups = discoformer.load_groups(path)
    key = 1 if "key = '1'" in statement else 0
    with pytest.raises(discoformer.InputError, match=r"damaged \(ValueError: the checksum of the group"):
        groups.answer([key], [[0.0]])
    assert np.isfinite(groups.answer([1 - key], [[0.0]])[0]).all()


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN.keys())
def test_another_schema_or_description_is_an_error(path: Path, statement: str) -> None:
    change(path, statement)
    with pytest.raises(discoformer.InputError, match="is no file of groups, or is damaged"):
        discoformer.load_groups(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_file_that_is_cut_short(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(discoformer.InputError, match="is no file of groups, or is damaged"):
        discoformer.load_groups(path).answer([0, 1, 2], np.zeros((3, 1)))


def test_flipped_bits_never_change_an_answer(path: Path) -> None:
    """Each of 300 flips is an error or a group that is not there, or leaves the answers as they are."""
    content, rng = path.read_bytes(), np.random.default_rng(0)
    want = discoformer.load_groups(path).answer([0, 1, 2], np.zeros((3, 1)))[0]
    outcomes = set()
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        try:
            found = discoformer.load_groups(path).answer([0, 1, 2], np.zeros((3, 1)))[0]
        except (discoformer.DiscoformerError, discoformer.DataWarning) as error:
            outcomes.add(type(error).__name__)
            continue
        np.testing.assert_array_equal(found, want)
        outcomes.add("as it was")
    assert {"InputError", "as it was"} <= outcomes


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "p"
    with pytest.raises(FileNotFoundError):
        discoformer.load_groups(path)
    for content in (b"", b"text", b"SQLite format 3\0" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(discoformer.InputError, match="is no file of groups, or is damaged"):
            discoformer.load_groups(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(discoformer.InputError, match="is a symbolic link, needed a regular file"):
        discoformer.load_groups(tmp_path / "link")


def test_a_newer_format_says_so(path: Path) -> None:
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(discoformer.InputError, match="has format 99, this version of discoformer reads 1"):
        discoformer.load_groups(path)


def test_another_model_is_refused(path: Path, gaussian: discoformer.Model) -> None:
    with pytest.raises(discoformer.ModelError, match=r"was made by the model 'base' 11"):
        discoformer.load_groups(path, gaussian)


def test_an_estimate_of_another_file_is_refused(path: Path, tmp_path: Path) -> None:
    """A stranger may write good checksums, but not an estimate with other columns than the file says."""
    rng = np.random.default_rng(0)
    other = tmp_path / "other.groups"
    table = pd.DataFrame({"key": np.repeat([0, 1], 20), "z": rng.normal(size=40)})
    estimate = discoformer.estimate_groups(table, "key", path=other)
    row = Store.open(other).find(0)
    assert row is not None
    change(path, "DELETE FROM groups WHERE key = '0'")
    store = Store.create(path, Store.open(path).about())
    store.add([Row(0, row.rows, "", row.estimate)])
    store.close()
    with pytest.raises(discoformer.InputError, match="has another model, columns or effort than the file"):
        discoformer.load_groups(path)[0]
    assert estimate[0].columns == ("z",)


def test_a_full_disk_is_an_error_and_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "p"
    store = Store.create(path, {"a": 1})
    store.add([Row("first", 1, "", b"1")])
    store._connection.execute("PRAGMA max_page_count = 10")  # as if there were no room for more
    with pytest.raises(OSError, match="check its folder, permissions and disk"):
        store.add([Row("second", 1, "", b"2"), Row("third", 1, "", bytes(100_000))])
    store.close()
    again = Store.create(path, {"a": 1})
    assert list(again.keys()) == [("first", "")]
    again.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"key": 0, "x": rng.normal(size=20)})
    with pytest.raises(OSError, match="cannot be read or written"):
        discoformer.estimate_groups(table, "key", path=tmp_path / "absent" / "p")
