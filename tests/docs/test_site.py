"""The site builds strictly, needs no network, is searched as files, and fits a phone."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
WIDEST = ("index", "choosing", "how", "guides/anomalies", "benchmarks/mixtures", "reference/formats",
          "reference/estimate", "real_tables/base_tables")  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [ROOT / "scripts" / "site", folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("a browser is needed")
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=["--headless", "--no-sandbox"]) as opened,
    ):
        yield opened


def test_no_page_needs_the_network(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(https?:[^\"\s>]*)")
    styles = re.compile(
        r"<link\b[^>]*\brel=\"?(?:stylesheet|icon|preconnect|preload)[^>]*href=\"?(https?:[^\"\s>]*)"
    )
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert loaded.findall(text) + styles.findall(text) == [], page


def test_formulas_are_mathml(site: Path) -> None:
    text = (site / "how.html").read_text(encoding="utf-8")
    assert text.count("<math") >= 8
    assert "arithmatex" not in text


def test_pages_from_outside_the_folder_are_there_with_links_that_work(site: Path) -> None:
    text = (site / "benchmarks" / "card.html").read_text(encoding="utf-8")
    assert 'href="../mixture/' in text
    assert (site / "project" / "contributing.html").is_file()


def test_search_finds_a_page_that_is_opened_as_a_file(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport=LAPTOP)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.click("input.md-search__input")
    page.keyboard.type("landmarks")
    page.wait_for_selector(".md-search-result__item", timeout=20_000)
    assert page.locator(".md-search-result__item").count() >= 2
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    page.close()


@pytest.mark.parametrize("name", WIDEST)
def test_pages_fit_a_phone(site: Path, browser: Any, name: str) -> None:
    page = browser.new_page(viewport=PHONE)
    page.goto((site / f"{name}.html").as_uri())
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    page.close()


QUESTIONS = {  # what a newcomer types: where the answer is
    "install": "start.html",
    "log-density above zero": "faq.html",
    "bandwidth choose": "faq.html",
    "use GPU cuda": "guides/gpu.html",
    "fill in missing values": "guides/imputation.html",
    "false discovery rate": "guides/anomalies.html",
    "fast or best": "choosing.html",
    "rounded values": "guides/tables.html",
    "train": "guides/training.html",
    "commercial product licence": "faq.html",
}


def test_search_leads_a_newcomer_to_the_answer(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport=LAPTOP)
    page.goto((site / "index.html").as_uri())
    page.click("input.md-search__input")
    wrong = {}
    for question, wanted in QUESTIONS.items():
        page.fill("input.md-search__input", "")
        page.locator("input.md-search__input").press_sequentially(question)
        page.wait_for_timeout(1500)
        links = page.locator("a.md-search-result__link").evaluate_all("all => all.map(a => a.href)")
        base = f"{site.as_uri()}/"
        found = list(dict.fromkeys(re.split(r"[?#]", link.removeprefix(base))[0] for link in links))
        if wanted not in found[:3]:
            wrong[question] = found[:5]
    page.close()
    assert not wrong
