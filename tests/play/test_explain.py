"""The panel in plain words, and the switch between light and dark."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.play.playground import LAPTOP, PHONE, Playground, cluster, kde

GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture
def explained(playground: Playground) -> Iterator[Playground]:
    """The page with the panel."""
    playground.page.click("#explain")
    yield playground
    if playground.page.is_visible("#close-explanation"):
        playground.page.click("#close-explanation")


def words(playground: Playground) -> str:
    return playground.words("#words").replace("\N{NO-BREAK SPACE}", " ")


def numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text)
    assert found, text
    return [float(number) for number in found.groups()]


def test_it_says_what_the_numbers_say(explained: Playground) -> None:
    assert "Draw points on a plot" in words(explained)
    explained.click(cluster(60))
    at, shown = explained.point_at(-1.2, -0.4)
    text = words(explained)
    assert "The dots are the 60 points in use" in text
    view = explained.page.evaluate("playground.view()")
    box = 0.02**2 * (view["x1"] - view["x0"]) * (view["y1"] - view["y0"])
    ours, theirs = numbers(r"DiScoFormer expects about ([\d.]+) .* KDE expects about ([\d.]+)\.", text)
    for found, name in ((ours, "discoformer"), (theirs, "kde")):
        assert found == pytest.approx(1000 * box * np.exp(shown[name][0]), rel=0.06)
    np.testing.assert_allclose(shown["kde"][0], kde(explained.points(), at)[0][0])

    slope = np.array(shown["discoformer"][1:]) * (view["x1"] - view["x0"])  # the view is a square
    (growth,) = numbers(r"grows fastest towards the [\w ]+: ([\d.]+)-fold", text)
    assert growth == pytest.approx(np.exp(0.02 * np.linalg.norm(slope)), rel=0.01)
    way = re.search(r"towards the ([\w ]+):", text)[1]
    assert ("left" in way) <= (slope[0] < 0)
    assert ("right" in way) <= (slope[0] > 0)
    assert ("top" in way or "upper" in way) <= (slope[1] > 0)

    explained.settle()
    grids = [np.exp(explained.page.evaluate(f"playground.grid('{name}').logDensity")) for name in shown]
    shares = [grid / grid.sum() for grid in grids]
    (common,) = numbers(r"the two have (\d+) % in common", words(explained))
    assert common == pytest.approx(100 * np.minimum(*shares).sum(), abs=0.51)


def test_it_follows_the_crosshair_and_the_layers(explained: Playground) -> None:
    explained.click(cluster(16))
    explained.point_at(0.0, 0.0)
    before = words(explained)
    explained.point_at(4.8, -4.8)
    assert words(explained) != before
    assert "An arrow is the score" in before
    explained.page.locator("#arrows").click(force=True)
    assert "An arrow is the score" not in words(explained)
    explained.page.locator("#arrows").click(force=True)


def test_few_points_are_doubted(explained: Playground) -> None:
    explained.click(cluster(5))
    doubt = "X has 5 rows, outside the 8 to 8192 that the model 'stand-in' was trained on"
    assert doubt in words(explained)
    assert doubt in explained.words("#status")


def test_it_opens_and_closes_by_keys(playground: Playground) -> None:
    page = playground.page
    page.focus("#explain")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "explained"
    assert page.get_attribute("#explain", "aria-expanded") == "true"
    page.keyboard.press("Escape")
    assert page.is_hidden("#explanation")
    assert page.evaluate("document.activeElement.id") == "explain"
    assert page.get_attribute("#explain", "aria-expanded") == "false"


def test_on_a_phone_it_leaves_the_first_plot_in_view(explained: Playground) -> None:
    page = explained.page
    page.click("#close-explanation")
    page.set_viewport_size(PHONE)
    page.click("#explain")
    plot = page.locator(".panel").first.bounding_box()
    panel = page.locator("#explanation").bounding_box()
    assert plot["y"] >= 0
    assert plot["y"] + plot["height"] <= panel["y"]
    assert panel["y"] + panel["height"] == PHONE["height"]
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.set_viewport_size(LAPTOP)


def test_the_switch_is_remembered_until_it_is_that_of_the_system(browser: Any, site: str) -> None:
    def dark() -> bool:
        pressed = page.get_attribute("#theme", "aria-pressed") == "true"
        ground = sum(map(int, re.findall(r"\d+", page.evaluate(GROUND))[:3]))
        assert pressed == (ground < 100)
        return pressed

    with browser.new_context(viewport=LAPTOP, color_scheme="light") as context:
        page = context.new_page()
        playground = Playground(page, site)
        playground.click(cluster(12))
        assert not dark()
        light = playground.picture()
        page.click("#theme")
        assert dark()
        assert playground.picture() != light
        page.reload()
        assert dark()
        page.emulate_media(color_scheme="dark")
        assert dark()
        page.click("#theme")
        assert not dark()
        page.emulate_media(color_scheme="light")
        page.click("#theme")
        page.click("#theme")
        assert not dark()
        assert page.evaluate("localStorage.length") == 0  # it follows the system again
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(100)
        assert dark()
        assert playground.troubles == []
