"""The pages of the documentation, and their code blocks.

    python tests/docs/pages.py docs/start.md ...   # run the code of pages, and write down what it prints

The Python blocks of a page run one after the other in one namespace, like cells of a notebook. The working
directory has links to folders of the repository, and the small files of ``FILES``, which examples read. If a
block prints, a ``text`` block must follow it, with what it prints. A line ``...`` there stands for any lines.

The code of a page that needs a service or an engine is run by another test. The page names it in a comment:
``<!-- code: tests/FILE.py -->``.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FILES = ("data.csv", "points.csv", "clean.csv", "new.csv", "holed.csv")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")
TOLERANCE = 0.02  # relative; the least digits of a network depend on the machine


ELSEWHERE = re.compile(r"<!-- code: (\S+) -->")


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    language: str
    code: str
    line: int  # of its first line in the file, from 1
    output: str | None  # the text block that follows at once


def pages() -> list[Path]:
    """All documents whose code is run: README and the site."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """Return the code blocks of a document, but text blocks."""
    found = []
    fences = list(FENCE.finditer(text))
    for fence, following in zip_longest(fences, fences[1:]):
        if fence[1] == "text":
            continue
        follows = following is not None and following[1] == "text"
        at_once = follows and not text[fence.end() : following.start()].strip()
        line = text.count("\n", 0, fence.start()) + 2
        found.append(Block(fence[1], fence[2], line, following[2] if at_once else None))
    return found


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A temporary working directory with the files that examples read."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("docs", "examples", "models", "tests", "training"):
            (place / name).symlink_to(ROOT / name)
        _write_files(place)
        os.chdir(place)
        try:
            yield place
        finally:
            os.chdir(before)


def _write_files(place: Path) -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(200, 2)) @ [[1.0, 0.5], [0.0, 0.7]]
    tables = {"data": clean, "points": clean[:5], "clean": clean, "new": clean[:40] + 0.1, "holed": clean}
    for name, values in tables.items():
        rows = [["" if name == "holed" and i % 9 == j else f"{x:.6g}" for j, x in enumerate(row)]
                for i, row in enumerate(values)]  # fmt: skip
        lines = [",".join(row) for row in [["a", "b"], *rows]]
        (place / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(block: Block, namespace: dict[str, Any], page: Path) -> str:
    """Run a Python block and return what it prints, warnings included."""
    printed = io.StringIO()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        print(f"{category.__name__}: {message}", file=printed)

    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        warnings.showwarning = show
        exec(code, namespace)
    return printed.getvalue()


def agree(printed: str, shown: str) -> bool:
    """Whether a text shows what was printed: the same words, and numbers that agree."""
    if "\n...\n" in f"\n{shown}":
        pieces = [piece for piece in re.split(r"(?m)^\.\.\.\n", shown) if piece]
        lines, at = printed.splitlines(keepends=True), 0
        for piece in pieces:
            size = len(piece.splitlines())
            places = [i for i in range(at, len(lines)) if agree("".join(lines[i : i + size]), piece)]
            if not places:
                return False
            at = places[0] + size
        return True
    if NUMBER.sub("#", printed).split() != NUMBER.sub("#", shown).split():
        return False
    a, b = ([float(x) for x in NUMBER.findall(text)] for text in (printed, shown))
    return bool(np.allclose(a, b, rtol=TOLERANCE, atol=1e-3))


def fill(page: Path) -> None:
    """Run the Python blocks of a page, and write what they print into the text blocks behind them."""
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with workplace():
        for block in blocks(text):
            if block.language != "python":
                continue
            printed = run(block, namespace, page)
            fence = f"{block.code}```\n"
            if block.output is not None and not agree(printed, block.output):
                text = text.replace(
                    f"{fence}\n```text\n{block.output}```", f"{fence}\n```text\n{printed}```", 1
                )
            elif block.output is None and printed:
                text = text.replace(fence, f"{fence}\n```text\n{printed}```\n", 1)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for given in sys.argv[1:]:
        try:
            fill(Path(given).resolve())
        except Exception:
            traceback.print_exc()
