"""Links that hold points: what is written is read back, and what is damaged is refused."""

import base64
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.play.playground import LAPTOP, Floats, Playground, cluster

VIEW = {"x0": -1.5, "x1": 2.25, "y0": -1e-3, "y1": 1e9}
HEAD = 2 + 1 + 64


@pytest.fixture(scope="module")
def page(browser: Any, site: str) -> Iterator[Any]:
    """The page."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(site)
        yield page


def encode(page: Any, points: Floats, names: list[str], view: dict[str, float] = VIEW) -> str:
    return page.evaluate(
        "async ([url, points, names, view]) => (await import(`${url}link.js`)).encodeLink("
        "  { points: Float64Array.from(points), names, view })",
        [page.url, points.ravel().tolist(), names, view],
    )


def decode(page: Any, fragment: str) -> dict[str, Any]:
    """What a fragment holds, or {"error": message}."""
    return page.evaluate(
        "async ([url, fragment]) => { const { decodeLink } = await import(`${url}link.js`);"
        "  try { const found = decodeLink(fragment); return { ...found, points: [...found.points] }; }"
        "  catch (error) { return { error: error.message }; } }",
        [page.url, fragment],
    )


def unpacked(fragment: str) -> bytearray:
    text = fragment.removeprefix("points=1.")
    return bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def packed(content: bytes) -> str:
    """A fragment with the right checksum."""
    checksum = 0x811C9DC5
    for byte in content:
        checksum = (checksum ^ byte) * 0x01000193 % 2**32
    return "points=1." + base64.urlsafe_b64encode(content + struct.pack("<I", checksum)).decode().rstrip("=")


@pytest.mark.parametrize("n", [1, 2, 3, 512, 2048])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e307])
@pytest.mark.parametrize("offset", [0.0, -1e6])
def test_points_names_and_view_are_read_back(page: Any, n: int, scale: float, offset: float) -> None:
    points = scale * (np.random.default_rng(n).normal(size=(n, 2)) + offset * (scale < 1e300))
    names = ["petal length, cm", "größe 🌱"]
    fragment = encode(page, points, names)
    assert len(fragment) < 200 + 5.4 * n
    found = decode(page, fragment)
    assert found["names"] == names
    assert found["view"] == VIEW
    quartiles = np.quantile(points / scale, [0.25, 0.75], axis=0)
    error = np.abs(np.reshape(found["points"], (-1, 2)) / scale - points / scale)
    assert (error <= (quartiles[1] - quartiles[0]) / 1500 + 1e-15 * abs(offset)).all()


def test_one_far_point_does_not_make_the_others_coarse(page: Any) -> None:
    points = np.vstack([cluster(100), [[1e6, -1e6]]])
    found = decode(page, encode(page, points, ["x", "y"]))
    np.testing.assert_allclose(np.reshape(found["points"], (-1, 2)), points, atol=2.5e-4)


def test_equal_values_stay_equal(page: Any) -> None:
    points = np.array([[0.1, 3.0], [0.2, 3.0], [0.1, 3.0], [0.7, 3.0]])
    found = np.reshape(decode(page, encode(page, points, ["x", "y"]))["points"], (-1, 2))
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[:, 1], 3.0)


def test_long_names_are_cut_between_characters(page: Any) -> None:
    found = decode(page, encode(page, cluster(5), ["a" * 63 + "é", "b" * 500]))
    assert found["names"] == ["a" * 63, "b" * 64]


def test_a_link_that_is_damaged_or_cut_is_refused(page: Any) -> None:
    fragment = encode(page, cluster(20), ["x", "y"])
    rng = np.random.default_rng(0)
    damaged = [fragment[:length] for length in range(9, len(fragment), 7)]
    for _ in range(100):
        content = unpacked(fragment)
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        damaged.append("points=1." + base64.urlsafe_b64encode(content).decode().rstrip("="))
    damaged += [fragment + "A", fragment + "%20", "points=1.💥", "points=1"]
    for text in damaged:
        assert "damaged or cut" in decode(page, text)["error"], text


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [
        (0, "<H", 0),
        (0, "<H", 2049),
        (0, "<H", 19),
        (2, "<B", 3),
        (3, "<d", np.nan),
        (3, "<d", np.inf),
        (3, "<d", 1e308),  # the least x is above the greatest
        (35, "<d", 1e308),  # the view has no width
        (HEAD, "<B", 65),
        (HEAD, "<B", 255),
        (HEAD, "<B", 3),
    ],
)
def test_a_link_that_is_wrong_by_intent_is_refused(page: Any, at: int, form: str, value: float) -> None:
    content = unpacked(encode(page, cluster(20), ["x", "y"]))[:-4]
    assert len(decode(page, packed(bytes(content)))["points"]) == 40
    content[at : at + struct.calcsize(form)] = struct.pack(form, value)
    assert "damaged or cut" in decode(page, packed(bytes(content)))["error"]


def test_another_format_and_a_link_that_is_too_long_are_named(page: Any) -> None:
    assert "has format 2, and this page reads format 1" in decode(page, "points=2.AAAA")["error"]
    assert "longer than a link to 2048 points" in decode(page, "points=1." + "A" * 10**6)["error"]


def test_a_link_is_copied_and_opened_by_another(playground: Playground, browser: Any, site: str) -> None:
    playground.drop("table.csv", "weight,<b>size</b>\n" + "\n".join(f"{a},{b}" for a, b in cluster(300)))
    playground.until("playground.points().length === 600")
    playground.page.click("#nearer")
    playground.settle()
    playground.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    playground.page.click("#link")
    playground.until("document.querySelector('#link').textContent === 'Copied'")
    link = playground.page.evaluate("navigator.clipboard.readText()")
    assert link == playground.page.url
    assert len(link) < 1800

    with browser.new_context(viewport=LAPTOP) as context:
        other = Playground(context.new_page(), link)
        np.testing.assert_allclose(other.points(), playground.points(), atol=1e-3)
        assert other.page.evaluate("playground.view()") == playground.page.evaluate("playground.view()")
        at, found = other.point_at(1.5, 1.0)
        again = playground.ask(at)
        assert found["discoformer"][0] == pytest.approx(again["discoformer"][0][0], abs=0.01)
        assert "At weight" in other.words("#place")
        assert "<b>size</b>" in other.words("#place")
        other.page.reload()
        other.settle()
        assert len(other.points()) == 300
        other.click(np.array([[0.0, 0.0]]))
        assert other.page.url == site  # the address does not name points that are no longer shown
        assert other.troubles == []


def test_without_the_clipboard_the_link_is_in_the_address_bar(playground: Playground) -> None:
    playground.page.context.clear_permissions()
    refusal = "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }"
    playground.page.evaluate(refusal)
    playground.click(cluster(12))
    playground.page.click("#link")
    playground.until("!document.querySelector('#notice').hidden")
    assert "address bar" in playground.words("#notice")
    assert "#points=1." in playground.page.url


def test_a_damaged_link_is_told_and_the_page_goes_on(browser: Any, site: str) -> None:
    with browser.new_context(viewport=LAPTOP) as context:
        page = Playground(context.new_page(), f"{site}#points=1.AAAA")
        assert "This link cannot be opened. It is damaged or cut" in page.words("#notice")
        page.clear()
        page.click(cluster(12))
        assert len(page.points()) == 12
        page.page.evaluate("location.hash = 'points=7.AAAA'")  # a link in the same window
        page.until("!document.querySelector('#notice').hidden")
        assert "has format 7" in page.words("#notice")
        assert page.troubles == []
