"""The page in a browser: its pictures, texts and answers, compared with the Python package and NumPy."""

import math
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discoformer
from discoformer.errors import DataWarning, RangeWarning
from tests.play.playground import LAPTOP, PHONE, Floats, Playground, cluster, kde

Estimate = Callable[[Floats, Floats], tuple[Floats, Floats]]  # a sample and queries to log-density and score

IRIS = Path(__file__).parents[1] / "data" / "iris_petals.csv"


@pytest.fixture(scope="module")
def estimate(model: Path) -> Estimate:
    """The estimate of the model of the page, by the Python package."""
    loaded = discoformer.load(model)

    def answer(sample: Floats, queries: Floats) -> tuple[Floats, Floats]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RangeWarning)
            warnings.simplefilter("ignore", DataWarning)
            return loaded.estimate(sample, effort="fast").log_density_and_score(queries)

    return answer


def assert_drawn_from_the_kde(log_densities: Floats, sample: Floats) -> None:
    """Compare the mean of the log-densities at particles with that of many draws."""
    rng = np.random.default_rng(0)
    noise = rng.multivariate_normal([0, 0], np.cov(sample.T) * len(sample) ** (-1 / 3), 4000)
    drawn = kde(sample, sample[rng.integers(len(sample), size=4000)] + noise)[0]
    error = drawn.std() / math.sqrt(len(log_densities))
    assert abs(log_densities.mean() - drawn.mean()) < 5 * error


def test_the_empty_page_says_what_to_do(playground: Playground) -> None:
    assert "Draw points here" in playground.words("#hint")
    assert playground.words("#status") == "Ready."
    for button in ("#undo", "#clear", "#redraw", "#play"):
        assert playground.page.is_disabled(button)
    assert playground.page.get_attribute("#readout tbody tr", "data-log-density") == ""


def test_too_few_constant_and_collinear_points_are_said_in_words(playground: Playground) -> None:
    empty = playground.picture()
    playground.click(np.array([[0.0, 1.0]]))
    assert playground.words("#hint").startswith("1 point: 2 more are needed")
    playground.drop("line.csv", "a,b\n1,2\n2,4\n3,6\n5,10\n")
    playground.until("document.querySelector('#hint').textContent.includes('collinear')")
    assert "a and b are collinear" in playground.words("#hint")
    playground.drop("flat.csv", "a,b\n1,7\n2,7\n3,7\n5,7\n")
    playground.until("document.querySelector('#hint').textContent.includes('constant')")
    assert "b is constant (7)" in playground.words("#hint")
    playground.clear()
    assert playground.picture() == empty


def test_clicks_draw_points_and_answers_are_those_of_the_model(
    playground: Playground, estimate: Estimate
) -> None:
    empty = playground.picture()
    playground.click(cluster(16))
    first = playground.picture()
    assert first != empty
    playground.click(cluster(8, seed=1), "kde")
    assert playground.picture() != first
    points = playground.points()
    assert len(points) == 24
    np.testing.assert_allclose(points[:16], cluster(16), atol=0.03)  # the mouse moves by whole pixels

    for place in ([0.3, -0.4], [-3.1, 2.5]):
        at, found = playground.point_at(*place)
        np.testing.assert_allclose(at, [place], atol=0.03)
        log_density, score = estimate(points, at)
        np.testing.assert_allclose(found["discoformer"], [*log_density, *score[0]], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["kde"], np.hstack([kde(points, at)[0], kde(points, at)[1][0]]))


def test_a_stroke_draws_many_points(playground: Playground) -> None:
    mouse = playground.page.mouse
    mouse.move(*playground.spot(-3, -2))
    mouse.down()
    for step in np.linspace(0, 1, 25):
        mouse.move(*playground.spot(-3 + 6 * step, -2 + 5 * np.sin(3 * step)))
    mouse.up()
    playground.settle()
    points = playground.points()
    assert len(points) > 20
    assert playground.page.evaluate("playground.grid('discoformer').size") == 32
    grid = playground.page.evaluate("playground.grid('discoformer').logDensity")
    assert np.isfinite(grid).all()


