"""Hooks of the documentation site (mkdocs.yml): pages from outside docs/, and formulas as MathML.

Some pages of the site are files that live elsewhere in the repository, such as CONTRIBUTING.md. They get the
names in ``OUTSIDE``. A link in them to a file that is no page becomes the path of that file.
Formulas are converted when the site is built, so a browser needs no script for them.
"""

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {  # page of the site: file of the repository
    "benchmarks/card.md": "models/base/README.md",
    "benchmarks/mixtures.md": "models/base/benchmark.md",
    "benchmarks/small.md": "models/base/small/benchmark.md",
    "benchmarks/wide.md": "models/base/wide/benchmark.md",
    "project/changelog.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/models.md": "models/CHANGELOG.md",
}
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\(|\\\[)(.*?)(?:\\\)|\\\])</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside docs/, those that exist."""
    for page, source in OUTSIDE.items():
        path = ROOT / source
        if path.is_file():
            content = relinked(path.read_text(encoding="utf-8"), source, page)
            files.append(File.generated(config, page, content=content))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Turn the formulas of a page into MathML."""
    return _FORMULA.sub(_mathml, content)


def relinked(text: str, source: str, page: str) -> str:
    """Change the links of a file of the repository to those of a page of the site."""

    def changed(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        found = _page_of(path)
        if found is None:
            return f"{label} (`{path}`)"
        return f"[{label}]({posixpath.relpath(found, posixpath.dirname(page) or '.')}{anchor})"

    return _LINK.sub(changed, text)


def _page_of(path: str) -> str | None:
    pages = {source: page for page, source in OUTSIDE.items()}
    if path in pages:
        return pages[path]
    is_page = path.startswith("docs/") and (ROOT / path).suffix in {".md", ".png"}
    return path.removeprefix("docs/") if is_page else None


def _mathml(match: re.Match[str]) -> str:
    formula = convert(html.unescape(match[2]), display="inline" if match[1] == "span" else "block")
    return re.sub(
        r"<mi>(log|exp)</mi>(?!<mo[^>]*>&#x00028;)", r'<mi>\1</mi><mspace width="0.17em" />', formula
    )
