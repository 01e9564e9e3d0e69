"""The notebooks run, hold the outputs of a run, and are small enough to be shown by a hosting site."""

from pathlib import Path

import nbformat
import pytest
from notebooks import NOTEBOOKS, executed

pytestmark = pytest.mark.slow

MOST_BYTES = 300_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_texts_are_those_kept(path: Path) -> None:
    assert path.stat().st_size <= MOST_BYTES
    kept = nbformat.read(path, as_version=4)
    nbformat.validate(kept)
    for now, before in zip(executed(path).cells, kept.cells, strict=True):
        if now.cell_type == "code":
            assert kinds(now) == kinds(before), now.source


def kinds(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell puts out: streams by name, results by the types of their data."""
    return [output.get("name") or " ".join(sorted(output.data)) for output in cell.outputs]


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 2