def test_the_picture_follows_a_stroke_that_does_not_pause(playground: Playground) -> None:
    playground.click(cluster(40))
    playground.until("playground.grid('discoformer').n === 40")
    seen = playground.page.evaluate(
        """async ([x, y]) => {
          const canvas = document.querySelector(".moving");
          const at = (turn) => ({ clientX: x + 60 * Math.cos(turn), clientY: y + 60 * Math.sin(turn) });
          const event = (kind, turn) => canvas.dispatchEvent(new PointerEvent(kind, {
            ...at(turn), coalescedEvents: [new PointerEvent(kind, at(turn))] }));
          canvas.setPointerCapture = () => {};
          event("pointerdown", 0);
          const seen = [];
          const { port1, port2 } = new MessageChannel(); // timers would wait for 4 ms and more
          const task = () => new Promise((next) => ((port1.onmessage = next), port2.postMessage(0)));
          for (let turn = 0; new Set(seen).size < 4 && turn < 300; turn += 0.2) {
            event("pointermove", turn);
            for (const last = performance.now(); performance.now() < last + 2; ) await task();
            seen.push(playground.grid("discoformer").n);
          }
          event("pointerup", 0);
          return seen;
        }""",
        playground.spot(0, 0),
    )
    assert len(set(seen)) == 4  # grids for samples of other sizes, before the pointer was lifted
    playground.settle()
    assert playground.page.evaluate("playground.grid('discoformer').n") == len(playground.points())


@pytest.mark.parametrize("n", [8, 100, 512])
def test_an_example_at_many_points(playground: Playground, estimate: Estimate, n: int) -> None:
    playground.page.click("#examples [data-name=mixture]")
    total = 2048
    slider = round(1000 * math.log(n / 8) / math.log(total / 8))
    playground.page.fill("#n", str(slider))
    playground.settle()
    points = playground.points()
    assert abs(len(points) - n) <= 2
    view = playground.page.evaluate("playground.view()")
    axes = (np.linspace(view[f"{axis}0"], view[f"{axis}1"], 9) for axis in "xy")
    queries = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    found = playground.ask(queries)
    log_density, score = estimate(points, queries)
    np.testing.assert_allclose(found["discoformer"][0], log_density, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["discoformer"][1], score, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["kde"][0], kde(points, queries)[0])
    status = playground.words("#status")
    assert status.startswith(f"{len(points)} points · one forward pass ")


def test_the_page_says_how_long_the_picture_took(playground: Playground) -> None:
    def milliseconds(pattern: str) -> float:
        found = re.search(pattern + r" ([\d.]+) (ms|s)", playground.words("#status"))
        return float(found[1]) * (1 if found[2] == "ms" else 1000)

    playground.drop("iris.csv", IRIS.read_text())
    playground.until("document.querySelector('#status').textContent.includes('picture after')")
    assert milliseconds("forward pass") <= milliseconds("picture after") < 60_000
    playground.click(np.array([[4.0, 1.0]]))
    assert "picture after" not in playground.words("#status")  # of points drawn by hand there is no beginning


def test_fewer_points_give_another_picture(playground: Playground) -> None:
    playground.page.click("#examples [data-name=ring]")
    playground.settle()
    many = playground.picture()
    assert playground.words("#used") == "512 of 2,048"
    playground.page.fill("#n", "300")
    playground.settle()
    assert playground.words("#used") == f"{len(playground.points())} of 2,048"
    assert len(playground.points()) < 64
    assert playground.picture() != many


