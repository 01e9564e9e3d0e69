"""README is short, its links lead to files, and figures of README and guides are those of recorded tables."""

import re
from pathlib import Path

import pytest
from site_hooks import OUTSIDE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
MOST_BYTES = 7168


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def cells(text: str) -> list[str]:
    """Cells of the tables in a text, without the first column and the heads."""
    rows = [line.split("|")[2:-1] for line in text.splitlines() if line.startswith("|")]
    heads = {i - 1 for i, row in enumerate(rows) if row and set("".join(row)) <= set("-: ")}
    kept = [row for i, row in enumerate(rows) if i not in heads and i - 1 not in heads]
    return [cell.strip() for row in kept for cell in row]


def test_readme_is_short() -> None:
    assert len(README.encode()) <= MOST_BYTES


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "models/base/README.md", "models/CHANGELOG.md"]
)
def test_links_between_files_lead_to_files(name: str) -> None:
    links = [link for link in LINK.findall(read(name)) if "://" not in link]
    missing = [link for link in links if not ((ROOT / name).parent / link).exists()]
    assert not missing


def test_tables_of_readme_are_those_of_the_benchmarks() -> None:
    recorded = (
        "models/base/benchmark.md",
        "models/base/wide/benchmark.md",
        "docs/flows/flows.md",
        "docs/choosing.md",
    )
    sources = [read(name) for name in recorded]
    known = {cell.strip().strip("*") for text in sources for cell in text.split("|")}
    found = cells(README)
    assert len(found) >= 20
    assert [cell for cell in found if cell not in known] == []


def test_counts_of_tables_in_readme_are_those_of_the_pages() -> None:
    counts = {
        row[1].strip(): [cell.split()[0] for cell in row[2:6]]
        for row in (line.split("|")[1:-1] for line in read("docs/real_tables/base_tables.md").splitlines())
        if len(row) == 7 and row[0].strip() == "as they are" and row[3].strip()
    }
    (_, kde, _, kde_behind), (_, em, _, em_behind), (all_of, flow, _, flow_behind) = (
        counts[name] for name in ("KDE", "EM, BIC", "flow")
    )
    assert f"KDE on {kde} (behind\non {kde_behind}), of EM on {em} (behind on {em_behind})" in README
    assert f"flow on {flow} of {all_of} (behind on none)" in README
    assert flow_behind == "0"
    means = next(line for line in read("docs/adbench/base_adbench.md").splitlines() if "mean over 18" in line)
    fast, best, neighbours = (cell.strip() for cell in means.split("|")[2:5])
    assert fast == best
    assert f"the mean area under the ROC curve is {best} %, of k-NN {neighbours} %" in README


GUIDES = [
    path
    for path in sorted((ROOT / "docs" / "guides").glob("*.md"))
    if "\n## Compared with other methods\n" in path.read_text("utf-8")
]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_figures_of_a_guide_are_in_the_table_it_links_to(guide: Path) -> None:
    section = guide.read_text(encoding="utf-8").partition("\n## Compared with other methods\n")[2]
    known: set[str] = set()
    for link in LINK.findall(section):
        path = (guide.parent / link).resolve().relative_to(ROOT / "docs").as_posix()
        known |= set(NUMBER.findall(read(OUTSIDE.get(path, f"docs/{path}"))))
    figures = [number for cell in cells(section) for number in NUMBER.findall(cell)]
    assert len(figures) >= 6
    assert [figure for figure in figures if figure not in known] == []


def test_our_figures_beside_published_ones_are_measured() -> None:
    known = set(
        NUMBER.findall(read("docs/published/benchmark.md") + read("docs/published/high/benchmark.md"))
    )
    rows = [
        line.split("|")[1:-1] for line in read("docs/benchmarks/published.md").splitlines() if "|" in line
    ]
    measured = [row for row in rows if len(row) == 6 and NUMBER.search(row[4])]
    assert len(measured) >= 11
    for setting, _, _, ours, to_scott, to_best in measured:
        figures = NUMBER.findall(ours)
        assert [figure for figure in figures if figure not in known] == [], setting
        model, scott, best = map(float, figures)
        assert float(to_scott) == pytest.approx(model / scott, abs=0.006), setting
        assert float(to_best) == pytest.approx(model / best, abs=0.006), setting
