"""A browser (Chromium or Chrome), and the site with onnxruntime-web and a stand-in for a model.

The stand-in is a small real graph, run by the real onnxruntime-web and by the Python package.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.special import logsumexp
from scipy.stats import multivariate_t

from discoformer.onnx.names import FRAMED, MIXTURE, WHOLE
from discoformer.play.onnxruntime_web import cached
from discoformer.play.server import Server
from discoformer.play.site import checked_model, site_files
from tests.play.playground import LAPTOP, Playground

Floats = npt.NDArray[np.float64]

METADATA = {
    "name": "stand-in",
    "version": "0.0.1",
    "licence": "MIT",
    "opset": "18",
    "exporter": "tests",
    "weights_sha256": "0123456789abcdef" * 4,
    "training_commit": "none",
    "training_step": "0",
    "trained_dim_min": "1",
    "trained_dim_max": "100",
    "trained_context_min": "8",
    "trained_context_max": "8192",
    "trained_modes_min": "1",
    "trained_modes_max": "10",
    "landmarks": "8192",
    "config": "{}",
}
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


def save_stand_in(folder: Path, outputs: tuple[str, ...] = MIXTURE) -> Path:
    """Save a model whose mixture has, in the frame, a component for each point x_j and a broad one.

    With the mean c and the covariance C, m_j = x_j, S_j = (C + (x_j - c)(x_j - c)^T) / 20 and
    f_j = 2 + |x_j - c|^2; the broad one has m = c, S = 4 C, f = 2 and the weight 0.05.
    """
    nodes = [
        ("Softmax", ["log_weights"], "shares", {"axis": -1}),
        ("Unsqueeze", ["shares", "two"], "share_columns", {}),
        ("Mul", ["context", "share_columns"], "shared", {}),
        ("ReduceSum", ["shared", "one"], "center", {"keepdims": 1}),
        ("Concat", ["context", "center"], "mixture_means", {"axis": 1}),
        ("Sub", ["mixture_means", "center"], "away", {}),
        ("Sub", ["context", "center"], "centered", {}),
        ("Mul", ["centered", "share_columns"], "weighted", {}),
        ("Transpose", ["weighted"], "weighted_rows", {"perm": [0, 2, 1]}),
        ("MatMul", ["weighted_rows", "centered"], "covariance", {}),
        ("Unsqueeze", ["covariance", "one"], "broad", {}),
        ("Unsqueeze", ["centered", "three"], "columns", {}),
        ("Unsqueeze", ["centered", "two"], "rows", {}),
        ("Mul", ["columns", "rows"], "outer", {}),
        ("Add", ["outer", "broad"], "scatter", {}),
        ("Mul", ["scatter", "narrow"], "narrow_scales", {}),
        ("Mul", ["broad", "wide"], "wide_scale", {}),
        ("Concat", ["narrow_scales", "wide_scale"], "mixture_scales", {"axis": 1}),
        ("Mul", ["away", "away"], "away_squared", {}),
        ("ReduceSum", ["away_squared", "two"], "squares", {"keepdims": 0}),
        ("Add", ["squares", "freedom"], "mixture_freedom", {}),
        ("Log", ["shares"], "normalised", {}),
        ("Add", ["normalised", "log_of_points"], "of_points", {}),
        ("ReduceMax", ["log_weights", "one"], "greatest", {"keepdims": 1}),
        ("Mul", ["greatest", "zero"], "nothing", {}),
        ("Add", ["nothing", "log_of_broad"], "of_broad", {}),
        ("Concat", ["of_points", "of_broad"], "mixture_log_weights", {"axis": 1}),
    ]
    numbers = {"narrow": 0.05, "wide": 4.0, "freedom": 2.0, "zero": 0.0}
    numbers |= {"log_of_points": np.log(0.95), "log_of_broad": np.log(0.05)}
    constants = [
        numpy_helper.from_array(np.array(value, dtype=np.float32), name) for name, value in numbers.items()
    ]
    for axis, name in enumerate(("one", "two", "three"), 1):
        constants.append(numpy_helper.from_array(np.array([axis]), name))
    given_shapes = zip((*FRAMED, *WHOLE), ("BND", "BN", "BDD", "B", "B", "BAD", "BA"), strict=True)
    shapes = {**dict(given_shapes), **dict(zip(MIXTURE, ("BK", "BKD", "BKDD", "BK"), strict=True))}
    inputs, given = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [*shapes[name]]) for name in names]
        for names in ((*FRAMED, *WHOLE), outputs)
    )
    made = [helper.make_node(kind, takes, [gives], **how) for kind, takes, gives, how in nodes]
    graph = helper.make_graph(made, "stand_in", inputs, given, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, METADATA)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "mixture.onnx")
    config = {"files": {"mixture.onnx": hashlib.sha256(model.SerializeToString()).hexdigest()}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def closed_form() -> Callable[[list[Floats], Floats], tuple[Floats, Floats]]:
    """Log-density (M,) and score (M, D) of a mixture of Student-t distributions at points (M, D), by SciPy.

    Of a mixture it takes log-weights (K,), means (K, D), scale matrices (K, D, D), degrees of freedom (K,).
    """

    def answer(mixture: list[Floats], queries: Floats) -> tuple[Floats, Floats]:
        joint, slopes = [], []  # (K, M), (K, M, D)
        for log_weight, mean, scale, freedom in zip(*mixture, strict=True):
            log_density = multivariate_t(mean, scale, df=freedom).logpdf(queries)
            joint.append(log_weight + np.atleast_1d(log_density))
            away = queries - mean
            pull = np.linalg.solve(scale, away.T).T
            square = (away * pull).sum(1, keepdims=True)
            slopes.append(-(freedom + queries.shape[1]) / (freedom + square) * pull)
        log_density = logsumexp(joint, axis=0)
        return log_density, np.einsum("km,kmd->md", np.exp(joint - log_density), slopes)

    return answer


@contextmanager
def served(model: Path) -> Iterator[str]:
    """Serve the page with a model; the value is its URL."""
    try:
        web = cached()
    except ConnectionError as error:
        cannot(str(error))
    with Server("127.0.0.1", 0, site_files(checked_model(model), web)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def serve() -> Callable[[Path], Any]:
    """Serve the page with the model in a folder, as a context whose value is the URL."""
    return served


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in."""
    return save_stand_in(tmp_path_factory.mktemp("model"))


@pytest.fixture
def save_model() -> Callable[..., Path]:
    """Save the stand-in to a folder, with the given outputs."""
    return save_stand_in


@pytest.fixture(scope="session")
def site(model: Path) -> Iterator[str]:
    """The URL of the served page."""
    with served(model) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for one module: Playwright can run only once at a time in a process."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        cannot("playwright is not installed: pip install '.[test]'")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        cannot(f"none of {', '.join(BROWSERS)} is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser: Any, site: str) -> Iterator[Playground]:
    """One page for the tests of this module."""
    context = browser.new_context(viewport=LAPTOP)
    playground = Playground(context.new_page(), site)
    yield playground
    assert playground.troubles == []
    context.close()


@pytest.fixture
def playground(opened: Playground) -> Playground:
    """The page, empty."""
    opened.clear()
    return opened