def test_examples_are_drawn_from_a_seed(playground: Playground) -> None:
    def draw(button: str) -> Floats:
        playground.page.click(button)
        return playground.points()

    first, again = draw("#examples [data-name=moons]"), draw("#redraw")
    assert not np.array_equal(first, again)
    np.testing.assert_array_equal(draw("#examples [data-name=moons]"), first)
    playground.settle()


def test_the_bandwidth_is_that_of_the_slider(playground: Playground) -> None:
    playground.click(cluster(20))
    queries = cluster(30, seed=5)
    before = playground.ask(queries)
    picture = playground.picture("kde")
    playground.page.fill("#bandwidth", "-1")
    playground.settle()
    after = playground.ask(queries)
    assert playground.picture("kde") != picture
    assert playground.words("#rule").endswith("0.500")
    for found, factor in ((before, 1.0), (after, 0.5)):
        log_density, score = kde(playground.points(), queries, factor)
        np.testing.assert_allclose(found["kde"][0], log_density)
        np.testing.assert_allclose(found["kde"][1], score)
    np.testing.assert_array_equal(before["discoformer"][0], after["discoformer"][0])
    playground.page.fill("#bandwidth", "0")


def test_toggles_change_the_picture(playground: Playground) -> None:
    playground.click(cluster(12))
    seen = {playground.picture()}
    for control in ("heat", "contours", "arrows", "points"):
        playground.page.locator(f"#{control}").click(force=True)
        seen.add(playground.picture())
    assert len(seen) == 5
    for control in ("heat", "contours", "arrows", "points"):
        playground.page.locator(f"#{control}").click(force=True)
    assert playground.picture() in seen
    playground.page.locator("input[value=logarithmic]").click(force=True)
    assert playground.picture() not in seen
    assert playground.words("#quantity") == "log-density, nats"
    playground.page.locator("input[value=density]").click(force=True)


def test_a_csv_is_dropped(playground: Playground, estimate: Estimate) -> None:
    playground.drop("iris.csv", IRIS.read_text())
    playground.until("playground.points().length === 300")
    playground.settle()
    table = np.loadtxt(IRIS, delimiter=",", skiprows=1)
    points = playground.points()
    assert sorted(map(tuple, points)) == sorted(map(tuple, table))
    log_density, score = estimate(table, points[:20])
    found = playground.ask(points[:20])["discoformer"]
    np.testing.assert_allclose(found[0], log_density, rtol=1e-6)
    np.testing.assert_allclose(found[1], score, rtol=1e-5, atol=1e-6)
    assert "petal_length_cm" in playground.words("#column-x")


def test_a_csv_is_opened_and_its_columns_chosen(playground: Playground, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    x, y, z = rng.normal(size=(3, 60))
    rows = ["id;name;x;y;z", *(f"{i};n{i};{x[i]};{y[i]:.3f};{z[i]}".replace(".", ",") for i in range(60))]
    rows[5] = rows[5].replace(f"{y[4]:.3f}".replace(".", ","), "?")
    path = tmp_path / "three.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    playground.page.set_input_files("#file", path)
    playground.until("playground.points().length === 118")
    assert "1 row was left out because a cell is not a number" in playground.words("#notice")
    np.testing.assert_allclose(np.sort(playground.points()[:, 0]), np.sort(np.delete(x, 4)))
    playground.page.select_option("#column-y", label="z")
    playground.until("playground.points().length === 120")
    np.testing.assert_allclose(np.sort(playground.points()[:, 1]), np.sort(z))
    shown = playground.points()
    playground.page.select_option("#column-x", label="z")  # which is that of y: the axes change places
    assert [playground.page.input_value(f"#column-{axis}") for axis in "xy"] == ["3", "1"]
    np.testing.assert_array_equal(playground.points(), shown[:, ::-1])
    playground.page.select_option("#column-y", label="id")
    np.testing.assert_array_equal(np.sort(playground.points()[:, 1]), np.arange(60))
    playground.settle()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("red,green\nblue,white\n", "No numbers were found"),
        ("a\n1\n2\n3\n", "Only one column of numbers"),
        ("a,b\n1,2\n2,\n", "has only 1 row with a number in both columns: 3 or more"),
    ],
)
def test_a_bad_file_is_refused_and_the_sample_stays(playground: Playground, text: str, message: str) -> None:
    playground.click(cluster(4))
    before = playground.points()
    playground.drop("bad.csv", text)
    playground.until("!document.querySelector('#notice').hidden")
    assert message in playground.words("#notice")
    assert playground.words("#notice").startswith("bad.csv")
    np.testing.assert_array_equal(playground.points(), before)


