"""The pictures of the site are drawn by a command, and each is shown on a page."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks.pictures.__main__ import PICTURES, main

ROOT = Path(__file__).parents[2]
PAGES = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))


def test_every_picture_is_there_and_is_shown_with_its_command() -> None:
    assert {path.stem for path in (ROOT / "docs" / "pictures").iterdir()} == set(PICTURES)
    for name in PICTURES:
        assert f"pictures/{name}.png" in PAGES, name
        assert f"python -m benchmarks.pictures {name}" in PAGES, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pipeline", "frame", "mixture", "densities", "runtimes", "stream"])
def test_a_picture_is_drawn_again_alike(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [name, "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    with Image.open(tmp_path / f"{name}.png") as now, Image.open(ROOT / f"docs/pictures/{name}.png") as kept:
        assert now.size == kept.size
        assert len(set(now.convert("L").tobytes())) > 8
