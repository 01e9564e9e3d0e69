"""A service with the released model and saved estimates. Skipped without the extra and tritonclient."""

import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import discoformer
from tests.serve.service import Service, running

NEEDED = ("starlette", "uvicorn", "prometheus_client", "threadpoolctl", "tritonclient")
FURTHER = ("mlflow", "openapi_spec_validator", "pandas")  # without which a few tests are skipped
MISSING = [name for name in NEEDED if find_spec(name) is None]
REQUIRED = os.environ.get("DISCOFORMER_REQUIRE_SERVE") == "1"
IRIS = Path(__file__).parents[1] / "data" / "iris_petals.csv"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = [name for name in (*NEEDED, *FURTHER) if find_spec(name) is None]
    if REQUIRED and absent:
        raise pytest.UsageError(
            f"tests/serve needs {', '.join(absent)}: pip install -r tests/serve/requirements.txt"
        )
    if not MISSING:
        return
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.skip(reason=f"no {', '.join(MISSING)}"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The package in this process then answers to the bit as the service, whose threads have a core each."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def model() -> discoformer.Model:
    return discoformer.load("base", "cpu", 1)


@pytest.fixture(scope="session")
def iris() -> np.ndarray:
    return np.loadtxt(IRIS, delimiter=",", skiprows=1)


@pytest.fixture(scope="session")
def estimates(model: discoformer.Model, iris: np.ndarray) -> dict[str, discoformer.Estimate]:
    """What is served, by name."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(iris, columns=["length", "width"])
    points = np.random.default_rng(0).normal(size=(60, 2))
    plane = np.c_[points, points.sum(1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", discoformer.DataWarning)
        singular = model.estimate(plane, effort="fast", allow_singular=True)
    return {
        "best": model.estimate(frame),
        "fast": model.estimate(iris, effort="fast"),
        "plane": singular,
    }


@pytest.fixture(scope="session")
def files(
    estimates: dict[str, discoformer.Estimate], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("estimates")
    for name, estimate in estimates.items():
        estimate.save(folder / f"{name}.estimate")
    return {name: folder / f"{name}.estimate" for name in estimates}


@pytest.fixture(scope="session")
def service(files: dict[str, Path]) -> Iterator[Service]:
    with running("base", *map(str, files.values()), "--threads", "2") as found:
        yield found
        assert not found.other, found.other


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
