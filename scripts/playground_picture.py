"""Makes docs/playground.png: ``python scripts/playground_picture.py [--example NAME] [--dark] [--out PATH]``.

Opens the playground in Chromium (or Chrome), draws an example of 512 points, and saves a laptop's window.
Prints how long the page says that the forward pass and the grids took. With ``--drops N`` it then drops a
file with these points N times, and prints the time from a drop to the whole picture, by the clock of the
page.
"""

import argparse
import shutil
import statistics
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from discoformer.onnx.finding import find_folder
from discoformer.play.onnxruntime_web import cached
from discoformer.play.server import Server
from discoformer.play.site import checked_model, site_files

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
COLOURS = 256  # of the picture: a small file
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
DROP = """async (text) => {
  const data = new DataTransfer();
  data.items.add(new File([text], "points.csv"));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
  while (playground.took() !== null) await new Promise((next) => setTimeout(next, 5));
  while (playground.took() === null) await new Promise((next) => setTimeout(next, 5));
  return playground.took();
}"""


def time_drops(page: Any, drops: int) -> None:
    """Prints the milliseconds from a drop of the points of the page to their picture."""
    points = page.evaluate("playground.points()")
    text = "\n".join(["x,y", *(f"{x!r},{y!r}" for x, y in zip(points[::2], points[1::2], strict=True))])
    times = sorted(page.evaluate(DROP, text) for _ in range(drops))
    print(
        f"{len(points) // 2} points dropped {drops} times: the picture is there after "
        f"{statistics.median(times):.0f} ms (median; {times[0]:.0f} to {times[-1]:.0f})"
    )


def main() -> None:
    """Opens the page, draws, saves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="base", help="name of a model, or its folder")
    parser.add_argument("--example", default="spiral", help="mixture, ring, moons, spiral, blades or tails")
    parser.add_argument("--again", type=int, default=0, help="how often to draw the example again")
    parser.add_argument("--cursor", type=float, nargs=2, default=[0.4, -1.35], help="where the crosshair is")
    parser.add_argument("--size", type=int, nargs=2, default=[1366, 768], help="of the window, in pixels")
    parser.add_argument("--dark", action="store_true", help="in dark colours")
    parser.add_argument("--particles", type=float, help="seconds after which released particles are shown")
    parser.add_argument("--drops", type=int, default=0, help="how often to drop the points as a file, timed")
    parser.add_argument("--out", type=Path, default=Path("docs/playground.png"))
    options = parser.parse_args()
    files = site_files(checked_model(find_folder(options.model)), cached())
    browser_path = next(filter(None, map(shutil.which, BROWSERS)))
    with Server("127.0.0.1", 0, files) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        width, height = options.size
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if options.dark else "light"
        )
        page.goto(server.url)
        page.evaluate("playground.idle()")
        page.click(f"#examples [data-name={options.example}]")
        for _ in range(options.again):
            page.click("#redraw")
        page.evaluate("playground.idle()")
        page.evaluate("([x, y]) => playground.look(x, y)", options.cursor)
        if options.particles:
            page.click("#play")
            page.wait_for_timeout(1000 * options.particles)
        page.wait_for_timeout(500)
        page.evaluate("document.activeElement.blur()")
        print(page.inner_text("#status"))
        picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
        palette = picture.quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
        picture.quantize(palette=palette).save(options.out, optimize=True)
        if options.drops:
            time_drops(page, options.drops)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
