"""Hooks of the documentation site (mkdocs.yml): pages and links from outside docs/, and formulas as MathML.

Some pages of the site are files that live elsewhere in the repository, such as CONTRIBUTING.md. They get the
names in ``OUTSIDE``. A link to a file of the repository that is no page becomes the path of that file. An
entry of the navigation whose file is not there is left out. Formulas are converted when the site is built, so
a browser needs no script for them.
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
_PAGES = {source: page for page, source in OUTSIDE.items()}
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\(|\\\[)(.*?)(?:\\\)|\\\])</\1>', re.DOTALL)


def on_config(config: Any) -> Any:
    """Leave entries out of the navigation whose files are not there."""
    config.nav = _present(config.nav)
    return config


def _present(entry: Any) -> Any:
    if isinstance(entry, list):
        return [kept for item in entry if (kept := _present(item))]
    if isinstance(entry, dict):
        return {title: kept for title, item in entry.items() if (kept := _present(item))}
    return entry if (ROOT / OUTSIDE.get(entry, f"docs/{entry}")).is_file() else None


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside docs/."""
    for page, source in OUTSIDE.items():
        if (ROOT / source).is_file():
            content = relinked((ROOT / source).read_text(encoding="utf-8"), source, page)
            files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Change the links of pages in docs/ that lead out of it."""
    name = page.file.src_uri
    return markdown if name in OUTSIDE else relinked(markdown, f"docs/{name}", name)


def relinked(text: str, source: str, page: str) -> str:
    """Change the links of a file of the repository to those of a page of the site."""

    def changed(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if "://" in target or not (ROOT / path).exists():
            return match[0]
        found = _PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if found is None:
            return f"{label} (`{path}`)"
        return f"[{label}]({posixpath.relpath(found, posixpath.dirname(page) or '.')}{anchor})"

    return _LINK.sub(changed, text)


def on_page_content(content: str, **_: Any) -> str:
    """Turn the formulas of a page into MathML."""
    return _FORMULA.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    formula = convert(html.unescape(match[2]), display="inline" if match[1] == "span" else "block")
    return formula.replace("<mi>log</mi>", '<mo lspace="0.17em" rspace="0.17em">log</mo>')
