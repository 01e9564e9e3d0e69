"""Files that the page saves: the picture, and the grid."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.play.playground import Playground, cluster


def saved(playground: Playground, button: str, folder: Path) -> Path:
    with playground.page.expect_download() as waiting:
        playground.page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_the_grid_is_what_the_estimators_answer(playground: Playground, tmp_path: Path) -> None:
    rows = "\n".join(f"{a},{b}" for a, b in cluster(100))
    playground.drop("table.csv", f'"weight, kg","a ""b"""\n{rows}')
    playground.until("playground.points().length === 200")
    playground.page.select_option("#size", "48")
    path = saved(playground, "#save-grid", tmp_path)  # while it is being computed
    playground.page.select_option("#size", "32")
    assert path.name == "discoformer.csv"
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    names = playground.page.evaluate(
        "[...document.querySelectorAll('#columns select')].map((one) => one.selectedOptions[0].textContent)"
    )
    assert header[:2] == names
    asked = ["log_density", "density", *(f"score_{name}" for name in names)]
    assert header[2:] == [f"{estimator}_{name}" for estimator in ("discoformer", "kde") for name in asked]
    table = np.array(lines, dtype=np.float64)
    assert table.shape == (48**2, 10)
    view = playground.page.evaluate("playground.view()")
    corners = [[view["x0"], view["y0"]], [view["x1"], view["y1"]]]
    np.testing.assert_allclose(table[[0, -1], :2], corners)
    answers = playground.ask(table[:, :2])
    for k, name in enumerate(("discoformer", "kde")):
        log_density, score = answers[name]
        np.testing.assert_array_equal(table[:, 2 + 4 * k], log_density)
        np.testing.assert_allclose(table[:, 3 + 4 * k], np.exp(log_density))
        np.testing.assert_array_equal(table[:, 4 + 4 * k : 6 + 4 * k], score)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_has_both_plots_in_the_colours_of_the_page(
    playground: Playground, tmp_path: Path, scheme: Any
) -> None:
    playground.page.emulate_media(color_scheme=scheme)
    playground.click(cluster(16))
    picture = np.asarray(Image.open(saved(playground, "#save-picture", tmp_path)).convert("RGB")).astype(int)
    playground.page.emulate_media(color_scheme="light")
    assert picture.shape == (2 * 656, 2 * 1180, 3)
    ground = picture[0, 0]
    assert (ground.sum() < 100) == (scheme == "dark")
    left, right = picture[200:1100, 140:1100], picture[200:1100, 1300:2260]
    for plot in (left, right):
        assert len(np.unique(plot.reshape(-1, 3), axis=0)) > 500
    assert (left != right).any()


def test_particles_are_in_the_picture(playground: Playground, tmp_path: Path) -> None:
    playground.click(cluster(16))
    before = saved(playground, "#save-picture", tmp_path).read_bytes()
    playground.page.locator("input[value=draws]").click(force=True)
    playground.page.click("#play")
    playground.until("playground.particles('kde')?.steps === 1")
    playground.until("document.querySelector('#play').textContent === 'Draw'")
    after = saved(playground, "#save-picture", tmp_path).read_bytes()
    playground.page.click("#remove")
    assert saved(playground, "#save-picture", tmp_path).read_bytes() == before != after
    playground.page.locator("input[value=ascent]").click(force=True)


def test_without_an_estimate_there_is_nothing_to_save(playground: Playground) -> None:
    for button in ("#save-picture", "#save-grid", "#link"):
        assert playground.page.is_disabled(button)
    playground.click(np.array([[0.0, 0.0]]))  # one point has no density, but can be shared
    assert playground.page.is_disabled("#save-grid")
    assert playground.page.is_enabled("#link")
