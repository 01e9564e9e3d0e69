"""Tables of figures in documents are those that the benchmark wrote."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "models" / "gmm"


@pytest.mark.parametrize("document", [ROOT / "README.md", FOLDER / "README.md"], ids=["README", "card"])
def test_the_table_is_that_of_the_benchmark(document: Path) -> None:
    summary = (FOLDER / "benchmark.md").read_text(encoding="utf-8").split("\n\n")[0]
    assert summary.count("\n") > 15
    assert summary in document.read_text(encoding="utf-8")