def test_columns_that_tell_little_are_not_chosen_first(playground: Playground) -> None:
    rows = "\n".join(f"{i},7,{x},{i if i < 3 else ''},{y}" for i, (x, y) in enumerate(cluster(40)))
    playground.drop("wide.csv", f"id,same,x,rare,y\n{rows}")
    playground.until("playground.points().length === 80")
    assert [playground.page.input_value(f"#column-{axis}") for axis in "xy"] == ["2", "4"]
    assert playground.page.locator("#column-x option").all_text_contents() == ["id", "same", "x", "rare", "y"]
    playground.settle()


def test_a_long_file_is_subsampled(playground: Playground) -> None:
    values = np.random.default_rng(0).normal(size=(3000, 2))
    playground.drop("long.csv", "\n".join(f"{a:.4f}\t{b:.4f}" for a, b in values))
    playground.until("playground.points().length > 0")
    assert "2,048 of 3,000 rows were drawn at random" in playground.words("#notice")
    assert playground.words("#used") == "512 of 2,048"
    playground.settle()


def test_particles_climb_to_modes(playground: Playground) -> None:
    playground.click(cluster(16))
    playground.page.click("#play")
    playground.until("playground.particles('kde')?.steps > 0")
    before = {name: playground.particles(name) for name in ("kde", "discoformer")}
    playground.until("document.querySelector('#play').textContent !== 'Pause'")
    for name, start in before.items():
        end = playground.particles(name)
        assert (end >= start).all()
        assert end.mean() > start.mean() + 0.5
        assert "at rest at" in playground.words(f".panel[data-estimator={name}] .particles")
    playground.page.click("#remove")
    assert playground.page.evaluate("playground.particles('kde')") is None


def test_langevin_particles_become_draws_from_the_estimate(playground: Playground) -> None:
    playground.click(cluster(16))
    playground.page.locator("input[value=langevin]").click(force=True)
    playground.page.click("#play")
    playground.until("playground.particles('kde')?.steps >= 50")
    playground.page.click("#play")
    assert_drawn_from_the_kde(playground.particles("kde"), playground.points())
    playground.page.locator("input[value=ascent]").click(force=True)
    playground.page.click("#remove")


def test_draws_are_those_of_both_estimates(playground: Playground) -> None:
    playground.click(cluster(16))
    playground.page.locator("input[value=draws]").click(force=True)
    assert playground.words("#play") == "Draw"
    seen = []
    for step in (1, 2):
        playground.page.click("#play")
        playground.until(f"playground.particles('kde')?.steps === {step}")
        playground.until("document.querySelector('#play').textContent === 'Draw'")
        seen.append([playground.particles(name) for name in ("discoformer", "kde")])
        assert_drawn_from_the_kde(seen[-1][1], playground.points())
    assert np.isfinite(seen).all()
    assert not np.isclose(*seen).any()
    assert "mean log-density" in playground.words(".panel[data-estimator=kde] .particles")
    playground.page.locator("input[value=ascent]").click(force=True)
    playground.page.click("#remove")


