"""The package in headless Chromium, as it is packed: golden answers, a worker, WebGPU, the examples."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discoformer
from tests.contract.runtimes.measure import MissingError, browser_page
from tests.js.conftest import missing
from tests.js.site import PACKAGE, ROOT, make_site, pack

TOLERANCE = 3e-5  # of golden answers: the network rounds to float32
IRIS = ROOT / "tests" / "data" / "iris_petals.csv"
SECONDS = 60_000  # milliseconds to wait for an example

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    return make_site(folder / "site", pack(folder), "vite")


@pytest.fixture(scope="module")
def page(site: Path) -> Iterator[Any]:
    shutil.copy(PACKAGE / "examples" / "browser" / "index.html", site)
    shutil.copy(IRIS, site / "data.csv")
    try:
        with browser_page(site, "page.html") as opened:
            opened.wait_for_function("window.tests")
            yield opened
    except MissingError as error:
        missing(error)


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    golden = (ROOT / "models" / "base" / "golden" / "raw.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(golden)
    return found


@pytest.mark.parametrize("where", ["golden", "goldenInWorker"])
def test_golden_answers(page: Any, cases: dict[str, Any], where: str) -> None:
    errors = page.evaluate(f"cases => tests.{where}(cases)", cases)
    assert errors.keys() == cases.keys()
    assert max(errors.values()) < TOLERANCE, errors


def test_without_webgpu_the_network_runs_on_the_cpu(page: Any, cases: dict[str, Any]) -> None:
    """With an adapter it takes minutes, if that is SwiftShader: ``tests.js.measure`` tries one."""
    found = page.evaluate("cases => tests.goldenOnGpu(cases)", cases)
    assert found["device"] == "wasm"
    assert "there is no adapter" in found["told"][0]
    assert max(found["errors"].values()) < TOLERANCE, found


def test_a_worker_answers_as_the_page(page: Any) -> None:
    found = page.evaluate("tests.worker()")
    alike = ("answers", "draws", "density", "files", "diagnostics", "saved")
    assert {name: found[name] for name in alike} == dict.fromkeys(alike, True)
    assert found["warning"] == "RangeWarning"
    assert found["error"][0]
    assert "got nan in row 0, column 1" in found["error"][1]
    assert found["stopped"] == "enough"
    assert found["after"] == 50
    assert "has been ended" in found["ended"]
    assert found["missing"] == "ModelNotFoundError"


def test_the_page_responds_while_a_worker_reads(page: Any) -> None:
    assert page.evaluate("tests.longestPause()") < 1000  # milliseconds; the machine may be busy


def test_the_example_without_a_bundler(page: Any) -> None:
    opened = page.context.browser.new_page()
    opened.goto(page.url.replace("page.html", "index.html"))
    opened.wait_for_function(
        "document.querySelector('#answers').textContent.startsWith('{')", timeout=SECONDS
    )
    found = json.loads(opened.text_content("#answers"))
    opened.close()
    p = discoformer.estimate(np.loadtxt(IRIS, delimiter=",", skiprows=1), effort="fast")
    log_density, score = p.log_density_and_score([[1.4, 0.2], [3.0, 0.8]])
    np.testing.assert_allclose(found["logDensity"], log_density, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["score"], score.ravel(), rtol=1e-4, atol=1e-5)


def test_the_vite_app(page: Any, site: Path, run: Any) -> None:
    app = site / "app"
    shutil.copytree(PACKAGE / "examples" / "vite", app)
    (app / "node_modules").symlink_to(site / "node_modules")
    run("node", "node_modules/vite/bin/vite.js", "build", "--base", "/app/dist/", folder=app)
    opened = page.context.browser.new_page()
    opened.goto(page.url.replace("page.html", "app/dist/index.html"))
    opened.set_input_files("input", IRIS)
    opened.wait_for_function(
        "document.querySelector('pre').textContent.includes('greatest')", timeout=SECONDS
    )
    assert "150 rows; greatest density" in opened.text_content("pre")
    painted = opened.evaluate(
        "Array.from(document.querySelector('canvas').getContext('2d').getImageData(0, 0, 240, 240).data)"
    )
    opened.close()
    opacity = np.array(painted)[3::4]
    assert opacity.max() == 255
    assert 0.02 < (opacity > 25).mean() < 0.5
