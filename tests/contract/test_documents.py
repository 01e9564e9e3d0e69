"""Tables of figures in documents are those that the benchmark wrote."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = [path.parent for path in sorted(ROOT.glob("models/*/config.json"))]


def summary(folder: Path) -> str:
    return (folder / "benchmark.md").read_text(encoding="utf-8").split("\n\n")[0]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_table_of_a_card_is_that_of_the_benchmark(folder: Path) -> None:
    assert summary(folder).count("\n") > 15
    assert summary(folder) in (folder / "README.md").read_text(encoding="utf-8")
