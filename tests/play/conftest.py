"""A browser (Chromium or Chrome) and the site, with the released model and onnxruntime-web."""

import os
import shutil
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from discoformer.model import DEFAULT_NAME, find_folder
from discoformer.play.onnxruntime_web import cached
from discoformer.play.server import Server
from discoformer.play.site import checked_model, site_files

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def cannot(reason: str) -> NoReturn:
    """Skip the test, or fail if DISCOFORMER_REQUIRE_RUNTIMES is 1."""
    if os.environ.get("DISCOFORMER_REQUIRE_RUNTIMES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The URL of the served page."""
    try:
        web = cached()
    except ConnectionError as error:
        cannot(str(error))
    with Server("127.0.0.1", 0, site_files(checked_model(find_folder(DEFAULT_NAME)), web)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for one module: Playwright can run only once at a time in a process."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        cannot("playwright is not installed: pip install 'discoformer[test]'")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        cannot(f"none of {', '.join(BROWSERS)} is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
