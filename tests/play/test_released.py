"""The page with the released model, against the Python package."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discoformer
from discoformer.errors import ModelError
from discoformer.onnx.finding import DEFAULT_NAME, find_folder
from discoformer.play.site import checked_model


@pytest.fixture(scope="module")
def page(browser: Any, serve: Callable[[Path], Any]) -> Iterator[Any]:
    """The page with an example."""
    model = find_folder(DEFAULT_NAME)
    try:
        checked_model(model)
    except ModelError as error:
        pytest.skip(str(error))
    with serve(model) as url, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{url}#mixture")
        page.evaluate("playground.idle()")
        yield page


@pytest.mark.parametrize("slider", [0, 400, 750, 1000])  # 8 to 2,048 points
def test_answers_are_those_of_the_package(page: Any, slider: int) -> None:
    page.fill("#n", str(slider))
    page.evaluate("playground.idle()")
    points = np.reshape(page.evaluate("playground.points()"), (-1, 2))
    view = page.evaluate("playground.view()")
    axes = (np.linspace(view[f"{axis}0"], view[f"{axis}1"], 9) for axis in "xy")
    queries = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    found = page.evaluate("(points) => playground.ask(points)", queries.ravel().tolist())["discoformer"]
    estimate = discoformer.estimate(points, effort="fast")
    log_density, score = estimate.log_density_and_score(queries)
    np.testing.assert_allclose(found["logDensity"], log_density, rtol=1e-4, atol=1e-4)
    error = np.reshape(found["score"], (-1, 2)) - score
    assert np.abs(error).max() < 1e-4 * np.abs(score).max()