def test_everything_is_reached_by_keys_alone(playground: Playground) -> None:
    page = playground.page
    page.locator("#examples button").first.focus()
    reached = []
    while page.evaluate("document.activeElement !== document.body"):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert page.evaluate(
            "[document.activeElement, document.activeElement.nextElementSibling].some("
            "  (one) => !one || one === document.body || getComputedStyle(one).outlineStyle === 'solid')"
        )
    assert {"moving", "open", "brush", "heat", "arrows", "size", "bandwidth"} <= {*reached}

    page.evaluate("playground.look(0, 0)")
    page.locator(".moving").first.focus()
    for keys in (["Enter"], ["Shift+ArrowRight"] * 4 + [" "], ["Shift+ArrowUp"] * 3 + ["ArrowUp", "Enter"]):
        for key in keys:
            page.keyboard.press(key)
    playground.settle()
    points = playground.points()
    np.testing.assert_allclose(points, [[0, 0], [2, 0], [2, 1.6]], atol=1e-9)
    at, found = playground.shown()
    np.testing.assert_allclose(at, points[-1:], atol=1e-9)
    np.testing.assert_allclose(found["kde"][0], kde(points, at)[0][0])
    page.wait_for_timeout(300)
    page.keyboard.press("ArrowLeft")
    playground.until("document.querySelector('#announcer').textContent.includes('log-density')")
    page.keyboard.press("Delete")
    assert len(playground.points()) == 2
    width = page.evaluate("playground.view().x1 - playground.view().x0")
    page.keyboard.press("-")
    assert page.evaluate("playground.view().x1 - playground.view().x0") == pytest.approx(1.25 * width)


def test_the_version_is_that_of_the_mixture_network(playground: Playground) -> None:
    assert playground.words("#about") == "model stand-in 0.0.1"


def test_every_control_has_a_name(playground: Playground) -> None:
    unnamed = playground.page.evaluate(
        "[...document.querySelectorAll('button, select, canvas.moving, input:not([hidden])')].filter("
        "  (one) => !(one.ariaLabel || one.labels?.[0]?.textContent.trim() || one.textContent.trim())"
        ").map((one) => one.id)"
    )
    assert unnamed == []


def test_it_works_without_a_network_once_loaded(playground: Playground, site: str) -> None:
    playground.page.context.set_offline(True)
    assert not playground.page.evaluate("(site) => fetch(site).then(() => true, () => false)", site)
    playground.troubles.clear()  # from the attempt to fetch
    playground.click(cluster(5))
    playground.drop("iris.csv", IRIS.read_text())
    playground.until("playground.points().length === 300")
    picture = playground.picture()
    playground.page.fill("#n", "500")
    assert playground.picture() != picture
    assert np.isfinite(playground.point_at(3.0, 0.8)[1]["discoformer"]).all()
    playground.page.context.set_offline(False)


@pytest.fixture
def phone(playground: Playground) -> Iterator[Playground]:
    """The page in a window of the size of a phone, with a dark theme and reduced motion."""
    playground.page.set_viewport_size(PHONE)
    playground.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    yield playground
    playground.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    playground.page.set_viewport_size(LAPTOP)


def test_a_phone_in_the_dark_without_motion(phone: Playground) -> None:
    phone.click(cluster(16))
    width, ground = phone.page.evaluate(
        "[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
    )
    assert width == PHONE["width"]
    assert sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) < 100
    phone.page.click("#play")
    phone.until("document.querySelector('#play').textContent === 'Continue'")
    assert phone.page.evaluate("playground.particles('discoformer').steps") > 10


def test_a_site_without_its_model_says_so(browser: Any, site: str) -> None:
    with browser.new_context(viewport=LAPTOP) as context:
        page = context.new_page()
        page.route("**/mixture.onnx", lambda route: route.fulfill(status=404))
        page.goto(site)
        page.evaluate("playground.idle()")
        assert "mixture.onnx cannot be downloaded (status 404)" in page.inner_text("#notice")
        assert "nothing can be estimated" in page.inner_text("#status")
        page.click("#examples [data-name=ring]")
        assert page.inner_text("#used") == "512 of 2,048"
