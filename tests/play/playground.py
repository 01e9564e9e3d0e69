"""The page, controlled as a user does."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LAPTOP = {"width": 1366, "height": 768}
PHONE = {"width": 390, "height": 844}


class Playground:
    """The page, controlled as a user does."""

    def __init__(self, page: Any, site: str) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.on("console", lambda message: self.troubles.append(message.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.goto(site)
        self.settle()
        page.select_option("#size", "32")

    def settle(self) -> None:
        """Wait until everything is computed."""
        self.page.evaluate("playground.idle()")

    def until(self, code: str) -> None:
        """Wait until an expression is true; the security policy of the page forbids ``wait_for_function``."""
        self.page.evaluate(
            f"(async () => {{ while (!({code})) await new Promise((next) => setTimeout(next, 20)); }})()"
        )

    def clear(self) -> None:
        if self.page.is_enabled("#clear"):
            self.page.click("#clear")
        if self.page.is_visible("#dismiss"):
            self.page.click("#dismiss")

    def spot(self, x: float, y: float, estimator: str = "discoformer") -> tuple[float, float]:
        """Return the position on the page of a point of the plane."""
        box = self.page.locator(f".panel[data-estimator={estimator}] .moving").bounding_box()
        view = self.page.evaluate("playground.view()")
        u, v = (x - view["x0"]) / (view["x1"] - view["x0"]), (y - view["y0"]) / (view["y1"] - view["y0"])
        left, top, width, height = 46, 10, box["width"] - 56, box["height"] - 40
        return box["x"] + left + u * width, box["y"] + top + (1 - v) * height

    def click(self, points: Floats, estimator: str = "discoformer") -> None:
        for x, y in points:
            self.page.mouse.click(*self.spot(x, y, estimator))
        self.settle()

    def point_at(self, x: float, y: float) -> tuple[Floats, dict[str, list[float]]]:
        """Move the mouse to a point; return the values in the table, as ``shown``."""
        self.page.mouse.move(*self.spot(x, y))
        self.until(f"Math.hypot(readout.dataset.x - {x}, readout.dataset.y - {y}) < 0.03")
        return self.shown()

    def shown(self) -> tuple[Floats, dict[str, list[float]]]:
        """Return the values in the table: the point (1, 2), and log-density and score by estimator."""
        self.settle()
        at, rows = self.page.evaluate(
            "[[readout.dataset.x, readout.dataset.y],"
            " [...readout.tBodies[0].rows].map((row) => ({ ...row.dataset }))]"
        )
        values = {
            row["estimator"]: [float(row[name]) for name in ("logDensity", "scoreX", "scoreY")]
            for row in rows
        }
        return np.array([at], dtype=np.float64), values

    def points(self) -> Floats:
        return np.array(self.page.evaluate("playground.points()")).reshape(-1, 2)

    def ask(self, points: Floats) -> dict[str, tuple[Floats, Floats]]:
        found = self.page.evaluate("(points) => playground.ask(points)", points.ravel().tolist())
        return {
            name: (np.array(answer["logDensity"]), np.array(answer["score"]).reshape(-1, 2))
            for name, answer in found.items()
        }

    def particles(self, estimator: str) -> Floats:
        """Return the log-densities at the particles."""
        return np.array(self.page.evaluate(f"playground.particles('{estimator}').logDensity"))

    def picture(self, estimator: str = "discoformer") -> str:
        self.settle()
        return self.page.evaluate(
            f"document.querySelector('.panel[data-estimator={estimator}] .still').toDataURL()"
        )

    def words(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def drop(self, name: str, text: str) -> None:
        """Drop a file on the page."""
        self.page.evaluate(
            "([name, text]) => { const data = new DataTransfer();"
            "  data.items.add(new File([text], name, { type: 'text/csv' }));"
            "  document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true })); }",
            [name, text],
        )


def cluster(n: int, seed: int = 0) -> Floats:
    """Points of two clusters in the view of the empty page."""
    rng = np.random.default_rng(seed)
    side = np.where(rng.random(n) < 0.4, -2.0, 1.5)
    return np.stack([side + 0.6 * rng.normal(size=n), 0.8 * side + 0.9 * rng.normal(size=n)], axis=1)


def kde(sample: Floats, queries: Floats, factor: float = 1.0) -> tuple[Floats, Floats]:
    """Log-density and score of a Gaussian KDE with the factor times Scott's bandwidth."""
    bandwidth = np.cov(sample.T) * (factor * len(sample) ** (-1 / 6)) ** 2
    precision = np.linalg.inv(bandwidth)
    difference = sample[None] - queries[:, None]  # (M, N, 2)
    exponent = -0.5 * np.einsum("mni,ij,mnj->mn", difference, precision, difference)
    most = exponent.max(axis=1, keepdims=True)
    weights = np.exp(exponent - most)
    total = weights.sum(axis=1)
    log_density = np.log(total) + most[:, 0]
    log_density -= math.log(2 * math.pi * len(sample)) + 0.5 * np.linalg.slogdet(bandwidth)[1]
    shift = np.einsum("mn,mni->mi", weights / total[:, None], difference)
    return log_density, shift @ precision
