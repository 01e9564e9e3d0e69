"""The tests of the package in Node, by its own runner."""

from collections.abc import Callable
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.test.mjs"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_in_node(run: Callable[..., str], file: Path) -> None:
    run("node", "--test", file)


def test_there_are_tests() -> None:
    assert len(FILES) >= 5
